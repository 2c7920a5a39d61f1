//! What a client asks before anything else: versions, schemas, what the site offers; and the rules that hold for every
//! path.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::server::is_foreign;

/// The minor versions that are listed with no cache and with one store, and those that several stores add.
const SINGLE: [&str; 11] = ["v2.17", "v2.15", "v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];
const MULTI: [&str; 5] = ["v2.13", "v2.12", "v2.11", "v2.10", "v2.8"];

fn ids(document: &Value) -> Vec<String> {
    let list = document["versions"].as_array().expect("a list of versions");
    list.iter().map(|version| version["id"].as_str().expect("an id").to_owned()).collect()
}

/// Whether the site has named stores: it says so by itself.
fn has_stores(server: &Server) -> bool {
    server.get("/v2/info/stores").status == 200
}

#[test]
fn versions_are_listed_with_and_without_choice() {
    let server = Server::start();
    let root = server.get("/").expect(300);
    let versions = server.get("/versions").expect(200);
    assert_eq!(root.json(), versions.json());
    assert_eq!(versions.header("content-type").map(|kind| kind.starts_with("application/json")), Some(true));
    // The other implementation has nothing at the address that it gives for all its versions.
    if !is_foreign() {
        assert_eq!(server.get("/v2/").expect(200).json(), versions.json());
    }
    let document = versions.json();
    let listed = ids(&document);
    for minor in SINGLE {
        assert!(listed.iter().any(|id| id == minor), "{minor} is missing: {listed:?}");
    }
    let multi = has_stores(&server);
    for minor in MULTI {
        assert_eq!(listed.iter().any(|id| id == minor), multi, "{minor} with named stores: {multi}");
    }
    let list = document["versions"].as_array().expect("a list");
    let current: Vec<_> = list.iter().filter(|version| version["status"] == "CURRENT").collect();
    assert_eq!(current.len(), 1);
    for version in list {
        let link = &version["links"][0];
        assert_eq!(link["rel"], "self");
        assert_eq!(link["href"], json!("http://localhost/v2/"), "from the Host header");
    }
}

#[test]
fn unknown_first_segments_answer_the_choice_of_versions() {
    let server = Server::start();
    for path in ["/v3/images", "/v10", "/nothing"] {
        let reply = server.get(path).expect(300);
        assert!(!ids(&reply.json()).is_empty(), "{path}");
    }
}

#[test]
fn minor_versions_are_prefixes() {
    let server = Server::start();
    for prefix in ["/v2.0", "/v2.5", "/v2.7", "/v2.9", "/v2.15", "/v2.17"] {
        server.get(&format!("{prefix}/images")).expect(200);
    }
}

#[test]
fn health_is_told() {
    let server = Server::start();
    let reply = server.get("/healthcheck").expect(200);
    assert_eq!(reply.text().trim(), "OK");
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
}

#[test]
fn schemas_describe_what_is_served() {
    let server = Server::start();
    for name in ["image", "images", "member", "members"] {
        let schema = server.get(&format!("/v2/schemas/{name}")).expect(200).json();
        assert_eq!(schema["name"], *name);
        assert!(schema["properties"].is_object(), "{name}");
    }
    let image = server.get("/v2/schemas/image").json();
    assert_eq!(image["additionalProperties"], json!({"type": "string"}));
    let properties = image["properties"].as_object().expect("properties");
    for (name, property) in properties {
        assert!(property["description"].is_string(), "{name} has a description");
    }
    for name in ["status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "self", "file"] {
        assert_eq!(properties[name]["readOnly"], json!(true), "{name}");
    }
    for (name, value) in [("disk_format", "qcow2"), ("container_format", "bare")] {
        assert_eq!(properties[name]["type"], json!(["null", "string"]));
        let values = properties[name]["enum"].as_array().expect("an enum");
        assert_eq!(values[0], Value::Null);
        assert!(values.contains(&json!(value)));
    }
    let statuses = properties["status"]["enum"].as_array().expect("an enum");
    assert_eq!(statuses.len(), 9, "{statuses:?}");
    // Every key of an image is in the schema, or is a string: clients validate with it.
    let shown = server.create(&json!({"name": "a", "own": "b"}));
    for (key, value) in shown.as_object().expect("an object") {
        assert!(properties.contains_key(key) || value.is_string(), "{key}: {value}");
    }
    let member = server.get("/v2/schemas/member").json();
    assert_eq!(member["properties"]["status"]["enum"], json!(["pending", "accepted", "rejected"]));
}

#[test]
fn the_site_tells_its_imports_and_stores() {
    let server = Server::start();
    let import = server.get("/v2/info/import").expect(200).json();
    let methods = &import["import-methods"];
    assert_eq!(methods["description"], "Import methods available.");
    assert_eq!(methods["type"], "array");
    assert!(methods["value"].is_array());
    let stores = server.get("/v2/info/stores");
    if stores.status == 404 {
        assert!(stores.text().contains("Multi backend is not supported at this site."), "{}", stores.text());
    } else {
        let list = stores.expect(200).json();
        let list = list["stores"].as_array().expect("a list").clone();
        assert_eq!(list.iter().filter(|store| store["default"] == "true").count(), 1, "{list:?}");
    }
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let server = Server::start();
    let id = server.queued();
    let image = format!("/v2/images/{id}");
    for path in ["/v2/nothing", "/v2/schemas/nothing", &format!("{image}/nothing"), &format!("{image}/")] {
        server.get(path).expect(404);
    }
    let known = [
        ("/v2/images", "GET, POST"),
        (&image, "GET, PATCH, DELETE"),
        ("/v2/schemas/image", "GET"),
        (&format!("{image}/file"), "GET, PUT"),
        (&format!("{image}/members"), "GET, POST"),
        (&format!("{image}/tags/x"), "PUT, DELETE"),
        (&format!("{image}/actions/deactivate"), "POST"),
    ];
    for (path, methods) in known {
        let reply = server.send_empty("HEAD", path).expect(405);
        let allowed = reply.header("allow").unwrap_or_default().to_owned();
        for method in methods.split(", ") {
            assert!(allowed.contains(method), "{path} allows {allowed:?}, {method} expected");
        }
        let wrong = if methods.contains("PUT") { "POST" } else { "PUT" };
        server.send_empty(wrong, path).expect(405);
    }
}

#[test]
fn every_answer_has_a_request_id_and_takes_that_of_the_client() {
    let server = Server::start();
    for (path, status) in [("/v2/images", 200), ("/v2/images/nothing", 404), ("/v2/schemas/image", 200)] {
        let reply = server.get(path).expect(status);
        let id = reply.header("x-openstack-request-id").expect("a request id");
        assert!(id.starts_with("req-") && id.len() == 40, "{id}");
    }
    let given = "req-5c13be90-63ab-4b5a-b4bd-5b2f3b6be8fd";
    for sent in [given, &given[4..]] {
        let reply = server.request("GET", "/v2/images", &[("X-Openstack-Request-Id", sent)], None);
        assert_eq!(reply.header("x-openstack-request-id"), Some(given));
    }
}

#[test]
fn errors_take_the_form_that_the_client_accepts() {
    let server = Server::start();
    let path = "/v2/images/2b5ef34b-4b37-4d5c-8f2a-5e4ad5d7a1a0";
    let text = "No image found with ID 2b5ef34b-4b37-4d5c-8f2a-5e4ad5d7a1a0";
    let cases = [
        (None, "text/plain"),
        (Some("text/html"), "text/html"),
        (Some("*/*"), "text/html"),
        (Some("application/json"), "application/json"),
        (Some(""), "text/plain"),
    ];
    for (accept, kind) in cases {
        let header: Vec<_> = accept.iter().map(|value| ("Accept", *value)).collect();
        let reply = server.request("GET", path, &header, None).expect(404);
        let got = reply.header("content-type").expect("a content type").to_owned();
        assert!(got.starts_with(kind), "Accept {accept:?} gives {got}");
        assert!(reply.text().contains(text), "{}", reply.text());
        if kind == "application/json" {
            assert_eq!(reply.json()["code"], "404 Not Found");
            assert_eq!(reply.json()["title"], "Not Found");
        }
    }
}

#[test]
fn bodies_where_none_belongs_are_refused() {
    let server = Server::start();
    let id = server.queued();
    let paths = [
        ("GET", format!("/v2/images/{id}")),
        ("DELETE", format!("/v2/images/{id}")),
        ("GET", "/v2/schemas/image".to_owned()),
        ("PUT", format!("/v2/images/{id}/tags/x")),
        ("POST", format!("/v2/images/{id}/actions/deactivate")),
        ("GET", format!("/v2/images/{id}/members")),
    ];
    for (method, path) in paths {
        let reply = server.request(method, &path, &[], Some(b"{}"));
        assert_eq!(reply.status, 400, "{method} {path}: {}", reply.text());
    }
}
