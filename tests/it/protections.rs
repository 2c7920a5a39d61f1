//! Property protections of a running service: what is refused, what is not shown, and files that are wrong.

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::client::Response;
use crate::harness::keystone::Keystone;
use crate::harness::server::{PATCH, free_port, run_to_end};

/// The strict section comes first; the last one would allow everything.
const ROLES: &str = "\
[^x_secret]
create = billing
read = billing,auditor
update = billing
delete = !
[^x_]
create = @
read = @
update = billing
delete = member
[.*]
create = @
read = @
update = @
delete = @
";

struct Site {
    server: Server,
    _home: tempfile::TempDir,
}

const MEMBER: &str = "roles=member,reader";
const BILLING: &str = "roles=member,reader,billing";
const AUDITOR: &str = "roles=reader,auditor";

impl Site {
    fn new(protections: &str, more: &str) -> Site {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("protect.conf");
        std::fs::write(&file, protections).expect("a file");
        let config =
            format!("[DEFAULT]\nproperty_protection_file = {}\n{more}\n{}", file.display(), Keystone::start().config());
        Site { server: Server::with_config(&config), _home: home }
    }

    #[track_caller]
    fn get(&self, token: &str, path: &str) -> Response {
        self.server.request("GET", path, &[("X-Auth-Token", token)], None)
    }

    #[track_caller]
    fn create(&self, token: &str, body: &Value) -> Response {
        let headers = [("X-Auth-Token", token), ("Content-Type", "application/json")];
        self.server.request("POST", "/v2/images", &headers, Some(body.to_string().as_bytes()))
    }

    /// Changes property `name`: `add`, `replace` or `remove`.
    #[track_caller]
    fn change(&self, token: &str, image: &str, op: &str, name: &str) -> Response {
        let operation = match op {
            "remove" => json!([{"op": op, "path": format!("/{name}")}]),
            _ => json!([{"op": op, "path": format!("/{name}"), "value": "new"}]),
        };
        let headers = [("X-Auth-Token", token), ("Content-Type", PATCH)];
        self.server.request("PATCH", &format!("/v2/images/{image}"), &headers, Some(operation.to_string().as_bytes()))
    }

    #[track_caller]
    fn property(&self, token: &str, image: &str, name: &str) -> Value {
        self.get(token, &format!("/v2/images/{image}")).expect(200).json()[name].clone()
    }

