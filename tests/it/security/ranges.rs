//! HTTP-G01 to G05 and G10 to G12: parts of image data.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use super::cases::{Answered, BAD, Case, Refused, case, request, run};
use super::{assert_no_panic, resident_bytes, shared};
use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Connection, Server, eventually};

fn file(id: &str) -> String {
    format!("/v2/images/{id}/file")
}

fn get(id: &str, range: &str) -> Vec<u8> {
    request(&format!("GET {} HTTP/1.1", file(id)), &[&format!("Range: {range}")], b"")
}

#[test]
fn http_g01_single_ranges() {
    let server = shared();
    let data = bytes(11, 1000);
    let id = server.active(&data);
    let cases = [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-1000", 0, 999),
        ("bytes=-1001", 0, 999),
        ("bytes=999-", 999, 999),
        ("bytes=0-999", 0, 999),
        ("bytes=0-1000", 0, 999),
        ("bytes=500-500", 500, 500),
    ];
    for (range, first, last) in cases {
        let reply = server.request("GET", &file(&id), &[("Range", range)], None).expect(206);
        assert_eq!(reply.header("content-range"), Some(format!("bytes {first}-{last}/1000").as_str()), "{range}");
        assert_eq!(reply.header("content-length"), Some((last - first + 1).to_string().as_str()), "{range}");
        assert!(reply.body == data[first..=last], "{range}");
    }
    let cases: Vec<Case> = cases.iter().map(|(range, ..)| case(*range, get(&id, range), Answered(&[206]))).collect();
    run(&server, &cases);
}

#[test]
fn http_g02_ranges_that_are_none() {
    let server = shared();
    let id = server.active(&bytes(12, 1000));
    let digits = "9".repeat(40);
    let refused = [
        "bytes=1000-",
        "bytes=5-4",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes 0-1",
        "0-1",
        "bytes=0",
        "bytes=+0-1",
        "bytes=0x0-1",
        "bytes=--1",
        "bytes=0-1-2",
        "bytes=1000-2000",
        "bytes=0--1",
        "bytes=1e1-",
        "bytes=\"0-1\"",
        "bytes=0.0-1",
        "bytes=18446744073709551616-",
        &format!("bytes={digits}-"),
        &format!("bytes={digits}-{digits}"),
    ];
    let mut cases = Vec::new();
    for range in refused {
        let reply = server.request("GET", &file(&id), &[("Range", range)], None).expect(416);
        assert_eq!(reply.header("content-range"), Some("bytes */1000"), "{range}");
        cases.push(case(range, get(&id, range), Answered(&[416])));
    }
    // As Glance reads them: an end or a suffix beyond all bounds is cut, a suffix of nothing is everything.
    let cut =
        [format!("bytes=0-{digits}"), format!("bytes=-{digits}"), "bytes=-0".to_owned(), "bytes= 0 - 5 ".to_owned()];
    cases.extend(cut.iter().map(|range| case(range.as_str(), get(&id, range), Answered(&[206]))));
    run(&server, &cases);
}

#[test]
fn http_g03_ranges_where_there_are_none() {
    let server = shared();
    let id = server.active(b"data");
    // Another unit is refused, as Glance refuses it.
    server.request("GET", &file(&id), &[("Range", "items=0-1")], None).expect(416);
    let other = server.queued();
    let ranged = [("Content-Type", OCTETS), ("Range", "bytes=0-1")];
    server.request("PUT", &file(&other), &ranged, Some(b"whole")).expect(204);
    assert_eq!(server.download(&other), b"whole");
    server.request("GET", "/v2/images?limit=1", &[("Range", "bytes=0-1")], None).expect(200);
    let document = br#"{"name": "whole"}"#;
    let created = server.request("POST", "/v2/images", &[("Range", "bytes=0-1")], Some(document)).expect(201);
    assert_eq!(created.json()["name"], "whole");
}

#[test]
fn http_g04_many_ranges() {
    let server = shared();
    let id = server.active(&bytes(13, 1000));
    let list = |count: usize| format!("bytes={}", vec!["0-999"; count].join(","));
    let before = resident_bytes(&server);
    run(
        &server,
        &[
            case("two", get(&id, "bytes=0-1,3-4"), Answered(BAD)),
            case("two, overlapping", get(&id, "bytes=0-9,0-9"), Answered(BAD)),
            case("one and nothing", get(&id, "bytes=0-1,"), Answered(BAD)),
            case("1,000 overlapping", get(&id, &list(1000)), Answered(BAD)),
            case("1 MB", get(&id, &list(170_000)), Refused(&[400, 431])),
        ],
    );
    assert!(resident_bytes(&server).saturating_sub(before) < 64 << 20);
}

#[test]
fn http_g05_ranges_of_nothing() {
    let server = shared();
    let id = server.active(b"");
    let ranges =
        ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-", "bytes=-5", "bytes=0-18446744073709551615"];
    run(&server, &ranges.map(|range| case(range, get(&id, range), Answered(&[416]))));
    assert!(server.download(&id).is_empty());
}

