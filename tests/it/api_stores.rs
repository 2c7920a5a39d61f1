//! Images in several stores: reading from one of choice, and removing from one.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::data::bytes;
use crate::harness::locations::{Sites, add_location};

#[test]
fn data_is_removed_from_one_store() {
    let mut site = Sites::new("");
    let data = bytes(1, 200_000);
    let id = site.server.active(&data);
    site.copy(&id, "two");
    let before = site.server.show(&id);
    assert_eq!(before["stores"], "two,one");
    let reply = site.server.delete(&format!("/v2/stores/two/{id}")).expect(204);
    assert!(reply.body.is_empty());
    site.assert_gone("two", &id);
    let after = site.server.show(&id);
    assert_eq!((&after["stores"], &after["status"]), (&json!("one"), &json!("active")));
    assert_eq!(after["locations"].as_array().map(Vec::len), Some(1));
    assert!(site.server.download(&id) == data);
    let reply = site.server.delete(&format!("/v2/stores/one/{id}")).expect(403);
    assert!(reply.text().contains("Consider deleting the image instead."), "{}", reply.text());
    assert!(site.file("one", &id).exists());
    site.server.delete(&format!("/v2/stores/gone/{id}")).expect(409);
    // What was removed stays removed, and what stayed is there, after the power was cut.
    site.server.kill_all();
    site.server.launch();
    assert_eq!(site.server.show(&id)["stores"], "one");
    assert!(site.server.download(&id) == data);
    assert!(!site.file("two", &id).exists());
}

#[test]
fn data_goes_even_if_everything_dies_right_after_the_answer() {
    let mut site = Sites::new("");
    let id = site.server.active(b"the data");
    site.copy(&id, "two");
    site.server.delete(&format!("/v2/stores/two/{id}")).expect(204);
    site.server.kill_all();
    site.server.launch();
    assert_eq!(site.server.show(&id)["stores"], "one");
    site.assert_gone("two", &id);
    assert_eq!(site.server.download(&id), b"the data");
}

#[test]
fn the_store_to_read_from_can_be_chosen() {
    let mut site = Sites::new("");
    let id = site.server.active(b"in one..");
    site.copy(&id, "two");
    // Not what any service writes, but it tells the copies apart.
    fs::write(site.file("two", &id), b"in two..").expect("written");
    let path = |query: &str| format!("/v2/images/{id}/file{query}");
    for (query, data) in [
        ("", "in two.."),
        ("?prefer=one", "in one.."),
        ("?prefer=two", "in two.."),
        ("?prefer=+one%20,", "in one.."),
        ("?prefer=one,two", "in two.."),
        ("?prefer=", "in two.."),
        ("?prefer=two&prefer=one", "in one.."),
        ("?other=one", "in two.."),
    ] {
        let reply = site.server.get(&path(query)).expect(200);
        assert_eq!(reply.text(), data, "{query}");
    }
    let reply = site.server.request("GET", &path("?prefer=one"), &[("Range", "bytes=3-5")], None).expect(206);
    assert_eq!(reply.text(), "one");
    for (query, text) in
        [("?prefer=one,gone", "Store 'gone' is not configured."), ("?prefer=%FF", "The query is not UTF-8.")]
    {
        let reply = site.server.get(&path(query)).expect(400);
        assert!(reply.text().replace("&#x27;", "'").contains(text), "{}", reply.text());
    }
    fs::remove_file(site.file("one", &id)).expect("removed");
    assert_eq!(site.server.get(&path("?prefer=one")).expect(200).text(), "in two..", "the others stand in");
    site.server.get("/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/file?prefer=gone").expect(404);
}

#[test]
fn a_single_store_cannot_be_chosen_or_left() {
    let server = Server::start();
    let id = server.active(b"data");
    let reply = server.get(&format!("/v2/images/{id}/file?prefer=file")).expect(400);
    assert!(reply.text().contains("Store selection for download is not available"), "{}", reply.text());
    assert_eq!(server.get(&format!("/v2/images/{id}/file?prefer=")).expect(200).text(), "data");
    server.delete(&format!("/v2/stores/file/{id}")).expect(404);
}

#[test]
fn the_policy_says_who_chooses_a_store() {
    let policy = tempfile::NamedTempFile::new().expect("a file");
    fs::write(policy.path(), "download_from_store: '!'\ndelete_image_location: '!'\n").expect("written");
    let mut site = Sites::new(&format!("[oslo_policy]\npolicy_file = {}\n", policy.path().display()));
    let id = site.server.active(b"data");
    site.copy(&id, "two");
    let reply = site.server.get(&format!("/v2/images/{id}/file?prefer=gone")).expect(403);
    assert!(reply.text().contains("You are not authorized to complete download_from_store action."));
    site.server.get(&format!("/v2/images/{id}/file")).expect(200);
    site.server.delete(&format!("/v2/stores/two/{id}")).expect(403);
    assert!(site.file("two", &id).exists());
}

#[test]
fn data_that_another_image_has_too_stays() {
    let mut site = Sites::new("");
    let ids = [site.server.active(b"shared"), site.server.active(b"own")];
    let url = format!("file://{}", site.file("one", &ids[0]).display());
    site.server.kill_all();
    add_location(site.server.data_dir(), &ids[1], &url, &json!({"store": "one", "borrowed": "yes"}));
    site.server.launch();
    let locations = site.server.show(&ids[1])["locations"].clone();
    let borrowed = |place: &Value| place["metadata"].get("borrowed").is_some();
    let at = locations.as_array().expect("a list").iter().position(borrowed).expect("there");
    let remove = json!([{"op": "remove", "path": format!("/locations/{at}")}]);
    site.server.patch(&format!("/v2/images/{}", ids[1]), &remove).expect(200);
    site.server.delete(&format!("/v2/images/{}", ids[1])).expect(204);
    site.assert_gone("one", &ids[1]);
    assert_eq!(site.server.download(&ids[0]), b"shared");
}