    fn names(&self, token: &str, query: &str) -> Vec<String> {
        let list = self.get(token, &format!("/v2/images?{query}")).expect(200).json();
        let images = list["images"].as_array().expect("a list");
        images.iter().map(|image| image["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

#[track_caller]
fn assert_reserved(reply: Response, name: &str) {
    let reply = reply.expect(403);
    assert!(reply.text().contains(&format!("Attribute '{name}' is reserved.")), "{}", reply.text());
}

#[test]
fn who_may_not_create_is_refused_by_every_way() {
    let site = Site::new(ROLES, "");
    assert_reserved(site.create(MEMBER, &json!({"name": "no", "x_secret": "1"})), "x_secret");
    assert_eq!(site.names(MEMBER, ""), Vec::<String>::new(), "nothing was made");
    let made = site.create(BILLING, &json!({"name": "i", "x_secret": "1", "x_open": "2", "other": "3"})).expect(201);
    assert_eq!(made.json()["x_secret"], "1");
    let image = site.create(MEMBER, &json!({"x_open": "2", "other": "3"})).expect(201).json();
    let id = image["id"].as_str().expect("an id");
    assert_reserved(site.change(MEMBER, id, "add", "x_secret"), "x_secret");
    assert_eq!(site.property(BILLING, id, "x_secret"), Value::Null);
    assert_eq!(site.change(BILLING, id, "add", "x_secret").expect(200).json()["x_secret"], "new");
}

#[test]
fn what_may_not_be_read_is_not_there() {
    let site = Site::new(ROLES, "");
    let made = site.create(BILLING, &json!({"name": "i", "x_secret": "1", "x_open": "2", "owner": "p1"})).expect(201);
    let image = made.json();
    let id = image["id"].as_str().expect("an id");
    assert_eq!(site.property(BILLING, id, "x_secret"), "1");
    assert_eq!(site.property(AUDITOR, id, "x_secret"), "1");
    assert_eq!(site.property(MEMBER, id, "x_secret"), Value::Null);
    assert_eq!(site.property(MEMBER, id, "x_open"), "2");
    let list = site.get(MEMBER, "/v2/images").expect(200);
    assert!(!list.text().contains("x_secret") && list.text().contains("x_open"), "{}", list.text());
    // Filters would tell its value.
    assert_eq!(site.names(BILLING, "x_secret=1"), ["i"]);
    assert_eq!(site.names(MEMBER, "x_secret=1"), Vec::<String>::new());
    assert_eq!(site.names(MEMBER, "x_open=2"), ["i"]);
    // Changes would tell that it is there, and a change of something else does not take it away.
    for op in ["replace", "remove"] {
        let reply = site.change(MEMBER, id, op, "x_secret").expect(409);
        assert!(reply.text().contains("Property x_secret does not exist."), "{}", reply.text());
    }
    assert_reserved(site.change(MEMBER, id, "add", "x_secret"), "x_secret");
    let changed = site.change(MEMBER, id, "add", "other").expect(200).json();
    assert_eq!((&changed["other"], &changed["x_secret"]), (&json!("new"), &Value::Null));
    assert_eq!(site.property(BILLING, id, "x_secret"), "1");
}

#[test]
fn update_and_delete_have_permissions_of_their_own() {
    let site = Site::new(ROLES, "");
    let image = site.create(BILLING, &json!({"x_secret": "1", "x_open": "2", "other": "3"})).expect(201).json();
    let id = image["id"].as_str().expect("an id");
    for op in ["replace", "add"] {
        assert_reserved(site.change(MEMBER, id, op, "x_open"), "x_open");
        assert_eq!(site.property(MEMBER, id, "x_open"), "2");
    }
    site.change(BILLING, id, "replace", "x_open").expect(200);
    assert_eq!(site.property(MEMBER, id, "x_open"), "new");
    assert_reserved(site.change(BILLING, id, "remove", "x_secret"), "x_secret");
    assert_eq!(site.property(BILLING, id, "x_secret"), "1");
    site.change(MEMBER, id, "remove", "x_open").expect(200);
    site.change(MEMBER, id, "remove", "other").expect(200);
    site.change(MEMBER, id, "replace", "name").expect(200);
}

#[test]
fn rules_of_the_policy_may_decide() {
    let home = tempfile::tempdir().expect("a directory");
    let policy = home.path().join("policy.yaml");
    std::fs::write(&policy, "payers: 'role:billing or role:nobody'\n").expect("a file");
    let protections = "[^x_]\ncreate = payers\nread = @\nupdate = absent\ndelete = payers\n";
    let more = format!("property_protection_rule_format = policies\n[oslo_policy]\npolicy_file = {}", policy.display());
    let site = Site::new(protections, &more);
    assert_reserved(site.create(MEMBER, &json!({"x_a": "1"})), "x_a");
    assert_reserved(site.create(BILLING, &json!({"other": "1"})), "other");
    let image = site.create(BILLING, &json!({"x_a": "1"})).expect(201).json();
    let id = image["id"].as_str().expect("an id");
    assert_eq!(site.property(MEMBER, id, "x_a"), "1");
    assert_reserved(site.change(BILLING, id, "replace", "x_a"), "x_a");
    site.change(BILLING, id, "remove", "x_a").expect(200);
    assert!(site.server.log().contains("names rule absent, which does not exist"), "{}", site.server.log());
}

#[test]
fn a_wrong_file_refuses_to_start_and_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).display().to_string();
    let start = |more: &str| {
        let config = format!("[DEFAULT]\nproperty_protection_file = {}\n{more}", path("protect.conf"));
        std::fs::write(path("vitrine.conf"), config).expect("a file");
        let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let config = path("vitrine.conf");
        run_to_end(&["serve", "--config", &config, "--listen", &listen, "--admin-listen", &admin], home.path())
    };
    let assert_named = |(code, text): (Option<i32>, String), named: &str| {
        assert_eq!(code, Some(2), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains(named)).count(), 1, "{named} in {text}");
    };
    assert_named(start(""), "property_protection_file");
    std::fs::write(path("protect.conf"), "[^a]\nread = @\nupdate = @\ndelete = @\n").expect("a file");
    assert_named(start(""), &format!("{}:1: [^a] has no create", path("protect.conf")));
    std::fs::write(path("protect.conf"), ROLES).expect("a file");
    assert_named(start("property_protection_rule_format = rolls\n"), "property_protection_rule_format");
}
