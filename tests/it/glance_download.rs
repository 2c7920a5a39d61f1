//! Imports by `glance-download`: an image of another region, and where the token of its user goes (SEC-S06).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::Response;
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::keystone::Keystone;
use crate::harness::origin::{Origin, Wire, redirect, whole};
use crate::harness::packed::gzip;
use crate::harness::server::Options;
use crate::harness::tasks::{PATIENCE, last_task as task};
use crate::harness::{Server, eventually};

const REMOTE: &str = "/v2/images/0d8fa1c2-3a9b-4b5f-8f58-6a5b6f4f5a11";
const REMOTE_FILE: &str = "/v2/images/0d8fa1c2-3a9b-4b5f-8f58-6a5b6f4f5a11/file";

/// The token of all requests, which says what its roles are and occurs nowhere else.
pub(crate) const USER: &str = "roles=member,reader,canary";

/// How the head of a request tells whose it is.
const TOKEN: &str = "X-Auth-Token: roles=member,reader,canary\r\n";

/// An image of another region, as its service describes it.
pub(crate) fn described(data: &[u8]) -> Value {
    json!({
        "id": "0d8fa1c2-3a9b-4b5f-8f58-6a5b6f4f5a11", "status": "active", "size": data.len(), "disk_format": "raw",
        "container_format": "bare", "hw_disk_bus": "scsi", "os_type": "linux", "architecture": "x86_64", "owner": "o",
    })
}

/// An Image service with that image and nothing else.
fn region(described: Value, data: Vec<u8>) -> Origin {
    Origin::start(move |head, wire| match path(head) {
        REMOTE => whole(wire, described.to_string().as_bytes()),
        REMOTE_FILE => whole(wire, &data),
        _ => not_found(wire),
    })
}

pub(crate) fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn not_found(wire: &mut dyn Wire) {
    let _ = wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

/// A server whose users may import from the region of `images`.
fn server(images: &Origin, more: &str) -> Server {
    let keystone = Keystone::with_services("http://127.0.0.1:1", &images.url("/"));
    let config = format!(
        "[DEFAULT]\ndebug = true\nenabled_import_methods = [glance-download]\n[import_filtering_opts]\nallowed_hosts = [127.0.0.1]\n\
         allowed_ports = []\n[dataplane]\nfetch_answer_timeout_seconds = 1\n{}{more}",
        keystone.config()
    );
    Server::ours(Options { config: Some(config), token: Some(USER), ..Options::default() })
}

pub(crate) fn wanted(region: &str) -> Value {
    json!({"name": "glance-download", "glance_region": region, "glance_image_id": &REMOTE["/v2/images/".len()..]})
}

fn import(server: &Server, id: &str, method: &Value) -> Response {
    server.send_json("POST", &format!("/v2/images/{id}/import"), &json!({"method": method}))
}

/// A queued image that claims to be something else than what will come.
fn queued(server: &Server) -> String {
    let image = server.create(&json!({"disk_format": "iso", "container_format": "docker", "os_type": "windows"}));
    image["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn assert_refused(server: &Server, region: &str, told: &str) {
    let id = queued(server);
    import(server, &id, &wanted(region)).expect(202);
    let task = task(server, &id);
    assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(told)), "{}", server.log());
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["disk_format"]), (&json!("queued"), &json!("iso")), "{image}");
    assert_eq!((&image["os_type"], &image["hw_disk_bus"]), (&json!("windows"), &Value::Null), "{image}");
    assert!(server.files_of(&id).is_empty());
}

#[test]
fn an_image_of_another_region_comes_with_what_is_said_of_it() {
    let data = bytes(71, 3_000_007);
    let images = region(described(&data), data.clone());
    let server = server(&images, "");
    let id = queued(&server);
    import(&server, &id, &wanted("two")).expect(202);
    let task = task(&server, &id);
    assert_eq!(task["status"], json!("success"), "{task}\n{}", server.log());
    assert_eq!(task["input"]["import_req"]["method"]["glance_service_interface"], json!("public"));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())), "{image}");
    assert_eq!((&image["checksum"], &image["os_hash_value"]), (&json!(md5(&data)), &json!(sha512(&data))));
    assert_eq!((&image["disk_format"], &image["container_format"]), (&json!("raw"), &json!("bare")));
    assert_eq!((&image["hw_disk_bus"], &image["os_type"]), (&json!("scsi"), &json!("linux")));
    assert_eq!((&image["architecture"], &image["owner"]), (&Value::Null, &json!("p1")), "only what is listed");
    assert!(server.download(&id) == data);
    let heads = images.requests();
    assert_eq!(heads.iter().map(|head| path(head)).collect::<Vec<_>>(), [REMOTE, REMOTE_FILE]);
    assert!(heads.iter().all(|head| head.contains(TOKEN)), "{heads:?}");
}

