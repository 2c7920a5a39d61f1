//! The API over a real catalog, without a socket.

mod cache;
mod metadefs;

use super::*;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATCH: &str = "application/openstack-images-v2.1-json-patch";

struct Site {
    api: Arc<Api>,
    _directory: TempDir,
}

/// What came back: status, body.
type Answer = (u16, Value);

impl Site {
    fn new() -> Self {
        Site::with_config("")
    }

    fn with_config(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Site { api: crate::server::test_api(directory.path(), text), _directory: directory }
    }

    /// An active image of `caller` with these locations, as they stand in the catalog.
    async fn located(&self, caller: &Identity, locations: Vec<(String, Value)>) -> String {
        let formats = json!({"disk_format": "raw", "container_format": "bare"});
        let id = self.create(caller, formats).await;
        let image = id.clone();
        let made = self.api.app.db.write(move |catalog| {
            catalog.set_status(&image, &[], common::model::Status::Active)?;
            for (url, metadata) in &locations {
                catalog.add_location(&image, url, metadata.as_object().expect("an object"))?;
            }
            Ok(())
        });
        made.await.expect("located");
        id
    }

    fn request(method: &str, path: &str) -> http::request::Builder {
        http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "images.example:9292")
            .header("content-type", PATCH)
            .header("x-openstack-request-id", "req-1")
    }

    /// As `caller`, behind authentication.
    async fn ask(&self, caller: &Identity, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (parts, ()) = Site::request(method, path).body(()).expect("a request").into_parts();
        let offered = versions::offered(&self.api.app.config);
        let Resolution::Found(route, params) = routes::resolve(method, parts.uri.path(), None, offered) else {
            panic!("no route for {method} {path}");
        };
        let call = Call { api: &self.api, caller, parts: &parts, params: &params, body: &body };
        match self.api.serve_caller(route, &call).await {
            Ok(reply) => (reply.status.as_u16(), serde_json::from_str(&reply.body).unwrap_or(Value::Null)),
            Err(error) => (error.status().as_u16(), json!(error.message)),
        }
    }

    /// Through everything, as the administrator that everybody is without authentication.
    async fn send(&self, builder: http::request::Builder, body: &[u8]) -> (http::response::Parts, String) {
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        let (head, body) = self.api.answer(&parts, Ok(body)).await.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        (head, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    async fn create(&self, caller: &Identity, fields: Value) -> String {
        let (status, image) = self.ask(caller, "POST", "/v2/images", &fields).await;
        assert_eq!(status, 201, "{image}");
        image["id"].as_str().expect("an id").to_owned()
    }
}

fn caller(project: &str, roles: &[&str]) -> Identity {
    Identity {
        user_id: format!("user-of-{project}"),
        project_id: Some(project.to_owned()),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        is_admin: roles.contains(&"admin"),
        ..Identity::default()
    }
}

fn admin() -> Identity {
    caller("p0", &["admin", "member", "reader"])
}

fn member(project: &str) -> Identity {
    caller(project, &["member", "reader"])
}

fn reader(project: &str) -> Identity {
    caller(project, &["reader"])
}

#[tokio::test]
async fn strangers_learn_nothing_and_may_change_nothing() {
    let site = Site::new();
    let owner = member("p1");
    let add = json!([{"op": "add", "path": "/x", "value": "1"}]);
    // Visibility, then what a stranger, a mere reader of the owner's project and a caller without roles get.
    for (visibility, seen) in [("private", 404), ("shared", 404), ("public", 200), ("community", 200)] {
        let maker = if visibility == "public" { caller("p1", &["admin", "member", "reader"]) } else { owner.clone() };
        let id = site.create(&maker, json!({"visibility": visibility})).await;
        let path = format!("/v2/images/{id}");
        let refused = if seen == 200 { 403 } else { 404 };
        for (who, show, change) in
            [(member("p2"), seen, refused), (reader("p1"), 200, 403), (caller("p1", &[]), 404, 404)]
        {
            assert_eq!(site.ask(&who, "GET", &path, &Value::Null).await.0, show, "{visibility} {who:?}");
            assert_eq!(site.ask(&who, "PATCH", &path, &add).await.0, change, "{visibility} {who:?}");
            assert_eq!(site.ask(&who, "DELETE", &path, &Value::Null).await.0, change, "{visibility} {who:?}");
            assert_eq!(site.ask(&who, "PUT", &format!("{path}/tags/t"), &Value::Null).await.0, change);
        }
        assert_eq!(site.ask(&admin(), "GET", &path, &Value::Null).await.0, 200);
        let (status, image) = site.ask(&maker, "PATCH", &path, &add).await;
        assert_eq!((status, &image["x"]), (200, &json!("1")));
        assert_eq!(site.ask(&maker, "DELETE", &path, &Value::Null).await.0, 204);
    }
}

#[tokio::test]
async fn creating_and_publishing_ask_the_policy() {
    let site = Site::new();
    let refusals = [
        (reader("p1"), json!({}), "You are not authorized to complete add_image action."),
        (member("p1"), json!({"visibility": "public"}), "You are not authorized to complete publicize_image action."),
        (member("p1"), json!({"owner": "p2"}), "You are not permitted to create images owned by 'p2'"),
    ];
    for (who, body, text) in refusals {
        assert_eq!(site.ask(&who, "POST", "/v2/images", &body).await, (403, json!(text)));
    }
    let id = site.create(&member("p1"), json!({"visibility": "community"})).await;
    let path = format!("/v2/images/{id}");
    let publish = json!([{"op": "replace", "path": "/visibility", "value": "public"}]);
    let text = json!("You are not authorized to complete publicize_image action.");
    assert_eq!(site.ask(&member("p1"), "PATCH", &path, &publish).await, (403, text));
    let give = json!([{"op": "replace", "path": "/owner", "value": "p2"}]);
    let text = json!("Owner can't be updated by non admin.");
    let give_by_add = json!([{"op": "add", "path": "/owner", "value": "p2"}]);
    for change in [&give, &give_by_add] {
        assert_eq!(site.ask(&member("p1"), "PATCH", &path, change).await, (403, text.clone()));
    }
    let keep = json!([{"op": "add", "path": "/owner", "value": "p1"}]);
    assert_eq!(site.ask(&member("p1"), "PATCH", &path, &keep).await.0, 200);
    let (status, image) = site.ask(&admin(), "PATCH", &path, &give).await;
    assert_eq!((status, &image["owner"]), (200, &json!("p2")));
    assert_eq!(site.ask(&caller("p1", &["member"]), "GET", "/v2/images", &Value::Null).await.0, 403);
}

#[tokio::test]
async fn an_offer_is_made_seen_and_answered() {
    let site = Site::new();
    let (owner, guest, other) = (member("p1"), member("p2"), member("p3"));
    let id = site.create(&owner, json!({})).await;
    let path = format!("/v2/images/{id}");
    let members = format!("{path}/members");
    assert_eq!(site.ask(&guest, "GET", &path, &Value::Null).await.0, 404);
    for project in ["p2", "p4"] {
        assert_eq!(site.ask(&owner, "POST", &members, &json!({"member": project})).await.0, 200);
    }
    // Offered: there by id, not in lists; whoever is no member learns nothing.
    assert_eq!(site.ask(&guest, "GET", &path, &Value::Null).await.0, 200);
    let listed = |list: &Value| list["images"].as_array().map(Vec::len);
    assert_eq!(listed(&site.ask(&guest, "GET", "/v2/images", &Value::Null).await.1), Some(0));
    assert_eq!(site.ask(&other, "GET", &members, &Value::Null).await.0, 404);
    let (_, seen) = site.ask(&guest, "GET", &members, &Value::Null).await;
    assert_eq!(seen["members"].as_array().map(Vec::len), Some(1), "a member sees itself only");
    assert_eq!(site.ask(&guest, "GET", &format!("{members}/p4"), &Value::Null).await.0, 404);
    assert_eq!(site.ask(&owner, "GET", &format!("{members}/p4"), &Value::Null).await.0, 200);
    let accept = json!({"status": "accepted"});
    let one = format!("{members}/p2");
    for (who, path, status) in
        [(&owner, &one, 403), (&reader("p2"), &one, 403), (&guest, &format!("{members}/p4"), 404)]
    {
        assert_eq!(site.ask(who, "PUT", path, &accept).await.0, status, "{who:?}");
    }
    assert_eq!(site.ask(&guest, "PUT", &one, &json!({"status": 5})).await.0, 400);
    assert_eq!(site.ask(&guest, "PUT", &one, &accept).await.1["status"], "accepted");
    assert_eq!(listed(&site.ask(&guest, "GET", "/v2/images", &Value::Null).await.1), Some(1));
    for method in ["POST", "DELETE"] {
        let path = if method == "POST" { &members } else { &one };
        let body = if method == "POST" { json!({"member": "p9"}) } else { Value::Null };
        assert_eq!(site.ask(&guest, method, path, &body).await.0, 403, "{method}");
    }
    assert_eq!(site.ask(&owner, "DELETE", &one, &Value::Null).await.0, 204);
    assert_eq!(site.ask(&guest, "GET", &path, &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_patch_is_atomic_and_empty_ones_are_for_readers() {
    let site = Site::new();
    let owner = member("p1");
    let id = site.create(&owner, json!({"own": "1"})).await;
    let path = format!("/v2/images/{id}");
    let half = json!([
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "remove", "path": "/absent"},
    ]);
    assert_eq!(site.ask(&owner, "PATCH", &path, &half).await, (409, json!("Property absent does not exist.")));
    assert_eq!(site.ask(&owner, "GET", &path, &Value::Null).await.1["name"], Value::Null);
    for (who, show) in
        [(reader("p1"), 200), (caller("p1", &[]), 404), (caller("p1", &["member"]), 404), (reader("p2"), 404)]
    {
        let shown = site.ask(&who, "GET", &path, &Value::Null).await;
        assert_eq!(shown.0, show, "{who:?}");
        assert_eq!(
            site.ask(&who, "PATCH", &path, &json!([])).await,
            shown,
            "who may not get the image gets nothing of it"
        );
    }
    let place = json!({"url": "http://x/", "metadata": {}});
    let locations = [
        (json!({"op": "replace", "path": "/locations", "value": []}), "Cannot set locations to empty list."),
        (
            json!({"op": "replace", "path": "/locations", "value": [place]}),
            "It's not allowed to update locations if locations are invisible.",
        ),
        (
            json!({"op": "add", "path": "/locations/-", "value": place}),
            "It's not allowed to add locations if locations are invisible.",
        ),
    ];
    for (change, text) in locations {
        assert_eq!(site.ask(&owner, "PATCH", &path, &json!([change])).await, (403, json!(text)));
    }
}

#[tokio::test]
async fn a_member_without_a_role_may_only_read_what_the_policy_says() {
    let site = Site::new();
    let nobody = Identity::default();
    assert!(auth::is_anonymous(&nobody));
    let id = site.create(&admin(), json!({"visibility": "public"})).await;
    assert_eq!(site.ask(&nobody, "GET", &format!("/v2/images/{id}"), &Value::Null).await.0, 404);
    assert_eq!(site.ask(&nobody, "POST", "/v2/images", &json!({})).await.0, 403);
}

#[tokio::test]
async fn responses_carry_what_clients_look_for() {
    let site = Site::new();
    let (head, body) = site.send(Site::request("POST", "/v2/images"), b"{}").await;
    let image: Value = serde_json::from_str(&body).expect("an image");
    let id = image["id"].as_str().expect("an id");
    assert_eq!(head.status, StatusCode::CREATED);
    assert_eq!(head.headers["location"], format!("http://images.example:9292/v2/images/{id}"));
    assert_eq!(head.headers["x-openstack-request-id"], "req-1");
    assert_eq!(head.headers["content-type"], "application/json");

    let (head, body) = site.send(Site::request("GET", "/v2/images/zzz"), b"").await;
    assert_eq!(
        (head.status, body.as_str()),
        (StatusCode::NOT_FOUND, "404 Not Found\n\nNo image found with ID zzz\n\n   ")
    );
    assert_eq!(head.headers["x-openstack-request-id"], "req-1");

    let (head, body) = site.send(Site::request("HEAD", "/v2/images"), b"").await;
    assert_eq!((head.status, body.as_str()), (StatusCode::METHOD_NOT_ALLOWED, ""));
    assert_eq!(head.headers["allow"], "GET, POST");

    let (head, _) = site.send(Site::request("GET", "/"), b"").await;
    assert_eq!(head.status, StatusCode::MULTIPLE_CHOICES);
    assert!(!head.headers.contains_key("x-openstack-request-id"));

    let (head, _) = site.send(Site::request("DELETE", &format!("/v2/images/{id}")), b"").await;
    assert_eq!(head.status, StatusCode::NO_CONTENT);
    assert_eq!(head.headers["content-type"], "text/html; charset=UTF-8");
}

#[tokio::test]
async fn no_body_makes_the_server_fail() {
    let site = Site::new();
    let id = site.create(&admin(), json!({})).await;
    let deep = "[".repeat(100_000);
    let wide = format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120));
    let bodies: [&[u8]; 12] = [
        b"{",
        b"null",
        b"[]",
        b"[[]]",
        b"\xff\xfe",
        b"{\"name\": \"\\ud800\"}",
        b"{\"min_ram\": 1e400}",
        b"{\"min_ram\": 99999999999999999999999999}",
        b"{\"name\": \"\\u0000\"}",
        b"{\"tags\": [[[]]]}",
        deep.as_bytes(),
        wide.as_bytes(),
    ];
    for (method, path) in [
        ("POST", "/v2/images".to_owned()),
        ("PATCH", format!("/v2/images/{id}")),
        ("POST", format!("/v2/images/{id}/members")),
        ("PUT", format!("/v2/images/{id}/members/p2")),
    ] {
        for body in bodies {
            let (head, text) = site.send(Site::request(method, &path), body).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            assert!(!head.status.is_server_error(), "{method} {path} {shown}: {} {text}", head.status);
        }
    }
}

/// Two file stores, of which `two` weighs more; locations are shown.
const TWO_STORES: &str = "[DEFAULT]\nenabled_backends = one:file,two:file\nshow_multiple_locations = true\n\
     [glance_store]\ndefault_backend = one\n[one]\nfilesystem_store_datadir = /stores/one\n\
     [two]\nfilesystem_store_datadir = /stores/two\nweight = 5\n";

fn two_places(name: &str) -> Vec<(String, Value)> {
    ["one", "two"].map(|store| (format!("file:///stores/{store}/{name}"), json!({"store": store}))).to_vec()
}

#[tokio::test]
async fn locations_are_changed_by_whom_the_policy_lets() {
    let site = Site::with_config(TWO_STORES);
    let owner = member("p1");
    let id = site.located(&owner, two_places("x")).await;
    let path = format!("/v2/images/{id}");
    let file = |url: &str| json!({"url": url, "metadata": {}});
    let add = json!([{"op": "add", "path": "/locations/-", "value": file("file:///stores/one/x")}]);
    let same = [file("file:///stores/one/x"), file("file:///stores/two/x")];
    let replace = json!([{"op": "replace", "path": "/locations", "value": same}]);
    let remove = json!([{"op": "remove", "path": "/locations/0"}]);
    let not_allowed = |rule: &str| (403, json!(format!("You are not authorized to complete {rule} action.")));
    assert_eq!(site.ask(&reader("p1"), "PATCH", &path, &add).await, not_allowed("set_image_location"));
    assert_eq!(site.ask(&reader("p1"), "PATCH", &path, &replace).await, not_allowed("set_image_location"));
    assert_eq!(site.ask(&owner, "PATCH", &path, &remove).await, not_allowed("delete_image_location"));
    assert_eq!(site.ask(&member("p2"), "PATCH", &path, &add).await.0, 404);
    for who in [&owner, &admin()] {
        let refused = (400, json!("Invalid location"));
        assert_eq!(site.ask(who, "PATCH", &path, &add).await, refused, "files are nobody's to add");
    }
    let (status, image) = site.ask(&owner, "PATCH", &path, &replace).await;
    assert_eq!((status, &image["stores"]), (200, &json!("two,one")), "{image}");
    let (status, image) = site.ask(&admin(), "PATCH", &path, &remove).await;
    let left = json!([{"url": "file:///stores/one/x", "metadata": {"store": "one"}}]);
    assert_eq!((status, &image["locations"]), (200, &left), "positions count by weight: {image}");
    let removals = site.api.app.db.read(|catalog| catalog.removals(0, 9)).await.expect("reads");
    let removed: Vec<_> = removals.iter().map(|removal| (removal.store.as_deref(), removal.url.as_str())).collect();
    assert_eq!(removed, [(Some("two"), "file:///stores/two/x")]);
    let last = (403, json!("Cannot remove last location in the image."));
    assert_eq!(site.ask(&admin(), "PATCH", &path, &remove).await, last);
    // Nothing of a patch that fails in the end.
    let half = json!([{"op": "add", "path": "/own", "value": "1"}, remove[0], replace[0]]);
    assert_eq!(site.ask(&admin(), "PATCH", &path, &half).await.0, 403);
    assert!(site.ask(&owner, "GET", &path, &Value::Null).await.1.get("own").is_none());
}

#[tokio::test]
async fn data_leaves_a_store_by_whom_the_policy_lets() {
    let site = Site::with_config(TWO_STORES);
    let owner = member("p1");
    let id = site.located(&owner, two_places("x")).await;
    let path = |store: &str, id: &str| format!("/v2/stores/{store}/{id}");
    let refusals = [
        (owner.clone(), path("gone", "zzz"), 409, "The selected store gone is not available on this node."),
        (admin(), path("one", "zzz"), 404, "Failed to find image zzz"),
        (member("p2"), path("one", &id), 404, &*format!("Failed to find image {id}")),
        (caller("p1", &["member"]), path("one", &id), 404, "The resource could not be found."),
        (owner.clone(), path("one", &id), 403, "You are not authorized to complete delete_image_location action."),
    ];
    for (who, path, status, text) in &refusals {
        assert_eq!(site.ask(who, "DELETE", path, &Value::Null).await, (*status, json!(text)), "{path}");
    }
    let answer = site.ask(&admin(), "DELETE", &path("one", &id), &json!({})).await;
    assert_eq!(answer, (400, json!("A body is not expected with this request.")));
    assert_eq!(site.ask(&admin(), "DELETE", &path("one", &id), &Value::Null).await, (204, Value::Null));
    let image = site.ask(&owner, "GET", &format!("/v2/images/{id}"), &Value::Null).await.1;
    assert_eq!(image["stores"], "two");
    let text = "Cannot delete image data from the only store containing it. Consider deleting the image instead.";
    assert_eq!(site.ask(&admin(), "DELETE", &path("two", &id), &Value::Null).await, (403, json!(text)));
    let twice = site.located(&owner, vec![two_places("y")[0].clone(), two_places("y")[0].clone()]).await;
    let answer = site.ask(&admin(), "DELETE", &path("two", &twice), &Value::Null).await;
    assert_eq!(answer, (404, json!(format!("Image {twice} is not stored in store two."))));
    let queued = site.create(&owner, json!({})).await;
    let text = "It's not allowed to remove image data from store if image status is not 'active'";
    assert_eq!(site.ask(&admin(), "DELETE", &path("one", &queued), &Value::Null).await, (409, json!(text)));
    let single = Site::new();
    let id = single.located(&owner, two_places("x")).await;
    assert_eq!(single.ask(&admin(), "DELETE", &path("file", &id), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn services_see_all_locations() {
    let site = Site::with_config(TWO_STORES);
    let owner = member("p1");
    let id = site.located(&owner, two_places("x")).await;
    let path = format!("/v2/images/{id}/locations");
    let places = json!([
        {"url": "file:///stores/two/x", "metadata": {"store": "two"}},
        {"url": "file:///stores/one/x", "metadata": {"store": "one"}},
    ]);
    for who in [admin(), caller("p1", &["service", "reader"])] {
        assert_eq!(site.ask(&who, "GET", &path, &Value::Null).await, (200, places.clone()), "{who:?}");
    }
    let text = "You are not authorized to complete fetch_image_location action.";
    // The role counts for the caller, not for a service that passes a user's request on.
    let on_behalf = Identity { service_roles: vec!["service".to_owned()], ..owner.clone() };
    for who in [&owner, &on_behalf] {
        assert_eq!(site.ask(who, "GET", &path, &Value::Null).await, (403, json!(text)));
    }
    assert_eq!(site.ask(&caller("p2", &["service", "reader"]), "GET", &path, &Value::Null).await.0, 404);
    assert_eq!(site.ask(&admin(), "GET", &path, &json!("text")).await.0, 400, "a body is JSON");
    assert_eq!(site.ask(&owner, "POST", &format!("/v2/images/{id}/actions/deactivate"), &Value::Null).await.0, 204);
    let service = caller("p1", &["service", "reader"]);
    assert_eq!(site.ask(&service, "GET", &path, &Value::Null).await, (200, json!([])), "deactivated");
    assert_eq!(site.ask(&admin(), "GET", &path, &Value::Null).await, (200, places));
    assert_eq!(site.ask(&admin(), "GET", "/v2/images/zzz/locations", &Value::Null).await.0, 404);
    let queued = site.create(&owner, json!({})).await;
    let path = format!("/v2/images/{queued}/locations");
    assert_eq!(site.ask(&admin(), "GET", &path, &Value::Null).await, (200, json!([])));
}

#[tokio::test]
async fn locations_are_added_by_url_as_far_as_there_are_stores_for_them() {
    let site = Site::with_config(TWO_STORES);
    let owner = member("p1");
    let active = site.located(&owner, two_places("x")).await;
    let queued = site.create(&owner, json!({})).await;
    let path = |id: &str| format!("/v2/images/{id}/locations");
    let web = json!({"url": "http://x/"});
    let digest = |algorithm: &str, value: &str| json!({"url": "http://x/", "validation_data": {"os_hash_algo": algorithm, "os_hash_value": value}});
    let service = caller("p1", &["service", "reader"]);
    let helper = Identity { service_roles: vec!["service".to_owned()], ..owner.clone() };
    let no_store = "http store must be enabled to use location API by normal user.";
    let refusals = [
        (&owner, path("zzz"), web.clone(), 404, "No image found with ID zzz"),
        (&member("p2"), path(&queued), web.clone(), 404, &*format!("No image found with ID {queued}")),
        (&service, path(&active), web.clone(), 409, "It's not allowed to add locations if image status is active."),
        (
            &reader("p1"),
            path(&queued),
            web.clone(),
            403,
            "You are not authorized to complete add_image_location action.",
        ),
        (&owner, path(&queued), web.clone(), 403, no_store),
        (&admin(), path(&queued), web.clone(), 403, no_store),
        (&owner, path(&queued), json!({"url": "file:///etc/passwd"}), 403, no_store),
        (&service, path(&queued), digest("md5", "xy"), 400, "os_hash_value (xy) is not a valid hexadecimal value"),
        (
            &helper,
            path(&queued),
            digest("md5", "ab"),
            400,
            "os_hash_value: (ab) is not the correct size for (md5) (should be (16) bytes)",
        ),
    ];
    for (who, path, body, status, text) in refusals {
        assert_eq!(site.ask(who, "POST", &path, &body).await, (status, json!(text)), "{who:?} {body}");
    }
    let (status, text) = site.ask(&owner, "POST", &path(&queued), &json!([])).await;
    assert_eq!(status, 400, "{text}");
    let filtered = site.ask(&service, "POST", &path(&queued), &web).await;
    assert_eq!(filtered, (400, json!("URI for add location does not pass filtering: http://x/")));
    // What a service names is looked at by the job.
    let elsewhere = json!({"url": "rbd://a/b/c/d"});
    assert_eq!(site.ask(&service, "POST", &path(&queued), &elsewhere).await.0, 202);
    assert_eq!(site.ask(&service, "POST", &path(&queued), &elsewhere).await, (409, json!("Image has active task")));
    assert_eq!(site.ask(&owner, "GET", &format!("/v2/images/{queued}"), &Value::Null).await.1["status"], "queued");
}
