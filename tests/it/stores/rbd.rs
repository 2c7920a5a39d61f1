//! Images in a real Ceph cluster that works.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Backend, PATIENCE, delete, location, rbd_options};
use crate::harness::ceph::Ceph;
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::server::{free_port, run_to_end};
use crate::harness::tasks::last_task;
use crate::harness::{Server, eventually};

/// A server with the stores `ceph` and `fast`, of files.
pub(super) fn two_stores(ceph: &Ceph, pool: &str, more: &str) -> Server {
    Server::with_config(&format!(
        "[DEFAULT]\nenabled_backends = ceph:rbd, fast:file\nshow_multiple_locations = true\nshow_image_direct_url = true\n\
         [glance_store]\ndefault_backend = ceph\n[ceph]\nweight = 10\n{}[dataplane]\nrbd_timeout_seconds = 10\n{more}",
        rbd_options(ceph, pool)
    ))
}

#[test]
#[cfg(feature = "installed")]
fn an_image_lies_where_the_originals_would() {
    let (ceph, _peace) = Ceph::shared();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, "");
    let data = bytes(120, 3_000_000);
    let id = server.active(&data);
    let spec = format!("{pool}/{id}");
    let info = ceph.rbd_json(&["info", &spec]);
    assert_eq!(
        (&info["size"], &info["object_size"], &info["format"]),
        (&json!(data.len()), &json!(1 << 20), &json!(2))
    );
    let features: Vec<&str> = info["features"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(features, ["layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"], "Ceph's default");
    let snapshots = ceph.rbd_json(&["snap", "ls", &spec]);
    assert_eq!((&snapshots[0]["name"], &snapshots[0]["protected"]), (&json!("snap"), &json!("true")), "{snapshots}");
    let fsid = ceph.ceph(&["fsid"]);
    let url = format!("rbd://{}/{pool}/{id}/snap", fsid.trim());
    let image = server.show(&id);
    assert_eq!((&image["direct_url"], &image["locations"][0]["url"]), (&json!(url), &json!(url)));
    let exported = ceph.file(&format!("{id}.raw"));
    ceph.rbd(&["export", "--no-progress", &format!("{spec}@snap"), exported.to_str().expect("plain")]);
    assert!(std::fs::read(exported).expect("exported") == data);
    let detail = server.get("/v2/info/stores/detail").json();
    let properties = json!({"chunk_size": 1 << 20, "pool": pool, "thin_provisioning": false, "fsid": fsid.trim()});
    assert_eq!((&detail["stores"][0]["type"], &detail["stores"][0]["properties"]), (&json!("rbd"), &properties));
    // Of another cluster, of another pool, and whatever would be the same place in other words: it is the image's that has it.
    for other in [
        url.replace(fsid.trim(), "00000000-0000-0000-0000-000000000000"),
        url.replace(&pool, "elsewhere"),
        format!("rbd://{id}"),
        url.replace("/snap", "/%73nap"),
        url.replace('-', "%2d"),
    ] {
        let added = server.queued();
        let add = json!([{"op": "add", "path": "/locations/-", "value": {"url": other, "metadata": {}}}]);
        server.patch(&format!("/v2/images/{added}"), &add).expect(400);
    }
    // The same words are: what both have goes with the last of them.
    let added = server.queued();
    let add = json!([{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}]);
    server.patch(&format!("/v2/images/{added}"), &add).expect(200);
    server.delete(&format!("/v2/images/{added}")).expect(204);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(server.download(&id) == data);
}

