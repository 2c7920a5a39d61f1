//! Staging and imports: `…/stage`, `…/import`, `…/tasks` and `/v2/tasks`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::client::Response;
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::server;
use crate::harness::tasks::{PATIENCE, tasks};
use crate::harness::{Server, eventually};

/// The type of image data.
const OCTETS: (&str, &str) = ("Content-Type", server::OCTETS);

/// A server with the file stores `fast`, the default, and `slow`, in directories of their own.
fn with_two_stores(home: &Path) -> Server {
    let dir = |name: &str| home.join(name).display().to_string();
    Server::with_config(&format!(
        "[DEFAULT]\nenabled_backends = fast:file, slow:file\n[glance_store]\ndefault_backend = fast\n\
         [fast]\nfilesystem_store_datadir = {}\n[slow]\nfilesystem_store_datadir = {}\n",
        dir("fast"),
        dir("slow")
    ))
}

fn stage(server: &Server, id: &str, data: &[u8]) -> Response {
    server.request("PUT", &format!("/v2/images/{id}/stage"), &[OCTETS], Some(data))
}

fn import(server: &Server, id: &str, body: &Value) -> Response {
    server.send_json("POST", &format!("/v2/images/{id}/import"), body)
}

fn glance_direct() -> Value {
    json!({"method": {"name": "glance-direct"}})
}

#[test]
fn staged_data_becomes_the_image() {
    let server = Server::start();
    let data = bytes(3, 3_000_001);
    let id = server.queued();
    stage(&server, &id, &data).expect(204);
    let staged = server.show(&id);
    assert_eq!((&staged["status"], &staged["size"]), (&json!("uploading"), &json!(data.len())));
    assert!(staged.get("os_glance_stage_host").is_none(), "{staged}");
    assert!(staged["checksum"].is_null(), "{staged}");
    server.get(&format!("/v2/images/{id}/file")).expect(204);

    let reply = import(&server, &id, &glance_direct()).expect(202);
    assert!(reply.body.is_empty());
    let request_id = reply.header("x-openstack-request-id").expect("an id").to_owned();
    let tasks = tasks(&server, &id);
    let task = tasks.first().expect("a task");
    assert_eq!((&task["status"], &task["type"]), (&json!("success"), &json!("api_image_import")), "{task}");
    assert_eq!(task["request_id"], json!(request_id));
    assert_eq!(task["input"]["import_req"]["method"]["name"], json!("glance-direct"));
    assert_eq!(task["result"], json!({"image_id": id}));

    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())), "{image}");
    assert_eq!((&image["checksum"], &image["os_hash_value"]), (&json!(md5(&data)), &json!(sha512(&data))));
    assert!(image.get("os_glance_import_task").is_none(), "{image}");
    assert!(server.download(&id) == data);
    let one = eventually(PATIENCE, || (server.files_of(&id).len() == 1).then_some(()));
    assert!(one.is_some(), "what was staged goes: {:?}", server.files_of(&id));
}

#[test]
fn a_task_can_be_asked_about() {
    let server = Server::start();
    let id = server.queued();
    stage(&server, &id, b"staged").expect(204);
    import(&server, &id, &glance_direct()).expect(202);
    let task_id = tasks(&server, &id)[0]["id"].as_str().expect("an id").to_owned();
    let task = server.get(&format!("/v2/tasks/{task_id}")).expect(200).json();
    assert_eq!((&task["self"], &task["schema"]), (&json!(format!("/v2/tasks/{task_id}")), &json!("/v2/schemas/task")));
    assert_eq!((&task["status"], &task["image_id"]), (&json!("success"), &json!(id)));
    let list = server.get("/v2/tasks?limit=1&status=success").expect(200).json();
    assert_eq!((list["tasks"].as_array().map(Vec::len), &list["schema"]), (Some(1), &json!("/v2/schemas/tasks")));
    assert!(list["tasks"][0].get("input").is_none(), "{list}");
    assert_eq!(list["next"], json!(format!("/v2/tasks?limit=1&status=success&marker={task_id}")));
    for (path, status) in [
        ("/v2/tasks/00000000-0000-0000-0000-000000000000", 404),
        ("/v2/tasks?marker=x", 400),
        ("/v2/tasks?marker=00000000-0000-0000-0000-000000000000", 400),
        ("/v2/tasks?status=x", 400),
        ("/v2/tasks?type=x", 400),
        ("/v2/tasks?sort_key=x", 400),
        ("/v2/tasks?sort_dir=x", 400),
        ("/v2/tasks?limit=x", 400),
        ("/v2/tasks?limit=-1", 400),
        ("/v2/images/00000000-0000-0000-0000-000000000000/tasks", 404),
    ] {
        server.get(path).expect(status);
    }
    assert_eq!(server.get("/v2/tasks?status=failure").json()["tasks"], json!([]));
    server.delete(&format!("/v2/tasks/{task_id}")).expect(405);
}

