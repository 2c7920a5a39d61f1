"""The endpoints of the API, from the route table of the source: what a request is counted under."""

import pathlib
import re

ROUTES = pathlib.Path(__file__).parents[2] / "common/src/http/routes.rs"
# Endpoints whose scripts are still to be written, one a line.
PENDING = pathlib.Path(__file__).with_name("pending.txt")
ELSEWHERE = "wrong methods and unknown paths"

_ROW = re.compile(r'^    \w+ = "(\S+)" "(\S+)" \w+;$', re.MULTILINE)
_VERSION = re.compile(r"^/v2\.\d+")


class Endpoints:
    """The table."""

    def __init__(self) -> None:
        self.rows = _ROW.findall(ROUTES.read_text())
        assert len(self.rows) > 20, f"{ROUTES} has another form than expected"
        self.patterns = [
            (method, re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
            for method, path in self.rows
        ]

    def all(self) -> list[str]:
        """Every endpoint's name, in the order of the table."""
        return [f"{method} {path}" for method, path in self.rows]

    def name(self, method: str, path: str) -> str:
        """The endpoint of a request."""
        path = _VERSION.sub("/v2", path.partition("?")[0])
        for allowed, pattern, label in self.patterns:
            if allowed in (method, "*") and pattern.fullmatch(path):
                return f"{allowed} {label}"
        return ELSEWHERE


def pending() -> set[str]:
    """The endpoints that need no script yet."""
    lines = PENDING.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}