#[test]
#[cfg(feature = "installed")]
fn zeros_take_no_room_where_that_is_wanted() {
    let (ceph, _peace) = Ceph::shared();
    let pool = ceph.pool();
    let config = |thin| {
        format!(
            "[glance_store]\nstores = rbd\ndefault_store = rbd\n{}rbd_thin_provisioning = {thin}\n[DEFAULT]\nshow_multiple_locations = true\n",
            rbd_options(ceph, &pool)
        )
    };
    let mut data = vec![0; 80 << 20];
    data[30 << 20..31 << 20].copy_from_slice(&bytes(121, 1 << 20));
    for (thin, objects) in [(true, 1), (false, 80)] {
        let server = Server::with_config(&config(thin));
        for known in [true, false] {
            let id = server.queued();
            match known {
                true => server.upload(&id, &data).expect(204),
                false => server.upload_chunked(&id, &data, &[1 << 20]).expect(204),
            };
            let stored = ceph.rados(&["-p", &pool, "ls"]).lines().filter(|name| name.starts_with("rbd_data.")).count();
            assert_eq!(stored, objects, "objects with thin provisioning {thin}, known size {known}");
            assert_eq!(server.show(&id)["locations"][0]["metadata"], json!({}), "the only store has no name");
            assert!(server.download(&id) == data);
            delete(&server, &id);
            assert!(eventually(PATIENCE, || ceph.objects(&pool).is_empty().then_some(())).is_some());
        }
    }
}

#[test]
#[cfg(feature = "installed")]
fn stores_side_by_side() {
    let (ceph, _peace) = Ceph::shared();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, "");
    let data = bytes(122, 10 << 20);
    for (first, second) in [("fast", "ceph"), ("ceph", "fast")] {
        let id = server.queued();
        let headers = [("Content-Type", "application/octet-stream"), ("x-image-meta-store", first)];
        server.request("PUT", &format!("/v2/images/{id}/file"), &headers, Some(&data)).expect(204);
        assert_eq!(server.show(&id)["stores"], json!(first));
        let copy = json!({"method": {"name": "copy-image"}, "stores": [second]});
        server.send_json("POST", &format!("/v2/images/{id}/import"), &copy).expect(202);
        let task = last_task(&server, &id);
        assert_eq!(task["status"], json!("success"), "{task}\n{}", server.log());
        let image = server.show(&id);
        // The heavier one is shown first.
        assert_eq!(image["stores"], json!("ceph,fast"), "{image}");
        assert!(location(&image, "ceph")["url"].as_str().is_some_and(|url| url.starts_with("rbd://")));
        for prefer in ["ceph", "fast"] {
            assert!(server.get(&format!("/v2/images/{id}/file?prefer={prefer}")).expect(200).body == data, "{prefer}");
        }
        server.delete(&format!("/v2/stores/{first}/{id}")).expect(204);
        assert_eq!(server.show(&id)["stores"], json!(second));
        assert!(server.download(&id) == data);
        delete(&server, &id);
        assert!(
            eventually(PATIENCE, || ceph.objects(&pool).is_empty().then_some(())).is_some(),
            "{:?}",
            ceph.objects(&pool)
        );
        server.assert_bytes_gone(None);
    }
}

#[test]
#[cfg(feature = "installed")]
fn clones_keep_an_image() {
    let (ceph, _peace) = Ceph::shared();
    let pool = ceph.pool();
    let server = two_stores(ceph, &pool, "");
    let data = bytes(123, 2 << 20);
    // Clones of old need the snapshot to be protected.
    let id = server.active(&data);
    let (snapshot, clone) = (format!("{pool}/{id}@snap"), format!("{pool}/disk"));
    ceph.rbd(&["clone", "--rbd-default-clone-format", "1", &snapshot, &clone]);
    let refused = server.delete(&format!("/v2/images/{id}")).expect(409);
    assert!(refused.text().contains("because it is in use"), "{}", refused.text());
    assert_eq!(server.show(&id)["status"], json!("active"));
    assert!(server.download(&id) == data);
    assert_eq!(ceph.rbd_json(&["snap", "ls", &format!("{pool}/{id}")])[0]["protected"], json!("true"), "as before");
    ceph.rbd(&["rm", "--no-progress", &clone]);
    delete(&server, &id);
    assert!(
        eventually(PATIENCE, || ceph.objects(&pool).is_empty().then_some(())).is_some(),
        "{:?}",
        ceph.objects(&pool)
    );
    // Newer ones do not: the image moves to the trash.
    let id = server.active(&data);
    let snapshot = format!("{pool}/{id}@snap");
    ceph.rbd(&["clone", "--rbd-default-clone-format", "2", &snapshot, &clone]);
    delete(&server, &id);
    let trashed = || ceph.rbd(&["trash", "ls", &pool]).contains(&id).then_some(());
    assert!(eventually(PATIENCE, trashed).is_some(), "{}", server.log());
    assert_eq!(ceph.images(&pool), ["disk"]);
    let exported = ceph.file("disk.raw");
    ceph.rbd(&["export", "--no-progress", &clone, exported.to_str().expect("plain")]);
    assert!(std::fs::read(exported).expect("exported") == data);
}

