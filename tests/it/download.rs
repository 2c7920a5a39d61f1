//! `GET /v2/images/{id}/file`: whole and in parts, to many and to slow clients.

use std::io;
use std::time::Duration;

use crate::harness::client::head;
use crate::harness::data::{bytes, md5};
use crate::harness::server::is_foreign;
use crate::harness::{Connection, Server};

fn file(id: &str) -> String {
    format!("/v2/images/{id}/file")
}

#[test]
fn a_whole_image_has_its_headers() {
    let server = Server::start();
    let data = bytes(1, 1_500_000);
    let id = server.active(&data);
    let reply = server.get(&file(&id)).expect(200);
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    assert_eq!(reply.header("content-length"), Some("1500000"));
    assert_eq!(reply.header("content-md5"), Some(md5(&data).as_str()), "in hex");
    assert!(reply.header("x-openstack-request-id").is_some());
    assert!(reply.header("content-range").is_none());
    assert!(reply.body == data);
}

#[test]
fn single_ranges_are_cut_out() {
    let server = Server::start();
    let size = 100_003_usize;
    let data = bytes(2, size);
    let id = server.active(&data);
    // The range, the first byte and the last.
    let cases = [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=1-", 1, size - 1),
        ("bytes=0-", 0, size - 1),
        ("bytes=4095-4097", 4095, 4097),
        ("bytes=100002-", size - 1, size - 1),
        ("bytes=100002-100002", size - 1, size - 1),
        ("bytes=100-9999999", 100, size - 1),
        ("bytes=0-18446744073709551615", 0, size - 1),
        ("bytes=-1", size - 1, size - 1),
        ("bytes=-4096", size - 4096, size - 1),
        ("bytes=-100003", 0, size - 1),
        ("bytes=-100004", 0, size - 1),
        ("bytes=-99999999", 0, size - 1),
    ];
    for (range, first, last) in cases {
        let reply = server.request("GET", &file(&id), &[("Range", range)], None).expect(206);
        assert_eq!(reply.header("content-range"), Some(format!("bytes {first}-{last}/{size}").as_str()), "{range}");
        assert_eq!(reply.header("content-length"), Some((last - first + 1).to_string().as_str()), "{range}");
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert!(reply.body == data[first..=last], "{range}");
    }
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let server = Server::start();
    let id = server.active(&bytes(3, 1000));
    let many = format!("bytes={}", (0..100).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","));
    let cases = [
        ("bytes=1000-", 416),
        ("bytes=1000-2000", 416),
        ("bytes=99999999999999999999-", 416),
        ("bytes=5-4", 416),
        ("bytes=", 416),
        ("bytes=-", 416),
        ("bytes=a-b", 416),
        ("bytes=0x0-1", 416),
        ("bytes 0-1", 416),
        ("items=0-1", 416),
        ("bytes=0-1,3-4", 400),
        (&many, 400),
    ];
    for (range, status) in cases {
        if range == "bytes=-" && is_foreign() {
            continue; // The other implementation fails on it.
        }
        let reply = server.request("GET", &file(&id), &[("Range", range)], None);
        assert_eq!(reply.status, status, "{range}: {}", reply.text());
        assert!(reply.header("content-length").is_some());
    }
    let empty = server.active(b"");
    for range in ["bytes=0-", "bytes=0-0", "bytes=5-"] {
        server.request("GET", &file(&empty), &[("Range", range)], None).expect(416);
    }
}

#[test]
fn the_older_form_of_a_range_is_taken() {
    let server = Server::start();
    let data = bytes(4, 1000);
    let id = server.active(&data);
    for value in ["bytes 10-19/1000", "bytes 10-19/*"] {
        let reply = server.request("GET", &file(&id), &[("Content-Range", value)], None).expect(206);
        assert_eq!(reply.header("content-range"), Some("bytes 10-19/1000"));
        assert!(reply.body == data[10..20]);
    }
    server.request("GET", &file(&id), &[("Content-Range", "bytes 10-1000/*")], None).expect(416);
}

#[test]
fn an_image_without_data_has_no_content() {
    let server = Server::start();
    let id = server.queued();
    let reply = server.get(&file(&id)).expect(204);
    assert!(reply.header("content-md5").is_none());
    // The other implementation fails on it.
    if !is_foreign() {
        server.request("GET", &file(&id), &[("Range", "bytes=0-5")], None).expect(204);
    }
    let empty = server.active(b"");
    let reply = server.get(&file(&empty)).expect(200);
    assert!(reply.body.is_empty());
    assert_eq!(reply.header("content-length"), Some("0"));
    assert_eq!(reply.header("content-md5"), Some(md5(b"").as_str()));
    server.get(&file("5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11")).expect(404);
    let reply = server.request("HEAD", &file(&id), &[], None).expect(405);
    assert!(reply.header("allow").is_some_and(|allowed| allowed.contains("GET") && allowed.contains("PUT")));
}