#[test]
fn plug_ins_work_on_what_comes() {
    let data = bytes(72, 400_000);
    let packed = gzip(&data);
    let images = region(described(&packed), packed);
    let server = server(&images, "[image_import_opts]\nimage_import_plugins = [image_decompression]\n");
    let id = queued(&server);
    import(&server, &id, &wanted("Two")).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"), "{}", server.log());
    assert!(server.download(&id) == data);
    let left = eventually(PATIENCE, || (server.files_of(&id).len() == 1).then_some(()));
    assert!(left.is_some(), "{:?}", server.files_of(&id));
}

#[test]
fn sec_s06_a_token_goes_to_its_server_only() {
    let data = bytes(73, 100_000);
    let sent = data.clone();
    let back: Arc<Mutex<String>> = Arc::default();
    let back_to = back.clone();
    let elsewhere = Origin::start(move |_, wire| redirect(wire, 302, &back_to.lock().expect("no panic inside")));
    let (description, away) = (described(&data), elsewhere.url("/away"));
    let images = Origin::start(move |head, wire| match path(head) {
        // On the same server it is sent again.
        REMOTE => redirect(wire, 302, "/described"),
        "/described" => whole(wire, description.to_string().as_bytes()),
        REMOTE_FILE => redirect(wire, 307, &away),
        // Whoever is sent back comes without it.
        "/again" => whole(wire, &sent),
        _ => not_found(wire),
    });
    *back.lock().expect("no panic inside") = images.url("/again");
    let server = server(&images, "");
    let id = queued(&server);
    import(&server, &id, &wanted("two")).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"), "{}", server.log());
    assert!(server.download(&id) == data);
    let mut heads = images.requests();
    let last = heads.pop().expect("requests");
    assert!(heads.len() == 3 && heads.iter().all(|head| head.contains(TOKEN)), "{heads:?}");
    heads = elsewhere.requests();
    heads.push(last);
    let has_token = |head: &String| head.to_ascii_lowercase().contains("x-auth-token");
    assert!(heads.len() == 2 && !heads.iter().any(has_token), "{heads:?}");
    // Nor is it anywhere where it could be found later; the image is.
    assert!(eventually(PATIENCE, || server.log().contains(&id).then_some(())).is_some());
    assert!(!server.log().contains(USER), "{}", server.log());
    let files = std::fs::read_dir(server.data_dir()).expect("the data").flatten().map(|entry| entry.path());
    let held: Vec<u8> =
        files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).expect("read")).collect();
    let holds = |text: &str| held.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(&id) && holds("canary") && !holds(USER));
}

