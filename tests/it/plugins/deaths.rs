//! Planes that die while a plug-in works, and images that are deleted meanwhile.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, converted, import, with_script};
use crate::harness::data::{bytes, sha512};
use crate::harness::packed::gzip;
use crate::harness::{Connection, Server, eventually};

/// Converts slowly enough to be met at it.
const SLOW: &str = "[ \"$1\" = convert ] && sleep 0.4\nexec $QEMU_IMG \"$@\"";

/// A file of the image whose name ends, or goes on after the image's id, so.
fn has(server: &Server, id: &str, what: &str) -> bool {
    server.files_of(id).iter().any(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains(&format!("{id}{what}"))
    })
}

#[test]
#[cfg(feature = "installed")]
fn an_import_with_plug_ins_survives_the_death_of_either_plane_at_each_step() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_script(home.path(), SLOW, "");
    let disk = [bytes(21, 24 << 20), vec![0; 8 << 20]].concat();
    let packed = gzip(&converted(home.path(), &disk, &["-O", "qcow2"]));
    let digest = sha512(&disk);
    // While it is unpacked, when it is, while it is converted, when it is.
    for (round, step) in [".1.", ".1", ".2.", ".2"].into_iter().enumerate() {
        for planes in [["dataplane"].as_slice(), &["control"], &["dataplane", "control"]] {
            let id = import(&server, "qcow2", "bare", &packed);
            // Some steps are over before they are met: that is as good a moment.
            let _ = eventually(Duration::from_secs(3), || has(&server, &id, step).then_some(()));
            for plane in planes {
                server.kill_plane(plane);
            }
            for plane in planes {
                server.wait_plane(plane);
            }
            let back = eventually(PATIENCE, || {
                let mut connection = Connection::try_open(server.address).ok()?;
                let reply = connection.request("GET", &format!("/v2/images/{id}"), &[], None).ok()?;
                (reply.status == 200 && reply.json()["status"] == json!("active")).then(|| reply.json())
            });
            let image = back.unwrap_or_else(|| panic!("{round} {planes:?}: no image:\n{}", server.log()));
            assert_eq!(image["os_hash_value"], json!(digest), "{round} {planes:?}");
            assert_eq!((&image["disk_format"], &image["size"]), (&json!("raw"), &json!(disk.len())));
            let one = eventually(PATIENCE, || (server.files_of(&id).len() == 1).then_some(()));
            assert!(one.is_some(), "{round} {planes:?}: {:?}", server.files_of(&id));
            server.delete(&format!("/v2/images/{id}")).expect(204);
        }
    }
    server.assert_bytes_gone(None);
}

#[test]
#[cfg(feature = "installed")]
fn the_converter_ends_with_the_data_plane_and_with_the_image() {
    let home = tempfile::tempdir().expect("a directory");
    // A number of seconds that nobody else sleeps.
    let seconds = format!("600.{}", std::process::id());
    let script = format!("[ \"$1\" = convert ] || exec $QEMU_IMG \"$@\"\nexec sleep {seconds}");
    let server = with_script(home.path(), &script, "");
    let id = import(&server, "qcow2", "bare", &converted(home.path(), &bytes(22, 1 << 20), &["-O", "qcow2"]));
    let started = || {
        let sleeping = eventually(PATIENCE, || {
            let processes = fs::read_dir("/proc").ok()?.flatten();
            let sleeps = |line: String| line.starts_with("sleep") && line.contains(&seconds);
            processes
                .map(|process| process.path().join("cmdline"))
                .find(|file| fs::read_to_string(file).is_ok_and(sleeps))
        });
        sleeping.unwrap_or_else(|| panic!("it is not started:\n{}", server.log()))
    };
    let ended = |cmdline: &Path| {
        let is_gone = || !fs::read_to_string(cmdline).is_ok_and(|line| line.contains(&seconds));
        assert!(eventually(PATIENCE, || is_gone().then_some(())).is_some(), "it goes on");
    };
    let first = started();
    server.kill_plane("dataplane");
    ended(&first);
    server.wait_plane("dataplane");
    let second = started();
    server.delete(&format!("/v2/images/{id}")).expect(204);
    ended(&second);
    server.assert_bytes_gone(Some(&id));
    let over = eventually(PATIENCE, || {
        let tasks = server.get("/v2/tasks").json()["tasks"].as_array()?.clone();
        (tasks.first()?["status"] == json!("failure")).then_some(())
    });
    assert!(over.is_some(), "{}", server.log());
}
