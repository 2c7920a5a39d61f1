//! HTTP-F10 to F15: what one request leaves on the connection for the next.

use std::time::Duration;

use super::cases::{Answered, Case, Continued, GET, IMAGE, Refused, Want, case, patch, request, run};
use super::transcript::{End, Transcript};
use super::{resident_bytes, shared, sockets};
use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::keystone::Keystone;
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Connection, Server};

/// What must never be taken for a request when it is a body: its answer would be a 300.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n";

/// Any answer, as long as the connection stays in step.
const ANY: Want = Answered(&[200, 204, 300, 400, 401, 403, 404, 405, 409, 413, 415]);

#[test]
fn http_f10_bodies_that_nobody_asked_for() {
    let server = shared();
    let id = server.active(b"data");
    let length = format!("Content-Length: {}", SMUGGLED.len());
    let chunked = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    // A list that stays as it is while others use the server: of one image by its id.
    let list = format!("/v2/images?limit=1&id={id}");
    let paths = [list, format!("/v2/images/{id}/file"), format!("/v2/images/{id}"), "/".to_owned()];
    let mut cases = Vec::new();
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        for path in &paths {
            let path = if method == "DELETE" { "/v2/images/nothing" } else { path };
            let first = format!("{method} {path} HTTP/1.1");
            cases.push(case(format!("{first}, length"), request(&first, &[&length], SMUGGLED.as_bytes()), ANY));
            let coded = request(&first, &["Transfer-Encoding: chunked"], chunked.as_bytes());
            cases.push(case(format!("{first}, chunked"), coded, ANY));
        }
    }
    run(&server, &cases);
    assert_eq!(server.download(&id), b"data");
}

#[test]
fn http_f11_answers_before_the_body_was_read() {
    let server = shared();
    let id = server.active(b"data");
    let length = format!("Content-Length: {}", SMUGGLED.len());
    let put = |path: &str, kind: &str| {
        request(&format!("PUT {path} HTTP/1.1"), &[&format!("Content-Type: {kind}"), &length], SMUGGLED.as_bytes())
    };
    run(
        &server,
        &[
            case("404", put("/v2/images/nothing/file", OCTETS), ANY),
            case("409", put(&format!("/v2/images/{id}/file"), OCTETS), ANY),
            case("415", put(&format!("/v2/images/{IMAGE}/file"), "text/plain"), ANY),
            case(
                "413 of a document",
                request("POST /v2/images HTTP/1.1", &["Content-Length: 99999999"], b"{"),
                Refused(&[413]),
            ),
            case(
                "413 of an image",
                request(
                    &format!("PUT /v2/images/{IMAGE}/file HTTP/1.1"),
                    &[&format!("Content-Type: {OCTETS}"), "Content-Length: 1000000000000000"],
                    b"x",
                ),
                Refused(&[400, 413]),
            ),
        ],
    );
    // The answer can be read, whatever is still on its way.
    let data = bytes(1, 8_000_000);
    for _ in 0..10 {
        let mut connection = server.connect();
        let reply =
            connection.request("PUT", &format!("/v2/images/{id}/file"), &[("Content-Type", OCTETS)], Some(&data));
        assert_eq!(reply.expect("an answer, not a reset").status, 409);
        assert!(connection.is_closed_within(Duration::from_secs(10)));
    }
}

#[test]
fn http_f12_expectations() {
    let put = |line: &str| {
        request(
            &format!("PUT /v2/images/{IMAGE}/file HTTP/1.1"),
            &[&format!("Content-Type: {OCTETS}"), line, "Content-Length: 4"],
            b"data",
        )
    };
    let old = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace("HTTP/1.1", "HTTP/1.0");
    let patch = patch(&["Expect: 100-continue", "Content-Length: 2"], b"[]");
    run(
        &shared(),
        &[
            case("an upload", put("Expect: 100-continue"), Continued(&[204])),
            case("a document", patch, Continued(&[404])),
            case("other case", put("Expect: 100-CONTINUE"), Continued(&[204])),
            case("no body", request(GET, &["Expect: 100-continue"], b""), Answered(&[200])),
            case("empty body", request(GET, &["Expect: 100-continue", "Content-Length: 0"], b""), Answered(&[200])),
            case("unknown", put("Expect: magic"), Refused(&[417])),
            case("a list", put("Expect: 100-continue, magic"), Refused(&[417])),
            case("empty", put("Expect:"), Refused(&[417])),
            case("HTTP/1.0", old(put("Expect: 100-continue")), Refused(&[204])),
        ],
    );
}

#[test]
fn http_f12_who_is_not_known_is_not_told_to_continue() {
    let keystone = Keystone::start();
    let server = Server::with_config(&keystone.config());
    let put = format!("PUT /v2/images/{IMAGE}/file");
    for (name, token, status) in [("unknown", "wrong", 401), ("known", "right", 404)] {
        let mut connection = server.connect();
        connection.send(as_sent(token, &put, 4).as_bytes()).expect("sending");
        let reply = connection.response("PUT").expect("an answer");
        assert!(reply.status == status && !reply.continued, "{name}: {reply:?}");
    }
    // The same for documents.
    for (name, holder, status, continued) in [("unknown", "wrong", 401, false), ("known", "right", 201, true)] {
        let mut connection = server.connect();
        connection.send(as_sent(holder, "POST /v2/images", 2).as_bytes()).expect("sending");
        let first = connection.read_head().expect("an answer");
        assert_eq!(first.status == 100, continued, "{name}: {first:?}");
        if continued {
            connection.send(b"{}").expect("sending");
            assert_eq!(connection.response("POST").expect("an answer").status, status, "{name}");
        } else {
            assert_eq!(first.status, status, "{name}");
        }
    }
}

