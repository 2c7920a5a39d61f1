//! HTTP-H: header fields.

use super::cases::{Answered, BAD, Case, GET, Refused, Trailed, Want, case, request, run};
use super::shared;
use crate::harness::Server;
use crate::harness::client::head;
use crate::harness::server::Options;

/// A request for a list with these header lines and no others.
fn raw(lines: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{GET}\r\n").into_bytes();
    bytes.extend_from_slice(lines);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The same with `Host`.
fn with(line: &str) -> Vec<u8> {
    request(GET, &[line], b"")
}

#[test]
fn http_h01_host() {
    let mut cases = vec![
        case("none", raw(b""), Refused(BAD)),
        case("two alike", raw(b"Host: a\r\nHost: a\r\n"), Refused(BAD)),
        case("two", raw(b"Host: a\r\nHost: b\r\n"), Refused(BAD)),
        case("two, one in other case", raw(b"Host: a\r\nhOST: b\r\n"), Refused(BAD)),
        case("not ASCII", raw(b"Host: a\xe9\r\n"), Refused(BAD)),
    ];
    let values = [
        "", "a/b", "a?b", "a#b", "u@a", "a, b", "a b", "a:b", "a:1:2", "a:-1", "a:99999", ":80", "[::1", "::1", "[a]",
        "[::1]x", "a\\b", "a;b", "\"a\"",
    ];
    cases.extend(values.iter().map(|value| case(*value, raw(format!("Host: {value}\r\n").as_bytes()), Refused(BAD))));
    let fine = ["a", "127.0.0.1:9292", "[::1]", "[::1]:80", "a:", "%61"];
    cases.extend(fine.iter().map(|value| case(*value, raw(format!("Host: {value}\r\n").as_bytes()), Answered(&[200]))));
    // Right, but not us: without authentication a web page under such a name could send requests here.
    let foreign = ["a_b.c-d", "A.B."];
    cases.extend(
        foreign.iter().map(|value| case(*value, raw(format!("Host: {value}\r\n").as_bytes()), Answered(&[403]))),
    );
    run(&shared(), &cases);
}

#[test]
fn http_h02_names() {
    let lines = [
        "X-A : b",
        "X-A\t: b",
        ": b",
        "nothing",
        "X[a]: b",
        "X(a): b",
        "X{a}: b",
        "X\tA: b",
        "X A: b",
        "X\"a\": b",
        "X,a: b",
        "X/a: b",
        "X;a: b",
        "X=a: b",
        "X@a: b",
        "X\\a: b",
        "X?a: b",
        "X\u{e9}: b",
        "\u{feff}X: b",
        "X\x01: b",
        "X\x7f: b",
    ];
    let mut cases: Vec<Case> = lines.iter().map(|line| case(*line, with(line), Refused(BAD))).collect();
    cases.extend([
        case("space before the first", raw(b" Host: a\r\n"), Refused(BAD)),
        case("tab before the first", raw(b"\tHost: a\r\n"), Refused(BAD)),
        case("empty line of space", raw(b"Host: a\r\n \r\n"), Refused(BAD)),
        case("every character of a token", with("!#$%&'*+-.^_`|~09azAZ: b"), Answered(&[200])),
        case("space around a value", with("X-A: \t b \t "), Answered(&[200])),
        case("no space before a value", with("X-A:b"), Answered(&[200])),
        case("empty value", with("X-A:"), Answered(&[200])),
        case("any case", raw(b"hOsT: localhost\r\n"), Answered(&[200])),
    ]);
    run(&shared(), &cases);
}

#[test]
fn http_h03_folding() {
    run(
        &shared(),
        &[
            case("space", request(GET, &["X-A: b", " c"], b""), Refused(BAD)),
            case("tab", request(GET, &["X-A: b", "\tc"], b""), Refused(BAD)),
            case("of Host", raw(b"Host: a\r\n b\r\n"), Refused(BAD)),
            case("of nothing", request(GET, &["X-A:", " c"], b""), Refused(BAD)),
            case("of a framing", request(GET, &["Content-Length:", " 5"], b"hello"), Refused(BAD)),
            case("of a coding", request(GET, &["Transfer-Encoding:", " chunked"], b"0\r\n\r\n"), Refused(BAD)),
        ],
    );
}

#[test]
fn http_h04_control_characters() {
    let mut cases: Vec<Case> = (0u8..32)
        .filter(|byte| *byte != b'\t')
        .chain([127])
        .map(|byte| {
            let line = [b"Host: a\r\nX-A: b", &[byte][..], b"c\r\n"].concat();
            case(format!("{byte:#04x} in a value"), raw(&line), Refused(BAD))
        })
        .collect();
    cases.push(case("tab in a value", raw(b"Host: a\r\nX-A: b\tc\r\n"), Answered(&[200])));
    cases.push(case("octets above ASCII in a value", raw(b"Host: a\r\nX-A: b\xff\x80c\r\n"), Answered(&[200])));
    // Where the value decides something, octets that only some take for text do not pass for "not there".
    for name in ["Content-Type", "X-Auth-Token", "X-Service-Token", "Range", "Content-Encoding", "If-Range"] {
        let line = [b"Host: a\r\n", name.as_bytes(), b": b\xffc\r\n"].concat();
        cases.push(case(format!("octets above ASCII in {name}"), raw(&line), Refused(BAD)));
    }
    run(&shared(), &cases);
}

#[test]
fn http_h05_too_much() {
    let many: Vec<String> = (0..10_000).map(|i| format!("X-{i}: y")).collect();
    let few: Vec<String> = (0..91).map(|i| format!("X-{i}: y")).collect();
    let lines = |list: &[String]| request(GET, &list.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    let total: Vec<String> = (0..80).map(|i| format!("X-{i}: {}", "y".repeat(300))).collect();
    let limit: Want = Refused(&[400, 431]);
    run(
        &shared(),
        &[
            case("value of 100 KB", with(&format!("X-A: {}", "b".repeat(100_000))), limit),
            case("name of 100 KB", with(&format!("X-{}: b", "a".repeat(100_000))), limit),
            case("10,000 headers", lines(&many), limit),
            case("a header more than configured", lines(&few), Refused(&[431])),
            case("as many as configured", lines(&few[..89]), Answered(&[200])),
            case("more bytes than configured in all", lines(&total), limit),
            case("value of 12 KB", with(&format!("X-A: {}", "b".repeat(12_000))), Answered(&[200])),
        ],
    );
    // Half a head without end, on many connections, is held within the bound of a head each.
    let server = Server::ours(Options::default());
    server.get("/v2/images").expect(200);
    let before = super::resident_bytes(&server);
    let part = format!("{GET}\r\nHost: a\r\nX-A: {}", "b".repeat(16_000));
    let open: Vec<_> = (0..500)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(part.as_bytes()).expect("sending");
            connection
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let grown = super::resident_bytes(&server).saturating_sub(before);
    println!("{grown} bytes for 500 heads of 16 KB");
    assert!(grown < 500 * 96 * 1024, "{grown} bytes for 500 heads of 16 KB");
    drop(open);
}

#[test]
fn http_h06_underscores() {
    let body: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";
    let post = |line: &str| request("POST /v2/images HTTP/1.1", &[line, "Content-Length: 2"], b"{}");
    run(
        &shared(),
        &[
            // The header means nothing, so what looks like its body is the next request.
            case("Content_Length", with("Content_Length: 5"), Answered(&[200])),
            case("Transfer_Encoding", with("Transfer_Encoding: chunked"), Answered(&[200])),
            case("Content_Length and a body", request(GET, &["Content_Length: 9"], b"hello\r\n\r\n"), Trailed(&[200])),
            case("Transfer_Encoding and a body", request(GET, &["Transfer_Encoding: chunked"], body), Trailed(&[200])),
            case("Content_Length beside the real one", post("Content_Length: 40"), Answered(&[201])),
            case("Transfer_Encoding beside a length", post("Transfer_Encoding: chunked"), Answered(&[201])),
            case("Host with an underscore is none", raw(b"Ho_st: a\r\n"), Refused(BAD)),
        ],
    );
}

#[test]
fn http_h07_repeated_headers() {
    let twice = |name: &str, first: &str, second: &str| {
        request(GET, &[&format!("{name}: {first}"), &format!("{name}: {second}")], b"")
    };
    let names = [
        ("Content-Type", "application/json", "text/plain"),
        ("Content-Encoding", "identity", "gzip"),
        ("X-Auth-Token", "a", "b"),
        ("X-Service-Token", "a", "b"),
        ("Range", "bytes=0-0", "bytes=1-1"),
        ("Content-Range", "bytes 0-0/2", "bytes 1-1/2"),
        ("If-Range", "\"a\"", "\"b\""),
        ("Expect", "100-continue", "100-continue"),
        ("X-Image-Meta-Store", "a", "b"),
        ("X-Openstack-Image-Size", "1", "2"),
    ];
    let mut cases: Vec<Case> =
        names.iter().map(|(name, first, second)| case(*name, twice(name, first, second), Refused(BAD))).collect();
    cases.extend(
        names.iter().map(|(name, first, _)| case(format!("{name}, alike"), twice(name, first, first), Refused(BAD))),
    );
    // Lists may stand in several lines.
    cases.push(case("If-Match", twice("If-Match", "\"a\"", "\"b\""), Answered(&[200])));
    cases.push(case("Accept", twice("Accept", "text/plain", "application/json"), Answered(&[200])));
    cases.push(case("Connection", twice("Connection", "keep-alive", "x"), Answered(&[200])));
    run(&shared(), &cases);
}

#[test]
fn http_h08_nothing_of_a_client_becomes_a_header() {
    let server = shared();
    let evil = "a\r\nX-Evil: 1";
    let image = server.create(&serde_json::json!({
        "name": evil, "x_\u{1}prop": evil, "tags": ["t\r\nX-Evil: 1"], "disk_format": "raw", "container_format": "bare",
    }));
    let id = image["id"].as_str().expect("an id");
    let escaped = "a%0d%0aX-Evil:%201";
    let paths = [
        format!("/v2/images/{id}"),
        format!("/v2/images/{id}/file"),
        format!("/v2/images?name={escaped}&limit=1"),
        format!("/v2/images/{escaped}"),
        format!("/v2/images/{escaped}/file"),
        format!("/v2/images/{id}/tags/{escaped}"),
        format!("/v2/images/{id}/members/{escaped}"),
        format!("/{escaped}"),
    ];
    for path in &paths {
        for method in ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"] {
            for accept in ["text/html", "application/json", "text/plain"] {
                let host = [("Host", "h"), ("Accept", accept)];
                let mut connection = server.connect();
                connection.send(&head(method, path, &host, Some(0))).expect("sending");
                let reply = connection.response(method).expect("an answer");
                assert!(reply.header("x-evil").is_none(), "{method} {path}: {reply:?}");
                if method == "DELETE" && path.ends_with(id) {
                    server.create(&serde_json::json!({"name": evil, "disk_format": "raw", "container_format": "bare"}));
                }
            }
        }
    }
}

#[test]
fn http_h09_request_ids() {
    let server = shared();
    let ids = [
        "x".repeat(500),
        String::new(),
        "<script>".to_owned(),
        "a b".to_owned(),
        "a\tb".to_owned(),
        "\u{e9}".to_owned(),
        "a;b=c".to_owned(),
        "\"a\"".to_owned(),
        "%0d%0aX-Evil:1".to_owned(),
    ];
    for id in ids {
        for path in ["/v2/images?limit=1", "/v2/images/nothing/file", "/v2/images/nothing"] {
            let reply = server.request("GET", path, &[("X-Openstack-Request-Id", &id)], None);
            let given = reply.header("x-openstack-request-id").expect("an id");
            let is_ours = given.len() == 40 && given.starts_with("req-");
            assert!(is_ours, "{id:?} became {given:?}");
        }
    }
    let kept = server.request("GET", "/v2/images?limit=1", &[("X-Openstack-Request-Id", "req-fine.1")], None);
    assert_eq!(kept.header("x-openstack-request-id"), Some("req-fine.1"));
}