#[test]
fn imports_that_do_not_fit_are_refused() {
    let server = Server::start();
    let id = server.queued();
    let text = |body: Value, status: u16| import(&server, &id, &body).expect(status).text();
    assert!(text(json!({}), 400).contains("Import request requires a 'method' field."));
    assert!(text(json!({"method": {}}), 400).contains("Import request requires a 'name' field."));
    assert!(text(json!({"method": {"name": "none"}}), 400).contains("Unknown import method name 'none'."));
    assert!(text(glance_direct(), 409).contains("Image needs to be staged before 'glance-direct' method can be used"));
    let copy = json!({"method": {"name": "copy-image"}});
    assert!(text(copy, 409).contains("Only images with status active can be targeted for copying"));
    stage(&server, &id, b"one").expect(204);
    let twice = stage(&server, &id, b"two").expect(409).text();
    assert!(twice.contains("Image status transition from uploading to uploading is not allowed"), "{twice}");
    server.upload(&id, b"three").expect(409);
    let body = json!({"method": {"name": "glance-direct"}, "all_stores_must_succeed": false});
    assert!(text(body, 400).contains("All_stores_must_succeed can only be set with enabled_backends"));
    let active = server.active(b"data");
    let refused = import(&server, &active, &glance_direct()).expect(409).text();
    assert!(refused.contains("Image with status active cannot be target for import"), "{refused}");
    import(&server, "00000000-0000-0000-0000-000000000000", &glance_direct()).expect(404);
    // Without formats data can be staged, and cannot be imported.
    let bare = server.create(&json!({"name": "no formats"}))["id"].as_str().expect("an id").to_owned();
    stage(&server, &bare, b"data").expect(204);
    let refused = import(&server, &bare, &glance_direct()).expect(409).text();
    assert!(refused.contains("'container_format' needs to be set before import"), "{refused}");
}

#[test]
fn staging_takes_only_plain_bytes_and_leaves_nothing_behind() {
    let server = Server::start();
    let id = server.queued();
    let path = format!("/v2/images/{id}/stage");
    server.request("PUT", &path, &[("Content-Type", "text/plain")], Some(b"x")).expect(415);
    server.request("PUT", &path, &[OCTETS, ("x-openstack-image-size", "many")], Some(b"x")).expect(400);
    server.request("PUT", &path, &[OCTETS, ("x-openstack-image-size", "7")], Some(b"short")).expect(400);
    server.assert_queued_without_bytes(&id);
    stage(&server, &id, &bytes(1, 100_000)).expect(204);
    assert_eq!(server.files_of(&id).len(), 1);
    server.delete(&format!("/v2/images/{id}")).expect(204);
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn data_that_is_not_what_the_image_claims_is_not_imported() {
    let server = Server::start();
    let image = server.create(&json!({"disk_format": "qcow2", "container_format": "bare"}));
    let id = image["id"].as_str().expect("an id").to_owned();
    stage(&server, &id, b"this is no qcow2").expect(204);
    import(&server, &id, &glance_direct()).expect(202);
    let task = tasks(&server, &id).pop().expect("a task");
    assert_eq!(task["status"], json!("failure"), "{task}");
    assert!(!task["message"].as_str().unwrap_or_default().is_empty(), "{task}");
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"]), (&json!("queued"), &Value::Null), "{image}");
    assert!(image.get("os_glance_import_task").is_none(), "{image}");
    assert_eq!(image["os_glance_failed_import"], json!(""), "the only store has no name");
    assert!(server.files_of(&id).is_empty(), "it is queued only when nothing is left");
    // It can be tried again, with better data.
    stage(&server, &id, &crate::harness::data::qcow2(1 << 20)).expect(204);
    import(&server, &id, &glance_direct()).expect(202);
    assert_eq!(tasks(&server, &id).pop().expect("a task")["status"], json!("success"));
    assert_eq!(server.show(&id)["virtual_size"], json!(1 << 20));
}

#[test]
fn one_import_fills_several_stores() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_two_stores(home.path());
    let methods = server.get("/v2/info/import").json()["import-methods"]["value"].clone();
    assert_eq!(methods, json!(["glance-direct", "web-download", "copy-image"]));
    let data = bytes(5, 1_000_000);
    let id = server.queued();
    stage(&server, &id, &data).expect(204);
    let unknown = json!({"method": {"name": "glance-direct"}, "stores": ["none"]});
    assert!(import(&server, &id, &unknown).expect(409).text().contains("Store for identifier none not found"));
    import(&server, &id, &json!({"method": {"name": "glance-direct"}, "all_stores": true})).expect(202);
    let task = tasks(&server, &id).pop().expect("a task");
    assert_eq!((&task["status"], &task["input"]["backend"]), (&json!("success"), &json!(["fast", "slow"])), "{task}");
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["stores"]), (&json!("active"), &json!("fast,slow")), "{image}");
    assert_eq!((&image["os_glance_importing_to_stores"], &image["os_glance_failed_import"]), (&json!(""), &json!("")));
    for store in ["fast", "slow"] {
        assert!(std::fs::read(home.path().join(store).join(&id)).expect("in the store") == data);
    }
    server.delete(&format!("/v2/images/{id}")).expect(204);
    let gone = |store: &str| !home.path().join(store).join(&id).exists();
    assert!(eventually(PATIENCE, || (gone("fast") && gone("slow")).then_some(())).is_some());
}

