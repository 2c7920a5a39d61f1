//! The http store: images whose data lies on other servers, and `POST /v2/images/{image}/locations`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::Response;
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::origin::{Bait, Origin, Wire, whole};
use crate::harness::tasks::{PATIENCE, last_task as task};
use crate::harness::{Server, eventually};

/// Users may name this machine, and failures are told after a second.
const OPEN: &str = "[import_filtering_opts]\nallowed_hosts = [127.0.0.1]\nallowed_ports = []\n\
    [dataplane]\nfetch_answer_timeout_seconds = 1\n";

/// A server with the stores `fast`, of files, and `web`.
fn server(home: &Path, more: &str) -> Server {
    Server::with_config(&format!(
        "[DEFAULT]\nenabled_backends = fast:file, web:http\n{more}\n[glance_store]\ndefault_backend = fast\n\
         [fast]\nfilesystem_store_datadir = {}\n[web]\nstore_description = of others\n{OPEN}",
        home.display()
    ))
}

/// A server that knows ranges.
fn with_ranges(data: Vec<u8>) -> Origin {
    Origin::start(move |request, wire| {
        let range = request.lines().find_map(|line| line.strip_prefix("Range: bytes=")?.split_once('-'));
        match range {
            None => whole(wire, &data),
            Some((first, last)) => {
                let (first, last): (usize, usize) = (first.parse().expect("a number"), last.parse().expect("a number"));
                let part = &data[first..=last];
                let _ = write!(
                    wire,
                    "HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n\r\n",
                    data.len(),
                    part.len()
                );
                let _ = wire.write_all(part);
            }
        }
    })
}

fn add(server: &Server, id: &str, body: &Value) -> Response {
    server.send_json("POST", &format!("/v2/images/{id}/locations"), body)
}

#[track_caller]
fn located(server: &Server, url: &str) -> String {
    let id = server.queued();
    let reply = add(server, &id, &json!({"url": url})).expect(202);
    assert!(reply.body.is_empty());
    let task = task(server, &id);
    assert_eq!((&task["status"], &task["type"]), (&json!("success"), &json!("location_import")), "{task}");
    id
}

#[test]
fn an_image_may_lie_with_others() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "");
    let stores = server.get("/v2/info/stores").json();
    assert_eq!(stores["stores"][1], json!({"id": "web", "description": "of others", "read-only": "true"}));
    let detail = server.get("/v2/info/stores/detail").json();
    assert_eq!((&detail["stores"][1]["type"], &detail["stores"][1]["properties"]), (&json!("http"), &json!({})));

    let data = bytes(31, 1_500_001);
    let origin = with_ranges(data.clone());
    let id = located(&server, &origin.url("/image?x=y"));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())), "{image}");
    assert_eq!((&image["checksum"], &image["os_hash_value"]), (&json!(md5(&data)), &json!(sha512(&data))), "{image}");
    assert_eq!(image["stores"], json!("web"));
    assert!(image.get("os_glance_import_task").is_none(), "{image}");
    assert!(server.download(&id) == data);
    let file = format!("/v2/images/{id}/file");
    let reply = server.request("GET", &file, &[("Range", "bytes=700000-700099")], None).expect(206);
    assert!(reply.body == data[700_000..700_100]);
    assert!(origin.requests().last().is_some_and(|request| request.contains("Range: bytes=700000-700099")));
    server.request("GET", &file, &[("Range", "bytes=9999999-")], None).expect(416);
    assert_eq!(
        server.get(&format!("/v2/images/{id}/locations")).json(),
        json!([
            {"url": origin.url("/image?x=y"), "metadata": {"store": "web"}}
        ])
    );

    // Into a store of ours, from there.
    let body = json!({"method": {"name": "copy-image"}, "stores": ["fast"]});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"));
    let asked = origin.requests().len();
    assert!(server.get(&format!("{file}?prefer=fast")).expect(200).body == data);
    assert_eq!(origin.requests().len(), asked);
    server.delete(&format!("/v2/images/{id}")).expect(204);
    assert_eq!(origin.requests().len(), asked, "what is theirs stays theirs");
}

