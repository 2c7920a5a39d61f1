//! The policy of a running service: files that are wrong, files that change, and the commands about it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::harness::keystone::Keystone;
use crate::harness::server::{binary, free_port, run_to_end};
use crate::harness::{Connection, Server, eventually};

/// The most that a changed file may take to be in force, here where other tests share the processors.
const TAKEN: Duration = Duration::from_secs(20);

/// Without being asked, a plane takes no change faster than this: it looks every second and takes what it has seen twice.
const UNASKED: Duration = Duration::from_millis(900);

/// Attempts to see that a change is taken faster when asked for, where other tests share the processors.
const ROUNDS: usize = 10;

/// A directory with `vitrine.conf` and policy files.
struct Site {
    home: tempfile::TempDir,
    config: String,
}

impl Site {
    fn new(policy: &str) -> Site {
        let home = tempfile::tempdir().expect("a directory");
        let at = home.path().display();
        let config = format!("[oslo_policy]\npolicy_file = {at}/policy.yaml\npolicy_dirs = {at}/policy.d\n");
        let site = Site { home, config };
        fs::create_dir(site.path("policy.d")).expect("a directory");
        fs::write(site.path("vitrine.conf"), &site.config).expect("a file");
        site.write("policy.yaml", policy);
        site
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// Puts a file in place of another, as an editor does.
    fn write(&self, name: &str, text: &str) {
        let unfinished = self.path(".unfinished");
        fs::write(&unfinished, text).expect("a file");
        fs::rename(unfinished, self.path(name)).expect("the same directory");
    }

    /// Runs `vitrine policy …` with this site's configuration: its exit code and what it wrote to each stream.
    fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = binary();
        command.arg("policy").args(arguments).arg("--config").arg(self.path("vitrine.conf")).stdin(Stdio::null());
        let output = command.output().expect("starting vitrine");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
    }
}

/// Connections that ask at a time, so that every core is asked: each remembers callers on its own.
const CONNECTIONS: usize = 8;

/// Waits until every core answers `GET` of `path` with the token of a member with `status`.
#[track_caller]
fn wait_for(server: &Server, path: &str, status: u16) {
    let mut last = Vec::new();
    let came = eventually(TAKEN, || {
        let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        let ask = |connection: &mut Connection| {
            connection.request("GET", path, &[("X-Auth-Token", "right")], None).map_or(0, |reply| reply.status)
        };
        last = connections.iter_mut().map(ask).collect();
        last.iter().all(|each| *each == status).then_some(())
    });
    assert!(came.is_some(), "{path} is answered with {last:?}, not {status}:\n{}", server.log());
}