/// An upload that waits to be told to continue.
fn as_sent(token: &str, first: &str, length: usize) -> String {
    format!(
        "{first} HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {token}\r\nContent-Type: {OCTETS}\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

#[test]
fn http_f13_an_expectation_and_a_body_at_once() {
    let server = shared();
    for _ in 0..20 {
        let id = server.queued();
        let mut connection = server.connect();
        let headers = [("Content-Type", OCTETS), ("Expect", "100-continue")];
        let mut input = head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(4));
        input.extend_from_slice(b"data");
        input.extend(head("GET", &format!("/v2/images/{id}/file"), &[], None));
        input.extend(head("GET", "/versions", &[], None));
        connection.send(&input).expect("sending");
        let stored = connection.response("PUT").expect("an answer");
        assert!(stored.status == 204 && stored.continued, "{stored:?}");
        assert_eq!(connection.response("GET").expect("an answer").expect(200).body, b"data");
        assert!(connection.response("GET").expect("an answer").expect(200).text().contains("versions"));
    }
}

#[test]
fn http_f14_a_hundred_requests_in_one_segment() {
    let server = shared();
    let ids: Vec<String> = (0..10).map(|index| server.active(format!("image {index}").as_bytes())).collect();
    let mut input = Vec::new();
    for index in 0..100 {
        let id = &ids[index % ids.len()];
        // Image data, documents and errors in turn.
        let path = match index % 3 {
            0 => format!("/v2/images/{id}/file"),
            1 => format!("/v2/images/{id}"),
            _ => format!("/v2/images/absent-{index}/file"),
        };
        input.extend(head("GET", &path, &[], None));
    }
    for cut in [input.len(), 1, 100, 4000, input.len() / 2, input.len() - 1] {
        let (first, second) = input.split_at(cut);
        let (received, end) = sockets::play(server.address, &[vec![first, second]]).remove(0);
        let transcript = Transcript::read(&received, end, &[]).expect("clean answers");
        assert_eq!((transcript.answers.len(), transcript.end), (100, End::Closed));
        for (index, answer) in transcript.answers.iter().enumerate() {
            let id = &ids[index % ids.len()];
            let is_own = match index % 3 {
                0 => answer.status == 200 && answer.text() == format!("image {}", index % ids.len()),
                1 => answer.status == 200 && answer.text().contains(id.as_str()),
                _ => answer.status == 404 && answer.text().contains(&format!("absent-{index}")),
            };
            assert!(is_own, "answer {index} is not its own: {answer:?}");
        }
    }
}

#[test]
fn http_f14_a_download_and_the_deletion_behind_it() {
    let server = Server::ours(Options::default());
    let data = bytes(7, 128 << 20);
    let id = server.active(&data);
    let before = resident_bytes(&server);
    let mut connection = server.connect();
    let mut input = head("GET", &format!("/v2/images/{id}/file"), &[], None);
    input.extend(head("DELETE", &format!("/v2/images/{id}"), &[], None));
    input.extend(head("GET", &format!("/v2/images/{id}"), &[], None));
    connection.send(&input).expect("sending");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.show(&id)["status"], "active", "what was asked for last is not done first");
    let reply = connection.response("GET").expect("the image").expect(200);
    assert!(reply.body == data, "wrong bytes");
    connection.response("DELETE").expect("an answer").expect(204);
    connection.response("GET").expect("an answer").expect(404);
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more in memory");
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn http_f15_hop_by_hop() {
    let mut cases: Vec<Case> = ["h2c", "websocket", "TLS/1.0", "HTTP/2.0"]
        .iter()
        .map(|protocol| {
            let lines =
                ["Connection: upgrade, HTTP2-Settings", &format!("Upgrade: {protocol}"), "HTTP2-Settings: AAMAAABk"];
            case(*protocol, request(GET, &lines, b""), Answered(&[200]))
        })
        .collect();
    cases.extend([
        case("length", patch(&["Connection: content-length", "Content-Length: 2"], b"[]"), Answered(&[404])),
        case("host", request(GET, &["Connection: host"], b""), Answered(&[200])),
        case("keep-alive and close", request(GET, &["Connection: keep-alive, close"], b""), Refused(&[200])),
        case("close in other case", request(GET, &["Connection: CLOSE"], b""), Refused(&[200])),
        case("close in a second line", request(GET, &["Connection: x", "Connection: close"], b""), Refused(&[200])),
        case("closer", request(GET, &["Connection: closer"], b""), Answered(&[200])),
        case("TE", request(GET, &["TE: trailers, chunked", "Connection: TE"], b""), Answered(&[200])),
        case("Proxy-Connection", request(GET, &["Proxy-Connection: close"], b""), Answered(&[200])),
        case("Keep-Alive", request(GET, &["Keep-Alive: timeout=-1, max=0"], b""), Answered(&[200])),
    ]);
    let chunked = patch(&["Connection: transfer-encoding", "Transfer-Encoding: chunked"], b"2\r\n[]\r\n0\r\n\r\n");
    cases.push(case("coding", chunked, Answered(&[404])));
    let server = shared();
    run(&server, &cases);
    // The messages of the planes are not for clients, whatever they send along.
    for lines in [&[][..], &["Connection: x-vitrine-client"], &["X-Vitrine-Client: "], &["X_Vitrine_Client: 127.0.0.1"]]
    {
        let body = br#"{"version":1,"message":{"type":"metrics"}}"#;
        let mut all = lines.to_vec();
        let length = format!("Content-Length: {}", body.len());
        all.push(&length);
        let mut connection = Connection::open(server.address);
        connection.send(&request("POST /rpc HTTP/1.1", &all, body)).expect("sending");
        let reply = connection.response("POST").expect("an answer");
        assert!(reply.status == 300 && !reply.text().contains("vitrine_"), "{reply:?}");
    }
}
