"""The comparison itself: what it sees, what it lets pass, and what it refuses to read."""

import json
import re

import pytest

import differences
import normal
import script
from differences import Finding, Rule
from exchange import Response
from normal import Names

IMAGE = "10000000-0000-4000-8000-000000000001"


def answer(document, status: int = 200, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, {"content-type": "application/json", **named}, body, 0.0)


def findings(left: Response, right: Response, unordered: bool = False) -> list[str]:
    names = Names()
    views = [normal.normalise(each, names, unordered) for each in (left, right)]
    return [finding.aspect for finding in differences.compare(*views)]


def test_what_must_differ_is_no_difference():
    left = {"id": IMAGE, "created_at": "2026-01-01T00:00:00Z", "tags": ["a", "b"]}
    right = {"id": IMAGE[:-1] + "2", "created_at": "2026-02-02T11:11:11Z", "tags": ["b", "a"]}
    assert findings(answer(left), answer(right)) == []
    ids = [{"x_openstack_request_id": f"req-{name}"} for name in "ab"]
    assert findings(answer({}, **ids[0]), answer({}, **ids[1])) == []
    allowed = [{"allow": value} for value in ("GET, PUT", "PUT,GET")]
    assert findings(answer({}, **allowed[0]), answer({}, **allowed[1])) == []


def test_what_a_client_would_notice_is_one():
    same = {"size": 1, "images": [{"name": "a"}, {"name": "b"}]}
    for other, aspect in (
        ({**same, "size": 1.0}, "body /size"),
        ({**same, "size": True}, "body /size"),
        ({**same, "size": None}, "body /size"),
        ({**same, "more": ""}, "body /more"),
        ({"images": same["images"]}, "body /size"),
        ({**same, "images": same["images"][:1]}, "body /images/1/name"),
    ):
        assert findings(answer(same), answer(other)) == [aspect]
    turned = {**same, "images": same["images"][::-1]}
    assert findings(answer(same), answer(turned)) == ["body /images/0/name", "body /images/1/name"]
    assert findings(answer(same), answer(turned), unordered=True) == []
    assert findings(answer(same), answer(same, 201)) == ["status"]
    assert findings(answer(same), answer(same, location="/x")) == ["header location"]
    assert findings(answer({"at": "2026-01-01T00:00:00Z"}), answer({"at": "2026-01-01T00:00:00.000001"})) == ["body /at"]
    octets = {"content_type": "application/octet-stream"}
    assert findings(answer(b"\xff1", **octets), answer(b"\xff2", **octets)) == ["body"]


def test_the_end_of_a_body_is_told_alike():
    octets = {"content_type": "application/octet-stream"}
    same = answer(b"abc", content_length="3", **octets)
    for other in (
        answer(b"abc", **octets),
        answer(b"abc", transfer_encoding="chunked", **octets),
        answer(b"abc", content_length="4", **octets),
    ):
        assert findings(same, other) == ["framing"]
    assert findings(answer({"a": 1}, content_length="8"), answer(b'{"a":1}', content_length="7")) == []
    assert findings(answer({"a": 1}, content_length="8"), answer({"a": 1}, content_length="9")) == ["framing"]
    assert findings(answer(b"", 204, content_length="0"), answer(b"", 204)) == ["framing"]
    rules = differences.load()
    (finding,) = differences.compare(
        *(normal.normalise(each, Names(), False) for each in (answer(b"", 204, content_length="0"), answer(b"", 204)))
    )
    assert differences.judge([finding], [], rules, "x") == ([], {"no-length"})
    assert findings(answer(b"", 202, content_length="0"), answer(b"", 202)) == ["framing"]


def test_things_have_one_name_in_both():
    names = Names()
    names.add(IMAGE, "image")
    names.add("127.0.0.1:1234", "server")
    assert names.replace(f"http://127.0.0.1:1234/v2/images/{IMAGE}") == "http://<server>/v2/images/<image>"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain; charset=UTF-8", "404 Not Found\n\nNo <image>\n\n   "),
        ("text/html; charset=UTF-8", "<html>\n<body>\n<h1>404 Not Found</h1>\n  No &lt;image&gt;<br /><br />\n\n\n\n </body>\n</html>"),
        ("application/json", json.dumps({"message": "No &lt;image&gt;<br />\n", "code": "404", "title": "x"})),
    ],
)
def test_an_explanation_is_found_on_every_page(kind, body):
    view = normal.normalise(Response(404, {"content-type": kind}, body.encode(), 0.0), Names(), False)
    assert view.aspects["words"] == "No <image>"


