"""What is compared of an answer: without what must differ, as ids, times and addresses."""

import dataclasses
import html
import json
import re
from typing import Any

from exchange import Response

# Headers whose value is compared. What is not here says nothing to a client, or is how its bytes travel: that is compared as
# `framing`, which tells from `Content-Length` and `Transfer-Encoding` how a client learns where the body ends. `Connection` is not
# compared: uWSGI says `close` in every answer, as Glance's release configures it, and so nothing of what Glance itself wants. The
# length of a document is not compared either: JSON is written with and without blanks.
COMPARED = (
    "accept-patch",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "content-disposition",
    "content-encoding",
    "content-md5",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "openstack-image-import-methods",
    "openstack-image-store-ids",
    "retry-after",
    "vary",
    "www-authenticate",
)
# Headers of which it is compared whether they are there, and what they begin with.
MADE_UP = {"x-openstack-request-id": "req-"}

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_PLAIN = re.compile(r"\d{3} [^\n]*\n\n(.*)", re.DOTALL)
_PAGE = re.compile(r"<html>.*<h1>[^<]*</h1>\n(.*)</body>\n?</html>\n?", re.DOTALL)
_BREAKS = re.compile(r"(<br ?/?>|\s)+")


@dataclasses.dataclass
class Names:
    """What one server calls its things, and the name that they have in both."""

    # Longest first, so that none is replaced within another.
    known: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, text: str, name: str) -> None:
        """From now on `text` is shown as `<name>`."""
        if text not in self.known:
            self.known[text] = f"<{name}>"
            self.known = dict(sorted(self.known.items(), key=lambda pair: -len(pair[0])))

    def replace(self, text: str) -> str:
        """A text with its own things named as in both."""
        for own, name in self.known.items():
            text = text.replace(own, name)
        text = _TIME.sub(lambda match: f"<time{match[1] and ' of microseconds' or ''}{match[2] or ''}>", text)
        return _UUID.sub("<uuid>", text)


@dataclasses.dataclass(frozen=True)
class Normal:
    """An answer as it is compared: each aspect has a name and a value; what is absent is not in it."""

    aspects: dict[str, Any]

    @property
    def status(self) -> int:
        return self.aspects["status"]


def normalise(response: Response, names: Names, unordered: bool) -> Normal:
    """The aspects of an answer."""
    aspects: dict[str, Any] = {"status": response.status}
    for header in COMPARED:
        if header in response.headers:
            aspects[f"header {header}"] = _header(header, names.replace(response.headers[header]))
    for header, start in MADE_UP.items():
        if header in response.headers:
            value = response.headers[header]
            aspects[f"header {header}"] = f"{start}…" if value.startswith(start) else value
    aspects["framing"] = _framing(response)
    aspects |= _body(response, names, unordered)
    return Normal(aspects)


def _framing(response: Response) -> str:
    """How the body's end is told. A length that is not the body's would be one that lies; of image data it is a value of its own."""
    coding = response.headers.get("transfer-encoding")
    length = response.headers.get("content-length")
    status = f" of a {response.status}" if response.status in (204, 304) else ""
    if coding is not None:
        return coding + (f" and length {length}" if length is not None else "") + status
    if length is None:
        return ("until the connection ends" if response.body else "nothing") + status
    # The answer to HEAD has the length of the body that GET would have.
    if response.body and length != str(len(response.body)):
        return f"length {length} of {len(response.body)} bytes"
    kind = response.headers.get("content-type", "").partition(";")[0]
    return f"length {length}" if kind == "application/octet-stream" else f"length{status}"


def _header(name: str, value: str) -> str:
    if name in ("allow", "accept-patch", "vary") or name.startswith("access-control-"):
        # Lists whose order says nothing, written with and without spaces.
        return ", ".join(sorted(part.strip() for part in value.split(",")))
    return value


def _body(response: Response, names: Names, unordered: bool) -> dict[str, Any]:
    if not response.body:
        return {}
    kind = response.headers.get("content-type", "").partition(";")[0]
    if kind == "application/octet-stream":
        return {"body": f"{len(response.body)} bytes: {response.body[:64]!r}"}
    try:
        text = response.body.decode()
    except UnicodeDecodeError:
        return {"body": repr(response.body)}
    if kind == "application/json":
        try:
            document = json.loads(text)
        except ValueError:
            return {"body": text}
        if response.status >= 400 and isinstance(document, dict) and set(document) == {"message", "code", "title"}:
            words = _words(document.pop("message"), names)
            return {"words": words, **_flatten(document, "body ")}
        return _flatten(_document(document, names, unordered), "body ")
    if response.status >= 400:
        shape = {"text/plain": _PLAIN, "text/html": _PAGE}.get(kind)
        if shape and (match := shape.fullmatch(text)):
            return {"words": _words(match[1], names)}
    return {"body": names.replace(text)}


def _words(text: str, names: Names) -> str:
    """An explanation, whatever page it stands in."""
    return _BREAKS.sub(" ", names.replace(html.unescape(text))).strip()


def _document(value: Any, names: Names, unordered: bool) -> Any:
    match value:
        case dict():
            made = {names.replace(key): _document(each, names, unordered) for key, each in value.items()}
            # The tags of an image, whose order says nothing; those of a namespace have one.
            if isinstance(made.get("tags"), list) and all(isinstance(tag, str) for tag in made["tags"]):
                made["tags"] = sorted(made["tags"])
            if unordered and isinstance(made.get("images"), list):
                made["images"] = sorted(made["images"], key=lambda image: json.dumps(image, sort_keys=True))
            return made
        case list():
            return [_document(each, names, unordered) for each in value]
        case str():
            return names.replace(value)
        case _:
            return value


def _flatten(value: Any, prefix: str) -> dict[str, Any]:
    """A document as its leaves, each under its path. Empty lists and objects are leaves."""
    match value:
        case dict() if value:
            pairs = [(str(key), each) for key, each in value.items()]
        case list() if value:
            pairs = [(str(index), each) for index, each in enumerate(value)]
        case _:
            return {prefix: value}
    return {path: leaf for key, each in pairs for path, leaf in _flatten(each, f"{prefix}/{key}").items()}
