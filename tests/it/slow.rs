//! Clients that take their time: each has a bound, and nothing is left of those that pass it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::server::OCTETS;
use crate::harness::{Server, eventually};

/// Bounds of one second, in place of the minutes that are the defaults.
const HASTY: &str = "[dataplane]\nhead_timeout_seconds = 1\nidle_timeout_seconds = 1\nsend_stall_seconds = 1\n\
                     body_min_rate_bytes_per_second = 1000000\n";
/// What a bound of one second may take in a test.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn http_d04_a_silent_connection_is_closed() {
    let server = Server::with_config(HASTY);
    let mut connection = server.connect();
    assert!(connection.is_closed_within(SOON));
    let mut connection = server.connect();
    connection.request("GET", "/versions", &[], None).expect("an answer").expect(200);
    assert!(connection.is_closed_within(SOON), "after a request");
}

#[test]
fn http_d01_a_head_must_arrive_in_time() {
    let server = Server::with_config(HASTY);
    let mut connection = server.connect();
    let begun = Instant::now();
    connection.send(b"GET /v2/images HTTP/1.1\r\nX-Slow: ").expect("sending");
    // A byte now and then does not put the end off.
    let mut ended = false;
    while !ended && begun.elapsed() < SOON {
        connection.patience(Duration::from_millis(100));
        ended = match connection.fill() {
            Ok(0) => true,
            Ok(_) => connection.pending().starts_with(b"HTTP/1.1 408 "),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        let _ = connection.send(b"x");
    }
    assert!(ended, "the head may go on for ever");
}

#[test]
fn http_d02_a_body_must_keep_a_pace() {
    let server = Server::with_config(HASTY);
    let id = server.queued();
    let mut upload = server.connect();
    let path = format!("/v2/images/{id}/file");
    upload.send(&head("PUT", &path, &[("Content-Type", OCTETS)], Some(10_000_000))).expect("sending");
    upload.send(&bytes(1, 100_000)).expect("sending");
    let saving = eventually(SOON, || (server.show(&id)["status"] == "saving").then_some(()));
    assert!(saving.is_some());
    let back = eventually(Duration::from_secs(60), || (server.show(&id)["status"] == "queued").then_some(()));
    assert!(back.is_some(), "{}", server.show(&id));
    server.assert_queued_without_bytes(&id);
    drop(upload);
}

#[test]
fn http_d03_a_download_that_nobody_takes_ends() {
    let server = Server::with_config(HASTY);
    let data = bytes(2, 64 << 20);
    let id = server.queued();
    server.upload(&id, &data).expect(204);
    let mut stalled = server.connect();
    stalled.send(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
    stalled.read_head().expect("an answer").expect(200);
    std::thread::sleep(Duration::from_secs(5));
    let error = stalled.take(data.len()).expect_err("the transfer was ended by the server");
    assert!(error.kind() != std::io::ErrorKind::WouldBlock, "{error}");
    assert!(data.starts_with(stalled.pending()), "wrong bytes before the cut");
}

#[test]
fn http_d07_bodies_of_metadata_are_bounded() {
    let server = Server::with_config("[dataplane]\nmetadata_body_bytes_max = 65536\n");
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(server.request("POST", "/v2/images", &[], Some(body.as_bytes())).status, 413);
    let mut connection = server.connect();
    let headers = [("Transfer-Encoding", "chunked")];
    let mut request = head("POST", "/v2/images", &headers, None);
    request.extend(crate::harness::client::chunked(body.as_bytes(), &[5000]));
    let _ = connection.send(&request);
    assert_eq!(connection.response("POST").expect("an answer").status, 413);
    assert_eq!(server.get("/v2/images").expect(200).json()["images"], Value::Array(Vec::new()));
}

#[test]
fn the_other_way_of_waiting_moves_the_same_bytes() {
    let server = Server::with_config("[dataplane]\ndriver = epoll\ncores = 2\n");
    let data = bytes(3, 10_000_001);
    let id = server.active(&data);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(server.download(&id) == data));
        }
    });
    let part = server.request("GET", &format!("/v2/images/{id}/file"), &[("Range", "bytes=-5")], None).expect(206);
    assert!(part.body == data[data.len() - 5..]);
    server.delete(&format!("/v2/images/{id}")).expect(204);
    server.assert_bytes_gone(None);
}
