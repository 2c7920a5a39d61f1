//! `PUT /v2/images/{id}/file`: what arrives is stored whole with its digests, and what fails leaves nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::head;
use crate::harness::data::{bytes, md5, qcow2, sha256, sha512};
use crate::harness::server::{OCTETS, is_foreign};
use crate::harness::{Server, eventually};

/// Asserts that an image is active with this data, in the catalog, in the store and to a client.
#[track_caller]
fn assert_holds(server: &Server, id: &str, data: &[u8]) {
    let image = server.show(id);
    assert_eq!(image["status"], "active");
    assert_eq!(image["size"], json!(data.len()));
    assert_eq!(image["checksum"], json!(md5(data)));
    assert_eq!(image["os_hash_algo"], "sha512");
    assert_eq!(image["os_hash_value"], json!(sha512(data)));
    let virtual_size = if data.is_empty() { Value::Null } else { json!(data.len()) };
    assert_eq!(image["virtual_size"], virtual_size, "of {image}");
    let downloaded = server.get(&format!("/v2/images/{id}/file"));
    assert!(downloaded.body == data, "{} bytes of {} came back", downloaded.body.len(), data.len());
}

/// Names and values of headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// The head of an upload with these headers, as bytes.
fn upload_head(id: &str, headers: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
    let mut all = vec![("Content-Type", OCTETS)];
    all.extend_from_slice(headers);
    head("PUT", &format!("/v2/images/{id}/file"), &all, length)
}

#[test]
fn bodies_of_every_length_are_stored() {
    let server = Server::start();
    for (seed, length) in [0, 1, 511, 512, 4095, 4096, 4097, 65_536, 1_048_575, 1_048_577, 5_000_001].iter().enumerate()
    {
        let data = bytes(seed as u64, *length);
        let id = server.queued();
        let reply = server.upload(&id, &data).expect(204);
        assert!(reply.body.is_empty());
        assert_holds(&server, &id, &data);
    }
}

#[test]
fn chunked_bodies_are_stored() {
    let server = Server::start();
    let cases: [(usize, &[usize]); 7] = [
        (0, &[1]),
        (1, &[1]),
        (1000, &[1]),
        (100_000, &[1, 4096, 17, 16_384, 3]),
        (3_000_000, &[65_536]),
        (3_000_001, &[1_000_000]),
        (1_048_577, &[1_048_576]),
    ];
    for (length, sizes) in cases {
        let data = bytes(length as u64, length);
        let id = server.queued();
        server.upload_chunked(&id, &data, sizes).expect(204);
        assert_holds(&server, &id, &data);
    }
}

#[test]
fn chunk_extensions_and_trailers_are_passed_over() {
    let server = Server::start();
    let id = server.queued();
    let mut request = upload_head(&id, &[("Transfer-Encoding", "Chunked")], None);
    request.extend_from_slice(b"3;name=value\r\nabc\r\n0002;a=\"b\"\r\nde\r\n0\r\nX-Trailer: yes\r\n\r\n");
    let mut connection = server.connect();
    connection.send(&request).expect("sending");
    connection.response("PUT").expect("an answer").expect(204);
    assert_holds(&server, &id, b"abcde");
}

#[test]
fn the_body_is_asked_for_when_it_is_wanted() {
    let server = Server::start();
    let data = bytes(1, 100_000);
    for chunked in [false, true] {
        let id = server.queued();
        let mut connection = server.connect();
        let framing = if chunked { vec![("Transfer-Encoding", "chunked")] } else { vec![] };
        let headers: Vec<_> = framing.into_iter().chain([("Expect", "100-continue")]).collect();
        let length = (!chunked).then_some(data.len());
        connection.send(&upload_head(&id, &headers, length)).expect("sending");
        assert_eq!(connection.read_head().expect("an interim answer").status, 100);
        let body = if chunked { crate::harness::client::chunked(&data, &[30_000]) } else { data.clone() };
        connection.send(&body).expect("sending");
        connection.response("PUT").expect("an answer").expect(204);
        assert_holds(&server, &id, &data);
    }
}

#[test]
fn a_body_that_is_not_wanted_is_not_asked_for() {
    let server = Server::start();
    let active = server.active(b"data");
    let formatless = server.create(&json!({}));
    let formatless = formatless["id"].as_str().expect("an id");
    let queued = server.queued();
    let cases: [(&str, Headers, u16); 4] = [
        ("5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11", &[("Content-Type", OCTETS)], 404),
        (&active, &[("Content-Type", OCTETS)], 409),
        (formatless, &[("Content-Type", OCTETS)], 400),
        (&queued, &[("Content-Type", "text/plain")], 415),
    ];
    for (id, headers, status) in cases {
        let mut all = vec![("Expect", "100-continue")];
        all.extend_from_slice(headers);
        let mut connection = server.connect();
        connection.send(&head("PUT", &format!("/v2/images/{id}/file"), &all, Some(1000))).expect("sending");
        let reply = connection.response("PUT").expect("an answer");
        assert!(reply.status == status && !reply.continued, "{status} expected: {reply:?}");
    }
    let mut connection = server.connect();
    connection.send(&upload_head(&queued, &[("Expect", "a-miracle")], Some(4))).expect("sending");
    let _ = connection.send(b"data");
    let reply = connection.response("PUT").expect("an answer");
    assert!(reply.status == 417 || is_foreign(), "{reply:?}");
}