#[test]
fn servers_need_not_know_ranges_and_break_off_at_times() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "");
    let data = bytes(32, 900_000);
    let (sent, gone, short) = (data.clone(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_gone, is_short) = (Arc::clone(&gone), Arc::clone(&short));
    let origin = Origin::start(move |_, wire: &mut dyn Wire| {
        if is_gone.load(Ordering::Relaxed) {
            let _ = wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        } else if is_short.load(Ordering::Relaxed) {
            let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
            let _ = wire.write_all(&sent[..500_000]);
        } else {
            whole(wire, &sent);
        }
    });
    let id = located(&server, &origin.url("/"));
    let file = format!("/v2/images/{id}/file");
    let reply = server.request("GET", &file, &[("Range", "bytes=600000-600009")], None).expect(206);
    assert!(reply.body == data[600_000..600_010]);
    assert!(server.request("GET", &file, &[("Range", "bytes=-5")], None).expect(206).body == data[899_995..]);

    short.store(true, Ordering::Relaxed);
    let mut connection = server.connect();
    assert!(connection.request("GET", &file, &[], None).is_err(), "a body that is not whole must not look whole");
    gone.store(true, Ordering::Relaxed);
    server.get(&file).expect(204);
    drop(origin);
    assert_eq!(server.show(&id)["status"], json!("active"));
}

#[test]
fn what_the_data_must_be_is_verified() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "");
    let data = bytes(33, 300_000);
    let origin = with_ranges(data.clone());
    let with = |value: &str| json!({"url": origin.url("/"), "validation_data": {"os_hash_algo": "sha512", "os_hash_value": value}});
    let id = server.queued();
    add(&server, &id, &with(&sha512(b"something else"))).expect(202);
    let task_of = task(&server, &id);
    assert_eq!(task_of["status"], json!("failure"));
    assert!(task_of["message"].as_str().is_some_and(|text| text.contains("not matched with actual os_hash_value")));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"], &image["checksum"]), (&json!("queued"), &Value::Null, &Value::Null));
    assert_eq!(server.get(&format!("/v2/images/{id}/locations")).json(), json!([]));
    // It can be tried again.
    add(&server, &id, &with(&sha512(&data))).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["os_hash_value"]), (&json!("active"), &json!(sha512(&data))));
    add(&server, &id, &with(&sha512(&data))).expect(409);
}

#[test]
fn without_reading_the_word_of_the_client_counts() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "do_secure_hash = false");
    let origin = with_ranges(bytes(34, 1000));
    let id = server.queued();
    let value = sha512(b"whatever");
    let body = json!({"url": origin.url("/"), "validation_data": {"os_hash_algo": "sha512", "os_hash_value": value}});
    add(&server, &id, &body).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"));
    let image = server.show(&id);
    assert_eq!(
        (&image["status"], &image["os_hash_value"], &image["size"]),
        (&json!("active"), &json!(value), &json!(1000))
    );
    assert_eq!(origin.requests().len(), 1, "its size was asked for, no more");
}

