//! `DELETE /v2/images/{id}`.

use serde_json::json;

use crate::harness::Server;

#[test]
fn a_deleted_image_is_gone_with_its_bytes() {
    let server = Server::start();
    let id = server.active(&vec![7; 100_000]);
    assert_eq!(server.files_of(&id).len(), 1, "{:?}", server.stored_files());
    let path = format!("/v2/images/{id}");
    server.delete(&path).expect(204);
    for path in [path.clone(), format!("{path}/file"), format!("{path}/members")] {
        server.get(&path).expect(404);
    }
    assert_eq!(server.get(&format!("/v2/images?id={id}")).json()["images"], json!([]));
    let again = server.delete(&path).expect(404);
    assert!(again.text().contains(&format!("Failed to find image {id} to delete")), "{}", again.text());
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn a_protected_image_stays() {
    let server = Server::start();
    let image = server.create(&json!({"protected": true}));
    let id = image["id"].as_str().expect("an id");
    let reply = server.delete(&format!("/v2/images/{id}")).expect(403);
    assert!(reply.text().contains("is protected and cannot be deleted."), "{}", reply.text());
    let patch = json!([{"op": "replace", "path": "/protected", "value": false}]);
    server.patch(&format!("/v2/images/{id}"), &patch).expect(200);
    server.delete(&format!("/v2/images/{id}")).expect(204);
}

#[test]
fn images_in_every_state_are_deleted() {
    let server = Server::start();
    let queued = server.queued();
    let deactivated = server.active(b"data");
    server.send_empty("POST", &format!("/v2/images/{deactivated}/actions/deactivate")).expect(204);
    for id in [queued, deactivated] {
        server.delete(&format!("/v2/images/{id}")).expect(204);
        server.assert_bytes_gone(Some(&id));
    }
}