#[test]
fn an_upload_needs_the_right_type_state_and_formats() {
    let server = Server::start();
    let id = server.queued();
    let path = format!("/v2/images/{id}/file");
    for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x", "octet-stream"] {
        let reply = server.request("PUT", &path, &[("Content-Type", kind)], Some(b"data")).expect(415);
        assert!(reply.text().contains("Invalid content type") || reply.text().contains("not supported"));
    }
    server.request("PUT", &path, &[], Some(b"data")).expect(415);
    server.assert_queued_without_bytes(&id);
    let kind = "application/octet-stream; charset=binary";
    server.request("PUT", &path, &[("Content-Type", kind)], Some(b"data")).expect(204);
    let again = server.upload(&id, b"more").expect(409);
    assert!(again.text().contains("from active to saving is not allowed"), "{}", again.text());
    assert_eq!(server.download(&id), b"data");
    for fields in [json!({}), json!({"disk_format": "raw"}), json!({"container_format": "bare"})] {
        let image = server.create(&fields);
        let reply = server.upload(image["id"].as_str().expect("an id"), b"data").expect(400);
        assert!(reply.text().contains("must be set prior to saving data."), "{}", reply.text());
    }
    server.upload("5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11", b"data").expect(404);
}

#[test]
fn the_declared_size_must_be_that_of_the_body() {
    let server = Server::start();
    let id = server.queued();
    let path = format!("/v2/images/{id}/file");
    for declared in ["3", "5", "0x4", "-1", "many", "4.0"] {
        for chunked in [false, true] {
            let headers = [("Content-Type", OCTETS), ("X-OpenStack-Image-Size", declared)];
            let reply = if chunked {
                let mut connection = server.connect();
                let all: Vec<_> = headers.into_iter().chain([("Transfer-Encoding", "chunked")]).collect();
                connection.send(&head("PUT", &path, &all, None)).expect("sending");
                let _ = connection.send(b"4\r\ndata\r\n0\r\n\r\n");
                connection.response("PUT").expect("an answer")
            } else {
                server.request("PUT", &path, &headers, Some(b"data"))
            };
            assert_eq!(reply.status, 400, "{declared}, chunked {chunked}: {}", reply.text());
            server.assert_queued_without_bytes(&id);
        }
    }
    let headers = [("Content-Type", OCTETS), ("X-OpenStack-Image-Size", "4")];
    server.request("PUT", &path, &headers, Some(b"data")).expect(204);
    assert_holds(&server, &id, b"data");
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let server = Server::start();
    let id = server.queued();
    let chunked = [("Transfer-Encoding", "chunked")];
    let cases: [(Headers, Option<usize>, Vec<u8>); 5] = [
        (&[], Some(1000), vec![]),
        (&[], Some(1000), bytes(1, 999)),
        (&[], Some(10_000_000), bytes(1, 3_000_000)),
        (&chunked, None, b"3e8\r\nabc".to_vec()),
        (&chunked, None, b"3\r\nabc\r\n".to_vec()),
    ];
    for (headers, length, part) in cases {
        for half in [false, true] {
            let mut connection = server.connect();
            connection.send(&upload_head(&id, headers, length)).expect("sending");
            connection.send(&part).expect("sending");
            std::thread::sleep(Duration::from_millis(20));
            if half {
                connection.finish_sending();
                if let Ok(reply) = connection.response("PUT") {
                    assert!(reply.status >= 400, "{reply:?}");
                }
            }
            drop(connection);
            server.assert_queued_without_bytes(&id);
        }
    }
    let data = bytes(2, 10_000);
    server.upload(&id, &data).expect(204);
    assert_holds(&server, &id, &data);
}

#[test]
fn a_second_upload_waits_for_no_one() {
    let server = Server::start();
    let id = server.queued();
    let data = bytes(3, 200_000);
    let mut first = server.connect();
    first.send(&upload_head(&id, &[], Some(data.len()))).expect("sending");
    first.send(&data[..100_000]).expect("sending");
    let saving = eventually(Duration::from_secs(5), || (server.show(&id)["status"] == "saving").then_some(()));
    assert!(saving.is_some(), "{}", server.show(&id));
    assert_eq!(server.show(&id)["size"], Value::Null);
    server.upload(&id, b"mine").expect(409);
    server.get(&format!("/v2/images/{id}/file")).expect(204);
    first.send(&data[100_000..]).expect("sending");
    first.response("PUT").expect("an answer").expect(204);
    assert_holds(&server, &id, &data);
}

