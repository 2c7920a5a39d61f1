//! What every store does, whatever its kind: the same tests for each driver, on its real server. Each ends by looking that nothing is
//! left behind.
//!
//! What a store cannot do it says itself (`read-only`); the http store, to which nothing can be written, has `http_store.rs`.

mod rbd;
mod rbd_faults;

use std::sync::RwLockReadGuard;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::ceph::Ceph;
use crate::harness::client::head;
use crate::harness::data::{bytes, md5};
use crate::harness::server::OCTETS;
use crate::harness::{Server, eventually};

/// What may take so long where processors are shared with others.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store under test.
pub(crate) enum Backend {
    File(TempDir),
    Rbd { ceph: &'static Ceph, pool: String, _peace: RwLockReadGuard<'static, ()> },
}

impl Backend {
    fn file() -> Self {
        Backend::File(tempfile::tempdir().expect("a directory"))
    }

    fn rbd() -> Self {
        let (ceph, peace) = Ceph::shared();
        Backend::Rbd { ceph, pool: ceph.pool(), _peace: peace }
    }

    /// Its kind and its options.
    fn options(&self) -> (&'static str, String) {
        match self {
            Backend::File(dir) => ("file", format!("filesystem_store_datadir = {}\n", dir.path().display())),
            Backend::Rbd { ceph, pool, .. } => ("rbd", rbd_options(ceph, pool)),
        }
    }

    /// A server whose store `one` this is.
    fn server(&self, dataplane: &str) -> Server {
        let (kind, options) = self.options();
        Server::with_config(&format!(
            "[DEFAULT]\nenabled_backends = one:{kind}\nshow_multiple_locations = true\n[glance_store]\ndefault_backend = one\n\
             [one]\n{options}[dataplane]\nrbd_timeout_seconds = 10\n{dataplane}"
        ))
    }

    /// What lies there.
    fn objects(&self) -> Vec<String> {
        match self {
            Backend::File(dir) => {
                let entries = std::fs::read_dir(dir.path()).expect("the directory");
                entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
            }
            Backend::Rbd { ceph, pool, .. } => ceph.objects(pool),
        }
    }

    /// Nothing comes to lie there.
    #[track_caller]
    fn assert_empty(&self, server: &Server) {
        let empty = eventually(PATIENCE, || self.objects().is_empty().then_some(()));
        assert!(empty.is_some(), "left behind: {:?}\n{}", self.objects(), server.log());
    }

    /// Puts something where the data of the image `id` would go.
    fn occupy(&self, id: &str) {
        match self {
            Backend::File(dir) => std::fs::write(dir.path().join(id), b"of somebody else").expect("writes"),
            Backend::Rbd { ceph, pool, .. } => drop(ceph.rbd(&["create", "--size", "1", &format!("{pool}/{id}")])),
        }
    }

    /// Takes it away again; it must still be there.
    fn vacate(&self, id: &str) {
        match self {
            Backend::File(dir) => {
                assert_eq!(std::fs::read(dir.path().join(id)).expect("still there"), b"of somebody else");
                std::fs::remove_file(dir.path().join(id)).expect("removes");
            }
            Backend::Rbd { ceph, pool, .. } => drop(ceph.rbd(&["rm", &format!("{pool}/{id}")])),
        }
    }
}

/// Options of a store in `pool`.
fn rbd_options(ceph: &Ceph, pool: &str) -> String {
    format!(
        "rbd_store_ceph_conf = {}\nrbd_store_user = glance\nrbd_store_pool = {pool}\nrbd_store_chunk_size = 1\n",
        ceph.conf().display()
    )
}

#[track_caller]
fn delete(server: &Server, id: &str) {
    server.delete(&format!("/v2/images/{id}")).expect(204);
}

/// The image is `queued` again.
#[track_caller]
fn assert_queued(server: &Server, id: &str) {
    let back = eventually(PATIENCE, || (server.show(id)["status"] == "queued").then_some(()));
    assert!(back.is_some(), "{}\n{}", server.show(id), server.log());
}

