//! HTTP-D04: clients that go, at any byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::{assert_no_panic, open_descriptors, sockets};
use crate::harness::client::{chunked, head};
use crate::harness::data::bytes;
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Server, eventually, number_from_env};

/// How long a server may take to let go of a connection that was reset.
const SOON: Duration = Duration::from_secs(10);

/// Asserts that as many descriptors are open as before, give or take the idle connections between the planes.
#[track_caller]
fn assert_none_leaked(server: &Server, before: usize) {
    let settled = eventually(SOON, || (open_descriptors(server) <= before + 70).then_some(()));
    assert!(settled.is_some(), "{} descriptors, {before} before", open_descriptors(server));
    assert_no_panic(server);
    server.get("/v2/images?limit=1").expect(200);
}

/// Every length of a prefix of `bytes`, or fewer with `VITRINE_SPLIT_STEP`.
fn prefixes(length: usize) -> impl Iterator<Item = usize> {
    let step = usize::try_from(number_from_env("VITRINE_SPLIT_STEP", 1)).expect("small").max(1);
    (0..=length).step_by(step)
}

/// Sends the first bytes of `input` on a connection and resets it, for every number of bytes, a hundred at a time.
fn reset_at_every_byte(server: &Server, inputs: &[Vec<u8>]) {
    for batch in inputs.chunks(100) {
        let streams: Vec<TcpStream> = batch
            .iter()
            .map(|bytes| {
                let mut stream = sockets::connect(server.address);
                stream.write_all(bytes).expect("sending");
                stream
            })
            .collect();
        // Time to begin with it.
        std::thread::sleep(Duration::from_millis(5));
        streams.into_iter().for_each(sockets::reset);
    }
}

#[test]
fn http_d04_resets_of_small_requests() {
    let server = Server::ours(Options::default());
    let id = server.active(b"data");
    let document = br#"{"name": "x", "disk_format": "nonsense"}"#;
    let mut post = head("POST", "/v2/images", &[("Content-Type", "application/json")], Some(document.len()));
    post.extend_from_slice(document);
    let requests =
        [head("GET", "/v2/images", &[], None), head("GET", &format!("/v2/images/{id}/file"), &[], None), post];
    let before = open_descriptors(&server);
    for request in requests {
        let inputs: Vec<Vec<u8>> = prefixes(request.len()).map(|length| request[..length].to_vec()).collect();
        reset_at_every_byte(&server, &inputs);
    }
    assert_none_leaked(&server, before);
    assert_eq!(server.download(&id), b"data");
}

#[test]
fn http_d04_resets_of_uploads() {
    let server = Server::ours(Options::default());
    let data = bytes(41, 200);
    // Without its last byte no upload is whole.
    let shape = |id: &str, in_chunks: bool| {
        let path = format!("/v2/images/{id}/file");
        if in_chunks {
            let mut bytes = head("PUT", &path, &[("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")], None);
            bytes.extend(chunked(&data, &[50]));
            bytes
        } else {
            let mut bytes = head("PUT", &path, &[("Content-Type", OCTETS)], Some(data.len()));
            bytes.extend_from_slice(&data);
            bytes
        }
    };
    let images: Vec<String> = (0..100).map(|_| server.queued()).collect();
    let before = open_descriptors(&server);
    for in_chunks in [false, true] {
        let length = shape(&images[0], in_chunks).len();
        let lengths: Vec<usize> = prefixes(length - 1).collect();
        for batch in lengths.chunks(images.len()) {
            let inputs: Vec<Vec<u8>> =
                batch.iter().zip(&images).map(|(length, id)| shape(id, in_chunks)[..*length].to_vec()).collect();
            reset_at_every_byte(&server, &inputs);
            for id in &images {
                server.assert_queued_without_bytes(id);
            }
        }
    }
    assert_none_leaked(&server, before);
    // Nothing is stuck: each takes its data still.
    for id in images.iter().take(5) {
        server.upload(id, &data).expect(204);
        assert!(server.download(id) == data);
    }
}

#[test]
fn http_d04_resets_in_the_middle_of_transfers() {
    let server = Server::ours(Options::default());
    let data = bytes(42, 16 << 20);
    let id = server.active(&data);
    let before = open_descriptors(&server);
    // Answers, after any number of bytes of them.
    for received in [0, 1, 100, 300, 1000, 70_000, 1 << 20, 5 << 20, 16 << 20] {
        let readers: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut stream = sockets::connect(server.address);
                stream.write_all(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
                stream.read_exact(&mut vec![0; received]).expect("as much");
                stream
            })
            .collect();
        readers.into_iter().for_each(sockets::reset);
    }
    // Uploads, after any number of bytes of them, by reset and by close.
    let images: Vec<String> = (0..20).map(|_| server.queued()).collect();
    for sent in [1, 4096, 262_143, 262_144, 262_145, 1 << 20, (4 << 20) - 1] {
        let writers: Vec<TcpStream> = images
            .iter()
            .map(|id| {
                let mut stream = sockets::connect(server.address);
                stream
                    .write_all(&head(
                        "PUT",
                        &format!("/v2/images/{id}/file"),
                        &[("Content-Type", OCTETS)],
                        Some(4 << 20),
                    ))
                    .expect("sending");
                stream.write_all(&data[..sent]).expect("sending");
                stream
            })
            .collect();
        for (index, stream) in writers.into_iter().enumerate() {
            if index % 2 == 0 { sockets::reset(stream) } else { drop(stream) }
        }
        for id in &images {
            server.assert_queued_without_bytes(id);
        }
    }
    assert_none_leaked(&server, before);
    assert!(server.download(&id) == data);
}

#[test]
fn http_d04_a_client_that_ends_its_half_and_reads() {
    let server = Server::ours(Options::default());
    let data = bytes(43, 8 << 20);
    let id = server.active(&data);
    let mut stream = sockets::connect(server.address);
    stream.write_all(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
    stream.shutdown(Shutdown::Write).expect("connected");
    let (received, _) = sockets::read_to_end(&mut stream);
    assert!(received.ends_with(&data), "{} bytes", received.len());
    let other = server.queued();
    let mut stream = sockets::connect(server.address);
    let mut upload = head("PUT", &format!("/v2/images/{other}/file"), &[("Content-Type", OCTETS)], Some(4));
    upload.extend_from_slice(b"data");
    stream.write_all(&upload).expect("sending");
    stream.shutdown(Shutdown::Write).expect("connected");
    let (received, _) = sockets::read_to_end(&mut stream);
    assert!(received.starts_with(b"HTTP/1.1 204 "), "{}", String::from_utf8_lossy(&received));
}
