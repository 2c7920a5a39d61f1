//! What a project may have, by the configuration's quota and by Keystone's limits: exact, whoever asks at the same time.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::{chunked, head};
use crate::harness::data::bytes;
use crate::harness::keystone::Keystone;
use crate::harness::server::OCTETS;
use crate::harness::{Connection, Response, Server, eventually};

/// Bytes of a MiB.
const MIB: usize = 1 << 20;
/// Uploads at a time.
const CROWD: usize = 32;
/// How long recovery may take in a test that shares its processors with others.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes that a store may take beyond a file's own: its last block.
const BLOCK: u64 = 4096;

/// Limits of which only these are below what the tests need.
fn limits(changed: &[(&str, i64)]) -> Keystone {
    let all = ["image_size_total", "image_stage_total", "image_count_total", "image_count_uploading"];
    let keystone = Keystone::with_limits(&all.map(|name| (name, 1000)));
    changed.iter().for_each(|(name, limit)| keystone.limit(name, *limit));
    keystone
}

/// Usage and limit of a resource, as the API has them.
#[track_caller]
fn usage(server: &Server, resource: &str) -> Value {
    server.get("/v2/info/usage").expect(200).json()["usage"][resource].clone()
}

/// The text of an error.
fn words(reply: &Response) -> String {
    reply.text().replace("<br />", "\n")
}

/// Images whose data is sent at the same time, and the answers' statuses, in their order.
fn upload_all(server: &Server, images: &[String], path: &str, data: &[u8], known: bool) -> Vec<u16> {
    std::thread::scope(|scope| {
        let senders: Vec<_> = images
            .iter()
            .map(|id| {
                scope.spawn(move || {
                    let path = format!("/v2/images/{id}/{path}");
                    let mut connection = server.connect();
                    if known {
                        let reply = connection.request("PUT", &path, &[("Content-Type", OCTETS)], Some(data));
                        return reply.expect("an answer").status;
                    }
                    let headers = [("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")];
                    // Who is refused may be cut off while it sends.
                    let _ = connection.send(&head("PUT", &path, &headers, None));
                    let _ = connection.send(&chunked(data, &[65_536]));
                    connection.response("PUT").expect("an answer").status
                })
            })
            .collect();
        let statuses = senders.into_iter().map(|sender| sender.join().expect("no panic inside"));
        statuses.collect()
    })
}

/// As [`upload_all`]; four fit, and at no time there are more bytes in the store than `most`.
#[track_caller]
fn assert_four_fit(server: &Server, path: &str, data: &[u8], known: bool, most: u64) -> Vec<String> {
    let images: Vec<String> = (0..CROWD).map(|_| server.queued()).collect();
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let statuses = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let files = server.stored_files().into_iter().filter_map(|file| std::fs::metadata(file).ok());
                // For a moment a file has two names.
                let sizes: HashMap<u64, u64> = files.map(|file| (file.ino(), file.len())).collect();
                peak.fetch_max(sizes.values().sum(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let statuses = upload_all(server, &images, path, data, known);
        done.store(true, Ordering::Relaxed);
        statuses
    });
    let stored: Vec<String> =
        images.iter().zip(&statuses).filter(|(_, status)| **status == 204).map(|(id, _)| id.clone()).collect();
    assert_eq!(stored.len(), 4, "{statuses:?}\n{}", server.log());
    assert!(statuses.iter().all(|status| [204, 413].contains(status)), "{statuses:?}");
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak <= most + BLOCK * CROWD as u64, "{peak} bytes in the store, at most {most} are allowed");
    for id in images.iter().filter(|id| !stored.contains(id)) {
        server.assert_queued_without_bytes(id);
    }
    stored
}

