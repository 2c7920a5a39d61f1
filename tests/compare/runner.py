"""Carries scripts out on both servers, step by step, and keeps what differed."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import re
import sqlite3
import time
from typing import Any

import normal
from differences import Finding, Rule, compare, judge
from endpoints import Endpoints
from exchange import Request, Response, send
from script import NOBODY, STRANGER, Script, ScriptError, Step, Waited
from servers import BOTH, VITRINE, Server

ADMIN = "admin"
# Seconds: how long work in the background may take, and between two looks at it.
PATIENCE = 30
PAUSE = 0.05
# The tables of metadata definitions, each before those that it refers to.
METADEFS = (
    "metadef_namespace_resource_types",
    "metadef_objects",
    "metadef_properties",
    "metadef_tags",
    "metadef_namespaces",
    "metadef_resource_types",
)
# What a request is about, and the endpoint at which that is looked at.
_SUBJECTS = {
    re.compile(r"/v2/images/[0-9a-fA-F]{8}-[^/?]+"): ("image", "GET /v2/images/{image}"),
    re.compile(r"/v2/metadefs/namespaces/[^/?]+"): ("namespace", "GET /v2/metadefs/namespaces/{namespace}"),
}
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclasses.dataclass
class Failure:
    """A step whose answers differ as nothing allows, or that shows no difference where one is listed."""

    site: str
    place: str
    line: str
    findings: list[Finding]
    # Listed, named by the step, and not seen.
    gone: list[str]


@dataclasses.dataclass
class Count:
    """What there was of an endpoint."""

    requests: int = 0
    listed: int = 0
    failed: int = 0


# What no request may get from Vitrine.
FAULT = 500


@dataclasses.dataclass
class Results:
    """Of all runs."""

    counts: dict[str, Count] = dataclasses.field(default_factory=lambda: collections.defaultdict(Count))
    failures: list[Failure] = dataclasses.field(default_factory=list)
    seen: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    requests: int = 0
    # Looks at an image after a request that may have changed it.
    looks: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=lambda: collections.defaultdict(float))


class Runner:
    """Both servers of one site."""

    def __init__(
        self,
        servers: dict[str, Server],
        site: str,
        tokens: dict[str, str],
        known: dict[str, str],
        rules: dict[str, list[Rule]],
        results: Results,
    ) -> None:
        self.servers = servers
        self.site = site
        self.tokens = tokens
        self.known = known
        self.rules = rules
        self.results = results
        self.endpoints = Endpoints()
        self.pool = concurrent.futures.ThreadPoolExecutor(len(BOTH))
        self.names = {name: normal.Names() for name in BOTH}
        self.variables: dict[str, dict[str, Any]] = {}
        for name, server in servers.items():
            self.names[name].add(f"127.0.0.1:{server.port}", "server")
            self.names[name].add(str(server.home), "home")

    def close(self) -> None:
        self.pool.shutdown()

    def run(self, script: Script) -> int:
        """Carries a script out, on servers that are empty. Returns how many of its steps failed."""
        before = len(self.results.failures)
        self.variables = {
            name: {**self.known, "server": f"127.0.0.1:{self.servers[name].port}", "site": self.site}
            for name in BOTH
        }
        for step in script.steps:
            self._step(step)
        return len(self.results.failures) - before

    def _step(self, step: Step) -> None:
        lines = {name: step.line(self.variables[name]) for name in BOTH}
        token = self._token(lines[BOTH[0]][0], step.place)
        requests = {name: step.request(self.variables[name], token) for name in BOTH}
        answers = self._send_both(requests)
        if step.until:
            self._wait(step, requests, answers)
        for name in BOTH:
            self._keep(step, name, answers[name])
        who, method, _ = lines[BOTH[0]]
        path = self.names[BOTH[0]].replace(lines[BOTH[0]][2])
        endpoint = self.endpoints.name(method, requests[BOTH[0]].path)
        self._judge(step.place, f"{who} {method} {path}", endpoint, answers, step.differs, step.unordered)
        self.results.requests += 1
        if method in ("POST", "PUT", "PATCH", "DELETE") and step.look:
            self._look(step.place, f"{who} {method} {path}", {name: request.path for name, request in requests.items()})

    def _wait(self, step: Step, requests: dict[str, Request], answers: dict[str, Response]) -> None:
        """Sends a request again until its answer holds what the step waits for."""
        limit = time.monotonic() + PATIENCE
        while waiting := [name for name in BOTH if not _holds(answers[name], step.until)]:
            if time.monotonic() > limit:
                said = answers[waiting[0]].body[:4000]
                raise Waited(f"{step.place}: {waiting} never said {step.until}: {said!r}", waiting)
            time.sleep(PAUSE)
            for name in waiting:
                answers[name] = send(self.servers[name].port, requests[name])

    def _look(self, place: str, line: str, paths: dict[str, str]) -> None:
        """An answer may hide that a request changed something: the image, or the namespace, must be the same afterwards too."""
        headers = (("X-Auth-Token", self.tokens[ADMIN]),)
        for pattern, (subject, endpoint) in _SUBJECTS.items():
            found = {name: pattern.match(path) for name, path in paths.items()}
            if all(found.values()):
                answers = self._send_both({name: Request("GET", match[0], headers) for name, match in found.items()})
                self._judge(place, f"the {subject} after {line}", endpoint, answers, [], False)
                self.results.looks += 1

    def _judge(
        self,
        place: str,
        line: str,
        endpoint: str,
        answers: dict[str, Response],
        named: list[str],
        unordered: bool,
    ) -> None:
        views = {name: normal.normalise(answers[name], self.names[name], unordered) for name in BOTH}
        findings = compare(*(views[name] for name in BOTH))
        if answers[VITRINE].status == FAULT:
            # Whatever Glance makes of it.
            findings.append(Finding("our own fault", None, FAULT))
        if unlisted := [name for name in named if name not in self.rules]:
            raise ScriptError(f"{place}: differences.yaml has no {unlisted}")
        left, seen = judge(findings, named, self.rules, endpoint)
        count = self.results.counts[endpoint]
        count.requests += 1
        count.listed += bool(seen) and not left
        self.results.seen.update(seen)
        gone = [name for name in named if name not in seen]
        if left or gone:
            count.failed += 1
            self.results.failures.append(Failure(self.site, place, line, left, gone))

    def _send_both(self, requests: dict[str, Request]) -> dict[str, Response]:
        """To both at once: they share nothing."""
        sent = {name: self.pool.submit(send, self.servers[name].port, requests[name]) for name in BOTH}
        answers = {name: future.result() for name, future in sent.items()}
        for name, answer in answers.items():
            self.results.seconds[name] += answer.seconds
        return answers

    def _token(self, who: str, place: str) -> str | None:
        if who == NOBODY:
            return None
        if who == STRANGER:
            return "not-a-token"
        if who not in self.tokens:
            raise ScriptError(f"{place}: there is no user {who!r}")
        return self.tokens[who]

    def _keep(self, step: Step, name: str, answer: Response) -> None:
        """Fills the variables of a step, and gives its things names that are the same for both servers."""
        document = _document(answer)
        if isinstance(document, dict) and isinstance(document.get("id"), str) and _UUID.fullmatch(document["id"]):
            self.names[name].add(document["id"], f"made by {step.place}")
        for variable, source in step.keep.items():
            if source.startswith("header "):
                value = answer.headers.get(source.removeprefix("header ").lower())
            else:
                value = _at(document, source)
            # The step itself fails then; what follows from it should not stop the rest.
            self.variables[name][variable] = value if value is not None else "/missing"

    def clear(self, script: str) -> None:
        """Removes every image and all metadata definitions, so that the next script finds both servers empty."""
        for name in BOTH:
            self._clear_metadefs(name)
            for hidden in ("false", "true"):
                last = None
                # A site may have small pages.
                while images := self._list(name, hidden, script):
                    if images == last:
                        raise ScriptError(f"{script}: {name} keeps {images}")
                    last = images
                    for image in images:
                        self._remove(name, image)

    def _clear_metadefs(self, name: str) -> None:
        """In the database: not every name of a namespace can stand in Glance's paths, and no request removes resource types."""
        with contextlib.closing(sqlite3.connect(self.servers[name].database, timeout=PATIENCE)) as database, database:
            for table in METADEFS:
                # Nothing is written where there is nothing: a thread of Glance that works on would find its database locked.
                if database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
                    database.execute(f"DELETE FROM {table}")

    def _list(self, name: str, hidden: str, script: str) -> list[dict[str, Any]]:
        listed = self._admin(name, "GET", f"/v2/images?visibility=all&limit=1000&os_hidden={hidden}")
        document = _document(listed)
        if not isinstance(document, dict) or "images" not in document:
            raise ScriptError(f"{script}: {name} does not list its images: {listed.status} {listed.body[:300]!r}")
        return document["images"]

    def _remove(self, name: str, image: dict[str, Any]) -> None:
        path = f"/v2/images/{image['id']}"
        if image["protected"]:
            change = [{"op": "replace", "path": "/protected", "value": False}]
            self._admin(name, "PATCH", path, json.dumps(change).encode())
        self._admin(name, "DELETE", path)

    def _admin(self, name: str, method: str, path: str, patch: bytes | None = None) -> Response:
        headers = [("X-Auth-Token", self.tokens[ADMIN])]
        if patch is not None:
            headers.append(("Content-Type", "application/openstack-images-v2.1-json-patch"))
        return send(self.servers[name].port, Request(method, path, tuple(headers), patch))


def _document(answer: Response) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


def _holds(answer: Response, wanted: dict[str, Any]) -> bool:
    """Whether the document holds these values, or one of each list of values."""
    document = _document(answer)
    return all(_at(document, way) in (value if isinstance(value, list) else [value]) for way, value in wanted.items())


def _at(document: Any, way: str) -> Any:
    """What lies in a document at the end of a way of keys and positions, as in `tasks.0.status`."""
    for key in way.split("."):
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return document