def rule(
    aspect: str, glance: str | None, vitrine: str | None, everywhere: bool = False, whole: bool = False, at: str = ".*"
) -> Rule:
    patterns = (each if each is None else re.compile(each) for each in (glance, vitrine))
    return Rule("it", re.compile(aspect), *patterns, everywhere, re.compile(at), whole)


def test_a_rule_covers_what_it_describes_and_no_more():
    finding = Finding("words", "Bad: 5 is wrong", "5 is wrong")
    assert rule("words", "Bad: (?P<same>.*)", "(?P<same>.*)").covers(finding)
    assert not rule("words", "Bad: (?P<same>.*)", "(?P<same>.*)").covers(Finding("words", "Bad: 5", "6"))
    assert not rule("words", None, ".*").covers(finding)
    assert rule("header etag", None, ".*").covers(Finding("header etag", None, "x"))
    assert not rule("header etag", None, ".*").covers(Finding("header etag", "x", None))


def test_a_listed_difference_holds_where_it_is_named_or_everywhere():
    status, words = Finding("status", 500, 400), Finding("words", "a", "b")
    rules = {"it": [rule("status", "500", "400", whole=True)]}
    assert differences.judge([status, words], ["it"], rules, "GET /") == ([], {"it"})
    assert differences.judge([status, words], [], rules, "GET /") == ([status, words], set())
    assert differences.judge([words], ["it"], rules, "GET /") == ([words], set())
    everywhere = {"it": [rule("words", ".*", ".*", everywhere=True)]}
    assert differences.judge([status, words], [], everywhere, "GET /") == ([status], {"it"})
    there = {"it": [rule("words", ".*", ".*", everywhere=True, at="GET /x/.*")]}
    assert differences.judge([words], [], there, "GET /x/{y}") == ([], {"it"})
    assert differences.judge([words], [], there, "GET /z") == ([words], set())


def load(tmp_path, text: str) -> script.Script:
    path = tmp_path / "one.yaml"
    path.write_text(text)
    return script.load(path)


def test_steps_are_repeated_for_every_combination(tmp_path):
    text = """
steps:
  - each: {who: [admin, nobody], case: [[a, {name: "{x*3}"}], [b, 5]]}
    do: "{who} POST /v2/{case.0}"
    json: "{case.1}"
  - each: {outer: [1, 2]}
    steps:
      - do: nobody GET /{outer}/{kept}
"""
    steps = load(tmp_path, text).steps
    assert [step.line({"kept": "k"}) for step in steps] == [
        ("admin", "POST", "/v2/a"),
        ("admin", "POST", "/v2/b"),
        ("nobody", "POST", "/v2/a"),
        ("nobody", "POST", "/v2/b"),
        ("nobody", "GET", "/1/k"),
        ("nobody", "GET", "/2/k"),
    ]
    request = steps[0].request({}, "t")
    assert request.body == b'{"name": "xxx"}'
    assert request.headers == (("X-Auth-Token", "t"), ("Content-Type", "application/json"))
    assert steps[1].request({}, None).body == b"5"


def test_paths_go_out_as_they_stand_and_headers_may_be_left_out(tmp_path):
    steps = load(tmp_path, 'steps: [{do: "nobody PUT /ä%2F b?x=%FF", data: x, headers: {Content-Type: null, A: [1, 2]}}]').steps
    request = steps[0].request({}, None)
    assert request.path == "/%C3%A4%2F%20b?x=%FF"
    assert request.headers == (("A", "1"), ("A", "2"))


@pytest.mark.parametrize(
    "text",
    ["steps: [{json: {}}]", "steps: [{do: nobody GET /, jsn: {}}]", "steps: [], more: 1", "{steps: [{do: a, each: [1]}]}", "x: 1"],
)
def test_scripts_with_mistakes_are_not_read(tmp_path, text):
    with pytest.raises((script.ScriptError, KeyError, script.yaml.YAMLError)):
        load(tmp_path, text)


def test_unknown_variables_are_mistakes(tmp_path):
    (step,) = load(tmp_path, "steps: [\"nobody GET /{nothing}\"]").steps
    with pytest.raises(script.ScriptError, match="nothing"):
        step.line({})


def test_every_script_can_be_read_and_names_only_listed_differences():
    rules = differences.load()
    for one in script.load_all():
        assert {name for step in one.steps for name in step.differs} <= set(rules), one.name