/// Data comes back as it was sent, whole and in ranges, of whatever size, known or not.
fn data_comes_back(backend: &Backend) {
    let server = backend.server("");
    const BUFFER: usize = 256 * 1024;
    for (seed, size) in
        [0, 1, 4095, BUFFER - 1, BUFFER, 4 * BUFFER + 1, 16 * BUFFER, 21 * BUFFER + 77].into_iter().enumerate()
    {
        let data = bytes(100 + seed as u64, size);
        for known in [true, false] {
            let id = server.queued();
            match known {
                true => server.upload(&id, &data).expect(204),
                false => server.upload_chunked(&id, &data, &[100_000, 7]).expect(204),
            };
            let image = server.show(&id);
            assert_eq!((&image["size"], &image["checksum"]), (&json!(size), &json!(md5(&data))), "{image}");
            assert_eq!(image["locations"][0]["metadata"], json!({"store": "one"}));
            assert!(server.download(&id) == data, "{size} bytes, known: {known}");
            let ranges: &[(usize, usize)] = &[(0, 1), (1, size), (size / 2, size), (size.saturating_sub(1), size)];
            for (from, to) in ranges.iter().filter(|(from, to)| from < to && *to <= size) {
                let range = format!("bytes={from}-{}", to - 1);
                let part =
                    server.request("GET", &format!("/v2/images/{id}/file"), &[("Range", &range)], None).expect(206);
                assert!(part.body == data[*from..*to], "{range} of {size}");
            }
            delete(&server, &id);
        }
    }
    backend.assert_empty(&server);
}

/// Zeros between data come back, wherever they are.
fn zeros_come_back(backend: &Backend) {
    let server = backend.server("");
    let mut data = vec![0; 90 << 20];
    data[20 << 20..(20 << 20) + 3].copy_from_slice(b"abc");
    data[(65 << 20) - 1] = 1;
    let id = server.active(&data);
    assert!(server.download(&id) == data);
    let part =
        server.request("GET", &format!("/v2/images/{id}/file"), &[("Range", "bytes=5-90000000")], None).expect(206);
    assert!(part.body == data[5..90_000_001]);
    delete(&server, &id);
    backend.assert_empty(&server);
}

/// Uploads that are not what they say, or end early, leave nothing.
fn bad_uploads_leave_nothing(backend: &Backend) {
    let server = backend.server("");
    let id = server.queued();
    let file = format!("/v2/images/{id}/file");
    let data = bytes(111, 6 << 20);
    let longer = [("Content-Type", OCTETS), ("x-openstack-image-size", "7000000")];
    server.request("PUT", &file, &longer, Some(&data)).expect(400);
    assert_queued(&server, &id);
    // A client that goes away.
    let mut upload = server.connect();
    upload.send(&head("PUT", &file, &[("Content-Type", OCTETS)], Some(20 << 20))).expect("sending");
    upload.send(&data).expect("sending");
    let saving = eventually(PATIENCE, || (server.show(&id)["status"] == "saving").then_some(()));
    assert!(saving.is_some());
    drop(upload);
    assert_queued(&server, &id);
    backend.assert_empty(&server);
    // An image that is deleted meanwhile.
    let mut upload = server.connect();
    upload.send(&head("PUT", &file, &[("Content-Type", OCTETS)], Some(20 << 20))).expect("sending");
    upload.send(&data).expect("sending");
    let saving = eventually(PATIENCE, || (server.show(&id)["status"] == "saving").then_some(()));
    assert!(saving.is_some());
    delete(&server, &id);
    backend.assert_empty(&server);
}

/// What lies at the place already stays, and is nobody's to remove.
fn what_is_there_stays(backend: &Backend) {
    let server = backend.server("");
    let id = server.queued();
    backend.occupy(&id);
    for _ in 0..2 {
        server.upload(&id, b"data").expect(409);
        assert_queued(&server, &id);
    }
    backend.vacate(&id);
    server.upload(&id, b"data").expect(204);
    delete(&server, &id);
    backend.assert_empty(&server);
}

