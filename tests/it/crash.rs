//! Planes that die: nothing acknowledged is lost, nothing half done stays.
//!
//! `VITRINE_CRASH_ROUNDS` and `VITRINE_CRASH_SEED` drive the random part ([`deaths::seed_and_rounds`]).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::client::head;
use crate::harness::data::{Random, bytes, sha512};
use crate::harness::deaths::{self, Death};
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Connection, Server, eventually};

/// Within this time after its death a plane serves again.
const RECOVERY: Duration = Duration::from_secs(1);
/// Within this time after the death of any number of planes, while uploads run.
const RECOVERY_OF_ALL: Duration = Duration::from_secs(3);
/// What recovery may take in a test that shares its processors with others.
const PATIENCE: Duration = Duration::from_secs(15);

fn ask(server: &Server, path: &str) -> Option<(u16, Option<String>)> {
    let mut connection = Connection::try_open(server.address).ok()?;
    let reply = connection.request("GET", path, &[], None).ok()?;
    Some((reply.status, reply.header("retry-after").map(str::to_owned)))
}

/// How long until the metadata API answers again.
fn recovery(server: &Server) -> Duration {
    let begun = Instant::now();
    let back = eventually(PATIENCE, || ask(server, "/v2/images").filter(|(status, _)| *status == 200));
    assert!(back.is_some(), "no recovery:\n{}", server.log());
    begun.elapsed()
}

/// Twenty downloads that have begun and are far from their end.
fn begin_downloads(server: &Server, id: &str) -> Vec<Connection> {
    let request = head("GET", &format!("/v2/images/{id}/file"), &[], None);
    let begin = |_| {
        let mut connection = server.connect();
        connection.send(&request).expect("sending");
        connection.read_head().expect("an answer").expect(200);
        connection
    };
    (0..20).map(begin).collect()
}

fn finish_downloads(downloads: Vec<Connection>, data: &[u8]) {
    for mut download in downloads {
        assert!(download.take(data.len()).expect("the whole image") == data, "wrong bytes");
    }
}

#[test]
fn downloads_outlive_control() {
    let server = Server::ours(Options::default());
    let data = bytes(1, 24 << 20);
    let id = server.active(&data);
    let downloads = begin_downloads(&server, &id);
    server.kill_plane("control");
    let took = recovery(&server);
    println!("control served again after {} ms", took.as_millis());
    assert!(took < RECOVERY, "{took:?}");
    finish_downloads(downloads, &data);
}

#[test]
fn without_control_data_flows_and_metadata_waits() {
    let server = Server::ours(Options::default());
    let data = bytes(2, 24 << 20);
    let id = server.active(&data);
    let downloads = begin_downloads(&server, &id);
    // A launcher that stands still cannot start control again: the state between is held.
    kill_process(server.launcher_pid(), Signal::STOP).expect("it runs");
    server.kill_plane("control");
    for path in ["/v2/images".to_owned(), format!("/v2/images/{id}")] {
        let (status, retry) = ask(&server, &path).expect("an answer");
        assert_eq!(status, 503, "{path}");
        let seconds: u64 = retry.expect("Retry-After").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    let mut upload = server.connect();
    let headers = [("Content-Type", OCTETS), ("Expect", "100-continue")];
    upload.send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(10))).expect("sending");
    assert_eq!(upload.response("PUT").expect("an answer").status, 503);
    // Downloads that run go on, and new ones begin.
    assert!(server.download(&id) == data);
    let part = server.request("GET", &format!("/v2/images/{id}/file"), &[("Range", "bytes=5-9")], None).expect(206);
    assert!(part.body == data[5..10]);
    server.get("/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/file").expect(404);
    let admin = Connection::open(server.admin).request("GET", "/readyz", &[], None).expect("an answer");
    assert_eq!(admin.status, 503, "not ready without control");
    finish_downloads(downloads, &data);
    kill_process(server.launcher_pid(), Signal::CONT).expect("it stands still");
    let took = recovery(&server);
    println!("control served again after {} ms", took.as_millis());
    assert!(took < RECOVERY, "{took:?}");
}

#[test]
fn an_upload_interrupted_by_a_crash_starts_afresh() {
    for victims in [&["dataplane"][..], &["control", "dataplane"]] {
        let server = Server::ours(Options::default());
        let id = server.queued();
        let mut upload = server.connect();
        let headers = [("Content-Type", OCTETS)];
        upload.send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(5_000_000))).expect("sending");
        upload.send(&bytes(3, 2_000_000)).expect("sending");
        let saving = eventually(PATIENCE, || (server.show(&id)["status"] == "saving").then_some(()));
        assert!(saving.is_some());
        for victim in victims {
            server.kill_plane(victim);
        }
        recovery(&server);
        server.assert_queued_without_bytes(&id);
        let data = bytes(4, 1_000_000);
        server.upload(&id, &data).expect(204);
        assert!(server.download(&id) == data);
    }
}

