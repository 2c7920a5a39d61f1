//! `PATCH` of `/locations` and `GET /v2/images/{id}/locations`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::locations::Sites;

fn op(name: &str, path: &str, value: Value) -> Value {
    json!([{"op": name, "path": path, "value": value}])
}

#[test]
fn a_location_is_removed_with_its_data() {
    let mut site = Sites::new("");
    let id = site.server.active(b"the data");
    site.copy(&id, "two");
    let path = format!("/v2/images/{id}");
    let remove = json!([{"op": "remove", "path": "/locations/0"}, {"op": "add", "path": "/own", "value": "1"}]);
    let image = site.server.patch(&path, &remove).expect(200).json();
    assert_eq!(image["locations"], json!([{"url": site.url("one", &id), "metadata": {"store": "one"}}]));
    assert_eq!((&image["own"], &image["stores"]), (&json!("1"), &json!("one")));
    site.assert_gone("two", &id);
    assert_eq!(site.server.download(&id), b"the data");
    let reply = site.server.patch(&path, &json!([{"op": "remove", "path": "/locations/0"}])).expect(403);
    assert!(reply.text().contains("Cannot remove last location in the image."), "{}", reply.text());
    assert!(site.file("one", &id).exists());
}

#[test]
fn metadata_of_locations_is_replaced() {
    let mut site = Sites::new("");
    let id = site.server.active(b"the data");
    site.copy(&id, "two");
    let path = format!("/v2/images/{id}");
    let value = json!([
        {"url": site.url("one", &id), "metadata": {"room": "7"}},
        {"url": site.url("two", &id), "metadata": {"store": "one"}},
    ]);
    let image = site.server.patch(&path, &op("replace", "/locations", value)).expect(200).json();
    let expected = json!([
        {"url": site.url("two", &id), "metadata": {"store": "two"}},
        {"url": site.url("one", &id), "metadata": {"room": "7", "store": "one"}},
    ]);
    assert_eq!(image["locations"], expected);
    assert_eq!(site.server.get(&format!("{path}/locations")).expect(200).json(), expected);
    assert_eq!(site.server.show(&id)["locations"], expected);
    assert!(site.file("one", &id).exists() && site.file("two", &id).exists(), "no data is touched");
    // Replaced and cut in one patch: what goes is what the client saw at that position.
    let patch = json!([
        {"op": "replace", "path": "/locations", "value": expected},
        {"op": "remove", "path": "/locations/0"},
    ]);
    let image = site.server.patch(&path, &patch).expect(200).json();
    assert_eq!(image["stores"], "one");
    site.assert_gone("two", &id);
    assert_eq!(site.server.download(&id), b"the data");
}