/// A store that fails at any of its calls is an answer of 5xx, or a broken connection, and leaves nothing.
fn faults_leave_nothing(backend: &Backend) {
    let data = bytes(112, 9 << 20);
    for (fault, status) in [
        ("one:create:1:fail", 500),
        ("one:create:1:full", 413),
        ("one:create:1:away", 503),
        ("one:write:1:fail", 500),
        ("one:write:20:fail", 500),
        ("one:write:20:full", 413),
        ("one:commit:1:fail", 500),
        ("one:commit:1:away", 503),
    ] {
        let server = backend.server(&format!("store_faults = {fault}\n"));
        let id = server.queued();
        let reply = server.upload(&id, &data);
        assert_eq!(reply.status, status, "{fault}: {}", reply.text());
        assert!(!reply.text().contains("injected"), "{}", reply.text());
        assert_queued(&server, &id);
        backend.assert_empty(&server);
    }
    let server = backend.server("store_faults = one:open:2:fail, one:remove:2:fail\n");
    let id = server.active(&data);
    let file = format!("/v2/images/{id}/file");
    server.get(&file).expect(200);
    server.get(&file).expect(500);
    // A removal that fails is tried again.
    let other = server.active(&data);
    delete(&server, &id);
    delete(&server, &other);
    backend.assert_empty(&server);
}

/// An image that is deleted while it is downloaded comes whole, or the connection breaks: it never is another.
fn deletion_breaks_no_download(backend: &Backend) {
    let server = backend.server("");
    let data = bytes(113, 64 << 20);
    let id = server.active(&data);
    let mut download = server.connect();
    download.send(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
    download.read_head().expect("an answer").expect(200);
    delete(&server, &id);
    backend.assert_empty(&server);
    match download.take(data.len()) {
        Ok(got) => assert!(got == data, "wrong bytes"),
        Err(error) => println!("cut: {error}"),
    }
}

/// Processes that die at any instant leave nothing.
fn crashes_leave_nothing(backend: &Backend) {
    let mut server = backend.server("");
    let data = bytes(114, 12 << 20);
    for pause in [0, 15, 40, 80, 120, 180, 260] {
        let id = server.queued();
        let mut upload = server.connect();
        upload
            .send(&head("PUT", &format!("/v2/images/{id}/file"), &[("Content-Type", OCTETS)], Some(data.len())))
            .expect("sending");
        let sent = upload.send(&data);
        std::thread::sleep(Duration::from_millis(pause));
        server.kill_all();
        drop((sent, upload));
        server.launch();
        let settled = eventually(PATIENCE, || {
            let status = server.show(&id)["status"].clone();
            (status == "queued" || status == "active").then_some(status)
        });
        match settled {
            Some(status) if status == "active" => {
                assert!(server.download(&id) == data);
                delete(&server, &id);
                // Also a deletion is cut short.
                std::thread::sleep(Duration::from_millis(pause / 8));
                server.kill_all();
                server.launch();
            }
            Some(_) => delete(&server, &id),
            None => panic!("{}\n{}", server.show(&id), server.log()),
        }
        backend.assert_empty(&server);
    }
}

macro_rules! suite {
    ($($kind:ident $needs:tt: $make:expr => [$($case:ident),* $(,)?];)*) => {
        $(mod $kind {
            use super::Backend;
            $(#[test]
            #$needs
            fn $case() {
                super::$case(&$make);
            })*
        })*
    };
}

suite! {
    on_files [cfg(all())]: Backend::file() => [
        data_comes_back, zeros_come_back, bad_uploads_leave_nothing, what_is_there_stays, faults_leave_nothing,
        deletion_breaks_no_download, crashes_leave_nothing,
    ];
    on_rbd [cfg(feature = "installed")]: Backend::rbd() => [
        data_comes_back, zeros_come_back, bad_uploads_leave_nothing, what_is_there_stays, faults_leave_nothing,
        deletion_breaks_no_download, crashes_leave_nothing,
    ];
}

/// A location of an image, by its store.
fn location<'i>(image: &'i Value, store: &str) -> &'i Value {
    let locations = image["locations"].as_array().expect("shown");
    locations.iter().find(|location| location["metadata"]["store"] == store).expect("a location there")
}
