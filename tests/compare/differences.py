"""The differences that are allowed, and which of an answer's differences they cover.

`differences.yaml` says what each looks like; `docs/differences.md` gives its reason, in a row that ends in `{#id}`.
"""

import dataclasses
import pathlib
import re
from typing import Any

import yaml

from normal import Normal

HERE = pathlib.Path(__file__).parent
LISTED = HERE / "differences.yaml"
DOCUMENT = HERE.parent.parent / "docs" / "differences.md"

_ANCHOR = re.compile(r"\{#([a-z0-9-]+)\}")
_MISSING = object()
# The pattern of a side that may hold whatever it likes, also nothing.
_ANYTHING = re.compile(r".*", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One aspect in which two answers differ. `None`: it is absent."""

    aspect: str
    glance: Any
    vitrine: Any


def compare(glance: Normal, vitrine: Normal) -> list[Finding]:
    """Every aspect that is not the same."""
    findings = []
    for aspect in dict.fromkeys([*glance.aspects, *vitrine.aspects]):
        left, right = (one.aspects.get(aspect, _MISSING) for one in (glance, vitrine))
        # 1, 1.0 and true are three values to a client.
        if left is _MISSING or right is _MISSING or (type(left), left) != (type(right), right):
            shown = [None if value is _MISSING else "null" if value is None else value for value in (left, right)]
            findings.append(Finding(aspect, *shown))
    return findings


@dataclasses.dataclass(frozen=True)
class Rule:
    """One allowed difference. Patterns match whole values; a group `same` must be alike in both."""

    id: str
    aspect: re.Pattern
    glance: re.Pattern | None
    vitrine: re.Pattern | None
    # In every request, not only where a step names it.
    everywhere: bool
    # At these endpoints alone.
    at: re.Pattern
    # If the status differs as listed, the rest of the answer follows from that.
    whole: bool

    def covers(self, finding: Finding) -> bool:
        """Whether this is what is allowed."""
        if not self.aspect.fullmatch(finding.aspect):
            return False
        groups = []
        for pattern, value in ((self.glance, finding.glance), (self.vitrine, finding.vitrine)):
            if pattern is _ANYTHING:
                continue
            if pattern is None or value is None:
                if (pattern is None) != (value is None):
                    return False
                continue
            match = pattern.fullmatch(str(value))
            if not match:
                return False
            groups.append(match.groupdict().get("same"))
        return len(groups) < 2 or groups[0] == groups[1]


def load(path: pathlib.Path = LISTED) -> dict[str, list[Rule]]:
    """The rules by id."""
    document = yaml.safe_load(path.read_text())
    return {name: [_rule(name, each) for each in rules] for name, rules in document.items()}


def _rule(name: str, fields: dict[str, Any]) -> Rule:
    unknown = set(fields) - {"status", "aspect", "glance", "vitrine", "everywhere", "at"}
    assert not unknown, f"{name}: unknown key {unknown}"
    everywhere, at = fields.get("everywhere", False), re.compile(fields.get("at", ".*"))
    if "status" in fields:
        left, right = (re.compile(str(status)) for status in fields["status"])
        return Rule(name, re.compile("status"), left, right, everywhere, at, whole=True)

    def pattern(side: str) -> re.Pattern | None:
        if side not in fields:
            return _ANYTHING
        return None if fields[side] is None else re.compile(str(fields[side]), re.DOTALL)

    return Rule(name, re.compile(fields["aspect"]), pattern("glance"), pattern("vitrine"), everywhere, at, whole=False)


def judge(
    findings: list[Finding], named: list[str], rules: dict[str, list[Rule]], endpoint: str
) -> tuple[list[Finding], set[str]]:
    """The findings that nothing allows, and the ids of the differences that were seen."""
    asked = [rule for name, each in rules.items() for rule in each if rule.everywhere or name in named]
    usable = [rule for rule in asked if rule.at.fullmatch(endpoint)]
    seen: set[str] = set()
    left = []
    for finding in findings:
        covering = [rule for rule in usable if rule.covers(finding)]
        seen |= {rule.id for rule in covering}
        if any(rule.whole for rule in covering):
            return [], seen
        if not covering:
            left.append(finding)
    return left, seen


def documented(path: pathlib.Path = DOCUMENT) -> set[str]:
    """The ids in rows of the document."""
    rows = [line for line in path.read_text().splitlines() if line.startswith(("|", "*", "  "))]
    return {name for row in rows for name in _ANCHOR.findall(row)}