/// A download of `range` that has begun: its head is read, and the socket buffers are full.
fn begun(server: &Server, id: &str, range: Option<&str>) -> (Connection, usize) {
    let mut connection = server.connect();
    let headers: Vec<(&str, &str)> = range.iter().map(|range| ("Range", *range)).collect();
    connection.send(&head("GET", &file(id), &headers, None)).expect("sending");
    let reply = connection.read_head().expect("an answer");
    assert!([200, 206].contains(&reply.status), "{reply:?}");
    let length = reply.header("content-length").expect("a length").parse().expect("digits");
    (connection, length)
}

#[test]
fn http_g10_an_image_that_goes_while_it_is_read() {
    let server = Server::ours(Options::default());
    let data = bytes(14, 48 << 20);
    for action in ["delete", "deactivate", "replace"] {
        let id = server.active(&data);
        let ranges = [(None, 0), (Some("bytes=1000-"), 1000), (Some("bytes=-30000000"), data.len() - 30_000_000)];
        let readers: Vec<_> =
            ranges.iter().cycle().take(12).map(|(range, from)| (begun(&server, &id, *range), *from)).collect();
        match action {
            "deactivate" => drop(server.send_empty("POST", &format!("/v2/images/{id}/actions/deactivate")).expect(204)),
            _ => drop(server.delete(&format!("/v2/images/{id}")).expect(204)),
        }
        if action == "replace" {
            // Other bytes take the place on the disk.
            server.active(&bytes(15, 48 << 20));
        }
        for ((mut connection, length), from) in readers {
            // The whole of it, or an end that shows; never a wrong byte.
            match connection.take(length) {
                Ok(read) => assert!(read == data[from..], "wrong bytes after {action}"),
                Err(_) => assert!(data[from..].starts_with(connection.pending()), "wrong bytes after {action}"),
            }
        }
        if action == "delete" {
            server.request("GET", &file(&id), &[("Range", "bytes=0-1")], None).expect(404);
            server.assert_bytes_gone(Some(&id));
        }
    }
    assert_no_panic(&server);
}

#[test]
fn http_g11_holes() {
    let server = Server::ours(Options::default());
    let size = 8 << 20;
    let mut data = vec![0; size];
    data[..4096].copy_from_slice(&bytes(16, 4096));
    data[3 << 20..(3 << 20) + 10_000].copy_from_slice(&bytes(17, 10_000));
    data[size - 5..].copy_from_slice(b"ended");
    let id = server.active(&data);
    // The same bytes with holes between.
    let path = server.files_of(&id).remove(0);
    let mut sparse = fs::File::create(&path).expect("the store's file");
    for range in [0..4096, 3 << 20..(3 << 20) + 10_000, size - 5..size] {
        sparse.seek(SeekFrom::Start(range.start as u64)).expect("seeks");
        sparse.write_all(&data[range]).expect("writes");
    }
    drop(sparse);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).expect("there"));
    assert!(blocks * 512 < size as u64 / 4, "no holes on this file system");
    let edges = [
        0,
        1,
        4095,
        4096,
        4097,
        1 << 20,
        (3 << 20) - 1,
        3 << 20,
        (3 << 20) + 9_999,
        (3 << 20) + 10_000,
        size - 6,
        size - 5,
        size - 1,
    ];
    for first in edges {
        for last in edges.into_iter().filter(|last| *last >= first) {
            let range = format!("bytes={first}-{last}");
            let reply = server.request("GET", &file(&id), &[("Range", &range)], None).expect(206);
            assert!(reply.body == data[first..=last], "{range}");
        }
    }
}

#[test]
fn http_g12_a_file_that_shrinks() {
    let server = Server::ours(Options::default());
    let data = bytes(18, 48 << 20);
    let id = server.active(&data);
    let path = server.files_of(&id).remove(0);
    // In the middle of a transfer: the client sees that it is not whole.
    let (mut whole, length) = begun(&server, &id, None);
    let (mut part, part_length) = begun(&server, &id, Some("bytes=1000-"));
    fs::OpenOptions::new().write(true).open(&path).expect("the store's file").set_len(40 << 20).expect("cut");
    for (connection, length, from) in [(&mut whole, length, 0), (&mut part, part_length, 1000)] {
        let error = connection.take(length).expect_err("the file is shorter than was promised");
        assert!(error.kind() != std::io::ErrorKind::WouldBlock, "{error}");
        let received = connection.pending();
        assert!(received.len() <= (40 << 20) - from && data[from..].starts_with(received), "padded, or wrong bytes");
    }
    let told =
        eventually(Duration::from_secs(5), || server.log().contains("its store failed in the middle").then_some(()));
    assert!(told.is_some(), "{}", server.log());
    let metrics = Connection::open(server.admin).request("GET", "/metrics", &[], None).expect("an answer").text();
    let line =
        "vitrine_dataplane_http_requests_total{route=\"/v2/images/{image}/file\",method=\"GET\",status=\"cut\"} 2";
    assert!(metrics.lines().any(|have| have == line), "{metrics}");
    // Before it: nothing is promised that is not there.
    let reply = server.get(&file(&id));
    assert_eq!(reply.status, 500);
    assert!(!reply.text().contains(&*path.to_string_lossy()));
}
