//! Metadata definitions of a running service: loaded, written and removed by the command beside it, and whole or not there after
//! a crash.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::{Options, run_to_end};
use crate::harness::{Connection, Server, eventually};

const NAMESPACES: &str = "/v2/metadefs/namespaces";

/// How long recovery may take in a test that shares its processors with others.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a list of 1,000 may take here, where nothing is optimised: asking for each would take longer.
const LISTED: Duration = Duration::from_secs(3);

/// Tags, and as many objects, of a namespace that is made in one request.
const PARTS: usize = 200;

/// A file with a namespace as Glance ships them.
fn file(name: &str) -> Value {
    json!({
        "namespace": name,
        "display_name": format!("Shown {name}"),
        "description": "Wörds",
        "visibility": "public",
        "protected": true,
        "resource_type_associations": [{"name": "OS::Thing", "prefix": "t_"}],
        "properties": {"size": {"title": "Size", "type": "integer", "default": 5, "minimum": 1}},
        "objects": [{"name": "object", "properties": {"own": {"title": "Own", "type": "string"}}}],
        "tags": [{"name": "b"}, {"name": "a"}],
    })
}

fn write(directory: &Path, name: &str, document: &Value) {
    fs::create_dir_all(directory).expect("a directory");
    fs::write(directory.join(format!("{name}.json")), document.to_string()).expect("a file");
}

/// Runs `vitrine metadefs` on the server's catalog; it must end with `code`.
#[track_caller]
fn metadefs(server: &Server, code: i32, arguments: &[&str]) -> String {
    let data = server.data_dir().to_str().expect("UTF-8").to_owned();
    let arguments = [&["metadefs"], arguments, &["--data-dir", &data]].concat();
    let (ended, text) = run_to_end(&arguments, server.data_dir());
    assert_eq!(ended, Some(code), "{arguments:?}: {text}");
    text
}

fn shown(server: &Server, name: &str) -> Value {
    server.get(&format!("{NAMESPACES}/{name}")).expect(200).json()
}

#[test]
fn namespaces_are_loaded_written_and_removed_beside_the_service() {
    let server = Server::ours(Options::default());
    let home = tempfile::tempdir().expect("a directory");
    let at = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    write(home.path().join("first").as_path(), "one", &file("One"));
    write(home.path().join("first").as_path(), "two", &file("Two"));
    assert_eq!(metadefs(&server, 0, &["load", &at("first")]), "new One\nnew Two\n");
    let one = shown(&server, "One");
    assert_eq!(one["properties"]["size"]["default"], "5");
    assert_eq!((one["owner"].as_str(), one.get("updated_at")), (Some("admin"), None));
    assert_eq!(one["tags"], json!([{"name": "a"}, {"name": "b"}]));
    assert_eq!(server.delete(&format!("{NAMESPACES}/One")).status, 403);

    // What is there stays, unless it is said otherwise.
    let mut changed = file("One");
    changed["display_name"] = json!("Changed");
    changed["tags"] = json!([{"name": "c"}]);
    write(home.path().join("second").as_path(), "one", &changed);
    assert_eq!(metadefs(&server, 0, &["load", &at("second")]), "skipped One\n");
    assert_eq!(shown(&server, "One"), one);
    assert_eq!(metadefs(&server, 0, &["load", &at("second"), "--merge"]), "merged One\n");
    let merged = shown(&server, "One");
    assert_eq!(
        (merged["display_name"].as_str(), merged["tags"].as_array().map(Vec::len)),
        (Some("Shown One"), Some(3))
    );
    metadefs(&server, 0, &["load", &at("second"), "--merge", "--prefer-new"]);
    assert_eq!(shown(&server, "One")["display_name"], "Changed");
    assert_eq!(metadefs(&server, 0, &["load", &at("second"), "--merge", "--overwrite"]), "overwritten One\n");
    assert_eq!(shown(&server, "One")["tags"], json!([{"name": "c"}]));

    // Written, removed and loaded again, they are the same but for their times.
    let written = metadefs(&server, 0, &["export", &at("written")]);
    assert_eq!(written, format!("{0}/Changed.json\n{0}/ShownTwo.json\n", at("written")));
    let before = [shown(&server, "One"), shown(&server, "Two")].map(without_times);
    metadefs(&server, 0, &["unload"]);
    assert_eq!(server.get(NAMESPACES).expect(200).json()["namespaces"], json!([]));
    assert_eq!(server.get("/v2/metadefs/resource_types").expect(200).json()["resource_types"], json!([]));
    metadefs(&server, 0, &["load", &at("written")]);
    assert_eq!([shown(&server, "One"), shown(&server, "Two")].map(without_times), before);

    // What is none loads nothing.
    write(home.path().join("bad").as_path(), "a", &file("Good"));
    fs::write(home.path().join("bad/b.json"), "{\"namespace\": 5}").expect("a file");
    let told = metadefs(&server, 1, &["load", &at("bad")]);
    assert!(told.contains("b.json: namespace in the file: expected a text"), "{told}");
    assert_eq!(server.get(&format!("{NAMESPACES}/Good")).status, 404);
    metadefs(&server, 1, &["load", &at("nowhere")]);
    metadefs(&server, 2, &["load", &at("first"), "--overwrite"]);
}