#[test]
fn locations_that_lead_nowhere_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "show_multiple_locations = true\nhttp_retries = 0");
    let id = server.queued();
    for url in ["http://127.0.0.2/", "http://169.254.169.254/x", "https://user:secret@127.0.0.1/"] {
        let text = add(&server, &id, &json!({"url": url})).expect(400).text();
        assert!(text.contains(&format!("URI for add location does not pass filtering: {url}")), "{text}");
        let patch = json!([{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}]);
        let text = server.patch(&format!("/v2/images/{id}"), &patch).expect(400).text();
        assert!(text.contains("Invalid location"), "{text}");
    }
    add(&server, &id, &json!({"url": "rbd://a/b/c/d"})).expect(403);
    add(&server, &id, &json!({"url": "file:///etc/passwd"})).expect(403);
    let upload = server.request(
        "PUT",
        &format!("/v2/images/{id}/file"),
        &[("Content-Type", "application/octet-stream"), ("x-image-meta-store", "web")],
        Some(b"data"),
    );
    upload.expect(410);
    // Nobody there, or nothing.
    let empty = Origin::start(|_, wire| whole(wire, b""));
    let closed = format!("http://127.0.0.1:{}/", crate::harness::server::free_port());
    for url in [empty.url("/"), closed] {
        let patch = json!([{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}]);
        let text = server.patch(&format!("/v2/images/{id}"), &patch).expect(400).text();
        assert!(text.contains("Invalid location"), "{text}");
        add(&server, &id, &json!({"url": url})).expect(202);
        assert_eq!(task(&server, &id)["status"], json!("failure"), "{url}");
        assert_eq!(server.show(&id)["status"], json!("queued"));
    }
    let bare = server.create(&json!({"name": "no formats"}))["id"].as_str().expect("an id").to_owned();
    let origin = with_ranges(bytes(35, 10));
    add(&server, &bare, &json!({"url": origin.url("/")})).expect(202);
    let told = task(&server, &bare)["message"].clone();
    assert_eq!(told, json!("Properties disk_format, container_format must be set prior to saving data."));
    // By the older way, which knows the size at once and the digests never.
    let patch = json!([{"op": "add", "path": "/locations/-", "value": {"url": origin.url("/"), "metadata": {}}}]);
    let image = server.patch(&format!("/v2/images/{id}"), &patch).expect(200).json();
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(10)), "{image}");
    // Without such a store there is none of this.
    let plain = Server::with_config(&format!("[glance_store]\nstores = file\n{OPEN}"));
    let id = plain.queued();
    let text = add(&plain, &id, &json!({"url": origin.url("/")})).expect(403).text();
    assert!(text.contains("http store must be enabled to use location API by normal user."), "{text}");
}