#[test]
fn of_many_uploads_at_a_time_as_many_are_stored_as_keystone_allows() {
    let keystone = limits(&[("image_size_total", 8)]);
    let server = Server::with_config(&keystone.limits_config());
    let data = bytes(1, 2 * MIB);
    for known in [true, false] {
        // What is below a MiB is not seen.
        let stored = assert_four_fit(&server, "file", &data, known, 9 * MIB as u64 - 1);
        assert_eq!(usage(&server, "image_size_total"), json!({"usage": 8, "limit": 8}));
        for id in &stored {
            assert_eq!(server.show(id)["status"], "active");
            server.delete(&format!("/v2/images/{id}")).expect(204);
        }
        server.assert_bytes_gone(None);
        assert_eq!(usage(&server, "image_size_total"), json!({"usage": 0, "limit": 8}));
    }
    let id = server.queued();
    let refused = server.upload_chunked(&id, &bytes(8, 9 * MIB), &[65_536]).expect(413);
    let over = "image_size_total is over limit of 8 due to current usage 0 and delta 9";
    assert!(words(&refused).contains(over), "{}", refused.text());
    server.assert_queued_without_bytes(&id);
    server.upload_chunked(&id, &bytes(8, 9 * MIB - 1), &[65_536]).expect(204);
}

#[test]
fn of_many_uploads_at_a_time_as_many_are_stored_as_the_configuration_allows() {
    let server = Server::with_config("[DEFAULT]\nuser_storage_quota = 8MB\n");
    let data = bytes(2, 2 * MIB);
    for known in [true, false] {
        for id in assert_four_fit(&server, "file", &data, known, 8 * MIB as u64) {
            server.delete(&format!("/v2/images/{id}")).expect(204);
        }
        server.assert_bytes_gone(None);
    }
    let id = server.queued();
    let refused = server.upload_chunked(&id, &bytes(3, 8 * MIB + 1), &[65_536]).expect(413);
    assert!(words(&refused).contains("Image exceeds the storage quota: The size of the data"), "{}", refused.text());
    server.assert_queued_without_bytes(&id);
    server.upload_chunked(&id, &bytes(3, 8 * MIB), &[65_536]).expect(204);
    assert_eq!(usage(&server, "image_size_total"), Value::Null, "no unified limits");
}

#[test]
fn the_staging_area_has_a_limit_of_its_own() {
    let keystone = limits(&[("image_stage_total", 8), ("image_size_total", 4)]);
    let server = Server::with_config(&keystone.limits_config());
    let data = bytes(4, 2 * MIB);
    for known in [true, false] {
        let staged = assert_four_fit(&server, "stage", &data, known, 9 * MIB as u64 - 1);
        assert_eq!(usage(&server, "image_stage_total"), json!({"usage": 8, "limit": 8}));
        for id in &staged {
            server.delete(&format!("/v2/images/{id}")).expect(204);
        }
        server.assert_bytes_gone(None);
    }
    let images: Vec<String> = (0..4).map(|_| server.queued()).collect();
    for id in &images {
        let path = format!("/v2/images/{id}/stage");
        server.request("PUT", &path, &[("Content-Type", OCTETS)], Some(&data)).expect(204);
    }
    for id in &images {
        let import = json!({"method": {"name": "glance-direct"}});
        server.send_json("POST", &format!("/v2/images/{id}/import"), &import).expect(202);
    }
    // Two of four fit into the store.
    let ended = eventually(PATIENCE, || {
        let states: Vec<Value> = images.iter().map(|id| server.show(id)["status"].clone()).collect();
        states.iter().all(|state| *state == "active" || *state == "queued").then_some(states)
    });
    let states = ended.unwrap_or_else(|| panic!("imports go on:\n{}", server.log()));
    assert_eq!(states.iter().filter(|state| **state == "active").count(), 2, "{states:?}");
    let failed = &images[states.iter().position(|state| *state == "queued").expect("one failed")];
    let tasks = server.get(&format!("/v2/images/{failed}/tasks")).expect(200).json();
    assert_eq!(tasks["tasks"][0]["status"], "failure");
    let message = tasks["tasks"][0]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("image_size_total is over limit of 4 due to current usage 4 and delta 2"), "{message}");
    assert_eq!(usage(&server, "image_size_total"), json!({"usage": 4, "limit": 4}));
    keystone.limit("image_size_total", 3);
    let import = json!({"method": {"name": "glance-direct"}});
    let refused = server.send_json("POST", &format!("/v2/images/{failed}/import"), &import).expect(413);
    assert!(words(&refused).contains("over limit of 3 due to current usage 4 and delta 0"), "{}", refused.text());
}