fn count(server: &Server, text: &str) -> usize {
    server.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_rule_that_is_none_refuses_to_start_and_is_named() {
    let site = Site::new("get_images: 'role:reader'\n");
    site.write("policy.d/10-own.yaml", "# ours\n\nget_image: >\n  role:reader or\nadd_image: 'role:member'\n");
    let config = site.path("vitrine.conf");
    let config = config.to_str().expect("UTF-8");
    let named =
        format!("{}:3: rule get_image: at character 15: expected a check", site.path("policy.d/10-own.yaml").display());
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    for plane in ["serve", "control", "dataplane"] {
        let arguments =
            [plane, "--config", config, "--listen", &listen, "--admin-listen", &admin, "--data-dir", "data"];
        fs::create_dir_all(site.path("data")).expect("a directory");
        let (code, text) = run_to_end(&arguments, site.home.path());
        assert_eq!(code, Some(2), "{plane}: {text}");
        assert_eq!(text.lines().filter(|line| line.contains(&named)).count(), 1, "{plane}: {named} in\n{text}");
    }
}

#[test]
fn changed_files_are_in_force_without_a_restart() {
    let keystone = Keystone::start();
    let site = Site::new("");
    let server = Server::with_config(&(keystone.config() + &site.config));
    let planes = [server.wait_plane("control"), server.wait_plane("dataplane")];
    wait_for(&server, "/v2/images", 200);
    site.write("policy.yaml", "get_images: 'role:nobody'\n");
    wait_for(&server, "/v2/images", 403);

    // What is wrong is told once, and the old rules stay.
    site.write("policy.yaml", "# now open\nget_images: '@ or'\n");
    let named = format!("{}:2: rule get_images: at character 5", site.path("policy.yaml").display());
    let told = eventually(TAKEN, || (count(&server, &named) > 0).then_some(()));
    assert!(told.is_some(), "{}", server.log());
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(count(&server, &named), 1, "{}", server.log());
    wait_for(&server, "/v2/images", 403);

    // A file more stands over it, once all of them are right.
    site.write("policy.yaml", "get_images: 'role:nobody'\n");
    site.write("policy.d/1.yaml", "get_images: 'role:reader'\n");
    wait_for(&server, "/v2/images", 200);
    assert_eq!(planes, [server.wait_plane("control"), server.wait_plane("dataplane")], "no plane was started again");
}

#[test]
fn sighup_has_the_policy_read_at_once_by_both_planes() {
    let keystone = Keystone::start();
    let site = Site::new("");
    let server = Server::with_config(&(keystone.config() + &site.config));
    let token = [("X-Auth-Token", "right"), ("Content-Type", "application/json")];
    let body = br#"{"disk_format": "raw", "container_format": "bare"}"#;
    let image = server.request("POST", "/v2/images", &token, Some(body)).expect(201).json();
    let file = format!("/v2/images/{}/file", image["id"].as_str().expect("an id"));
    let octets = [("X-Auth-Token", "right"), ("Content-Type", "application/octet-stream")];
    server.request("PUT", &file, &octets, Some(b"data")).expect(204);
    wait_for(&server, &file, 200);
    let mut fastest = TAKEN;
    for round in 1..=ROUNDS {
        // The downloads are the data plane's, the list is control's.
        site.write("policy.yaml", "download_image: '!'\nget_images: '!'\n");
        let asked = Instant::now();
        kill_process(server.launcher_pid(), Signal::HUP).expect("it runs");
        wait_for(&server, &file, 403);
        fastest = fastest.min(asked.elapsed());
        wait_for(&server, "/v2/images", 403);
        site.write("policy.yaml", "");
        kill_process(server.launcher_pid(), Signal::HUP).expect("it runs");
        wait_for(&server, &file, 200);
        wait_for(&server, "/v2/images", 200);
        let told = eventually(TAKEN, || {
            (count(&server, "the policy as its files are now is in use") >= round * 2).then_some(())
        });
        assert!(told.is_some(), "{}", server.log());
        if fastest < UNASKED {
            break;
        }
    }
    // Control reads it again even if nothing has changed; nothing but the signal makes it.
    let before = count(&server, "the policy as its files are now is in use");
    kill_process(server.launcher_pid(), Signal::HUP).expect("it runs");
    let told =
        eventually(TAKEN, || (count(&server, "the policy as its files are now is in use") > before).then_some(()));
    assert!(told.is_some(), "{}", server.log());
    // Without the signal a change is taken at the second look, a second after the first.
    assert!(fastest < UNASKED, "{fastest:?}");
}

#[test]
fn who_is_an_administrator_changes_with_the_policy() {
    let keystone = Keystone::start();
    let site = Site::new("context_is_admin: 'role:member'\n");
    let server = Server::with_config(&(keystone.config() + &site.config));
    let token = [("X-Auth-Token", "right"), ("Content-Type", "application/json")];
    let body = br#"{"disk_format": "raw", "container_format": "bare"}"#;
    let image = server.request("POST", "/v2/images", &token, Some(body)).expect(201).json();
    let path = format!("/v2/images/{}", image["id"].as_str().expect("an id"));
    let octets = [("X-Auth-Token", "right"), ("Content-Type", "application/octet-stream")];
    server.request("PUT", &format!("{path}/file"), &octets, Some(b"data")).expect(204);
    server.request("POST", &format!("{path}/actions/deactivate"), &token, Some(b"")).expect(204);
    // The data of a deactivated image is for administrators; the data plane remembers who is one.
    wait_for(&server, &format!("{path}/file"), 200);
    site.write("policy.yaml", "context_is_admin: 'role:admin'\n");
    wait_for(&server, &format!("{path}/file"), 403);
    site.write("policy.yaml", "context_is_admin: 'role:member'\n");
    wait_for(&server, &format!("{path}/file"), 200);
}

#[test]
fn the_list_is_a_policy_file_with_its_sources() {
    let site = Site::new("add_image: 'role:a'\n\"own\": \"'x':%(visibility)s\"\n");
    site.write("policy.d/1.yaml", "# over it\nadd_image: [[\"role:b\", \"role:c\"]]\n");
    let (code, listed, errors) = site.ask(&["list"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{listed}");
    let line = |name: &str| {
        let mut found = listed.lines().filter(|line| line.starts_with(&format!("\"{name}\": ")));
        let first = found.next().unwrap_or_else(|| panic!("no {name} in\n{listed}"));
        assert!(found.next().is_none(), "{name} twice");
        first.to_owned()
    };
    assert_eq!(line("context_is_admin"), "\"context_is_admin\": \"role:admin\"  # default");
    assert_eq!(line("own"), format!("\"own\": \"'x':%(visibility)s\"  # {}:2", site.path("policy.yaml").display()));
    let over = format!("\"add_image\": [[\"role:b\",\"role:c\"]]  # {}:2", site.path("policy.d/1.yaml").display());
    assert_eq!(line("add_image"), over);
    assert!(listed.lines().count() > 60, "{listed}");
    // As a policy file it says the same.
    let again = Site::new(&listed);
    let (_, relisted, _) = again.ask(&["list"]);
    let rules =
        |text: &str| text.lines().map(|line| line.split("  # ").next().unwrap_or("").to_owned()).collect::<Vec<_>>();
    assert_eq!(rules(&relisted), rules(&listed));
    assert!(relisted.lines().all(|line| line.contains("policy.yaml:")), "{relisted}");
}

#[test]
fn a_question_is_answered_as_the_service_would() {
    let site = Site::new("own: 'rule:context_is_admin or role:%(needs)s'\nloop: rule:loop\n");
    for (arguments, code) in [
        ("get_image --role reader --project p", 0),
        ("get_image --role READER --project p", 0),
        ("get_image --project p", 1),
        ("get_image --role reader --project p --owner q", 1),
        ("get_image --role reader --project p --owner q --visibility public", 0),
        ("get_image --role reader --project p --owner q --member", 0),
        ("get_image --role other --role admin --project p --owner q", 0),
        ("publicize_image --role member --project p", 1),
        ("modify_image --role reader --role member --project p", 0),
        ("fetch_image_location --role service --project p", 0),
        ("fetch_image_location --service-role service --project p", 1),
        ("own --role x --project p", 1),
        ("own --role x --project p --target needs=x", 0),
        ("loop --role admin --project p", 1),
    ] {
        let words: Vec<&str> = ["check"].into_iter().chain(arguments.split(' ')).collect();
        let (got, text, errors) = site.ask(&words);
        assert_eq!(got, code, "{arguments}: {text}{errors}");
        assert_eq!(text.lines().next(), Some(if code == 0 { "allowed" } else { "denied" }), "{arguments}: {text}");
    }
    let (_, text, _) = site.ask(&["check", "own", "--project", "p"]);
    let at = site.path("policy.yaml").display().to_string();
    let expected = format!(
        "denied\nown = \"rule:context_is_admin or role:%(needs)s\" ({at}:1)\n  context_is_admin = \"role:admin\" (default)\n"
    );
    assert_eq!(text, expected);
    let (_, text, _) = site.ask(&["check", "loop", "--project", "p"]);
    assert_eq!(text, format!("denied\nloop = \"rule:loop\" ({at}:2, denies everything)\n"));
}

#[test]
fn what_cannot_be_answered_ends_with_2() {
    let site = Site::new("");
    for (arguments, named) in [
        ("check get_imaeg --project p", "there is no rule \"get_imaeg\""),
        ("check get_image", "--project"),
        ("check get_image --project p --visibility pubic", "[possible values: community, public, private, shared]"),
        ("check get_image --project p --status activ", "pending_delete"),
        ("check get_image --project p --target x", "expected NAME=VALUE"),
        ("chek get_image", "chek"),
    ] {
        let (code, text, errors) = site.ask(&arguments.split(' ').collect::<Vec<_>>());
        assert!(code == 2 && text.is_empty() && errors.contains(named), "{arguments}: {code} {text}{errors}");
    }
    site.write("policy.yaml", "a: 'x'\nget_image: 'role:reader'\nb: 'y'\n");
    for arguments in [&["list"] as &[&str], &["check", "get_image", "--role", "reader", "--project", "p"]] {
        let (code, text, errors) = site.ask(arguments);
        assert_eq!((code, text.as_str()), (2, ""));
        for line in [1, 3] {
            assert!(errors.contains(&format!("policy.yaml:{line}: rule ")), "{errors}");
        }
    }
    let absent = run_to_end(&["policy", "list", "--config", "/nowhere/vitrine.conf"], Path::new("/"));
    assert_eq!(absent.0, Some(2), "{}", absent.1);
}
