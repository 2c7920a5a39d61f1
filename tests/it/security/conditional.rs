//! HTTP-G06 to G09: conditions on image data.

use super::cases::{Answered, Case, case, request, run};
use super::shared;
use crate::harness::Server;
use crate::harness::data::{bytes, md5, sha512};

fn file(id: &str) -> String {
    format!("/v2/images/{id}/file")
}

fn tag(server: &Server, id: &str) -> String {
    server.get(&file(id)).expect(200).header("etag").expect("a tag").to_owned()
}

#[test]
fn http_g06_if_range() {
    let server = shared();
    let data = bytes(21, 1000);
    let id = server.active(&data);
    let tag = tag(&server, &id);
    assert_eq!(tag, format!("\"{}\"", sha512(&data)));
    let part = server.request("GET", &file(&id), &[("Range", "bytes=5-9"), ("If-Range", &tag)], None).expect(206);
    assert!(part.body == data[5..10]);
    // What old clients look at is as it was, on parts too.
    assert_eq!(part.header("content-md5"), Some(md5(&data).as_str()));
    assert_eq!((part.header("etag"), part.header("accept-ranges")), (Some(tag.as_str()), Some("bytes")));
    let weak = format!("W/{tag}");
    let unquoted = tag.trim_matches('"');
    let mut cases: Vec<Case> = Vec::new();
    for other in ["\"x\"", &weak, unquoted, "*", "Wed, 21 Oct 2015 07:28:00 GMT", ""] {
        let headers = [("Range", "bytes=5-9"), ("If-Range", other)];
        assert!(server.request("GET", &file(&id), &headers, None).expect(200).body == data, "{other}");
        // A range that cannot be met is not looked at either.
        let headers = [("Range", "bytes=5000-"), ("If-Range", other)];
        server.request("GET", &file(&id), &headers, None).expect(200);
        let lines = ["Range: bytes=5-9", &format!("If-Range: {other}")];
        cases.push(case(other, request(&format!("GET {} HTTP/1.1", file(&id)), &lines, b""), Answered(&[200])));
    }
    assert!(server.request("GET", &file(&id), &[("If-Range", &tag)], None).expect(200).body == data, "without a range");
    run(&server, &cases[..2]);
}

#[test]
fn http_g07_if_none_match() {
    let server = shared();
    let data = bytes(22, 1000);
    let id = server.active(&data);
    let tag = tag(&server, &id);
    let mut cases: Vec<Case> = Vec::new();
    for have in
        [tag.clone(), "*".to_owned(), format!("\"x\", {tag}"), format!("W/{tag}"), format!("\"x\" ,W/{tag},\"y\"")]
    {
        let reply =
            server.request("GET", &file(&id), &[("If-None-Match", &have), ("Range", "bytes=5-9")], None).expect(304);
        assert!(reply.body.is_empty() && reply.header("etag") == Some(tag.as_str()), "{reply:?}");
        let lines = [format!("If-None-Match: {have}")];
        cases.push(case(have, request(&format!("GET {} HTTP/1.1", file(&id)), &[&lines[0]], b""), Answered(&[304])));
    }
    for other in ["\"x\"", tag.trim_matches('"'), ""] {
        assert!(
            server.request("GET", &file(&id), &[("If-None-Match", other)], None).expect(200).body == data,
            "{other}"
        );
    }
    run(&server, &cases[..2]);
    // Nothing there to have.
    let queued = server.queued();
    server.request("GET", &file(&queued), &[("If-None-Match", "*")], None).expect(204);
    server.request("GET", "/v2/images/nothing/file", &[("If-None-Match", "*")], None).expect(404);
}

#[test]
fn http_g08_if_match() {
    let server = shared();
    let data = bytes(23, 1000);
    let id = server.active(&data);
    let tag = tag(&server, &id);
    for other in ["\"x\"".to_owned(), format!("W/{tag}"), tag.trim_matches('"').to_owned()] {
        for range in ["bytes=5-9", "bytes=5000-"] {
            let reply = server.request("GET", &file(&id), &[("If-Match", &other), ("Range", range)], None);
            assert_eq!(reply.status, 412, "{other}: {}", reply.text());
        }
    }
    for ours in [tag.clone(), "*".to_owned(), format!("\"x\", {tag}")] {
        let headers = [("If-Match", ours.as_str()), ("Range", "bytes=5-9")];
        assert!(server.request("GET", &file(&id), &headers, None).expect(206).body == data[5..10], "{ours}");
    }
    let line = ["Range: bytes=5-9", "If-Match: \"x\""];
    run(&server, &[case("412", request(&format!("GET {} HTTP/1.1", file(&id)), &line, b""), Answered(&[412]))]);
}

#[test]
fn http_g09_head_is_not_offered() {
    let server = shared();
    let id = server.active(b"data");
    let head = request(&format!("HEAD {} HTTP/1.1", file(&id)), &[], b"");
    run(&server, &[case("HEAD", head, Answered(&[405]))]);
    let reply = server.request("HEAD", &file(&id), &[], None).expect(405);
    assert_eq!(reply.header("allow"), Some("PUT, GET"));
}
