//! HTTP-D07 and D08: documents that are none, or far too much of one, and packed bodies.

use std::time::{Duration, Instant};

use super::cases::{Answered, Refused, case, request, run};
use super::{resident_bytes, shared};
use crate::harness::Server;
use crate::harness::data::bytes;
use crate::harness::server::{OCTETS, Options};

#[test]
fn http_d07_json() {
    let server = Server::ours(Options::default());
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    let keys: String = (0..200_000).map(|i| format!("\"k{i}\":\"v\",")).collect();
    let documents = [
        ("1 MB of brackets", deep("[", "]", 500_000)),
        ("1 MB of braces", "{\"a\":".repeat(200_000)),
        ("200,000 keys", format!("{{{}\"end\":\"v\"}}", keys)),
        ("NaN", "{\"min_disk\": NaN}".to_owned()),
        ("Infinity", "{\"min_disk\": -Infinity}".to_owned()),
        ("a huge number", format!("{{\"min_disk\": {}}}", "9".repeat(10_000))),
        ("a huge exponent", "{\"min_disk\": 1e999999999}".to_owned()),
        ("a number beyond the column", "{\"min_disk\": 99999999999999999999}".to_owned()),
        ("a lone surrogate", "{\"name\": \"\\ud800\"}".to_owned()),
        ("a byte order mark", "\u{feff}{}".to_owned()),
        ("trailing bytes", "{} {}".to_owned()),
        ("a trailing comma", "{\"name\": \"a\",}".to_owned()),
        ("a comment", "{} // x".to_owned()),
        ("single quotes", "{'name': 'a'}".to_owned()),
        ("NUL in a string", "{\"name\": \"a\0b\"}".to_owned()),
        ("nothing", String::new()),
        ("not an object", "\"name\"".to_owned()),
        ("null", "null".to_owned()),
    ];
    let before = resident_bytes(&server);
    for (name, document) in &documents {
        let begun = Instant::now();
        let reply =
            server.request("POST", "/v2/images", &[("Content-Type", "application/json")], Some(document.as_bytes()));
        assert!([400, 413].contains(&reply.status), "{name}: {} {}", reply.status, reply.text());
        assert!(begun.elapsed() < Duration::from_secs(10), "{name} took {:?}", begun.elapsed());
        assert!(reply.body.len() < 20_000, "{name}: an answer of {} bytes", reply.body.len());
    }
    for bytes in [&b"{\"name\": \"\xff\xfe\"}"[..], b"\xfe\xff\0{\0}"] {
        let reply = server.request("POST", "/v2/images", &[("Content-Type", "application/json")], Some(bytes));
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    // 100 MB: refused by what it announces, and by what comes.
    let length = ["Content-Length: 100000000"];
    let first = "POST /v2/images HTTP/1.1";
    run(&server, &[case("100 MB announced", request(first, &length, b"{\"name\": \""), Refused(&[413]))]);
    let mut chunked = request(first, &["Transfer-Encoding: chunked"], b"");
    for _ in 0..100 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.resize(chunked.len() + (1 << 20), b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    let mut connection = server.connect();
    let _ = connection.send(&chunked);
    assert_eq!(connection.response("POST").expect("an answer").status, 413);
    // A key that is given twice: the last one counts, as for Glance's own parser.
    let twice = br#"{"name": "first", "name": "last"}"#;
    let created =
        server.request("POST", "/v2/images", &[("Content-Type", "application/json")], Some(twice)).expect(201);
    assert_eq!(created.json()["name"], "last");
    assert!(resident_bytes(&server).saturating_sub(before) < 64 << 20);
    assert_eq!(server.get("/v2/images").expect(200).json()["images"].as_array().expect("a list").len(), 1);
}

#[test]
fn http_d08_packed_bodies() {
    let server = shared();
    let data = bytes(31, 5000);
    let id = server.queued();
    let headers = [("Content-Type", OCTETS), ("Content-Encoding", "gzip")];
    server.request("PUT", &format!("/v2/images/{id}/file"), &headers, Some(&data)).expect(204);
    for accept in ["gzip", "identity;q=0", "*;q=0", "gzip;q=1, identity; q=0.5, *;q=0", "", "\u{1f4a9}"] {
        let reply =
            server.request("GET", &format!("/v2/images/{id}/file"), &[("Accept-Encoding", accept)], None).expect(200);
        assert!(reply.body == data && reply.header("content-encoding").is_none(), "{accept}");
        let reply = server.request("GET", "/v2/images?limit=1", &[("Accept-Encoding", accept)], None).expect(200);
        assert!(reply.header("content-encoding").is_none() && reply.json()["images"].is_array(), "{accept}");
    }
    let post = |coding: &str| {
        let lines = [format!("Content-Encoding: {coding}"), "Content-Length: 2".to_owned()];
        request("POST /v2/images HTTP/1.1", &[&lines[0], &lines[1]], b"\x1f\x8b")
    };
    let unknown = ["gzip", "deflate", "br", "x-gzip", "gzip, identity", "nonsense"];
    run(&server, &unknown.map(|coding| case(coding, post(coding), Refused(&[415]))));
    let plain = request("PATCH /v2/images/none HTTP/1.1", &["Content-Encoding: identity", "Content-Length: 2"], b"[]");
    run(&server, &[case("identity", plain, Answered(&[404, 415]))]);
}
