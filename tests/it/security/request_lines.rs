//! HTTP-R: request lines and targets.

use super::cases::{Answered, BAD, Case, GET, Refused, Want, case, request, run};
use super::shared;

/// The first line, `Host`, and the end of the head.
fn line(first: &str) -> Vec<u8> {
    request(first, &[], b"")
}

fn target(target: &str) -> Vec<u8> {
    line(&format!("GET {target} HTTP/1.1"))
}

#[test]
fn http_r01_line_ends() {
    let clean = String::from_utf8(line(GET)).expect("text");
    run(
        &shared(),
        &[
            case("clean", clean.as_bytes(), Answered(&[200])),
            case("bare LF", clean.replace("\r\n", "\n"), Refused(BAD)),
            case("bare LF after the request line", clean.replacen("\r\n", "\n", 1), Refused(BAD)),
            case(
                "bare LF at the end",
                format!("{}\n", clean.trim_end_matches("\r\n").to_owned() + "\r\n"),
                Refused(BAD),
            ),
            case("bare CR", clean.replacen("\r\n", "\r", 1), Refused(BAD)),
            case("CR CR LF", clean.replacen("\r\n", "\r\r\n", 1), Refused(BAD)),
            case("LF CR", clean.replacen("\r\n", "\n\r", 1), Refused(BAD)),
            case("one empty line before", format!("\r\n{clean}"), Answered(&[200])),
            case("two empty lines before", format!("\r\n\r\n{clean}"), Answered(&[200])),
            case("three empty lines before", format!("\r\n\r\n\r\n{clean}"), Refused(BAD)),
            case("an empty line of LF before", format!("\n{clean}"), Refused(BAD)),
            case("an empty line of CR before", format!("\r{clean}"), Refused(BAD)),
            case("two empty lines between requests", format!("{clean}\r\n\r\n"), Answered(&[200])),
        ],
    );
}

#[test]
fn http_r02_parts_of_the_line() {
    let lines = [
        "GET  /v2/images HTTP/1.1",
        "GET /v2/images  HTTP/1.1",
        "GET\t/v2/images HTTP/1.1",
        "GET /v2/images\tHTTP/1.1",
        " GET /v2/images HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET /v2/ images HTTP/1.1",
        "GET /v2/images HTTP/1.1 ",
        "GET /v2/images HTTP/1.1 more",
        "GET",
        "GET ",
        "GET /v2/images",
        ":",
    ];
    run(&shared(), &lines.map(|first| case(first, line(first), Refused(BAD))));
}

#[test]
fn http_r03_versions() {
    let versions = ["0.9", "2.0", "1", "1.", "01.1", "1.10", " 1.1", "1.1.1", "1,1", "1.x", "", "11"];
    let mut cases: Vec<Case> = versions
        .iter()
        .map(|version| case(*version, line(&format!("GET /v2/images HTTP/{version}")), Refused(&[400, 505])))
        .collect();
    cases.extend([
        case("no version", "GET /v2/images\r\n\r\n", Refused(BAD)),
        case("lower case", line("GET /v2/images http/1.1"), Refused(&[400, 505])),
        case("another protocol", line("GET /v2/images ICY/1.1"), Refused(&[400, 505])),
        case("h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused(&[400, 505])),
        case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), Refused(BAD)),
        case("HTTP/1.2", line("GET /versions HTTP/1.2"), Want::Refused(&[400, 505])),
        // Answered, and closed: it has no persistence.
        case("HTTP/1.0", line("GET /versions HTTP/1.0"), Refused(&[200])),
        case("HTTP/1.0 without Host", "GET /versions HTTP/1.0\r\n\r\n", Refused(&[200])),
    ]);
    run(&shared(), &cases);
}

#[test]
fn http_r04_methods() {
    let known: Want = Answered(&[405, 501]);
    run(
        &shared(),
        &[
            case("lower case", line("get /v2/images HTTP/1.1"), known),
            case("mixed case", line("Get /v2/images HTTP/1.1"), known),
            case("unknown", line("BREW /v2/images HTTP/1.1"), known),
            case(
                "unknown, of image data",
                line(&format!("BREW /v2/images/{}/file HTTP/1.1", super::cases::IMAGE)),
                known,
            ),
            case("odd but a token", line("M-SEARCH! /v2/images HTTP/1.1"), known),
            case("5000 bytes", line(&format!("{} /v2/images HTTP/1.1", "A".repeat(5000))), Answered(&[400, 405, 501])),
            case("100 KB", format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(100_000)), Refused(&[400, 414, 431, 501])),
            case("bracket", line("GE(T /v2/images HTTP/1.1"), Refused(BAD)),
            case("colon", line("GET: /v2/images HTTP/1.1"), Refused(BAD)),
            case("NUL", line("GE\0T /v2/images HTTP/1.1"), Refused(BAD)),
            case("not ASCII", line("G\u{c9}T /v2/images HTTP/1.1"), Refused(BAD)),
        ],
    );
}

