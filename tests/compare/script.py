"""Scripts of requests: YAML files that are read into steps, and steps that are turned into requests.

README.md describes the format.
"""

import dataclasses
import itertools
import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import yaml

from exchange import Request

SCRIPTS = pathlib.Path(__file__).parent / "scripts"

# The sites of a script that names none.
COMMON = ("multi", "single", "legacy")

# Who asks without being a user of the Identity server.
NOBODY, STRANGER = "nobody", "stranger"

PATCH = "application/openstack-images-v2.1-json-patch"
OLD_PATCH = "application/openstack-images-v2.0-json-patch"

# Options of a step that say what its body is, with the type that it has unless `headers` say otherwise.
BODIES = {
    "json": "application/json",
    "text": "application/json",
    "patch": PATCH,
    "old_patch": OLD_PATCH,
    "data": "application/octet-stream",
    "hex": "application/octet-stream",
}
OPTIONS = {*BODIES, "do", "headers", "keep", "differs", "look", "chunked", "pad", "unordered", "until", "why"}

# `{name}`, or one value of several: `{name.0}`.
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)(?:\.(\d+))?\}")
_REPEATED = re.compile(r"\{([^{}]+)\*(\d+)\}")
_WORDS = re.compile(r"(\S+) (\S+) (/.*|\*)")


class ScriptError(Exception):
    """A script that cannot be read or carried out as it stands."""


class Waited(ScriptError):
    """What a step waited for never came."""

    def __init__(self, message: str, waiting: list[str]) -> None:
        super().__init__(message)
        # From whom.
        self.waiting = waiting


@dataclasses.dataclass(frozen=True)
class Step:
    """One request of a script, before its variables have values."""

    place: str
    options: dict[str, Any]
    # The values that this repetition of the step has.
    chosen: dict[str, Any]

    @property
    def differs(self) -> list[str]:
        """The listed differences that this step must show."""
        named = fill(self.options.get("differs", []), self.chosen, self.place)
        return [named] if isinstance(named, str) else named

    @property
    def keep(self) -> dict[str, str]:
        """Variables to fill from the answer: a key of its document, or `header NAME`."""
        return self.options.get("keep", {})

    @property
    def unordered(self) -> bool:
        """Whether the order of the images in a list says nothing: what it is sorted by is the same in several."""
        return self.options.get("unordered", False)

    @property
    def look(self) -> bool:
        """Whether the image is looked at afterwards, where the step may have changed one."""
        return self.options.get("look", not self.differs)

    @property
    def until(self) -> dict[str, Any]:
        """What the answer's document must hold at last: until then the request is sent again."""
        return fill(self.options.get("until", {}), self.chosen, self.place)

    def line(self, variables: dict[str, Any]) -> tuple[str, str, str]:
        """Who asks, the method, and the path as it goes on the wire."""
        text = fill(self.options["do"], {**variables, **self.chosen}, self.place)
        match = _WORDS.fullmatch(text)
        if not match:
            raise ScriptError(f"{self.place}: not WHO METHOD /PATH: {text!r}")
        who, method, path = match.groups()
        # What is encoded in the script stays as it is.
        return who, method, urllib.parse.quote(path, safe="".join(map(chr, range(0x21, 0x7F))))

    def request(self, variables: dict[str, Any], token: str | None) -> Request:
        """What is sent."""
        known = {**variables, **self.chosen}
        _, method, path = self.line(variables)
        body, kind = self._body(known)
        headers = [("X-Auth-Token", token)] if token is not None else []
        given = fill(self.options.get("headers", {}), known, self.place)
        if kind and not any(name.lower() == "content-type" for name in given):
            headers.append(("Content-Type", kind))
        for name, values in given.items():
            # `null`: the header is left out, also where it would be there by itself.
            for value in values if isinstance(values, list) else [values]:
                headers += [(name, str(value))] if value is not None else []
        return Request(method, path, tuple(headers), body, fill(self.options.get("chunked", False), known, self.place))

    def _body(self, known: dict[str, Any]) -> tuple[bytes | None, str | None]:
        for option, kind in BODIES.items():
            if option in self.options:
                value = fill(self.options[option], known, self.place)
                return _encode(option, value) + b"\0" * self.options.get("pad", 0), kind
        return None, None


def _encode(option: str, value: Any) -> bytes:
    match option:
        case "text" | "data":
            return str(value).encode()
        case "hex":
            return bytes.fromhex(value)
        case _:
            return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def fill(value: Any, known: dict[str, Any], place: str) -> Any:
    """A value with the variables in its texts replaced. A text that is nothing but one becomes its value, of any type."""

    def variable(match: re.Match) -> Any:
        if match[1] not in known:
            raise ScriptError(f"{place}: there is no variable {match[0]}")
        value = known[match[1]]
        return value if match[2] is None else value[int(match[2])]

    match value:
        case str():
            if whole := _NAME.fullmatch(value):
                chosen = variable(whole)
                # A chosen value may hold variables of its own.
                return chosen if chosen == value else fill(chosen, known, place)
            text = _NAME.sub(lambda found: str(fill(variable(found), known, place)), value)
            return _REPEATED.sub(lambda found: found[1] * int(found[2]), text)
        case list():
            return [fill(each, known, place) for each in value]
        case dict():
            return {fill(key, known, place): fill(each, known, place) for key, each in value.items()}
        case _:
            return value


@dataclasses.dataclass(frozen=True)
class Script:
    """A file of steps."""

    name: str
    steps: tuple[Step, ...]
    # On which of `servers.SITES` it is run.
    sites: tuple[str, ...]


def load_all(directory: pathlib.Path = SCRIPTS) -> list[Script]:
    """Every script, in the order of their names."""
    scripts = [load(path) for path in sorted(directory.glob("*.yaml"))]
    if not scripts:
        raise ScriptError(f"no scripts in {directory}")
    return scripts


def load(path: pathlib.Path) -> Script:
    """One script."""
    document = yaml.safe_load(path.read_text())
    if unknown := set(document) - {"sites", "steps"}:
        raise ScriptError(f"{path.name}: unknown key {unknown}")
    steps = tuple(_expand(document["steps"], path.stem, {}))
    return Script(path.stem, steps, tuple(document.get("sites", COMMON)))


def _expand(steps: list, place: str, chosen: dict[str, Any]) -> Iterator[Step]:
    for number, step in enumerate(steps, 1):
        here = f"{place}:{number}"
        if isinstance(step, str):
            step = {"do": step}
        step = dict(step)
        for index, choice in enumerate(_choices(step.pop("each", None), here)):
            values = {**chosen, **choice}
            spot = f"{here}.{index + 1}" if choice else here
            if "steps" in step:
                yield from _expand(step["steps"], spot, values)
                continue
            if "do" not in step:
                raise ScriptError(f"{here}: neither `do` nor `steps`")
            if unknown := set(step) - OPTIONS:
                raise ScriptError(f"{here}: unknown option {unknown}")
            yield Step(spot, step, values)


def _choices(each: dict[str, list] | None, place: str) -> list[dict[str, Any]]:
    """Every combination of the values of `each`."""
    if each is None:
        return [{}]
    if not isinstance(each, dict) or not all(isinstance(values, list) for values in each.values()):
        raise ScriptError(f"{place}: `each` wants names with lists of values")
    return [dict(zip(each, values, strict=True)) for values in itertools.product(*each.values())]
