//! Members, tags, deactivation.

use serde_json::json;

use crate::harness::Server;
use crate::harness::server::is_foreign;

#[test]
fn a_member_is_offered_accepted_and_withdrawn() {
    let server = Server::start();
    let id = server.queued();
    let members = format!("/v2/images/{id}/members");
    assert_eq!(server.get(&members).expect(200).json(), json!({"members": [], "schema": "/v2/schemas/members"}));
    let member = server.send_json("POST", &members, &json!({"member": "p2"})).expect(200).json();
    assert_eq!(member["member_id"], "p2");
    assert_eq!(member["image_id"], json!(id));
    assert_eq!(member["status"], "pending");
    assert_eq!(member["schema"], "/v2/schemas/member");
    assert!(member["created_at"].is_string() && member["updated_at"].is_string());
    let one = format!("{members}/p2");
    assert_eq!(server.get(&one).expect(200).json(), member);
    for status in ["accepted", "rejected", "pending"] {
        let changed = server.send_json("PUT", &one, &json!({"status": status})).expect(200).json();
        assert_eq!(changed["status"], *status);
    }
    assert_eq!(server.get(&members).json()["members"].as_array().map(Vec::len), Some(1));
    server.delete(&one).expect(204);
    server.get(&one).expect(404);
    server.delete(&one).expect(404);
    server.send_json("POST", &members, &json!({"member": "p2"})).expect(200);
}

#[test]
fn bad_members_are_refused() {
    let server = Server::start();
    let id = server.queued();
    let members = format!("/v2/images/{id}/members");
    server.send_json("POST", &members, &json!({"member": "p2"})).expect(200);
    let cases = [
        ("POST", members.clone(), json!({"member": "p2"}), 409, "is duplicated for image"),
        ("POST", members.clone(), json!({"member": ""}), 400, ""),
        ("POST", members.clone(), json!({}), 400, ""),
        ("POST", members.clone(), json!([]), 400, ""),
        ("PUT", format!("{members}/p2"), json!({"status": "maybe"}), 400, "Incorrect request"),
        ("PUT", format!("{members}/p2"), json!({}), 400, "Status not specified"),
        ("PUT", format!("{members}/p3"), json!({"status": "accepted"}), 404, "p3 not found in the member list"),
    ];
    for (method, path, body, status, text) in cases {
        let reply = server.send_json(method, &path, &body);
        assert!(
            reply.status == status && reply.text().contains(text),
            "{method} {path} {body}: {status} {text:?} expected, got {} {}",
            reply.status,
            reply.text()
        );
    }
    for visibility in ["private", "public", "community"] {
        let image = server.create(&json!({"visibility": visibility}));
        let path = format!("/v2/images/{}/members", image["id"].as_str().expect("an id"));
        server.send_json("POST", &path, &json!({"member": "p2"})).expect(403);
        server.get(&path).expect(403);
        server.get(&format!("{path}/p2")).expect(404);
    }
    let absent = "/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/members";
    server.get(absent).expect(404);
    server.send_json("POST", absent, &json!({"member": "p2"})).expect(404);
}

#[test]
fn members_survive_a_change_of_visibility() {
    let server = Server::start();
    let id = server.queued();
    let members = format!("/v2/images/{id}/members");
    server.send_json("POST", &members, &json!({"member": "p2"})).expect(200);
    for visibility in ["private", "shared"] {
        let patch = json!([{"op": "replace", "path": "/visibility", "value": visibility}]);
        server.patch(&format!("/v2/images/{id}"), &patch).expect(200);
    }
    assert_eq!(server.get(&members).json()["members"][0]["member_id"], "p2");
}

#[test]
fn members_are_bounded() {
    let server = Server::start();
    let members = format!("/v2/images/{}/members", server.queued());
    for i in 0..128 {
        server.send_json("POST", &members, &json!({"member": format!("p{i}")})).expect(200);
    }
    server.send_json("POST", &members, &json!({"member": "one-more"})).expect(413);
}

#[test]
fn tags_come_and_go() {
    let server = Server::start();
    let id = server.queued();
    let tag = |name: &str| format!("/v2/images/{id}/tags/{name}");
    for name in ["a", "a", "A", "with%20space", "%E2%98%83", "~", "a.b"] {
        server.send_empty("PUT", &tag(name)).expect(204);
    }
    let mut tags: Vec<String> = serde_json::from_value(server.show(&id)["tags"].clone()).expect("strings");
    tags.sort();
    // The other implementation reads the path as Latin-1.
    let snowman = if is_foreign() { "\u{e2}\u{98}\u{83}" } else { "\u{2603}" };
    assert_eq!(tags, ["A", "a", "a.b", "with space", "~", snowman]);
    server.delete(&tag("with%20space")).expect(204);
    server.delete(&tag("with%20space")).expect(404);
    server.delete(&tag("absent")).expect(404);
    server.send_empty("PUT", &tag(&"x".repeat(256))).expect(400);
    server.send_empty("PUT", "/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/tags/a").expect(404);
    for i in 5..128 {
        server.send_empty("PUT", &tag(&format!("t{i}"))).expect(204);
    }
    server.send_empty("PUT", &tag("one-more")).expect(413);
}

#[test]
fn an_active_image_is_deactivated_and_back() {
    let server = Server::start();
    let id = server.active(b"data");
    let action = |name: &str| server.send_empty("POST", &format!("/v2/images/{id}/actions/{name}"));
    for (name, status) in [
        ("reactivate", "active"),
        ("deactivate", "deactivated"),
        ("deactivate", "deactivated"),
        ("reactivate", "active"),
    ] {
        action(name).expect(204);
        assert_eq!(server.show(&id)["status"], *status);
    }
    let queued = server.queued();
    for name in ["deactivate", "reactivate"] {
        let reply = server.send_empty("POST", &format!("/v2/images/{queued}/actions/{name}")).expect(403);
        assert!(reply.text().contains("in status"), "{}", reply.text());
    }
    server.send_empty("POST", &format!("/v2/images/{id}/actions/explode")).expect(404);
    server.send_empty("POST", "/v2/images/5f1b3a56-7cb4-4d3a-93cc-6a7b9d8c1b11/actions/deactivate").expect(404);
}