#[test]
fn http_r05_trace_and_connect() {
    let refused: Want = Refused(&[400, 405, 501]);
    let secret = ["X-Auth-Token: do-not-echo"];
    let mut cases: Vec<Case> = ["/", "/v2/images", "/versions", "*", "/v2/images/x/file"]
        .iter()
        .map(|target| {
            case(format!("TRACE {target}"), request(&format!("TRACE {target} HTTP/1.1"), &secret, b""), refused)
        })
        .collect();
    cases.push(case("CONNECT", line("CONNECT localhost:80 HTTP/1.1"), refused));
    cases.push(case("CONNECT to a path", line("CONNECT / HTTP/1.1"), refused));
    let server = shared();
    run(&server, &cases);
    let reply = server.request("TRACE", "/", &[("X-Auth-Token", "do-not-echo")], None);
    assert!(!reply.text().contains("do-not-echo"), "{}", reply.text());
}

#[test]
fn http_r06_long_targets() {
    let long: Want = Refused(&[400, 414, 431]);
    run(
        &shared(),
        &[
            case("8000 bytes", target(&format!("/v2/images/{}", "a".repeat(8000 - 11))), Answered(&[404])),
            case("8192 bytes", target(&format!("/v2/images/{}", "a".repeat(8192 - 11))), Answered(&[404])),
            case("8193 bytes", target(&format!("/v2/images/{}", "a".repeat(8193 - 11))), Refused(&[414])),
            case("100 KB", target(&format!("/v2/images/{}", "a".repeat(100_000))), long),
            case("100 KB and no end", format!("GET /{}", "a".repeat(100_000)), long),
        ],
    );
}

#[test]
fn http_r07_forms_of_a_target() {
    let follow = |host: &str| format!("GET http://{host}/v2/images?name=none HTTP/1.1");
    run(
        &shared(),
        &[
            case("absolute", line(&follow("localhost")), Answered(&[200])),
            case("absolute, upper case host", line(&follow("LOCALHOST")), Answered(&[200])),
            case("absolute, https", line("GET https://localhost/v2/images?name=none HTTP/1.1"), Answered(&[200])),
            case("absolute without a path", line("GET http://localhost HTTP/1.1"), Answered(&[300])),
            case("absolute, query at once", line("GET http://localhost?a=b HTTP/1.1"), Answered(&[300])),
            case("absolute, other host", line(&follow("elsewhere")), Refused(BAD)),
            case("absolute, other port", line(&follow("localhost:1")), Refused(BAD)),
            case("absolute, user", line(&follow("user@localhost")), Refused(BAD)),
            case("absolute, no host", line(&follow("")), Refused(BAD)),
            case("absolute, other scheme", line("GET ftp://localhost/ HTTP/1.1"), Refused(BAD)),
            case("absolute, file", line("GET file:///etc/passwd HTTP/1.1"), Refused(BAD)),
            case("authority", line("GET localhost:80 HTTP/1.1"), Refused(BAD)),
            case("relative", line("GET v2/images HTTP/1.1"), Refused(BAD)),
            case("GET *", line("GET * HTTP/1.1"), Refused(BAD)),
            case("OPTIONS *", line("OPTIONS * HTTP/1.1"), Answered(&[200])),
            case("fragment", line("GET /v2/images#top HTTP/1.1"), Refused(BAD)),
            case("fragment of a query", line("GET /v2/images?limit=1#top HTTP/1.1"), Refused(BAD)),
            case("network path", line("GET //elsewhere/v2/images HTTP/1.1"), Answered(&[300, 400, 404])),
        ],
    );
    // The host of the target is the host.
    let server = shared();
    let mut connection = server.connect();
    connection.send(b"GET http://from-the-target/versions HTTP/1.0\r\n\r\n").expect("sending");
    assert!(connection.response("GET").expect("an answer").text().contains("//from-the-target"));
}