#[test]
fn what_cannot_be_imported_changes_nothing() {
    let data = bytes(74, 5000);
    let (mut queued_there, mut sizeless, mut short) = (described(&data), described(&data), described(&data));
    queued_there["status"] = json!("queued");
    sizeless["size"] = Value::Null;
    short["size"] = json!(data.len() + 1);
    let (mut empty, mut odd) = (described(&data), described(&data));
    empty["size"] = json!(0);
    odd["disk_format"] = json!("floppy");
    for (description, told) in [
        (queued_there, "Source image status should be active instead of queued"),
        (sizeless, "Size attribute of remote image 0d8fa1c2-3a9b-4b5f-8f58-6a5b6f4f5a11 could not be determined."),
        (short, "Size mismatch: expected 5001 bytes, got 5000 bytes"),
        (json!([]), "The image could not be found in the other region."),
        (empty, "Size exceeds: expected 0 bytes, got 5000 bytes"),
        (odd, "The disk_format 'floppy' of the image is not accepted here"),
    ] {
        assert_refused(&server(&region(description, data.clone()), ""), "two", told);
    }
    let nothing = Origin::start(|_, wire| not_found(wire));
    let server = server(&nothing, "");
    assert_refused(&server, "two", "The image could not be found in the other region.");
    assert_refused(&server, "three", "public glance endpoint not found for region three");
    let id = queued(&server);
    let id_of = |id: &str| json!({"name": "glance-download", "glance_region": "two", "glance_image_id": id});
    for (method, told) in [
        (json!({"name": "glance-download"}), "'glance_region' needs to be set for glance-download import method"),
        (
            json!({"name": "glance-download", "glance_region": "two"}),
            "'glance_image_id' needs to be set for glance-download import method",
        ),
        (id_of("../x"), "Remote image id does not look like a UUID: ../x"),
        (
            json!({"name": "glance-download", "glance_region": 5, "glance_image_id": "x"}),
            "'glance_region' must be a string: 5",
        ),
    ] {
        let reply = import(&server, &id, &method).expect(400);
        assert!(reply.text().contains(told), "{}", reply.text());
    }
    assert_eq!(server.show(&id)["status"], json!("queued"));
}

#[test]
fn properties_come_only_if_the_user_may_set_them() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("protections.conf");
    let open = "create = member\nread = member\nupdate = member\ndelete = member\n";
    let closed = "create = admin\nread = member\nupdate = admin\ndelete = admin\n";
    std::fs::write(&file, format!("[hw_disk_bus]\n{closed}[.*]\n{open}")).expect("written");
    let data = bytes(76, 5000);
    let images = region(described(&data), data.clone());
    let protected = format!("[DEFAULT]\nproperty_protection_file = {}\n", file.display());
    assert_refused(&server(&images, &protected), "two", "Attribute 'hw_disk_bus' is reserved.");
    let told = "The limit has been exceeded on the number of allowed image properties. Attempted: 2, Maximum: 1";
    assert_refused(&server(&images, "[DEFAULT]\nimage_property_quota = 1\n"), "two", told);
}

#[test]
fn a_download_survives_the_death_of_the_data_plane_and_is_undone_with_its_token() {
    for (plane, end) in [("dataplane", "success"), ("control", "failure")] {
        let data = bytes(75, 2_000_000);
        let (description, sent) = (described(&data), data.clone());
        let (begun, first) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(true));
        let seen = begun.clone();
        let images = Origin::start(move |head, wire| match path(head) {
            REMOTE => whole(wire, description.to_string().as_bytes()),
            REMOTE_FILE if first.swap(false, Relaxed) => {
                // Never whole.
                let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
                let _ = wire.write_all(&sent[..1_000_000]).and_then(|()| wire.flush());
                seen.store(true, Relaxed);
                std::thread::sleep(Duration::from_secs(3));
            }
            _ => whole(wire, &sent),
        });
        let server = server(&images, "");
        let id = queued(&server);
        import(&server, &id, &wanted("two")).expect(202);
        assert!(eventually(PATIENCE, || begun.load(Relaxed).then_some(())).is_some(), "{}", server.log());
        server.kill_plane(plane);
        server.wait_plane(plane);
        // With control its memory is gone, and so is what only that may hold; what the data plane goes on with is its own matter.
        let over = eventually(PATIENCE, || {
            let mut connection = crate::harness::Connection::try_open(server.address).ok()?;
            let headers = [("X-Auth-Token", USER)];
            let reply = connection.request("GET", &format!("/v2/images/{id}"), &headers, None).ok()?;
            let status = (reply.status == 200).then(|| reply.json()["status"].clone())?;
            (status != json!("importing")).then_some(())
        });
        assert!(over.is_some(), "{}", server.log());
        let task = task(&server, &id);
        assert_eq!(task["status"], json!(end), "{plane}: {task}\n{}", server.log());
        if end == "success" {
            assert!(server.download(&id) == data);
        } else {
            let text = "The token that the import was asked for with is not there any more. Import the image again.";
            assert!(
                [json!(text), json!("The image data could not be fetched from the given URI.")]
                    .contains(&task["message"]),
                "{task}"
            );
            server.assert_queued_without_bytes(&id);
        }
    }
}