/// Asks the data plane to remove what an upload left.
fn remove(server: &Server, url: &str, upload_id: &str) -> String {
    let body = json!({"version": 6, "message": {"type": "remove", "store": "one", "url": url, "upload_id": upload_id}});
    let body = body.to_string();
    let mut socket = UnixStream::connect(server.data_dir().join("dataplane.sock")).expect("connected");
    let head = format!("POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    answer
}

#[test]
#[cfg(feature = "installed")]
fn what_an_interrupted_publication_leaves_goes() {
    let backend = Backend::rbd();
    let Backend::Rbd { ceph, pool, .. } = &backend else { panic!("made above") };
    let server = backend.server("");
    let url = format!("rbd://{}/{pool}/image/snap", ceph.ceph(&["fsid"]).trim());
    let (unfinished, finished) = (format!("{pool}/.image.up.part"), format!("{pool}/image"));
    let object = ceph.file("object");
    let object = object.to_str().expect("plain");
    for stage in [
        "made",
        "snapshot",
        "protected",
        "two names",
        "two names, listed by the new one",
        "renamed",
        "name only",
        "of another",
    ] {
        let pool_flags = ["-p", pool.as_str()];
        let rados = |arguments: &[&str]| ceph.rados(&[&pool_flags, arguments].concat());
        let name = if stage == "of another" { &finished } else { &unfinished };
        ceph.rbd(&["create", "--size", "4", name]);
        ceph.rbd(&["image-meta", "set", name, "vitrine.upload", if stage == "of another" { "another" } else { "up" }]);
        if stage != "made" {
            ceph.rbd(&["snap", "create", "--no-progress", &format!("{name}@snap")]);
        }
        if !["made", "snapshot"].contains(&stage) {
            ceph.rbd(&["snap", "protect", &format!("{name}@snap")]);
        }
        match stage {
            "two names" => {
                rados(&["get", "rbd_id..image.up.part", object]);
                rados(&["put", "rbd_id.image", object]);
            }
            "two names, listed by the new one" => {
                rados(&["get", "rbd_id..image.up.part", object]);
                ceph.rbd(&["mv", &unfinished, &finished]);
                rados(&["put", "rbd_id..image.up.part", object]);
            }
            "renamed" => drop(ceph.rbd(&["mv", &unfinished, &finished])),
            "name only" => {
                // A removal that was cut short: the image's header is gone, its names are not.
                let header =
                    rados(&["ls"]).lines().find(|name| name.starts_with("rbd_header.")).expect("one").to_owned();
                rados(&["rm", &header]);
            }
            _ => {}
        }
        for _ in 0..2 {
            let answer = remove(&server, &url, "up");
            assert!(answer.starts_with("HTTP/1.1 200"), "{stage}: {answer}\n{}", server.log());
        }
        if stage == "of another" {
            assert_eq!(ceph.images(pool), ["image"]);
            ceph.rbd(&["snap", "unprotect", &format!("{finished}@snap")]);
            ceph.rbd(&["snap", "purge", "--no-progress", &finished]);
            ceph.rbd(&["rm", "--no-progress", &finished]);
        }
        let left: Vec<String> =
            ceph.objects(pool).into_iter().filter(|name| !name.starts_with("rbd_object_map")).collect();
        assert!(left.is_empty(), "{stage}: {left:?}");
        for map in ceph.objects(pool) {
            rados(&["rm", &map]);
        }
    }
}

#[test]
#[cfg(feature = "installed")]
fn what_is_wrong_with_the_configuration_is_told_in_one_line() {
    let (ceph, _peace) = Ceph::shared();
    let pool = ceph.pool();
    let conf = ceph.conf().display().to_string();
    let no_key = ceph.file("no-key.conf");
    let text = std::fs::read_to_string(ceph.conf()).expect("written");
    std::fs::write(&no_key, text.replace("keyring = ", "keyring = /no/such")).expect("writes");
    let wrong_key = ceph.file("wrong-key.conf");
    let keyring = ceph.file("wrong.keyring");
    let key = Command::new("ceph-authtool").args(["-C", "--gen-key", "-n", "client.glance"]).arg(&keyring).output();
    assert!(key.is_ok_and(|output| output.status.success()));
    let line = format!("keyring = {}\n", keyring.display());
    let replaced: Vec<&str> = text.lines().filter(|line| !line.starts_with("keyring")).collect();
    std::fs::write(
        &wrong_key,
        format!("{}\n", replaced.join("\n")).replace("[client]\n", &format!("[client]\n{line}")),
    )
    .expect("writes");
    for (conf, user, pool, expected) in [
        ("/no/such/ceph.conf", "glance", pool.as_str(), "rbd_store_ceph_conf = /no/such/ceph.conf: it cannot be read"),
        (
            no_key.to_str().expect("plain"),
            "glance",
            &pool,
            "rbd_store_user = glance: there is no key for client.glance",
        ),
        (&conf, "nobody", &pool, "rbd_store_user = nobody: there is no key for client.nobody"),
        (
            wrong_key.to_str().expect("plain"),
            "glance",
            &pool,
            "rbd_store_user = glance: the cluster refuses client.glance",
        ),
        (&conf, "glance", "nowhere", "rbd_store_pool = nowhere: the cluster has no pool of this name"),
        (&conf, "stranger", &pool, "client.stranger may not use it"),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("vitrine.conf");
        let text = format!(
            "[glance_store]\nstores = rbd\ndefault_store = rbd\nrbd_store_ceph_conf = {conf}\nrbd_store_user = {user}\nrbd_store_pool = {pool}\n"
        );
        std::fs::write(&file, text).expect("writes");
        let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let file = file.to_str().expect("plain");
        let arguments = ["serve", "--listen", &listen, "--admin-listen", &admin, "--config", file];
        let (code, text) = run_to_end(&arguments, home.path());
        assert_eq!(code, Some(2), "{expected}: {text}");
        let lines = text.lines().filter(|line| line.contains("store rbd: ") && line.contains(expected)).count();
        assert_eq!(lines, 1, "{expected}: {text}");
    }
}

/// The real Glance's driver and ours read what the other wrote, and remove it.
#[test]
#[cfg(feature = "installed")]
fn the_originals_driver_and_ours_take_each_other_s_images() {
    let backend = Backend::rbd();
    let Backend::Rbd { ceph, pool, .. } = &backend else { panic!("made above") };
    let server = backend.server("");
    let home = std::env::var_os("VITRINE_TEST_HOME").map(PathBuf::from);
    let home =
        home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("set")).join(".cache/vitrine-tests"));
    let python = home.join("glance/bin/python");
    assert!(python.exists(), "no {}: tests/run makes it", python.display());
    let glance = |arguments: &[&str]| -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/glance_rbd.py");
        let output =
            Command::new(&python).arg(script).arg(ceph.conf()).arg(pool).args(arguments).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let data = bytes(125, 5_500_000);
    let file = ceph.file("image.raw");
    std::fs::write(&file, &data).expect("writes");
    let file = file.to_str().expect("plain");
    // Ours to Glance, which reads and removes it.
    let id = server.active(&data);
    let url = server.show(&id)["locations"][0]["url"].as_str().expect("shown").to_owned();
    let theirs = glance(&["get", &url]);
    assert_eq!(theirs, md5(&data));
    glance(&["delete", &url]);
    backend.assert_empty(&server);
    delete(&server, &id);
    // Glance's to us, of known size and of unknown.
    for size in [data.len().to_string(), "0".to_owned()] {
        let id = server.queued();
        let url = glance(&["add", &id, file, &size]);
        let add = json!([{"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}, "validation_data": {
            "checksum": md5(&data), "os_hash_algo": "sha512", "os_hash_value": sha512(&data)}}}]);
        server.patch(&format!("/v2/images/{id}"), &add).expect(200);
        let image = server.show(&id);
        assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())), "{image}");
        assert_eq!(location(&image, "one")["url"], json!(url));
        assert!(server.download(&id) == data);
        delete(&server, &id);
        backend.assert_empty(&server);
    }
}