#[test]
fn an_image_is_copied_into_other_stores() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_two_stores(home.path());
    let data = bytes(6, 700_000);
    let id = server.active(&data);
    let copy = |stores: Value| {
        let mut body = json!({"method": {"name": "copy-image"}});
        body.as_object_mut().expect("an object").extend(stores.as_object().expect("an object").clone());
        import(&server, &id, &body)
    };
    let present = copy(json!({"stores": ["fast"]})).expect(400).text();
    assert!(present.contains("Image is already present at store 'fast'"), "{present}");
    copy(json!({"stores": ["slow"]})).expect(202);
    assert_eq!(tasks(&server, &id).pop().expect("a task")["status"], json!("success"));
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["stores"]), (&json!("active"), &json!("fast,slow")), "{image}");
    assert!(std::fs::read(home.path().join("slow").join(&id)).expect("in the store") == data);
    // It is everywhere: nothing is begun.
    copy(json!({"all_stores": true})).expect(202);
    assert_eq!(tasks(&server, &id).len(), 1);
}

#[test]
fn what_one_store_held_is_neither_copied_onto_itself_nor_lost_when_stores_get_names() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().display();
    let mut server = Server::with_config(&format!("[glance_store]\nfilesystem_store_datadir = {root}/old\n"));
    let data = bytes(12, 400_000);
    let id = server.active(&data);
    server.kill_all();
    server.reconfigure(&format!(
        "[DEFAULT]\nenabled_backends = new:file, old:file\n[glance_store]\ndefault_backend = new\n\
         [new]\nfilesystem_store_datadir = {root}/new\n[old]\nfilesystem_store_datadir = {root}/old\n"
    ));
    server.launch();
    assert_eq!(server.show(&id)["stores"], json!("old"), "its location names none");
    let copy = |stores: Value| {
        let mut body = json!({"method": {"name": "copy-image"}});
        body.as_object_mut().expect("an object").extend(stores.as_object().expect("an object").clone());
        import(&server, &id, &body)
    };
    copy(json!({"stores": ["old"]})).expect(400);
    copy(json!({"all_stores": true})).expect(202);
    let task = tasks(&server, &id).pop().expect("a task");
    assert_eq!((&task["status"], &task["input"]["backend"]), (&json!("success"), &json!(["new"])), "{task}");
    let file = |store: &str| home.path().join(store).join(&id);
    for store in ["old", "new"] {
        assert!(std::fs::read(file(store)).expect("in the store") == data);
    }
    server.delete(&format!("/v2/stores/old/{id}")).expect(204);
    assert!(eventually(PATIENCE, || (!file("old").exists()).then_some(())).is_some(), "{}", server.log());
    assert!(server.download(&id) == data);
    // The place is free again.
    copy(json!({"stores": ["old"]})).expect(202);
    assert_eq!(tasks(&server, &id).pop().expect("a task")["status"], json!("success"));
    server.delete(&format!("/v2/images/{id}")).expect(204);
    let gone = eventually(PATIENCE, || (!file("old").exists() && !file("new").exists()).then_some(()));
    assert!(gone.is_some(), "{}", server.log());
}

