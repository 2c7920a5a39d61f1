//! `PATCH /v2/images/{id}` in both media types.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::server::{PATCH, PATCH_V20};

#[test]
fn values_are_added_replaced_and_removed() {
    let server = Server::start();
    let id = server.queued();
    let path = format!("/v2/images/{id}");
    let changed = server
        .patch(
            &path,
            &json!([
                {"op": "replace", "path": "/name", "value": "new"},
                {"op": "add", "path": "/own", "value": "1"},
                {"op": "add", "path": "/with~1slash~0tilde", "value": "2"},
                {"op": "replace", "path": "/tags", "value": ["x", "y", "x"]},
                {"op": "replace", "path": "/visibility", "value": "public"},
                {"op": "replace", "path": "/protected", "value": true},
                {"op": "replace", "path": "/os_hidden", "value": true},
                {"op": "replace", "path": "/min_ram", "value": 5},
                {"op": "replace", "path": "/disk_format", "value": "qcow2"},
                {"op": "replace", "path": "/owner", "value": "other"},
            ]),
        )
        .expect(200)
        .json();
    let expected = json!({
        "name": "new", "own": "1", "with/slash~tilde": "2", "visibility": "public", "protected": true,
        "os_hidden": true, "min_ram": 5, "disk_format": "qcow2", "owner": "other", "status": "queued",
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(changed[key], *value, "{key}");
    }
    assert_eq!(changed["tags"].as_array().map(Vec::len), Some(2));
    assert_eq!(server.show(&id), changed);
    let changed = server
        .patch(
            &path,
            &json!([
                {"op": "add", "path": "/own", "value": "overwritten"},
                {"op": "remove", "path": "/with~1slash~0tilde"},
                {"op": "replace", "path": "/name", "value": null},
            ]),
        )
        .expect(200)
        .json();
    assert_eq!(changed["own"], "overwritten");
    assert_eq!(changed["name"], Value::Null);
    assert!(changed.get("with/slash~tilde").is_none());
    assert_eq!(server.patch(&path, &json!([])).expect(200).json(), changed, "an empty patch changes nothing");
}

#[test]
fn the_older_media_type_is_taken() {
    let server = Server::start();
    let path = format!("/v2/images/{}", server.queued());
    let patch = |operations: Value| {
        server.request("PATCH", &path, &[("Content-Type", PATCH_V20)], Some(operations.to_string().as_bytes()))
    };
    let image = patch(json!([
        {"add": "/own", "value": "1"},
        {"replace": "/name", "value": "n"},
        {"replace": "/tags", "value": ["t"]},
    ]));
    let image = image.expect(200).json();
    assert_eq!((&image["own"], &image["name"], &image["tags"]), (&json!("1"), &json!("n"), &json!(["t"])));
    let again = patch(json!([{"add": "/own", "value": "2"}])).expect(409);
    assert!(again.text().contains("Property own already present."), "{}", again.text());
    assert!(patch(json!([{"remove": "/own"}])).expect(200).json().get("own").is_none());
    patch(json!([{"add": "/a", "remove": "/b", "value": "1"}])).expect(400);
    patch(json!([{"op": "add", "path": "/a", "value": "1"}])).expect(400);
    patch(json!([{"add": "/a"}])).expect(400);
}

#[test]
fn other_media_types_are_refused() {
    let server = Server::start();
    let path = format!("/v2/images/{}", server.queued());
    for kind in ["application/json", "application/json-patch+json", "text/plain"] {
        let reply = server.request("PATCH", &path, &[("Content-Type", kind)], Some(b"[]")).expect(415);
        let accepted = reply.header("accept-patch").expect("Accept-Patch").to_owned();
        assert!(accepted.contains(PATCH) && accepted.contains(PATCH_V20), "{accepted}");
    }
    server.request("PATCH", &path, &[], Some(b"[]")).expect(415);
}

#[test]
fn bad_patches_are_refused() {
    let server = Server::start();
    let id = server.queued();
    let path = format!("/v2/images/{id}");
    server.patch(&path, &json!([{"op": "add", "path": "/own", "value": "1"}])).expect(200);
    let before = server.show(&id);
    let op = |name: &str, path: &str, value: Value| json!([{"op": name, "path": path, "value": value}]);
    let cases: Vec<(Value, u16, &str)> = vec![
        (json!({"op": "add"}), 400, "Request body must be a JSON array of operation objects."),
        (json!([5]), 400, "Operations must be JSON objects."),
        (json!([{}]), 400, ""),
        (json!([{"op": "add"}]), 400, ""),
        (json!([{"op": "add", "path": "/a"}]), 400, ""),
        (json!([{"path": "/a", "value": "b"}]), 400, ""),
        (op("move", "/name", json!("x")), 400, "It must be one of the following: add, remove, replace."),
        (op("copy", "/name", json!("x")), 400, "It must be one of the following"),
        (op("test", "/name", json!("x")), 400, "It must be one of the following"),
        (op("add", "own", json!("x")), 400, "does not start with"),
        (op("add", "/a//b", json!("x")), 400, "contains adjacent"),
        (op("add", "/a/", json!("x")), 400, "end with"),
        (op("add", "/a~2b", json!("x")), 400, "recognized escape sequence"),
        (op("add", "/tags/-", json!("x")), 400, "Invalid JSON pointer for this resource"),
        (op("add", "/a/b", json!("x")), 400, "Invalid JSON pointer for this resource"),
        (op("replace", "/name", json!(5)), 400, ""),
        (op("replace", "/name", json!("x".repeat(256))), 400, ""),
        (op("replace", "/visibility", json!("secret")), 400, ""),
        (op("replace", "/protected", json!("yes")), 400, ""),
        (op("replace", "/min_ram", json!("5")), 400, ""),
        (op("replace", "/min_ram", json!(-5)), 400, ""),
        (op("replace", "/disk_format", json!("floppy")), 400, ""),
        (op("replace", "/tags", json!(5)), 400, ""),
        (op("add", "/own", json!(5)), 400, ""),
        (op("replace", "/absent", json!("x")), 409, "Property absent does not exist."),
        (json!([{"op": "remove", "path": "/absent"}]), 409, "Property absent does not exist."),
        (json!([{"op": "remove", "path": "/name"}]), 403, "Property name may not be removed."),
        (json!([{"op": "remove", "path": "/min_ram"}]), 403, "Property min_ram may not be removed."),
        (op("replace", "/id", json!("x")), 403, "Attribute 'id' is read-only."),
        (op("replace", "/status", json!("active")), 403, "Attribute 'status' is read-only."),
        (op("replace", "/size", json!(1)), 403, "is read-only."),
        (op("replace", "/virtual_size", json!(1)), 403, "is read-only."),
        (op("replace", "/checksum", json!("x")), 403, "is read-only."),
        (op("replace", "/os_hash_algo", json!("md5")), 403, "is read-only."),
        (op("replace", "/os_hash_value", json!("x")), 403, "is read-only."),
        (op("replace", "/created_at", json!("x")), 403, "is read-only."),
        (op("replace", "/updated_at", json!("x")), 403, "is read-only."),
        (op("replace", "/self", json!("x")), 403, "is read-only."),
        (op("replace", "/file", json!("x")), 403, "is read-only."),
        (op("replace", "/schema", json!("x")), 403, "is read-only."),
        (op("replace", "/direct_url", json!("x")), 403, "is read-only."),
        (op("add", "/location", json!("x")), 403, "is reserved."),
        (op("add", "/deleted", json!("x")), 403, "is reserved."),
        (op("add", "/deleted_at", json!("x")), 403, "is reserved."),
        (op("add", "/os_glance_x", json!("x")), 403, "is reserved."),
        (op("replace", "/locations", json!([])), 403, ""),
    ];
    let mut wrong = Vec::new();
    for (operations, status, text) in cases {
        let reply = server.patch(&path, &operations);
        let plain = reply.text().replace("&#x27;", "'").replace("&quot;", "\"");
        if reply.status != status || !plain.contains(text) {
            wrong.push(format!("{operations}: {status} {text:?} expected, got {} {plain}", reply.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.show(&id), before, "nothing was changed by a refused patch");
    server.patch("/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11", &json!([])).expect(404);
}

#[test]
fn a_patch_applies_whole_or_not_at_all() {
    let server = Server::start();
    let id = server.queued();
    let patch = json!([
        {"op": "add", "path": "/own", "value": "1"},
        {"op": "replace", "path": "/name", "value": "changed"},
        {"op": "replace", "path": "/absent", "value": "x"},
    ]);
    server.patch(&format!("/v2/images/{id}"), &patch).expect(409);
    let image = server.show(&id);
    assert!(image.get("own").is_none() && image["name"] == Value::Null, "{image}");
}

#[test]
fn formats_are_fixed_once_there_is_data() {
    let server = Server::start();
    let id = server.active(b"data");
    for key in ["disk_format", "container_format"] {
        let patch = json!([{"op": "replace", "path": format!("/{key}"), "value": "ami"}]);
        let reply = server.patch(&format!("/v2/images/{id}"), &patch).expect(403);
        assert!(reply.text().contains("can be only replaced for a queued image."), "{}", reply.text());
    }
    let patch = json!([{"op": "replace", "path": "/name", "value": "renamed"}]);
    assert_eq!(server.patch(&format!("/v2/images/{id}"), &patch).expect(200).json()["name"], "renamed");
}