#[test]
fn http_r08_escapes_in_paths() {
    let server = shared();
    let id = server.queued();
    let absent: Want = Answered(&[300, 400, 404]);
    let mut cases: Vec<Case> = [
        "/v2/images/a%00b".to_owned(),
        "/v2/images/a%0d%0aX-Evil:%201".to_owned(),
        "/v2/images/a%0d%0a%0d%0aGET%20/".to_owned(),
        "/v2/images/%2e%2e/images".to_owned(),
        "/v2/images/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd".to_owned(),
        "/v2/images/../../../etc/passwd".to_owned(),
        "/v2/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd/file".to_owned(),
        format!("/v2/schemas/../images/{id}"),
        format!("/v2/./images/{id}"),
        format!("/v2/images/x%2f..%2f{id}"),
        format!("/v2/images/{id}%2ffile"),
        format!("/v2/images/{id}%00"),
        format!("/v2/images/{id}%20"),
        format!("/v2/images/%20{id}"),
        format!("/v2/images/{id}/"),
        format!("/v2/images//{id}"),
        format!("/v2//images//{id}/file"),
        format!("/v2/images/{id};a=b"),
        format!("/v2/images;a=b/{id}"),
        "/v2/images/%c0%af".to_owned(),
        "/v2/images/%c0%ae%c0%ae".to_owned(),
        "/v2/images/%e0%80%af".to_owned(),
        "/v2/images/%ed%a0%80".to_owned(),
        "/v2/images/%ff%fe".to_owned(),
        "/v2/images/%zz".to_owned(),
        "/v2/images/%4".to_owned(),
        "/v2/images/%".to_owned(),
        "/v2/images/<b>".to_owned(),
        "/v2/images/{\"a\"}|^`".to_owned(),
    ]
    .iter()
    .map(|path| case(path.as_str(), target(path), absent))
    .collect();
    cases.extend([
        case("backslash", target("/v2\\images"), Refused(BAD)),
        case("not ASCII", target("/v2/images/\u{e9}"), Refused(BAD)),
        case("not UTF-8", b"GET /v2/images/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(BAD)),
        case("control character", target("/v2/images/\x01"), Refused(BAD)),
        case("DEL", target("/v2/images/\x7f"), Refused(BAD)),
        // Around the version two slashes are one, on both planes: clients join an endpoint and a path so.
        case("an endpoint that ends in a slash", target(&format!("//v2/images/{id}")), Answered(&[200])),
        case("an endpoint with a version", target(&format!("/v2//images/{id}")), Answered(&[200])),
        case("the same for data", target(&format!("/v2//images/{id}/file")), Answered(&[204])),
        // Escapes of plain characters mean those.
        case("an escaped letter", target("/v2/%69mages?limit=1"), Answered(&[200])),
    ]);
    run(&server, &cases);
    let reply = server.get("/v2/images/a%0d%0aX-Evil:%201");
    assert!(reply.header("x-evil").is_none(), "{reply:?}");
}

#[test]
fn http_r09_queries() {
    let server = shared();
    let many = "a=b&".repeat(1500);
    let fine: Want = Answered(&[200, 400]);
    let queries = [
        ("a key twice", "name=a&name=b"),
        ("a limit twice", "limit=1&limit=2"),
        ("limits that conflict", "limit=1&limit=x"),
        ("empty keys", "=&=a&&&="),
        ("bad escapes", "name=%zz&%=%"),
        ("bytes of no text", "name=%ff%fe"),
        ("NUL", "name=%00"),
        ("line ends", "name=%0d%0aX-Evil:%201"),
        ("huge number", "limit=99999999999999999999999999"),
        ("negative", "limit=-1"),
        ("characters that URIs do not have", "name=<\"{}|^`>"),
        ("a foreign marker", "marker=00000000-0000-4000-8000-000000000000"),
        ("as many keys as fit", many.as_str()),
    ];
    let mut cases: Vec<Case> = queries
        .iter()
        .map(|(name, query)| case(*name, target(&format!("/v2/images?tag=none&{query}")), fine))
        .collect();
    let over: Want = Refused(&[400, 414, 431]);
    cases.push(case("10,000 keys", target(&format!("/v2/images?{}", "a=b&".repeat(10_000))), over));
    cases.push(case("1 MB", target(&format!("/v2/images?name={}", "a".repeat(1_000_000))), over));
    run(&server, &cases);
    // What other servers take is taken: such characters stand for themselves.
    assert_eq!(server.get("/v2/images?name=<x>").expect(200).json()["images"], serde_json::json!([]));
}
