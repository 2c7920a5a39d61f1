//! What happens to a cluster, and to images in it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use super::rbd::two_stores;
use super::{PATIENCE, assert_queued, delete};
use crate::harness::ceph::Ceph;
use crate::harness::client::{Connection, head};
use crate::harness::data::bytes;
use crate::harness::{Server, eventually};

/// What uploads into the default store say of themselves, and into the other one.
const DEFAULT: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];
const FAST: [(&str, &str); 2] = [DEFAULT[0], ("x-image-meta-store", "fast")];

/// A server that gives up soon, and looks soon for what it has to undo.
const IMPATIENT: &str = "rbd_timeout_seconds = 3\n[control]\nreap_interval_seconds = 1\nrpc_timeout_seconds = 4\n";

/// Longest answer where the cluster gives none, with what else processors have to do.
const BOUND: Duration = Duration::from_secs(30);

fn file_of(id: &str) -> String {
    format!("/v2/images/{id}/file")
}

/// An upload of `size` bytes, of which `data` are sent.
fn begin_upload(server: &Server, id: &str, size: usize, data: &[u8]) -> Connection {
    let mut upload = server.connect();
    upload.send(&head("PUT", &file_of(id), &DEFAULT, Some(size))).expect("sending");
    upload.send(data).expect("sending");
    upload
}

/// The store of files works meanwhile, and at once.
#[track_caller]
fn assert_others_work(server: &Server, data: &[u8]) {
    let begun = Instant::now();
    let id = server.queued();
    server.request("PUT", &file_of(&id), &FAST, Some(data)).expect(204);
    assert!(server.download(&id) == data);
    delete(server, &id);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// The address of whoever writes an image.
fn writer_of(ceph: &Ceph, pool: &str, id: &str) -> String {
    let writer = eventually(PATIENCE, || {
        let name = ceph.images(pool).into_iter().find(|name| name.contains(id))?;
        let status = ceph.rbd_json(&["status", &format!("{pool}/{name}")]);
        status["watchers"][0]["address"].as_str().map(str::to_owned)
    });
    writer.expect("one who writes")
}

#[track_caller]
fn assert_nothing_left(ceph: &Ceph, pool: &str) {
    let left = || ceph.objects(pool);
    assert!(eventually(PATIENCE, || left().is_empty().then_some(())).is_some(), "{:?}", left());
}

#[test]
#[cfg(feature = "installed")]
fn a_cluster_that_hangs_holds_up_nobody_and_comes_back() {
    let (ceph, _alone) = Ceph::alone();
    let pool = ceph.pool();
    let mut server = two_stores(ceph, &pool, IMPATIENT);
    let data = bytes(124, 8 << 20);
    let slow = server.active(&data);
    let fast = server.queued();
    server.request("PUT", &file_of(&fast), &FAST, Some(&data)).expect(204);
    let queued = server.queued();
    let mut upload = begin_upload(&server, &queued, 64 << 20, &data);
    let hanging = ceph.hang();
    let file = file_of(&slow);
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let mut connection = server.connect();
            connection.send(&head("GET", &file, &[], None)).expect("sending");
            connection
        })
        .collect();
    // Enough to fill the threads of the cluster, and those of nobody else.
    for _ in 0..20 {
        assert!(server.download(&fast) == data);
        assert_others_work(&server, &data);
    }
    for mut connection in waiting {
        let reply = connection.response("GET").expect("an answer");
        assert_eq!(reply.status, 503, "{}", reply.text());
    }
    let _ = upload.send(&vec![1; 56 << 20]);
    let reply = upload.response("PUT");
    assert!(reply.as_ref().map_or(true, |reply| reply.status == 503), "{reply:?}");
    assert_eq!(server.show(&slow)["status"], json!("active"));
    drop(hanging);
    let back = eventually(PATIENCE, || (server.get(&file).status == 200).then_some(()));
    assert!(back.is_some(), "{}", server.log());
    assert!(server.download(&slow) == data);
    // A client that the cluster locks out comes again as another one.
    let addresses = ceph.rbd_json(&["status", &format!("{pool}/{slow}")]);
    assert_eq!(addresses["watchers"], json!([]), "who reads keeps nobody from deleting: {addresses}");
    let upload_id = server.queued();
    let mut upload = begin_upload(&server, &upload_id, 64 << 20, &data);
    ceph.ceph(&["osd", "blocklist", "add", &writer_of(ceph, &pool, &upload_id)]);
    let _ = upload.send(&vec![1; 56 << 20]);
    assert!(upload.response("PUT").map_or(true, |reply| reply.status >= 500));
    let back = eventually(PATIENCE, || (server.get(&file).status == 200).then_some(()));
    assert!(back.is_some(), "{}", server.log());
    // Operations that librbd forgot keep their image open; what they leave is removed after the next start at the latest.
    server.kill_all();
    server.launch();
    assert_queued(&server, &queued);
    assert_queued(&server, &upload_id);
    for id in [slow, fast] {
        delete(&server, &id);
    }
    assert_nothing_left(ceph, &pool);
}

#[test]
#[cfg(feature = "installed")]
fn an_osd_that_restarts_disturbs_no_transfer() {
    let (ceph, _alone) = Ceph::alone();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, "rbd_timeout_seconds = 60\n");
    let data = bytes(131, 24 << 20);
    let (stored, queued) = (server.active(&data), server.queued());
    let mut download = server.connect();
    download.send(&head("GET", &file_of(&stored), &[], None)).expect("sending");
    let mut upload = begin_upload(&server, &queued, data.len(), &data[..8 << 20]);
    ceph.restart_osd();
    upload.send(&data[8 << 20..]).expect("sending");
    upload.response("PUT").expect("an answer").expect(204);
    assert!(download.response("GET").expect("an answer").body == data);
    assert!(server.download(&queued) == data);
    for id in [stored, queued] {
        delete(&server, &id);
    }
    assert_nothing_left(ceph, &pool);
}

