//! HTTP-D05, D06 and D10: more than there is room for, on either listener, and machines that run out.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{assert_no_panic, open_descriptors, sockets};
use crate::harness::client::head;
use crate::harness::data::bytes;
use crate::harness::server::{OCTETS, Options};
use crate::harness::{Connection, Server, eventually};

/// How long the server may take to notice what changed.
const SOON: Duration = Duration::from_secs(10);

fn admin(server: &Server, path: &str) -> (u16, String) {
    let reply = Connection::open(server.admin).request("GET", path, &[], None).expect("an answer");
    (reply.status, reply.text())
}

/// The sum of a metric over its labels.
fn metric(server: &Server, name: &str) -> f64 {
    let text = admin(server, "/metrics").1;
    let values = text
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// A download that is begun and then not read, by a client whose window is as small as can be.
fn stalled(server: &Server, id: &str) -> TcpStream {
    let mut stream = sockets::connect_with_small_window(server.address);
    stream.write_all(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
    stream
}

/// A document that never comes whole.
const BODY: &[u8] = b"POST /v2/images HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";

#[test]
fn http_d05_more_connections_than_places() {
    let server = Server::with_config("[dataplane]\nmax_connections = 64\n");
    let data = bytes(51, 32 << 20);
    let id = server.active(&data);
    let mut download = server.connect();
    download.send(&head("GET", &format!("/v2/images/{id}/file"), &[], None)).expect("sending");
    download.read_head().expect("an answer").expect(200);
    // Four storms: connections that say nothing, that begin a head, that begin a body, and that are kept after a request.
    let mut held = Vec::new();
    for part in [&b""[..], b"GET /v2/images HTTP/1.1\r\nHost: lo", BODY, b"GET /versions HTTP/1.1\r\nHost: a\r\n\r\n"] {
        for _ in 0..300 {
            let mut stream = sockets::connect(server.address);
            let _ = stream.write_all(part);
            held.push(stream);
        }
        // Others get in, and operators too, as soon as there are fewer requests than places.
        assert!(eventually(SOON, || try_get(&server)).is_some(), "nobody else gets in");
        for _ in 0..20 {
            server.get("/v2/images?limit=1").expect(200);
            assert_eq!(admin(&server, "/readyz").0, 200);
        }
    }
    let evicted = metric(&server, "vitrine_dataplane_connections_evicted_total");
    assert!(evicted >= 500.0, "{evicted} gave way");
    let open: f64 = metric(&server, "vitrine_dataplane_connections{");
    assert!(open <= 64.0 + 8.0, "{open} connections");
    assert!(download.take(data.len()).expect("the whole image") == data, "the transfer was disturbed");
    // Places that are busy give way to nobody: who comes then is turned away.
    let mut busy: Vec<TcpStream> = (0..80).map(|_| stalled(&server, &id)).collect();
    let refused = eventually(SOON, || {
        // Those that came at once may have pushed each other out before they were heard.
        busy.push(stalled(&server, &id));
        let _ = Connection::try_open(server.address);
        (metric(&server, "vitrine_dataplane_connections_refused_total") > 0.0).then_some(())
    });
    assert!(refused.is_some(), "nobody was turned away");
    assert_eq!(admin(&server, "/healthz").0, 200);
    drop((busy, held));
    assert!(eventually(SOON, || try_get(&server)).is_some(), "the places are free again");
    assert_no_panic(&server);
}

fn try_get(server: &Server) -> Option<()> {
    let mut connection = Connection::try_open(server.address).ok()?;
    connection.request("GET", "/v2/images?limit=1", &[], None).ok().filter(|reply| reply.status == 200).map(drop)
}

#[test]
fn http_d05_the_admin_listener_has_a_bound() {
    let server = Server::with_config("[dataplane]\nadmin_max_connections = 8\n");
    let before = open_descriptors(&server);
    let held: Vec<TcpStream> = (0..300)
        .map(|index| {
            let mut stream = sockets::connect(server.admin);
            let _ = stream.write_all(if index % 2 == 0 { b"" } else { b"GET /metrics HT" });
            stream
        })
        .collect();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(admin(&server, path).0, 200, "{path}");
    }
    let open = eventually(SOON, || Some(open_descriptors(&server)).filter(|open| *open < before + 40));
    assert!(open.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    drop(held);
    // Its answers are as well formed as the API's.
    for (method, status) in [("GET", 200), ("HEAD", 200), ("POST", 405), ("DELETE", 405)] {
        let reply = Connection::open(server.admin).request(method, "/healthz", &[], None).expect("an answer");
        assert_eq!(reply.status, status, "{method}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{method}");
        assert!(method != "HEAD" || reply.body.is_empty());
    }
    let mut connection = Connection::open(server.admin);
    connection.send(b"GET /healthz HTTP/1.1\nHost: a\n\n").expect("sending");
    assert_eq!(connection.response("GET").expect("an answer").status, 400);
}

#[test]
fn http_d05_the_socket_between_the_planes_has_a_bound() {
    let server = Server::ours(Options::default());
    let before = open_descriptors(&server);
    let path = server.data_dir().join("dataplane.sock");
    let connect = || std::os::unix::net::UnixStream::connect(&path).expect("the socket");
    let held: Vec<_> = (0..300).map(|_| connect()).collect();
    let open = eventually(SOON, || Some(open_descriptors(&server)).filter(|open| *open < before + 100));
    assert!(open.is_some(), "{} descriptors, {before} before", open_descriptors(&server));
    // Control still gets through: what is deleted is removed.
    let id = server.active(b"data");
    server.delete(&format!("/v2/images/{id}")).expect(204);
    server.assert_bytes_gone(Some(&id));
    drop(held);
}

#[test]
fn http_d06_a_huge_claim() {
    let server = Server::ours(Options::default());
    let id = server.queued();
    let before = super::resident_bytes(&server);
    let upload = |claim: usize| {
        let mut connection = server.connect();
        let headers = [("Content-Type", OCTETS), ("Expect", "100-continue")];
        connection.send(&head("PUT", &format!("/v2/images/{id}/file"), &headers, Some(claim))).expect("sending");
        connection.read_head().expect("an answer")
    };
    // More than an image may have is refused before anything is set aside for it.
    let reply = upload(1_000_000_000_000_000);
    assert!([400, 413].contains(&reply.status), "{reply:?}");
    server.assert_queued_without_bytes(&id);
    // Nor does a document's claim take anything.
    let mut connection = server.connect();
    connection.send(&head("POST", "/v2/images", &[], Some(1_000_000_000_000_000))).expect("sending");
    assert_eq!(connection.response("POST").expect("an answer").status, 413);
    let reply = server.request("GET", "/v2/images/nothing/file", &[("Content-Length", "1000000000000000")], None);
    assert!([400, 404].contains(&reply.status), "{reply:?}");
    assert!(super::resident_bytes(&server).saturating_sub(before) < 16 << 20);
}

#[test]
fn http_d10_no_descriptors_left() {
    let shell = "ulimit -n 256 && exec \"$0\" \"$@\"";
    let under = vec!["sh".into(), "-c".into(), shell.into()];
    let server = Server::ours(Options { under, ..Options::default() });
    let plane = server.wait_plane("dataplane");
    let data = bytes(52, 32 << 20);
    let id = server.active(&data);
    let before = open_descriptors(&server);
    let mut others = (0..64).map(|_| server.queued()).collect::<Vec<_>>();
    let mut busy = Vec::new();
    let unready = eventually(SOON, || {
        busy.extend((0..10).map(|_| stalled(&server, &id)));
        (admin(&server, "/readyz").0 == 503).then_some(())
    });
    assert!(unready.is_some(), "ready with {} of 256 descriptors", open_descriptors(&server));
    assert_eq!(admin(&server, "/healthz").0, 200, "alive all the time");
    // New work is turned away in so many words; what needs no file goes on.
    let refused = eventually(SOON, || {
        busy.push(stalled(&server, &id));
        let reply = Connection::open(server.address).request("GET", &format!("/v2/images/{id}/file"), &[], None);
        // One that finds nobody to give way is closed.
        reply.ok().filter(|reply| reply.status == 503)
    });
    assert!(refused.expect("a refusal").header("retry-after").is_some());
    let listed = eventually(SOON, || {
        let reply = Connection::open(server.address).request("GET", "/v2/images?limit=1", &[], None);
        reply.ok().filter(|reply| reply.status == 200)
    });
    assert!(listed.is_some());
    // At the very mark one descriptor decides, and another client may have given it back by now: an upload may be taken.
    let refused = eventually(SOON, || {
        busy.push(stalled(&server, &id));
        let other = others.pop()?;
        let path = format!("/v2/images/{other}/file");
        let reply = Connection::open(server.address).request("PUT", &path, &[("Content-Type", OCTETS)], Some(b"data"));
        reply.is_ok_and(|reply| reply.status == 503).then_some(other)
    });
    let other = refused.expect("an upload is refused as well");
    drop(busy);
    // While hundreds leave, who comes may be closed for one of them.
    let back = eventually(SOON, || {
        (admin(&server, "/readyz").0 == 200 && open_descriptors(&server) <= before + 16).then_some(())
    });
    server.assert_queued_without_bytes(&other);
    assert!(back.is_some(), "{} descriptors are still open", open_descriptors(&server));
    assert!(server.download(&id) == data);
    server.upload(&other, b"data").expect(204);
    assert_eq!(server.plane("dataplane"), Some(plane), "without a restart");
    assert_no_panic(&server);
    let complaints = server.log().matches("cannot be accepted").count();
    assert!(complaints < 10, "{complaints} lines about the same");
}

/// A server that sees a small file system of its own at `place`, and where that can be seen from outside.
fn on_small_disk(place: &Path, mebibytes: u32, config: String) -> (Server, PathBuf) {
    let mount = format!("mount -t tmpfs -o size={mebibytes}m tmpfs '{}' && exec \"$0\" \"$@\"", place.display());
    let mut under = vec!["unshare".to_owned(), "--mount".to_owned()];
    if !rustix::process::geteuid().is_root() {
        under.push("--map-root-user".to_owned());
    }
    under.extend(["sh".to_owned(), "-c".to_owned(), mount]);
    let server = Server::ours(Options { config: Some(config), under, ..Options::default() });
    let plane = server.wait_plane("dataplane").as_raw_nonzero();
    let seen = PathBuf::from(format!("/proc/{plane}/root{}", place.display()));
    (server, seen)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn http_d10_a_full_store() {
    let place = tempfile::tempdir().expect("a directory");
    let config = format!("[glance_store]\nfilesystem_store_datadir = {}\n", place.path().display());
    let (server, seen) = on_small_disk(place.path(), 24, config);
    let plane = server.wait_plane("dataplane");
    let data = bytes(53, 16 << 20);
    let first = server.active(&data);
    let second = server.queued();
    // What Glance says, with and without a length told before.
    server.upload(&second, &data).expect(413);
    server.upload_chunked(&second, &data, &[100_000]).expect(413);
    let settled = eventually(SOON, || {
        (server.show(&second)["status"] == "queued" && names(&seen) == [first.clone()]).then_some(())
    });
    assert!(settled.is_some(), "{} {:?}", server.show(&second), names(&seen));
    // Reading goes on, and writing as soon as there is room.
    assert!(server.download(&first) == data);
    server.delete(&format!("/v2/images/{first}")).expect(204);
    assert!(eventually(SOON, || names(&seen).is_empty().then_some(())).is_some());
    server.upload(&second, &data).expect(204);
    assert!(server.download(&second) == data);
    assert_eq!(server.plane("dataplane"), Some(plane), "without a restart");
    assert_no_panic(&server);
}

#[test]
fn http_d10_a_full_disk_under_the_catalog() {
    let place = tempfile::tempdir().expect("a directory");
    let store = place.path().join("store");
    let catalog = place.path().join("catalog");
    fs::create_dir_all(&store).and_then(|()| fs::create_dir_all(&catalog)).expect("directories");
    let config = format!(
        "[database]\nconnection = sqlite:///{}/vitrine.sqlite\n[glance_store]\nfilesystem_store_datadir = {}\n",
        catalog.display(),
        store.display()
    );
    let (server, seen) = on_small_disk(&catalog, 8, config);
    let planes = (server.wait_plane("control"), server.wait_plane("dataplane"));
    let id = server.active(b"data");
    let filler = seen.join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    // Sooner or later a change finds no page left; it is refused as such, again and again.
    let body = serde_json::json!({"name": "x".repeat(200), "tags": ["t"]}).to_string();
    let create = || server.request("POST", "/v2/images", &[], Some(body.as_bytes()));
    let full = (0..2000).map(|_| create().status).find(|status| *status != 201).expect("a full disk");
    assert!([500, 503].contains(&full), "{full}");
    assert_eq!(create().status, full);
    assert!(server.download(&id) == b"data", "reading goes on");
    server.get("/v2/images?limit=1").expect(200);
    fs::remove_file(&filler).expect("removed");
    assert!(eventually(SOON, || (create().status == 201).then_some(())).is_some());
    let other = server.active(b"more");
    assert_eq!(server.download(&other), b"more");
    assert_eq!(
        (server.plane("control"), server.plane("dataplane")),
        (Some(planes.0), Some(planes.1)),
        "without a restart"
    );
    assert_no_panic(&server);
}