#[test]
fn reading_goes_on_after_the_death_of_either_plane() {
    for plane in ["control", "dataplane"] {
        let home = tempfile::tempdir().expect("a directory");
        let server = server(home.path(), "");
        let data = bytes(36, 2_000_000);
        let sent = data.clone();
        let origin = Origin::start(move |_, wire| {
            let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
            for piece in sent.chunks(sent.len() / 10) {
                if wire.write_all(piece).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let id = server.queued();
        let value = sha512(&data);
        let body =
            json!({"url": origin.url("/"), "validation_data": {"os_hash_algo": "sha512", "os_hash_value": value}});
        add(&server, &id, &body).expect(202);
        assert!(eventually(PATIENCE, || (origin.requests().len() >= 2).then_some(())).is_some(), "size, then data");
        server.kill_plane(plane);
        server.wait_plane(plane);
        let active = eventually(PATIENCE, || {
            let mut connection = crate::harness::Connection::try_open(server.address).ok()?;
            let reply = connection.request("GET", &format!("/v2/images/{id}"), &[], None).ok()?;
            (reply.status == 200 && reply.json()["status"] == json!("active")).then(|| reply.json())
        });
        let image = active.unwrap_or_else(|| panic!("{plane}:\n{}", server.log()));
        assert_eq!(image["os_hash_value"], json!(value), "{image}");
    }
}

#[test]
fn a_location_that_comes_too_late_leaves_the_image_alone() {
    let home = tempfile::tempdir().expect("a directory");
    let server = server(home.path(), "");
    // Its size is told late enough for an upload in between.
    let origin = Origin::start(|_, wire| {
        std::thread::sleep(Duration::from_millis(600));
        whole(wire, b"theirs");
    });
    let id = server.queued();
    add(&server, &id, &json!({"url": origin.url("/")})).expect(202);
    server.upload(&id, b"ours").expect(204);
    assert_eq!(task(&server, &id)["status"], json!("failure"));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["stores"]), (&json!("active"), &json!("fast")), "{image}");
    let locations = server.get(&format!("/v2/images/{id}/locations")).json();
    assert_eq!(locations.as_array().map(Vec::len), Some(1), "{locations}");
    assert!(server.download(&id) == b"ours");
}

/// Requests with a body that may hold an address to be asked, and those with one that may not, metadata definitions aside.
const WITH_ADDRESS: [&str; 4] = [
    "PATCH /v2/images/{image}",
    "POST /v2/images/{image}/import",
    "POST /v2/images/{image}/locations",
    "POST /v2/tasks",
];
const WITHOUT_ADDRESS: [&str; 11] = [
    "POST /v2/images",
    "PUT /v2/images/{image}/file",
    "PUT /v2/images/{image}/stage",
    "POST /v2/images/{image}/actions/deactivate",
    "POST /v2/images/{image}/actions/reactivate",
    "PUT /v2/images/{image}/tags/{tag}",
    "POST /v2/images/{image}/members",
    "PUT /v2/images/{image}/members/{member}",
    "POST /v2/cache/clean",
    "POST /v2/cache/prune",
    "PUT /v2/cache/{image}",
];

#[test]
fn sec_s04_every_entry_that_takes_an_address_asks_the_same_gate() {
    // A new endpoint fails here until it stands in one of the two lists; with an address, add what it does with it below.
    let routes = include_str!("../../common/src/http/routes.rs").lines();
    let rows = routes.filter_map(|line| line.trim().split_once(" = \"")?.1.strip_suffix(';')?.rsplit_once(' '));
    let rows: Vec<String> = rows.map(|(row, _)| row.replace('"', "")).collect();
    assert!(rows.len() > 80, "{rows:?}");
    let changing = |row: &&String| ["POST ", "PUT ", "PATCH "].iter().any(|method| row.starts_with(method));
    let mut found: Vec<&str> =
        rows.iter().filter(changing).filter(|row| !row.contains("/metadefs/")).map(String::as_str).collect();
    let mut known = [&WITH_ADDRESS[..], &WITHOUT_ADDRESS[..]].concat();
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);

    // As it comes, nothing of this machine is asked.
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::with_config(&format!(
        "[DEFAULT]\nenabled_backends = fast:file, web:http\nshow_multiple_locations = True\n[glance_store]\n\
         default_backend = fast\n[fast]\nfilesystem_store_datadir = {}\n",
        home.path().display()
    ));
    let bait = Bait::on("127.0.0.1:0").expect("a port");
    let port = bait.address.port();
    let id = server.queued();
    let active = server.active(b"data");
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "127.1", "169.254.169.254"] {
        let url = format!("http://{host}:{port}/");
        let location = json!({"url": url, "metadata": {"store": "web"}});
        let import = json!({"method": {"name": "web-download", "uri": url}});
        server.send_json("POST", &format!("/v2/images/{id}/import"), &import).expect(400);
        add(&server, &id, &json!({"url": url})).expect(400);
        for (image, op, path, value) in [
            (&id, "add", "/locations/-", location.clone()),
            (&id, "replace", "/locations", json!([location])),
            (&active, "add", "/locations/-", location.clone()),
        ] {
            let patch = json!([{"op": op, "path": path, "value": value}]);
            server.patch(&format!("/v2/images/{image}"), &patch).expect(400);
        }
        let properties = json!({"name": "x", "disk_format": "raw", "container_format": "bare"});
        let input = json!({"import_from": url, "import_from_format": "raw", "image_properties": properties});
        server.send_json("POST", "/v2/tasks", &json!({"type": "import", "input": input})).expect(400);
    }
    assert!(!bait.was_taken());
    assert_eq!(server.show(&id)["status"], json!("queued"));
}