#[test]
fn images_are_counted_one_by_one() {
    let keystone = limits(&[("image_count_total", 4)]);
    let server = Server::with_config(&keystone.limits_config());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let create = || server.send_json("POST", "/v2/images", &json!({})).status;
        let makers: Vec<_> = (0..CROWD).map(|_| scope.spawn(create)).collect();
        makers.into_iter().map(|maker| maker.join().expect("no panic inside")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 4, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 413].contains(status)), "{statuses:?}");
    assert_eq!(usage(&server, "image_count_total"), json!({"usage": 4, "limit": 4}));
    keystone.limit("image_count_total", -1);
    server.create(&json!({}));
    assert_eq!(usage(&server, "image_count_total"), json!({"usage": 5, "limit": -1}));
}

/// An upload in chunks that has begun and waits for more.
fn begin(server: &Server, id: &str, data: &[u8]) -> Connection {
    let mut connection = server.connect();
    let headers = [("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")];
    connection.send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, None)).expect("sending");
    connection.send(format!("{:x}\r\n", data.len()).as_bytes()).expect("sending");
    connection.send(data).expect("sending");
    connection.send(b"\r\n").expect("sending");
    let begun = eventually(PATIENCE, || server.files_of(id).into_iter().next());
    assert!(begun.is_some(), "nothing is received:\n{}", server.log());
    connection
}

#[test]
fn uploads_under_way_are_counted_too() {
    let keystone = limits(&[("image_count_uploading", 2)]);
    let server = Server::with_config(&keystone.limits_config());
    let images: Vec<String> = (0..3).map(|_| server.queued()).collect();
    let mut running: Vec<Connection> = images[..2].iter().map(|id| begin(&server, id, b"data")).collect();
    let over = "image_count_uploading is over limit of 2 due to current usage 3 and delta 0";
    for path in ["file", "stage"] {
        let path = format!("/v2/images/{}/{path}", images[2]);
        let refused = server.request("PUT", &path, &[("Content-Type", OCTETS)], Some(b"x")).expect(413);
        assert!(words(&refused).contains(over), "{}", refused.text());
    }
    assert_eq!(server.show(&images[2])["status"], "queued");
    assert_eq!(usage(&server, "image_count_uploading"), json!({"usage": 2, "limit": 2}));
    let mut one = running.remove(0);
    one.send(b"0\r\n\r\n").expect("sending");
    one.response("PUT").expect("an answer").expect(204);
    server.upload(&images[2], b"x").expect(204);
}

#[test]
fn of_many_uploads_that_begin_at_a_time_as_many_go_on_as_may() {
    let keystone = limits(&[("image_count_uploading", 4)]);
    let server = Server::with_config(&keystone.limits_config());
    let images: Vec<String> = (0..CROWD).map(|_| server.queued()).collect();
    // Whoever is taken gets no answer before the end of its data.
    let running: Vec<Connection> = std::thread::scope(|scope| {
        let begin = |id: &String| {
            let mut connection = server.connect();
            connection.patience(Duration::from_secs(8));
            let headers = [("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")];
            connection.send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, None)).expect("sending");
            // Who is refused may be cut off while it sends.
            let _ = connection.send(b"4\r\ndata\r\n");
            match connection.response("PUT") {
                Ok(reply) => {
                    reply.expect(413);
                    None
                }
                Err(_) => Some(connection),
            }
        };
        let begun: Vec<_> = images.iter().map(|id| scope.spawn(move || begin(id))).collect();
        begun.into_iter().filter_map(|one| one.join().expect("no panic inside")).collect()
    });
    assert_eq!(running.len(), 4);
    assert_eq!(usage(&server, "image_count_uploading"), json!({"usage": 4, "limit": 4}));
    for mut connection in running {
        connection.patience(PATIENCE);
        connection.send(b"0\r\n\r\n").expect("sending");
        connection.response("PUT").expect("an answer").expect(204);
    }
    let active = images.iter().filter(|id| server.show(id)["status"] == "active").count();
    assert_eq!(active, 4);
    assert_eq!(usage(&server, "image_count_uploading"), json!({"usage": 0, "limit": 4}));
}