#[test]
fn an_upload_goes_on_while_control_is_replaced() {
    let server = Server::ours(Options::default());
    let data = bytes(5, 4_000_000);
    let id = server.queued();
    let mut upload = server.connect();
    let path = format!("/v2/images/{id}/file");
    upload.send(&head("PUT", &path, &[("Content-Type", OCTETS)], Some(data.len()))).expect("sending");
    upload.send(&data[..2_000_000]).expect("sending");
    let saving = eventually(PATIENCE, || (server.show(&id)["status"] == "saving").then_some(()));
    assert!(saving.is_some());
    server.kill_plane("control");
    recovery(&server);
    let _ = upload.send(&data[2_000_000..]);
    let reply = upload.response("PUT");
    // Whole or not at all, but never in between.
    if reply.as_ref().is_ok_and(|reply| reply.status == 204) {
        assert_eq!(server.show(&id)["status"], "active");
        assert!(server.download(&id) == data);
    } else {
        server.assert_queued_without_bytes(&id);
    }
}

/// What the uploads of a round know: the digest of each image whose upload was acknowledged.
type Acknowledged = Mutex<HashMap<String, String>>;

/// Creates and uploads until told to end; errors are what the test is about, and end the loop.
fn upload_until(server: &Server, seed: u64, end: &AtomicBool, acknowledged: &Acknowledged) {
    let mut random = Random::new(seed);
    let mut step = || -> Option<()> {
        let mut connection = Connection::try_open(server.address).ok()?;
        connection.patience(PATIENCE);
        let fields = json!({"disk_format": "raw", "container_format": "bare"}).to_string();
        let reply = connection.request("POST", "/v2/images", &[], Some(fields.as_bytes())).ok()?;
        let image: Value = (reply.status == 201).then(|| reply.json())?;
        let id = image["id"].as_str().expect("an id");
        let size = usize::try_from(random.below(2_000_000)).expect("fits");
        let data = bytes(random.next(), size);
        let path = format!("/v2/images/{id}/file");
        let reply = connection.request("PUT", &path, &[("Content-Type", OCTETS)], Some(&data)).ok()?;
        if reply.status == 204 {
            acknowledged.lock().expect("no panic inside").insert(id.to_owned(), sha512(&data));
        }
        Some(())
    };
    while !end.load(Ordering::Relaxed) {
        if step().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// All images, by id.
fn all_images(server: &Server) -> HashMap<String, Value> {
    let mut images = HashMap::new();
    let mut path = "/v2/images?limit=1000".to_owned();
    loop {
        let page = server.get(&path).expect(200).json();
        for image in page["images"].as_array().expect("a list") {
            images.insert(image["id"].as_str().expect("an id").to_owned(), image.clone());
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => return images,
        }
    }
}

/// What is wrong after a crash and the recovery from it; nothing, if all is well.
fn faults(server: &Server, acknowledged: &HashMap<String, String>) -> Vec<String> {
    let images = all_images(server);
    let mut faults = Vec::new();
    for (id, image) in &images {
        match image["status"].as_str() {
            Some("queued" | "active") => {}
            status => faults.push(format!("{id} is {status:?}")),
        }
    }
    for (id, digest) in acknowledged {
        match images.get(id) {
            Some(image) if image["status"] == "active" && image["os_hash_value"] == json!(digest) => {}
            other => faults.push(format!("{id} was acknowledged and is {other:?}")),
        }
    }
    for file in server.stored_files() {
        let path = file.to_string_lossy();
        let known = images.iter().any(|(id, image)| image["status"] == "active" && path.contains(id.as_str()));
        if !known {
            faults.push(format!("{path} belongs to no active image"));
        }
    }
    faults
}

#[test]
fn crashes_at_random_instants_lose_and_leave_nothing() {
    let (seed, rounds) = deaths::seed_and_rounds();
    let mut random = Random::new(seed);
    let mut server = Server::ours(Options::default());
    let mut total = 0;
    for round in 0..rounds {
        let acknowledged = Acknowledged::default();
        let end = AtomicBool::new(false);
        let instant = Duration::from_micros(random.below(400_000));
        let death = Death::at_random(&mut random);
        let seeds: Vec<u64> = (0..4).map(|_| random.next()).collect();
        std::thread::scope(|scope| {
            let (server, end, acknowledged) = (&server, &end, &acknowledged);
            for seed in seeds {
                scope.spawn(move || upload_until(server, seed, end, acknowledged));
            }
            std::thread::sleep(instant);
            death.strike(server);
            end.store(true, Ordering::Relaxed);
        });
        death.is_over(&mut server);
        let took = recovery(&server);
        let acknowledged = acknowledged.into_inner().expect("no panic inside");
        total += acknowledged.len();
        let clean = eventually(PATIENCE, || faults(&server, &acknowledged).is_empty().then_some(()));
        let context = format!("seed {seed}, round {round}, {death:?}, after {instant:?}");
        assert!(took < RECOVERY_OF_ALL, "{context}: served again after {took:?}\n{}", server.log());
        assert!(clean.is_some(), "{context}: {:#?}\n{}", faults(&server, &acknowledged), server.log());
        for (id, digest) in &acknowledged {
            assert_eq!(sha512(&server.download(id)), *digest, "{context}: {id}");
        }
        for id in all_images(&server).keys() {
            server.delete(&format!("/v2/images/{id}")).expect(204);
        }
        server.assert_bytes_gone(None);
    }
    println!("{rounds} crashes, {total} acknowledged uploads, nothing lost");
    assert!(total > 0, "no upload was ever acknowledged");
}