#[test]
fn a_connection_serves_many_requests_in_order() {
    let server = Server::start();
    let one = bytes(5, 200_000);
    let two = bytes(6, 70_001);
    let ids = [server.active(&one), server.active(&two)];
    let mut connection = server.connect();
    for _ in 0..20 {
        let reply = connection.request("GET", &file(&ids[0]), &[], None).expect("an answer").expect(200);
        assert!(reply.body == one);
        let shown = connection.request("GET", &format!("/v2/images/{}", ids[1]), &[], None).expect("an answer");
        assert_eq!(shown.expect(200).json()["size"], 70_001);
    }
    // Pipelined: all asked before the first answer is read.
    let mut requests = Vec::new();
    for i in 0..20 {
        requests.extend(head("GET", &file(&ids[i % 2]), &[], None));
    }
    connection.send(&requests).expect("sending");
    for i in 0..20 {
        let reply = connection.response("GET").expect("an answer").expect(200);
        assert!(reply.body == if i % 2 == 0 { &one[..] } else { &two[..] }, "answer {i}");
    }
}

#[test]
fn connections_are_closed_when_the_client_says_so() {
    let server = Server::start();
    let data = bytes(7, 100_000);
    let id = server.active(&data);
    let mut connection = server.connect();
    let reply = connection.request("GET", &file(&id), &[("Connection", "close")], None).expect("an answer").expect(200);
    assert!(reply.body == data);
    assert!(connection.is_closed_within(Duration::from_secs(5)));
    let mut connection = server.connect();
    let request = head("GET", &file(&id), &[], None);
    let request = String::from_utf8(request).expect("text").replace("HTTP/1.1", "HTTP/1.0");
    connection.send(request.as_bytes()).expect("sending");
    let reply = connection.response("GET").expect("an answer").expect(200);
    assert!(reply.body == data && reply.header("transfer-encoding").is_none());
    assert!(connection.is_closed_within(Duration::from_secs(5)));
}

#[test]
fn many_clients_get_the_same_bytes() {
    let server = Server::start();
    let data = bytes(8, 20_000_000);
    let id = server.active(&data);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert!(server.download(&id) == data));
        }
    });
}

/// Memory of a process that is its own, in KiB.
fn own_memory(pid: rustix::process::Pid) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).expect("a running process");
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn slow_readers_hold_no_image_data() {
    // Of the ways that the kernel goes by itself: those that pass through this process have a bound of their own.
    let server = Server::with_config("[dataplane]\nsend_path = auto\n");
    let data = bytes(9, 64 << 20);
    let id = server.active(&data);
    assert!(server.download(&id) == data);
    let plane = server.wait_plane("dataplane");
    let before = own_memory(plane);
    let readers: Vec<Connection> = (0..64)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&head("GET", &file(&id), &[], None)).expect("sending");
            connection.read_head().expect("an answer");
            connection
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let grown = own_memory(plane).saturating_sub(before);
    assert!(grown < 64 * 512, "64 stalled readers cost {grown} KiB");
    // The others are served meanwhile.
    server.get("/v2/images").expect(200);
    assert!(server.request("GET", &file(&id), &[("Range", "bytes=0-99")], None).body == data[..100]);
    for mut reader in readers.into_iter().take(4) {
        assert!(reader.take(data.len()).expect("all bytes") == data);
    }
}

#[test]
fn an_image_deleted_during_its_download_is_whole_or_cut() {
    let server = Server::start();
    let data = bytes(10, 48 << 20);
    let id = server.active(&data);
    let mut connection = server.connect();
    connection.send(&head("GET", &file(&id), &[], None)).expect("sending");
    connection.read_head().expect("an answer").expect(200);
    server.delete(&format!("/v2/images/{id}")).expect(204);
    match connection.take(data.len()) {
        Ok(body) => assert!(body == data, "wrong bytes"),
        Err(error) => {
            assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{error}");
            assert!(data.starts_with(connection.pending()), "wrong bytes before the cut");
        }
    }
    server.get(&file(&id)).expect(404);
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn clients_that_leave_do_not_disturb() {
    let server = Server::start();
    let data = bytes(11, 16 << 20);
    let id = server.active(&data);
    for i in 0..50 {
        let mut connection = server.connect();
        connection.send(&head("GET", &file(&id), &[], None)).expect("sending");
        if i % 2 == 0 {
            let _ = connection.fill();
        }
    }
    assert!(server.download(&id) == data);
}

#[test]
fn a_deactivated_image_is_read_by_an_administrator() {
    let server = Server::start();
    let id = server.active(b"data");
    server.send_empty("POST", &format!("/v2/images/{id}/actions/deactivate")).expect(204);
    assert_eq!(server.download(&id), b"data");
}