#[test]
fn reservations_outlive_control_and_end_with_the_data_plane() {
    let keystone = limits(&[("image_size_total", 4)]);
    let server = Server::with_config(&keystone.limits_config());
    let (slow, other) = (server.queued(), server.queued());
    let data = bytes(5, 3 * MIB);
    let is_full = || server.upload(&other, &bytes(6, 2 * MIB)).status == 413;
    // What is written was reserved before.
    let wait_for_data = |id: &str| {
        let written =
            || server.files_of(id).first().and_then(|file| std::fs::metadata(file).ok()).map(|file| file.len());
        let all = eventually(PATIENCE, || (written()? >= 3 * MIB as u64 - BLOCK).then_some(()));
        assert!(all.is_some(), "the data is not written:\n{}", server.log());
    };
    let mut upload = begin(&server, &slow, &data);
    wait_for_data(&slow);
    assert!(is_full(), "nothing is reserved");
    server.kill_plane("control");
    let back = eventually(PATIENCE, || (server.get("/v2/images").status == 200).then_some(()));
    assert!(back.is_some(), "control does not come back:\n{}", server.log());
    assert!(is_full(), "the reservation is lost");
    // It goes on, and reserves more.
    upload.send(format!("{:x}\r\n", MIB).as_bytes()).expect("sending");
    upload.send(&bytes(7, MIB)).expect("sending");
    upload.send(b"\r\n0\r\n\r\n").expect("sending");
    upload.response("PUT").expect("an answer").expect(204);
    assert_eq!(usage(&server, "image_size_total"), json!({"usage": 4, "limit": 4}));
    server.delete(&format!("/v2/images/{slow}")).expect(204);

    let slow = server.queued();
    let _upload = begin(&server, &slow, &data);
    wait_for_data(&slow);
    assert!(is_full(), "nothing is reserved");
    server.kill_plane("dataplane");
    let freed = eventually(PATIENCE, || {
        let mut connection = Connection::try_open(server.address).ok()?;
        let path = format!("/v2/images/{other}/file");
        let reply = connection.request("PUT", &path, &[("Content-Type", OCTETS)], Some(&bytes(6, 2 * MIB))).ok()?;
        (reply.status == 204).then_some(())
    });
    assert!(freed.is_some(), "the reservation stays:\n{}", server.log());
    server.assert_queued_without_bytes(&slow);
}

#[test]
fn without_keystone_nothing_is_taken() {
    let keystone = limits(&[]);
    let config = keystone.limits_config();
    let (dead, right) = (crate::harness::server::free_port(), config.clone());
    let address = right.lines().find_map(|line| line.strip_prefix("auth_url = ")).expect("an address").to_owned();
    let server = Server::with_config(&config.replace(&address, &format!("http://127.0.0.1:{dead}")));
    let refused = server.send_json("POST", "/v2/images", &json!({})).expect(503);
    assert!(refused.header("retry-after").is_some() && !refused.text().contains("127.0.0.1"), "{}", refused.text());
    server.get("/v2/info/usage").expect(503);
    server.get("/v2/images").expect(200);
    let list = server.get("/v2/images").json();
    assert_eq!(list["images"], json!([]));
}
