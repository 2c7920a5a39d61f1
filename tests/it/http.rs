//! What the front door does with bytes that are not clean HTTP/1.1: it refuses them within bounds, whatever the way
//! they are cut into segments, and no other connection notices.

use std::io;
use std::time::Duration;

use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Connection, Response, Server, number_from_env};

/// Within this time the server must have closed a connection that it refuses.
const CLOSE: Duration = Duration::from_secs(10);

/// What is expected of a case.
#[derive(Clone, Copy)]
enum Want {
    /// One of these statuses, and then the connection closed.
    Refused(&'static [u16]),
    /// One of these statuses; what follows on the connection is answered as itself, or the connection is closed.
    Answered(&'static [u16]),
}
use Want::{Answered, Refused};

/// The statuses that say: this is not HTTP as we speak it.
const BAD: &[u16] = &[400];

/// The outcome of sending `parts`, one segment each.
fn exchange(server: &Server, parts: &[&[u8]]) -> (io::Result<Response>, Connection) {
    let mut connection = server.connect();
    for part in parts {
        // The server may have closed already, which is for the answer to show.
        let _ = connection.send(part);
        if parts.len() > 1 {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    let method = if parts.concat().starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    (connection.response(method), connection)
}

/// Checks one outcome; what is wrong with it, if anything.
fn judge(want: Want, whole: bool, outcome: (io::Result<Response>, Connection)) -> Option<String> {
    let (reply, mut connection) = outcome;
    match (want, reply) {
        (Refused(statuses), Ok(reply)) => {
            if !statuses.contains(&reply.status) {
                return Some(format!("status {}, expected {statuses:?}: {}", reply.status, reply.text()));
            }
            (!connection.is_closed_within(CLOSE)).then(|| "the connection stays open".to_owned())
        }
        // Refused before everything was sent: the rest may reset the connection and take the answer with it.
        (Refused(_), Err(error)) if !whole && error.kind() == io::ErrorKind::ConnectionReset => None,
        (Answered(statuses), Ok(reply)) if statuses.contains(&reply.status) => None,
        (Answered(statuses), Ok(reply)) => {
            Some(format!("status {}, expected {statuses:?}: {}", reply.status, reply.text()))
        }
        (_, Err(error)) => Some(format!("no answer: {error}")),
    }
}

/// Sends every case whole, a byte at a time, and cut in two at several places; a clean request on a connection that
/// was open all the time must succeed after each.
fn run(server: &Server, cases: &[(&str, Vec<u8>, Want)]) {
    let step = usize::try_from(number_from_env("VITRINE_SPLIT_STEP", 5)).expect("small").max(1);
    let mut healthy = server.connect();
    let mut wrong = Vec::new();
    for (name, input, want) in cases {
        let mut fault = judge(*want, true, exchange(server, &[input])).map(|text| format!("whole: {text}"));
        if fault.is_none() && input.len() <= 2000 {
            let single: Vec<&[u8]> = input.chunks(1).collect();
            fault = judge(*want, false, exchange(server, &single)).map(|text| format!("by bytes: {text}"));
            for at in (1..input.len()).step_by(step) {
                if fault.is_some() {
                    break;
                }
                let (first, second) = input.split_at(at);
                let outcome = exchange(server, &[first, second]);
                fault = judge(*want, false, outcome).map(|text| format!("cut at {at}: {text}"));
            }
        }
        wrong.extend(fault.map(|text| format!("{name}: {text}")));
        let reply = healthy.request("GET", "/v2/images?limit=1", &[], None).expect("another connection is served");
        assert_eq!(reply.status, 200, "after {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request whose head is `lines`, with `Host` before all but the first.
fn request(first: &str, lines: &[&str]) -> Vec<u8> {
    let mut text = format!("{first}\r\nHost: localhost\r\n");
    for line in lines {
        text += line;
        text += "\r\n";
    }
    (text + "\r\n").into_bytes()
}

const GET: &str = "GET /v2/images?limit=1 HTTP/1.1";

fn server() -> Server {
    Server::ours(Options::default())
}

#[test]
fn request_lines() {
    let server = server();
    let host = "\r\nHost: localhost\r\n\r\n";
    let line = |first: &str| format!("{first}{host}").into_bytes();
    let cases = [
        ("clean", line(GET), Answered(&[200])),
        ("two empty lines before", format!("\r\n\r\n{GET}{host}").into_bytes(), Answered(&[200])),
        ("bare LF", b"GET /v2/images HTTP/1.1\nHost: localhost\n\n".to_vec(), Refused(BAD)),
        ("bare CR", b"GET /v2/images HTTP/1.1\rHost: localhost\r\r\n\r\n".to_vec(), Refused(BAD)),
        ("two spaces", line("GET  /v2/images HTTP/1.1"), Refused(BAD)),
        ("tab", line("GET\t/v2/images HTTP/1.1"), Refused(BAD)),
        ("no target", line("GET HTTP/1.1"), Refused(BAD)),
        ("space in target", line("GET /v2/ images HTTP/1.1"), Refused(BAD)),
        ("trailing space", line("GET /v2/images HTTP/1.1 "), Refused(BAD)),
        ("HTTP/0.9", b"GET /v2/images\r\n\r\n".to_vec(), Refused(BAD)),
        ("HTTP/2.0", line("GET /v2/images HTTP/2.0"), Refused(&[400, 505])),
        ("HTTP/1", line("GET /v2/images HTTP/1"), Refused(&[400, 505])),
        ("HTTP/01.1", line("GET /v2/images HTTP/01.1"), Refused(&[400, 505])),
        ("HTTP/1.10", line("GET /v2/images HTTP/1.10"), Refused(&[400, 505])),
        ("http/1.1", line("GET /v2/images http/1.1"), Refused(&[400, 505])),
        ("HTTP/ 1.1", line("GET /v2/images HTTP/ 1.1"), Refused(&[400, 505])),
        ("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Refused(&[400, 505])),
        ("lower case method", line("get /v2/images HTTP/1.1"), Answered(&[400, 405, 501])),
        ("unknown method", line("BREW /v2/images HTTP/1.1"), Answered(&[400, 405, 501])),
        ("method with separator", line("GE(T /v2/images HTTP/1.1"), Refused(BAD)),
        ("TRACE", line("TRACE /v2/images HTTP/1.1"), Answered(&[400, 405, 501])),
        ("CONNECT", line("CONNECT localhost:80 HTTP/1.1"), Answered(&[400, 405, 501])),
        ("GET *", line("GET * HTTP/1.1"), Answered(BAD)),
        ("OPTIONS *", line("OPTIONS * HTTP/1.1"), Answered(&[200])),
        ("fragment", line("GET /v2/images#top HTTP/1.1"), Answered(BAD)),
        ("absolute", line("GET http://localhost/v2/images?limit=1 HTTP/1.1"), Answered(&[200])),
        ("absolute, other host", line("GET http://elsewhere/v2/images?limit=1 HTTP/1.1"), Answered(&[200, 400])),
    ];
    run(&server, &cases);
}

#[test]
fn targets() {
    let server = server();
    let line = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let not_there: Want = Answered(&[300, 400, 404]);
    let id = server.queued();
    let cases = [
        ("NUL", line("/v2/images/a%00b"), not_there),
        ("CRLF", line("/v2/images/a%0d%0aX-Evil:%201"), not_there),
        ("dots", line("/v2/images/%2e%2e/images"), not_there),
        ("plain dots", line(&format!("/v2/schemas/../images/{id}")), not_there),
        ("slash in an id", line(&format!("/v2/images/x%2f..%2f{id}")), not_there),
        ("overlong UTF-8", line("/v2/images/%c0%af"), not_there),
        ("bad escape", line("/v2/images/%zz"), not_there),
        ("cut escape", line("/v2/images/%4"), not_there),
        ("backslash", line("/v2\\images"), not_there),
        ("two slashes", line(&format!("/v2/images//{id}")), not_there),
        ("parameter", line("/v2/images;a=b"), not_there),
        ("raw byte above ASCII", b"GET /v2/images/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), not_there),
        ("control character", b"GET /v2/images/\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), Refused(BAD)),
        ("8000 bytes", line(&format!("/v2/images/{}", "a".repeat(8000))), Answered(&[404])),
        ("100 KB", line(&format!("/v2/images/{}", "a".repeat(100_000))), Refused(&[400, 414, 431])),
        (
            "method of 100 KB",
            format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(100_000)).into_bytes(),
            Refused(&[400, 414, 431, 501]),
        ),
        ("many keys", line(&format!("/v2/images?{}", "a=b&".repeat(1500))), Answered(&[200, 400])),
        ("bad escapes in the query", line("/v2/images?name=%zz"), Answered(&[200, 400])),
        ("bytes of no text in the query", line("/v2/images?name=%ff%fe"), Answered(&[200, 400])),
    ];
    run(&server, &cases);
}

#[test]
fn header_lines() {
    let server = server();
    let raw = |lines: &[u8]| {
        let mut bytes = b"GET /v2/images?limit=1 HTTP/1.1\r\n".to_vec();
        bytes.extend_from_slice(lines);
        bytes.extend_from_slice(b"\r\n");
        bytes
    };
    let many: Vec<String> = (0..10_000).map(|i| format!("X-{i}: y")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let limit: Want = Refused(&[400, 431]);
    let cases = [
        ("no Host", raw(b""), Refused(BAD)),
        ("two Hosts", raw(b"Host: a\r\nHost: a\r\n"), Refused(BAD)),
        ("two other Hosts", raw(b"Host: a\r\nHost: b\r\n"), Refused(BAD)),
        ("Host with a path", raw(b"Host: a/b\r\n"), Refused(BAD)),
        ("Host with a user", raw(b"Host: a@b\r\n"), Refused(BAD)),
        ("Host with a list", raw(b"Host: a, b\r\n"), Refused(BAD)),
        ("space before the colon", request(GET, &["X-A : b"]), Refused(BAD)),
        ("empty name", request(GET, &[": b"]), Refused(BAD)),
        ("no colon", request(GET, &["nothing"]), Refused(BAD)),
        ("brackets in a name", request(GET, &["X[a]: b"]), Refused(BAD)),
        ("name above ASCII", raw(b"Host: a\r\nX-\xc3\xa9: b\r\n"), Refused(BAD)),
        ("tab in a name", request(GET, &["X\tA: b"]), Refused(BAD)),
        ("space before the first", raw(b" Host: a\r\n"), Refused(BAD)),
        ("folded", request(GET, &["X-A: b", " c"]), Refused(BAD)),
        ("NUL in a value", raw(b"Host: a\r\nX-A: b\0c\r\n"), Refused(BAD)),
        ("CR in a value", raw(b"Host: a\r\nX-A: b\rc\r\n"), Refused(BAD)),
        ("LF in a value", raw(b"Host: a\r\nX-A: b\nc\r\n"), Refused(BAD)),
        ("control character in a value", raw(b"Host: a\r\nX-A: b\x01c\r\n"), Refused(BAD)),
        ("DEL in a value", raw(b"Host: a\r\nX-A: b\x7fc\r\n"), Refused(BAD)),
        ("value of 100 KB", request(GET, &[&format!("X-A: {}", "b".repeat(100_000))]), limit),
        ("name of 100 KB", request(GET, &[&format!("X-{}: b", "a".repeat(100_000))]), limit),
        ("10000 headers", request(GET, &many), limit),
        ("Content_Length", request(GET, &["Content_Length: 5"]), Answered(&[200, 400])),
        ("two Ranges", request(GET, &["Range: bytes=0-0", "Range: bytes=1-1"]), Answered(&[200, 400])),
        (
            "a bad request id",
            request(GET, &[&format!("X-Openstack-Request-Id: {}", "x".repeat(500))]),
            Answered(&[200, 400, 431]),
        ),
        ("an Upgrade", request(GET, &["Connection: upgrade", "Upgrade: h2c"]), Answered(&[200])),
    ];
    run(&server, &cases);
}

#[test]
fn framing() {
    let server = server();
    let post = |lines: &[&str], body: &[u8]| {
        let mut bytes = request("POST /v2/images HTTP/1.1", lines);
        bytes.extend_from_slice(body);
        bytes
    };
    let coded = |value: &str| post(&[&format!("Transfer-Encoding: {value}")], b"2\r\n{}\r\n0\r\n\r\n");
    let chunk = |body: &[u8]| post(&["Transfer-Encoding: chunked"], body);
    let coding: Want = Refused(&[400, 501]);
    let mut cases = vec![
        ("length", post(&["Content-Length: 2"], b"{}"), Answered(&[201])),
        ("chunked", chunk(b"2\r\n{}\r\n0\r\n\r\n"), Answered(&[201])),
        ("both", post(&["Content-Length: 12", "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n"), Refused(BAD)),
        (
            "both, turned",
            post(&["Transfer-Encoding: chunked", "Content-Length: 12"], b"2\r\n{}\r\n0\r\n\r\n"),
            Refused(BAD),
        ),
        ("two lengths", post(&["Content-Length: 2", "Content-Length: 3"], b"{} "), Refused(BAD)),
        ("list of lengths", post(&["Content-Length: 2, 3"], b"{} "), Refused(BAD)),
        ("XCHUNKED", coded("xchunked"), coding),
        ("chunked, identity", coded("chunked, identity"), coding),
        ("gzip, chunked", coded("gzip, chunked"), coding),
        ("identity", coded("identity"), coding),
        ("empty coding", coded(""), coding),
        ("coding with a parameter", coded("chunked;q=1"), coding),
        ("VT in the coding", coded("\x0bchunked"), coding),
        ("two codings", post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n"), coding),
        (
            "chunked on HTTP/1.0",
            b"POST /v2/images HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_vec(),
            Refused(BAD),
        ),
        ("chunk extension", chunk(b"2;a=b\r\n{}\r\n0\r\n\r\n"), Answered(&[201])),
        (
            "chunk extension of 64 KB",
            chunk(format!("2;a={}\r\n{{}}\r\n0\r\n\r\n", "b".repeat(65_536)).as_bytes()),
            Refused(&[400, 413, 431]),
        ),
        ("NUL in an extension", chunk(b"2;a\0b\r\n{}\r\n0\r\n\r\n"), Refused(BAD)),
        ("LF in an extension", chunk(b"2;a\nb\r\n{}\r\n0\r\n\r\n"), Refused(BAD)),
        ("bare LF after a size", chunk(b"2\n{}\r\n0\r\n\r\n"), Refused(BAD)),
        ("chunk too long", chunk(b"2\r\n{}}\r\n0\r\n\r\n"), Refused(BAD)),
        ("no CRLF after data", chunk(b"2\r\n{}0\r\n\r\n"), Refused(BAD)),
        (
            "many trailers",
            chunk(format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X-A: b\r\n".repeat(10_000)).as_bytes()),
            Answered(&[201, 400, 431]),
        ),
        ("length as a trailer", chunk(b"2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n"), Answered(&[201, 400])),
        ("hop-by-hop length", post(&["Connection: content-length", "Content-Length: 2"], b"{}"), Answered(&[201, 400])),
    ];
    let lengths = ["+2", "-1", "-0", "2x", "0x2", "0o2", "1_0", "1 0", "", "99999999999999999999", "2\x0b"];
    let lengths: Vec<_> =
        lengths.iter().map(|value| (*value, post(&[&format!("Content-Length: {value}")], b"{}"))).collect();
    cases.extend(lengths.into_iter().map(|(value, bytes)| (value, bytes, Refused(BAD))));
    let sizes = ["0x2", "+2", "-2", "2_0", " 2", "2 ", "", "ffffffffffffffff", "10000000000000002", "g"];
    let sizes: Vec<_> =
        sizes.iter().map(|size| (*size, chunk(format!("{size}\r\n{{}}\r\n0\r\n\r\n").as_bytes()))).collect();
    let refused: Want = Refused(&[400, 413]);
    cases.extend(sizes.into_iter().map(|(size, bytes)| (size, bytes, refused)));
    run(&server, &cases);
}

#[test]
fn the_same_rules_hold_for_image_data() {
    let server = server();
    let id = server.queued();
    let put = |lines: &[&str], body: &[u8]| {
        let mut all = vec!["Content-Type: application/octet-stream"];
        all.extend_from_slice(lines);
        let mut bytes = request(&format!("PUT /v2/images/{id}/file HTTP/1.1"), &all);
        bytes.extend_from_slice(body);
        bytes
    };
    let chunk = |body: &[u8]| put(&["Transfer-Encoding: chunked"], body);
    let cases = [
        (
            "both framings",
            put(&["Content-Length: 3", "Transfer-Encoding: chunked"], b"3\r\nabc\r\n0\r\n\r\n"),
            Refused(BAD),
        ),
        ("bad length", put(&["Content-Length: +3"], b"abc"), Refused(BAD)),
        ("bad size", chunk(b"x\r\nabc\r\n0\r\n\r\n"), Refused(BAD)),
        ("size that overflows", chunk(b"ffffffffffffffff0\r\nabc\r\n0\r\n\r\n"), Refused(BAD)),
        ("chunk too long", chunk(b"2\r\nabc\r\n0\r\n\r\n"), Refused(BAD)),
        ("chunk with LF", chunk(b"3\nabc\n0\n\n"), Refused(BAD)),
        ("second size bad", chunk(b"3\r\nabc\r\nzz\r\n\r\n"), Refused(BAD)),
    ];
    run(&server, &cases);
    server.assert_queued_without_bytes(&id);
}

#[test]
fn bodies_that_nobody_asked_for_do_not_become_requests() {
    let server = server();
    let id = server.active(b"data");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = format!("Content-Length: {}", smuggled.len());
    let firsts = [
        format!("GET /v2/images?limit=1 HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"),
        format!("GET /v2/images/{id}/file HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"),
        format!("HEAD /v2/images HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"),
        format!("DELETE /v2/images/nothing HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"),
        format!("PUT /v2/images/nothing/file HTTP/1.1\r\nHost: a\r\nContent-Type: {OCTETS}\r\n{length}\r\n\r\n"),
        format!("PUT /v2/images/{id}/file HTTP/1.1\r\nHost: a\r\nContent-Type: {OCTETS}\r\n{length}\r\n\r\n"),
        format!("PUT /v2/images/{id}/file HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n{length}\r\n\r\n"),
        format!("POST /v2/images/{id}/actions/deactivate HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"),
    ];
    for first in firsts {
        let mut connection = server.connect();
        let clean = "GET /versions HTTP/1.1\r\nHost: a\r\n\r\n";
        let _ = connection.send(format!("{first}{smuggled}{clean}").as_bytes());
        let method = first.split(' ').next().unwrap_or_default().to_owned();
        connection.response(&method).unwrap_or_else(|error| panic!("{first}: {error}"));
        connection.patience(CLOSE);
        // The smuggled request would be a 300; what comes is the clean one's answer, or the end.
        if let Ok(reply) = connection.response("GET") {
            assert_eq!(reply.status, 200, "{first}");
            assert!(reply.text().contains("versions"), "{first}: {}", reply.text());
        }
    }
}

#[test]
fn an_early_answer_can_be_read() {
    let server = server();
    let id = server.active(b"data");
    let data = bytes(1, 8_000_000);
    for _ in 0..10 {
        let mut connection = server.connect();
        let path = format!("/v2/images/{id}/file");
        let reply = connection.request("PUT", &path, &[("Content-Type", OCTETS)], Some(&data));
        assert_eq!(reply.expect("an answer, not a reset").status, 409);
    }
}

#[test]
fn expectations_come_once_and_not_to_older_clients() {
    let server = server();
    let id = server.queued();
    let mut connection = server.connect();
    let headers = [("Content-Type", OCTETS), ("Expect", "100-continue")];
    let mut input = head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(4));
    input.extend_from_slice(b"data");
    input.extend(head("GET", "/versions", &[], None));
    connection.send(&input).expect("sending");
    assert_eq!(connection.response("PUT").expect("an answer").status, 204);
    assert_eq!(connection.response("GET").expect("an answer").status, 200);
    let id = server.queued();
    let head = head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(4));
    let head = String::from_utf8(head).expect("text").replace("HTTP/1.1", "HTTP/1.0");
    let mut connection = server.connect();
    connection.send(head.as_bytes()).expect("sending");
    connection.send(b"data").expect("sending");
    let reply = connection.response("PUT").expect("an answer");
    assert!(reply.status == 204 && !reply.continued, "{reply:?}");
}

#[test]
fn answers_are_well_formed() {
    let server = server();
    let id = server.active(b"data");
    let paths = [
        ("GET", "/".to_owned()),
        ("GET", "/healthcheck".to_owned()),
        ("GET", "/v2/images".to_owned()),
        ("GET", format!("/v2/images/{id}")),
        ("GET", format!("/v2/images/{id}/file")),
        ("GET", "/v2/images/nothing".to_owned()),
        ("HEAD", "/v2/images".to_owned()),
        ("DELETE", format!("/v2/images/{id}/tags/nothing")),
        ("BREW", "/v2/images".to_owned()),
    ];
    for (method, path) in paths {
        let reply = server.request(method, &path, &[], None);
        let date = reply.header("date").unwrap_or_else(|| panic!("{method} {path} has no Date"));
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        if reply.status == 204 {
            assert!(reply.header("transfer-encoding").is_none());
        }
    }
}

#[test]
fn a_connection_that_says_nothing_holds_nobody_up() {
    let server = server();
    let silent: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    let partial: Vec<Connection> = (0..200)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(b"GET /v2/images HTTP/1.1\r\nHost: lo").expect("sending");
            connection
        })
        .collect();
    for _ in 0..50 {
        server.get("/v2/images").expect(200);
    }
    drop((silent, partial));
    let plane = server.wait_plane("dataplane");
    let open = || {
        let directory = format!("/proc/{}/fd", plane.as_raw_nonzero());
        std::fs::read_dir(directory).expect("a running process").count()
    };
    let closed = crate::harness::eventually(CLOSE, || (open() < 150).then_some(()));
    assert!(closed.is_some(), "{} descriptors stay open", open());
}

#[test]
fn a_huge_claim_allocates_nothing() {
    let server = server();
    let id = server.queued();
    let mut connection = server.connect();
    let headers = [("Content-Type", OCTETS)];
    connection
        .send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(1_000_000_000_000_000)))
        .expect("sending");
    connection.patience(Duration::from_secs(1));
    match connection.response("PUT") {
        Ok(reply) => assert!([400, 413].contains(&reply.status), "{reply:?}"),
        Err(_) => drop(connection),
    }
    server.assert_queued_without_bytes(&id);
}