#[test]
fn bad_changes_of_locations_change_nothing() {
    let mut site = Sites::new("");
    let id = site.server.active(b"the data");
    site.copy(&id, "two");
    let queued = site.server.queued();
    let file = |url: &str| json!({"url": url, "metadata": {}});
    let own = site.url("one", &id);
    let digests = json!({"os_hash_algo": "md5", "os_hash_value": "ab"});
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        (&id, op("add", "/locations/-", file(&own)), 400, "Invalid location"),
        (&id, op("add", "/locations/-", file("file:///etc/passwd")), 400, "Invalid location"),
        (&id, op("add", "/locations/-", file("FILE:///etc/passwd")), 400, "Invalid location"),
        (&id, op("add", "/locations/0", file("filesystem:///etc/passwd")), 400, "Invalid location"),
        (&id, op("add", "/locations/-", file("http://169.254.169.254/")), 400, "Invalid location"),
        (&id, op("add", "/locations/-", file("swift+config://a/b/c")), 400, "Invalid location"),
        (&id, op("add", "/locations/-", file("")), 400, "Invalid location"),
        (&id, op("add", "/locations/x", file(&own)), 400, "Invalid position for adding a location."),
        (&id, op("add", "/locations/-1", file(&own)), 400, "Invalid position for adding a location."),
        (&id, op("add", "/locations", json!([file(&own)])), 400, "Invalid JSON pointer"),
        (&id, op("replace", "/locations/0", file(&own)), 400, "Invalid JSON pointer"),
        (&id, op("add", "/locations/-", json!({"url": own})), 400, "'metadata' is a required property"),
        (&id, op("add", "/locations/-", json!({"url": "x".repeat(256), "metadata": {}})), 400, "is too long"),
        (&id, op("replace", "/locations", json!([])), 403, "Cannot set locations to empty list."),
        (&id, op("replace", "/locations", json!([file(&own)])), 400, "Original locations is not empty"),
        (&id, op("remove", "/locations/2", Value::Null), 400, "Invalid position for removing a location."),
        (&id, op("remove", "/locations/x", Value::Null), 400, "Invalid position for removing a location."),
        (
            &id,
            op("add", "/locations/-", json!({"url": own, "metadata": {}, "validation_data": digests})),
            409,
            "os_hash_algo is already set with a different value",
        ),
        (&queued, op("add", "/locations/-", file("file:///etc/passwd")), 400, "Invalid location"),
        (&queued, op("replace", "/locations", json!([file("file:///etc/passwd")])), 400, "Invalid location"),
        (
            &queued,
            op("add", "/locations/-", json!({"url": "x:", "metadata": {}, "validation_data": digests})),
            409,
            "os_hash_algo must be sha512, not md5",
        ),
        (
            &queued,
            op("remove", "/locations/0", Value::Null),
            409,
            "It's not allowed to remove locations if image status is queued.",
        ),
    ];
    let before = [site.server.show(&id), site.server.show(&queued)];
    let mut wrong = Vec::new();
    for (image, mut patch, status, text) in cases {
        // Whatever goes before is undone as well.
        let name = json!({"op": "replace", "path": "/name", "value": "changed"});
        patch.as_array_mut().expect("a list").insert(0, name);
        let reply = site.server.patch(&format!("/v2/images/{image}"), &patch);
        let plain = reply.text().replace("&#x27;", "'").replace("&quot;", "\"");
        if reply.status != status || !plain.contains(text) {
            wrong.push(format!("{patch}: {status} {text:?} expected, got {} {plain}", reply.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!([site.server.show(&id), site.server.show(&queued)], before);
    assert!(site.file("one", &id).exists() && site.file("two", &id).exists());
}

#[test]
fn invisible_locations_stay_as_they_are() {
    let server = Server::start();
    let id = server.active(b"the data");
    let path = format!("/v2/images/{id}");
    for (operation, verb) in [
        (op("add", "/locations/-", json!({"url": "http://x/", "metadata": {}})), "add"),
        (op("replace", "/locations", json!([{"url": "http://x/", "metadata": {}}])), "update"),
        (op("remove", "/locations/0", Value::Null), "remove"),
    ] {
        let reply = server.patch(&path, &operation).expect(403);
        let text = format!("not allowed to {verb} locations if locations are invisible.");
        assert!(reply.text().contains(&text), "{}", reply.text());
    }
    // A service sees them all the same.
    let places = server.get(&format!("{path}/locations")).expect(200).json();
    assert!(places[0]["url"].as_str().is_some_and(|url| url.ends_with(&id)), "{places}");
    assert_eq!(places[0]["metadata"], json!({}));
    server.get("/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/locations").expect(404);
}

/// What the data plane says to control.
fn ask_dataplane(server: &Server, message: &Value) -> (String, Value) {
    let mut socket = UnixStream::connect(server.data_dir().join("dataplane.sock")).expect("connected");
    let body = json!({"version": 6, "message": message}).to_string();
    let head = format!("POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.split(' ').nth(1).expect("a status").to_owned(), serde_json::from_str(body).expect("JSON"))
}

#[test]
fn the_data_plane_tells_how_much_lies_at_a_place() {
    let site = Sites::new("");
    let id = site.server.active(&[7; 12_345]);
    let probe = |store: &str, url: &str| {
        let (status, reply) = ask_dataplane(&site.server, &json!({"type": "probe", "store": store, "url": url}));
        (status, reply["size"].clone())
    };
    assert_eq!(probe("one", &site.url("one", &id)), ("200".to_owned(), json!(12_345)));
    for (store, url) in [
        ("one", site.url("two", &id)),
        ("two", site.url("two", &id)),
        ("one", "file:///etc/passwd".to_owned()),
        ("gone", "http://127.0.0.1/".to_owned()),
    ] {
        assert_eq!(probe(store, &url), ("404".to_owned(), Value::Null), "{store} {url}");
    }
}
