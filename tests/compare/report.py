"""What is printed: differences as they appear, and a table at the end."""

import sys
from typing import Any

from differences import Finding
from runner import Failure, Results

# Characters of a value that are shown.
WIDTH = 300
# Aspects of one answer that are shown.
FINDINGS = 12


def progress(text: str) -> None:
    """A line while something runs."""
    print(text, file=sys.stderr, flush=True)


def show_failure(failure: Failure) -> None:
    """A step whose answers differ."""
    print(f"\nFAILED [{failure.site}] {failure.place}  {failure.line}")
    for finding in failure.findings[:FINDINGS]:
        _show_finding(finding)
    if len(failure.findings) > FINDINGS:
        print(f"  and {len(failure.findings) - FINDINGS} aspects more")
    for name in failure.gone:
        print(f"  the listed difference `{name}` is not there (any more)")
    sys.stdout.flush()


def _show_finding(finding: Finding) -> None:
    print(f"  {finding.aspect}")
    print(f"    - glance   {_value(finding.glance)}")
    print(f"    + vitrine  {_value(finding.vitrine)}")


def _value(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}… ({len(text)} characters)"


def table(results: Results, order: list[str]) -> None:
    """Endpoint, requests, listed differences, failures."""
    rows = [(name, results.counts[name]) for name in [*order, *(set(results.counts) - set(order))] if name in results.counts]
    width = max(len(name) for name, _ in rows)
    print(f"\n{'endpoint':<{width}}  requests  listed  failed")
    for name, count in rows:
        print(f"{name:<{width}}  {count.requests:>8}  {count.listed or '':>6}  {count.failed or '':>6}")
    print("\nlisted differences, and how often they were seen")
    for name, times in sorted(results.seen.items()):
        print(f"  {name:<{width}}  {times}")
    slow = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in results.seconds.items())
    print(f"\n{results.requests} requests and {results.looks} looks at what they changed; answered in {slow}")