/// A document without its times.
fn without_times(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| !name.ends_with("ed_at"));
            Value::Object(kept.map(|(name, member)| (name, without_times(member))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_times).collect(),
        other => other,
    }
}

#[test]
fn a_thousand_are_loaded_while_images_are_made_and_listed_at_once() {
    let server = Server::ours(Options::default());
    let home = tempfile::tempdir().expect("a directory");
    (0..1000).for_each(|number| write(home.path(), &format!("{number:04}"), &file(&format!("N{number:04}"))));
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut made = 0;
            while !end.load(Ordering::Relaxed) {
                server.create(&json!({"name": "beside"}));
                made += 1;
            }
            made
        });
        let begun = Instant::now();
        let told = metadefs(&server, 0, &["load", home.path().to_str().expect("UTF-8")]);
        println!("1,000 namespaces were loaded in {} ms", begun.elapsed().as_millis());
        end.store(true, Ordering::Relaxed);
        assert_eq!(told.lines().count(), 1000);
        // Each of them was answered with success.
        assert!(maker.join().expect("no image was refused") > 0);
    });
    let begun = Instant::now();
    let list = server.get(&format!("{NAMESPACES}?limit=1000&sort_key=namespace&sort_dir=asc")).expect(200).json();
    let took = begun.elapsed();
    println!("1,000 namespaces were listed in {} ms", took.as_millis());
    assert!(took < LISTED, "{took:?}");
    let listed = list["namespaces"].as_array().expect("a list");
    assert_eq!(listed.len(), 1000);
    assert!(listed.iter().all(|one| one["resource_type_associations"][0]["name"] == "OS::Thing"));
    // Page after page, each comes once.
    let mut next = format!("{NAMESPACES}?limit=300&sort_key=display_name&sort_dir=desc");
    let mut seen = Vec::new();
    loop {
        let page = server.get(&next).expect(200).json();
        seen.extend(page["namespaces"].as_array().expect("a list").iter().map(|one| one["namespace"].to_string()));
        match page["next"].as_str() {
            Some(link) => link.clone_into(&mut next),
            None => break,
        }
    }
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((all, seen.len()), (1000, 1000));
}

#[test]
fn after_a_crash_a_namespace_is_whole_or_not_there() {
    let server = Server::ours(Options::default());
    let numbers: Vec<Value> = (0..PARTS).map(|number| json!({"name": number.to_string()})).collect();
    let new = |name: &str| json!({"namespace": name, "tags": numbers, "objects": numbers});
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                let mut made = Vec::new();
                for number in 0..40 {
                    let name = format!("R{round}-{number}");
                    let body = new(&name).to_string();
                    let Ok(mut connection) = Connection::try_open(server.address) else { continue };
                    let reply = connection.request("POST", NAMESPACES, &[], Some(body.as_bytes()));
                    made.extend(reply.is_ok_and(|reply| reply.status == 201).then_some(name));
                }
                made
            });
            std::thread::sleep(Duration::from_millis(40 + 70 * round));
            server.kill_plane("control");
            acknowledged.extend(maker.join().expect("no panic inside"));
        });
        let back = eventually(PATIENCE, || (server.get(NAMESPACES).status == 200).then_some(()));
        assert!(back.is_some(), "{}", server.log());
        let list = server.get(&format!("{NAMESPACES}?limit=1000")).expect(200).json();
        for one in list["namespaces"].as_array().expect("a list") {
            let whole = shown(&server, one["namespace"].as_str().expect("a name"));
            let parts = ["tags", "objects"].map(|part| whole[part].as_array().map_or(0, Vec::len));
            assert_eq!(parts, [PARTS, PARTS], "{}", one["namespace"]);
        }
    }
    assert!(!acknowledged.is_empty());
    for name in acknowledged {
        shown(&server, &name);
    }
}