#[test]
#[cfg(feature = "installed")]
fn a_full_cluster_takes_nothing_and_recovers() {
    let (ceph, _alone) = Ceph::alone();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, IMPATIENT);
    let data = bytes(132, 8 << 20);
    let (stored, begun, late) = (server.active(&data), server.queued(), server.queued());
    let mut upload = begin_upload(&server, &begun, 24 << 20, &data);
    let full = ceph.fill();
    let asked = Instant::now();
    let _ = upload.send(&data);
    let _ = upload.send(&data);
    // It may be closed before all was sent.
    let reply = upload.response("PUT");
    assert!(reply.as_ref().map_or(true, |reply| reply.status == 413), "{reply:?}");
    server.request("PUT", &file_of(&late), &DEFAULT, Some(&data)).expect(413);
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    assert!(server.download(&stored) == data, "what is there can be read");
    assert_others_work(&server, &data);
    assert_queued(&server, &late);
    // Ceph 16 removes nothing either: that is done later.
    delete(&server, &stored);
    drop(full);
    assert_queued(&server, &begun);
    let again = eventually(PATIENCE, || {
        (server.request("PUT", &file_of(&late), &DEFAULT, Some(&data)).status == 204).then_some(())
    });
    assert!(again.is_some(), "{}", server.log());
    assert!(server.download(&late) == data);
    delete(&server, &late);
    assert_nothing_left(ceph, &pool);
}

#[test]
#[cfg(feature = "installed")]
fn a_revoked_key_is_an_error_and_a_new_one_is_taken() {
    let (ceph, _alone) = Ceph::alone();
    let pool = ceph.pool();
    let keyring = ceph.file("client.leaver.keyring");
    let keyring = keyring.to_str().expect("plain");
    let rights = ["auth", "get-or-create", "client.leaver", "mon", "profile rbd", "osd", "profile rbd", "-o", keyring];
    ceph.ceph(&rights);
    let mut server = two_stores(ceph, &pool, &format!("{IMPATIENT}[ceph]\nrbd_store_user = leaver\n"));
    let data = bytes(133, 8 << 20);
    let (stored, queued) = (server.active(&data), server.queued());
    let mut upload = begin_upload(&server, &queued, 24 << 20, &data);
    let address = writer_of(ceph, &pool, &queued);
    // A ticket that is out is good for hours: whoever revokes a key locks its clients out too.
    ceph.ceph(&["auth", "del", "client.leaver"]);
    ceph.ceph(&["osd", "blocklist", "add", &address]);
    let _ = upload.send(&data);
    let _ = upload.send(&data);
    assert!(upload.response("PUT").map_or(true, |reply| reply.status >= 500));
    for _ in 0..3 {
        let asked = Instant::now();
        let reply = server.get(&file_of(&stored));
        assert!(reply.status >= 500 && asked.elapsed() < BOUND, "{}: {:?}", reply.text(), asked.elapsed());
        assert_others_work(&server, &data);
    }
    assert_eq!(server.show(&stored)["status"], json!("active"));
    ceph.ceph(&rights);
    let back = eventually(2 * PATIENCE, || (server.get(&file_of(&stored)).status == 200).then_some(()));
    assert!(back.is_some(), "{}", server.log());
    assert!(server.download(&stored) == data);
    // Operations that librbd forgot keep their image open; what they leave is removed after the next start at the latest.
    server.kill_all();
    server.launch();
    assert_queued(&server, &queued);
    delete(&server, &stored);
    assert_nothing_left(ceph, &pool);
}

/// librbd 16 on two threads looks at an image that is closed already where one of them loses its processor at the wrong moment: the process
/// dies of it, or some later read never ends. On one thread it hangs where it waits for the cluster on that thread.
#[test]
#[cfg(feature = "installed")]
fn a_busy_machine_loses_no_answer() {
    let (ceph, _alone) = Ceph::alone();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, "");
    let sizes = [1000, 300_000, 1 << 20, 5 << 20, 10 << 20];
    let images: Vec<_> =
        (140..).zip(sizes).map(|(seed, size)| bytes(seed, size)).map(|data| (server.active(&data), data)).collect();
    let stop = AtomicBool::new(false);
    let (stop, server_of_all, images_of_all) = (&stop, &server, &images);
    let ended: Vec<_> = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || while !stop.load(Relaxed) {});
        }
        let reader = |first: usize| {
            move || {
                for turn in first..first + 60 {
                    let (id, data) = &images_of_all[turn % images_of_all.len()];
                    if turn % 7 == 0 {
                        let mut hasty = server_of_all.connect();
                        hasty.send(&head("GET", &file_of(id), &[], None)).expect("sending");
                        hasty.fill().expect("the beginning");
                        continue;
                    }
                    assert!(server_of_all.download(id) == *data);
                }
            }
        };
        let readers: Vec<_> = (0..8).map(|first| scope.spawn(reader(first))).collect();
        let ended = readers.into_iter().map(|reader| reader.join()).collect();
        stop.store(true, Relaxed);
        ended
    });
    assert!(ended.iter().all(Result::is_ok), "{}", server.log());
    // As many removals at a time as may be.
    std::thread::scope(|scope| {
        for (id, _) in &images {
            scope.spawn(|| delete(&server, id));
        }
    });
    assert_nothing_left(ceph, &pool);
}