#[test]
fn an_image_deleted_during_its_upload_leaves_nothing() {
    let server = Server::start();
    for sent in [0, 100_000, 3_000_000] {
        let id = server.queued();
        let data = bytes(4, 4_000_000);
        let mut upload = server.connect();
        upload.send(&upload_head(&id, &[], Some(data.len()))).expect("sending");
        upload.send(&data[..sent]).expect("sending");
        let path = format!("/v2/images/{id}");
        let saving = eventually(Duration::from_secs(5), || (server.show(&id)["status"] == "saving").then_some(()));
        assert!(saving.is_some(), "{}", server.show(&id));
        server.delete(&path).expect(204);
        server.get(&path).expect(404);
        let rest = upload.send(&data[sent..]);
        match upload.response("PUT") {
            Ok(reply) => assert!([404, 409, 410].contains(&reply.status), "{reply:?}"),
            Err(error) => assert!(rest.is_err() || error.kind() != std::io::ErrorKind::WouldBlock, "{error}"),
        }
        server.assert_bytes_gone(Some(&id));
        server.get(&path).expect(404);
    }
}

#[test]
fn many_uploads_at_once_do_not_mix() {
    let server = Server::start();
    let images: Vec<(String, Vec<u8>)> =
        (0..16_usize).map(|i| (server.queued(), bytes(i as u64 + 100, 700_000 + i * 4099))).collect();
    std::thread::scope(|scope| {
        for (i, (id, data)) in images.iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                if i % 2 == 0 {
                    server.upload(id, data).expect(204);
                } else {
                    server.upload_chunked(id, data, &[10_007 + i]).expect(204);
                }
            });
        }
    });
    for (id, data) in &images {
        assert_holds(&server, id, data);
    }
}

#[test]
fn uploads_share_a_connection() {
    let server = Server::start();
    let mut connection = server.connect();
    for i in 0..5 {
        let id = server.queued();
        let data = bytes(i, 50_000);
        let path = format!("/v2/images/{id}/file");
        let headers = [("Content-Type", OCTETS)];
        connection.request("PUT", &path, &headers, Some(&data)).expect("an answer").expect(204);
        let reply = connection.request("GET", &path, &[], None).expect("an answer").expect(200);
        assert!(reply.body == data);
    }
}

#[test]
fn the_virtual_size_is_that_of_the_format() {
    let server = Server::start();
    let virtual_size = 10_u64 << 30;
    for (container, expected) in [("bare", json!(virtual_size)), ("ovf", Value::Null)] {
        let image = server.create(&json!({"disk_format": "qcow2", "container_format": container}));
        let id = image["id"].as_str().expect("an id");
        let data = qcow2(virtual_size);
        server.upload(id, &data).expect(204);
        let image = server.show(id);
        assert_eq!(image["virtual_size"], expected, "{container}");
        assert_eq!(image["size"], json!(data.len()));
    }
}

#[test]
fn data_that_is_not_of_its_format_is_refused() {
    let server = Server::start();
    let mut backing = qcow2(1 << 30);
    backing[8..16].copy_from_slice(&512_u64.to_be_bytes());
    backing[16..20].copy_from_slice(&4_u32.to_be_bytes());
    let cases = [
        ("qcow2", bytes(9, 100_000), "does not match stream data raw"),
        ("vmdk", qcow2(1 << 30), "does not match stream data qcow2"),
        ("qcow2", backing, "safety check"),
    ];
    for (format, data, text) in cases {
        let image = server.create(&json!({"disk_format": format, "container_format": "bare"}));
        let id = image["id"].as_str().expect("an id");
        let reply = server.upload(id, &data).expect(415);
        assert!(reply.text().contains(text), "{}", reply.text());
        // The other implementation keeps the rejected bytes.
        if is_foreign() {
            assert_eq!(server.show(id)["status"], "queued");
        } else {
            server.assert_queued_without_bytes(id);
        }
    }
}

#[test]
fn the_digest_is_the_configured_one() {
    let server = Server::with_config("[DEFAULT]\nhashing_algorithm = sha256\n");
    let data = bytes(5, 300_000);
    let image = server.show(&server.active(&data));
    assert_eq!(image["os_hash_algo"], "sha256");
    assert_eq!(image["os_hash_value"], json!(sha256(&data)));
    assert_eq!(image["checksum"], json!(md5(&data)));
}

#[test]
fn an_image_above_the_size_cap_is_refused() {
    let server = Server::with_config("[DEFAULT]\nimage_size_cap = 100000\n");
    let id = server.active(&bytes(6, 100_000));
    assert_eq!(server.show(&id)["size"], json!(100_000));
    let id = server.queued();
    let data = bytes(7, 100_001);
    let mut connection = server.connect();
    connection.send(&upload_head(&id, &[("Expect", "100-continue")], Some(data.len()))).expect("sending");
    let reply = connection.response("PUT").expect("an answer");
    assert!(reply.status == 413 && !reply.continued, "{reply:?}");
    server.assert_queued_without_bytes(&id);
    let mut connection = server.connect();
    connection.send(&upload_head(&id, &[("Transfer-Encoding", "chunked")], None)).expect("sending");
    let _ = connection.send(&crate::harness::client::chunked(&data, &[50_000]));
    connection.response("PUT").expect("an answer").expect(413);
    server.assert_queued_without_bytes(&id);
}