#[test]
fn stores_that_share_a_directory_by_another_name_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let root = home.path().display();
    std::fs::create_dir(home.path().join("one")).expect("made");
    std::os::unix::fs::symlink(home.path().join("one"), home.path().join("two")).expect("linked");
    let config = home.path().join("glance-api.conf");
    let text = format!(
        "[DEFAULT]\nenabled_backends = one:file, two:file\n[glance_store]\ndefault_backend = one\n\
         [one]\nfilesystem_store_datadir = {root}/one\n[two]\nfilesystem_store_datadir = {root}/two\n"
    );
    std::fs::write(&config, text).expect("written");
    let data = home.path().join("data").display().to_string();
    let config = config.display().to_string();
    let arguments = ["serve", "--data-dir", &data, "--config", &config, "--listen", "127.0.0.1:0"];
    let (code, said) = server::run_to_end(&arguments, home.path());
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(said.contains("stores one and two have the same directory"), "{said}");
}

#[test]
fn one_store_that_fails_is_told_and_the_others_are_kept_where_that_will_do() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_two_stores(home.path());
    let data = bytes(7, 600_000);
    for all_must_succeed in [false, true] {
        let id = server.queued();
        stage(&server, &id, &data).expect(204);
        // In the way of the image: the store cannot take it.
        let in_the_way = home.path().join("slow").join(&id);
        std::fs::create_dir(&in_the_way).expect("made");
        let body = json!({"method": {"name": "glance-direct"}, "stores": ["fast", "slow"],
            "all_stores_must_succeed": all_must_succeed});
        import(&server, &id, &body).expect(202);
        if all_must_succeed {
            // The place can be cleared only once nothing is in its way.
            std::thread::sleep(Duration::from_millis(300));
            std::fs::remove_dir(&in_the_way).expect("removed");
        }
        let task = tasks(&server, &id).pop().expect("a task");
        let image = server.show(&id);
        assert_eq!(image["os_glance_failed_import"], json!("slow"), "{image}");
        assert_eq!(image["os_glance_importing_to_stores"], json!(""), "{image}");
        if all_must_succeed {
            assert_eq!((&task["status"], &image["status"]), (&json!("failure"), &json!("queued")), "{task} {image}");
            let gone = eventually(PATIENCE, || (!home.path().join("fast").join(&id).exists()).then_some(()));
            assert!(gone.is_some(), "what was stored is undone");
        } else {
            assert_eq!((&task["status"], &image["status"]), (&json!("success"), &json!("active")), "{task} {image}");
            assert_eq!(image["stores"], json!("fast"));
            assert!(server.download(&id) == data);
            std::fs::remove_dir(&in_the_way).expect("removed");
        }
    }
}

#[test]
fn an_import_survives_the_death_of_either_plane() {
    let server = Server::with_config("");
    let data = bytes(8, 96 << 20);
    for (round, planes) in [["dataplane"].as_slice(), &["control"], &["dataplane", "control"]].into_iter().enumerate() {
        let id = server.queued();
        stage(&server, &id, &data).expect(204);
        import(&server, &id, &glance_direct()).expect(202);
        std::thread::sleep(Duration::from_millis(40 * round as u64));
        for plane in planes {
            server.kill_plane(plane);
        }
        for plane in planes {
            server.wait_plane(plane);
        }
        let back = eventually(PATIENCE, || {
            let mut connection = crate::harness::Connection::try_open(server.address).ok()?;
            let reply = connection.request("GET", &format!("/v2/images/{id}"), &[], None).ok()?;
            (reply.status == 200 && reply.json()["status"] == json!("active")).then(|| reply.json())
        });
        let image = back.unwrap_or_else(|| panic!("{planes:?}: no image:\n{}", server.log()));
        assert_eq!(image["os_hash_value"], json!(sha512(&data)));
        assert!(server.download(&id) == data, "{planes:?}");
        let one = eventually(PATIENCE, || (server.files_of(&id).len() == 1).then_some(()));
        assert!(one.is_some(), "{planes:?}: {:?}", server.files_of(&id));
        server.delete(&format!("/v2/images/{id}")).expect(204);
    }
    server.assert_bytes_gone(None);
}

#[test]
fn an_image_may_be_deleted_while_it_is_imported() {
    let server = Server::with_config("");
    let id = server.queued();
    stage(&server, &id, &bytes(9, 96 << 20)).expect(204);
    import(&server, &id, &glance_direct()).expect(202);
    server.delete(&format!("/v2/images/{id}")).expect(204);
    server.get(&format!("/v2/images/{id}/tasks")).expect(404);
    server.assert_bytes_gone(Some(&id));
    let over = eventually(PATIENCE, || {
        let tasks = server.get("/v2/tasks").json()["tasks"].as_array()?.clone();
        (tasks.first()?["status"] == json!("failure")).then_some(())
    });
    assert!(over.is_some(), "{}", server.log());
}
