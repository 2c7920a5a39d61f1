//! Import plug-ins: what becomes of staged data before it is stored. Conversions need `qemu-img`.

mod conversion;
mod deaths;
mod decompression;
mod web;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::server::{OCTETS, Options};
use crate::harness::tasks::{PATIENCE, last_task as task};
use crate::harness::{Server, eventually};

/// A server with these plug-ins, and more of a configuration.
fn with_plugins(plugins: &str, more: &str) -> Server {
    Server::with_config(&config(plugins, more))
}

fn config(plugins: &str, more: &str) -> String {
    format!("[image_import_opts]\nimage_import_plugins = [{plugins}]\n{more}")
}

/// The same, with `script` in the place of qemu-img.
fn with_script(home: &Path, script: &str, more: &str) -> Server {
    write_script(home, script);
    Server::ours(Options {
        config: Some(config("image_decompression, image_conversion", more)),
        under: vec!["env".to_owned(), format!("PATH={}:/usr/bin:/bin", home.display())],
        ..Options::default()
    })
}

/// Puts `script` in the place of qemu-img; `$QEMU_IMG` in it is the real one.
fn write_script(home: &Path, script: &str) {
    let real = std::env::split_paths(&std::env::var_os("PATH").expect("PATH"))
        .map(|dir| dir.join("qemu-img"))
        .find(|file| file.is_file())
        .expect("qemu-img is installed: package qemu-utils");
    let text = format!("#!/bin/sh\nQEMU_IMG={}\n{script}\n", real.display());
    let file = home.join("qemu-img");
    fs::write(&file, text).and_then(|()| fs::set_permissions(&file, Permissions::from_mode(0o755))).expect("written");
}

/// An image with staged data whose import is asked for; its id.
fn import(server: &Server, disk_format: &str, container_format: &str, data: &[u8]) -> String {
    let image = server.create(&json!({"disk_format": disk_format, "container_format": container_format}));
    let id = image["id"].as_str().expect("an id").to_owned();
    stage_and_import(server, &id, data);
    id
}

fn stage_and_import(server: &Server, id: &str, data: &[u8]) {
    let headers = [("Content-Type", OCTETS)];
    server.request("PUT", &format!("/v2/images/{id}/stage"), &headers, Some(data)).expect(204);
    let body = json!({"method": {"name": "glance-direct"}});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
}

/// The image, once its import went well and nothing but its data is left.
#[track_caller]
fn imported(server: &Server, id: &str) -> Value {
    let task = task(server, id);
    assert_eq!(task["status"], json!("success"), "{task}\n{}", server.log());
    let one = eventually(PATIENCE, || (server.files_of(id).len() == 1).then_some(()));
    assert!(one.is_some(), "what was staged goes: {:?}", server.files_of(id));
    let image = server.show(id);
    assert_eq!(image["status"], json!("active"), "{image}");
    image
}

/// Asserts that the import failed, with words that hold `told`, and left nothing.
#[track_caller]
fn assert_refused(server: &Server, id: &str, told: &str) {
    let task = task(server, id);
    assert_eq!(task["status"], json!("failure"), "{task}");
    let message = task["message"].as_str().unwrap_or_default();
    assert!(message.contains(told), "{message:?} without {told:?}\n{}", server.log());
    let image = server.show(id);
    assert_eq!((&image["status"], &image["size"]), (&json!("queued"), &Value::Null), "{image}");
    assert!(server.files_of(id).is_empty(), "{:?}", server.files_of(id));
}

/// Runs qemu-img in `dir`.
fn qemu_img(dir: &Path, arguments: &[&str]) {
    let done = Command::new("qemu-img").args(arguments).current_dir(dir).stdout(Stdio::null()).status();
    assert!(done.expect("qemu-img is installed: package qemu-utils").success(), "{arguments:?}");
}

/// What qemu-img makes of raw `data`.
fn converted(dir: &Path, data: &[u8], options: &[&str]) -> Vec<u8> {
    let (from, to) = (PathBuf::from("converted.raw"), "converted.out");
    fs::write(dir.join(&from), data).expect("written");
    qemu_img(dir, &[&["convert", "-f", "raw"], options, &["converted.raw", to]].concat());
    fs::read(dir.join(to)).expect("made")
}

#[test]
fn properties_are_injected_unless_the_caller_has_a_role_that_is_ignored() {
    let inject = "[inject_metadata_properties]\ninject = origin:import, os_glance_x:no, status:no, hw_disk_bus:scsi\n";
    let server = with_plugins("inject_image_metadata, no_op", &format!("{inject}ignore_user_roles = auditor\n"));
    let image =
        server.create(&json!({"disk_format": "raw", "container_format": "bare", "origin": "user", "kept": "1"}));
    let id = image["id"].as_str().expect("an id");
    stage_and_import(&server, id, b"data");
    let image = imported(&server, id);
    let properties = ["origin", "hw_disk_bus", "kept"].map(|name| image[name].clone());
    assert_eq!(properties, [json!("import"), json!("scsi"), json!("1")], "{image}");
    assert!(image.get("os_glance_x").is_none(), "{image}");
    let active = server.active(b"uploaded");
    assert!(server.show(&active).get("origin").is_none(), "imports only");
    let ignored = with_plugins("inject_image_metadata", inject);
    let image = imported(&ignored, &import(&ignored, "raw", "bare", b"data"));
    assert!(image.get("origin").is_none(), "admin is ignored unless somebody else is: {image}");
}
