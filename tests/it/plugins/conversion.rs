//! `image_conversion`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{assert_refused, config, converted, import, imported, qemu_img, with_plugins, with_script, write_script};
use crate::harness::data::{bytes, sha512};
use crate::harness::packed::gzip;
use crate::harness::server::run_program_to_end;

/// A disk with a hole.
fn disk() -> Vec<u8> {
    [bytes(11, 1 << 20), vec![0; 2 << 20], bytes(12, 1 << 20)].concat()
}

/// An ISO, as far as its first bytes tell.
fn iso() -> Vec<u8> {
    let mut data = vec![0; 64 * 1024];
    data[32768..32774].copy_from_slice(b"\x01CD001");
    data[32768 + 80..32768 + 84].copy_from_slice(&32u32.to_le_bytes());
    data[32768 + 128..32768 + 130].copy_from_slice(&2048u16.to_le_bytes());
    data
}

#[test]
#[cfg(feature = "installed")]
fn images_become_raw() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_plugins("image_conversion", "");
    let disk = disk();
    for (format, options) in [
        ("qcow2", &["-O", "qcow2", "-c"][..]),
        ("vmdk", &["-O", "vmdk"]),
        ("vmdk", &["-O", "vmdk", "-o", "subformat=streamOptimized"]),
        ("vdi", &["-O", "vdi"]),
        ("vhdx", &["-O", "vhdx"]),
        ("raw", &["-O", "raw"]),
    ] {
        let id = import(&server, format, "bare", &converted(home.path(), &disk, options));
        let image = imported(&server, &id);
        let formats = (&image["disk_format"], &image["container_format"]);
        assert_eq!(formats, (&json!("raw"), &json!("bare")), "{format}");
        assert_eq!((&image["size"], &image["virtual_size"]), (&json!(disk.len()), &json!(disk.len())), "{format}");
        assert_eq!(image["os_hash_value"], json!(sha512(&disk)), "{format}");
        assert!(server.download(&id) == disk, "{format}");
    }
    let id = import(&server, "iso", "bare", &iso());
    assert_eq!(imported(&server, &id)["disk_format"], json!("iso"));
    assert!(server.download(&id) == iso(), "an ISO stays");
}

#[test]
#[cfg(feature = "installed")]
fn packed_images_become_qcow2_with_properties() {
    let home = tempfile::tempdir().expect("a directory");
    let more = "[image_conversion]\noutput_format = qcow2\n[inject_metadata_properties]\ninject = origin:import\n\
                ignore_user_roles = nobody\n";
    let server = with_plugins("image_decompression, image_conversion, inject_image_metadata", more);
    let disk = disk();
    let id = import(&server, "raw", "bare", &gzip(&disk));
    let image = imported(&server, &id);
    assert_eq!((&image["disk_format"], &image["origin"]), (&json!("qcow2"), &json!("import")), "{image}");
    assert_eq!(image["virtual_size"], json!(disk.len()));
    fs::write(home.path().join("made"), server.download(&id)).expect("written");
    qemu_img(home.path(), &["convert", "-f", "qcow2", "-O", "raw", "made", "back"]);
    assert!(fs::read(home.path().join("back")).expect("made") == disk);
    let qcow2 = converted(home.path(), &disk, &["-O", "qcow2"]);
    let id = import(&server, "qcow2", "bare", &qcow2);
    imported(&server, &id);
    assert!(server.download(&id) == qcow2, "it has the format already");
}

#[test]
#[cfg(feature = "installed")]
fn hostile_images_are_refused_and_leave_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path();
    fs::write(dir.join("secret"), bytes(13, 1 << 20)).expect("written");
    let secret = dir.join("secret").display().to_string();
    let made = |name: &str, arguments: &[&str]| {
        qemu_img(dir, arguments);
        fs::read(dir.join(name)).expect("made")
    };
    let server = with_plugins("image_conversion", "[DEFAULT]\nimage_size_cap = 8388608\n");
    let backed = made("backed", &["create", "-q", "-f", "qcow2", "-u", "-b", &secret, "-F", "raw", "backed", "1M"]);
    let outside = made("outside", &["create", "-q", "-f", "qcow2", "-o", "data_file=elsewhere", "outside", "1M"]);
    let huge = made("huge", &["create", "-q", "-f", "qcow2", "huge", "1T"]);
    let disk = disk();
    let qcow2 = converted(dir, &disk, &["-O", "qcow2"]);
    let mut flat = format!("# Disk DescriptorFile\nversion=1\nCID=ffffffff\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\nRW 2048 FLAT \"{secret}\" 0\n").into_bytes();
    flat.resize(64 * 1024, 0);
    // Its first table lies where none can.
    let mut broken = qcow2.clone();
    broken[40..48].copy_from_slice(&0x1234u64.to_be_bytes());
    for (claim, data, told) in [
        ("qcow2", &backed, "Image failed safety checks"),
        ("raw", &backed, "Image failed safety checks"),
        ("qcow2", &outside, "Image failed safety checks"),
        ("raw", &qcow2, "does not match stream data qcow2"),
        ("vmdk", &qcow2, "does not match stream data qcow2"),
        ("qcow2", &disk, "does not match stream data raw"),
        ("ami", &disk, "does not match stream data raw"),
        ("raw", &iso(), "does not match stream data iso"),
        ("vmdk", &flat, ""),
        ("qcow2", &huge, "more than 8388608"),
        ("qcow2", &broken, "cannot be converted"),
    ] {
        let id = import(&server, claim, "bare", data);
        assert_refused(&server, &id, told);
        let image = server.show(&id);
        assert_eq!(image["disk_format"], json!(claim), "an import that fails leaves it as it was");
    }
    let said = server.log();
    assert!(!said.contains("panicked"), "{said}");
    server.assert_bytes_gone(None);
}

#[test]
#[cfg(feature = "installed")]
fn create_types_of_vmdk_are_those_that_are_allowed() {
    let home = tempfile::tempdir().expect("a directory");
    let server = with_plugins("image_conversion", "[image_format]\nvmdk_allowed_types = streamOptimized\n");
    let vmdk = converted(home.path(), &disk(), &["-O", "vmdk"]);
    assert_refused(&server, &import(&server, "vmdk", "bare", &vmdk), "Invalid VMDK create-type specified");
}

/// What a qcow2 comes to when `script` converts it.
fn refused_with(script: &str, more: &str, told: &str) -> Duration {
    let home = tempfile::tempdir().expect("a directory");
    let script = format!("[ \"$1\" = convert ] || exec $QEMU_IMG \"$@\"\nfor target; do :; done\n{script}");
    let server = with_script(home.path(), &script, more);
    let qcow2 = converted(home.path(), &disk(), &["-O", "qcow2"]);
    let begun = Instant::now();
    assert_refused(&server, &import(&server, "qcow2", "bare", &qcow2), told);
    begun.elapsed()
}

#[test]
#[cfg(feature = "installed")]
fn a_conversion_may_not_take_all_there_is() {
    const NOT: &str = "cannot be converted";
    let late = "took too long";
    let begun = refused_with("exec sleep 600", "[dataplane]\nconversion_timeout_seconds = 1\n", late);
    assert!(begun < Duration::from_secs(20), "{begun:?}");
    refused_with("while :; do :; done", "[dataplane]\nconversion_cpu_seconds = 1\n", late);
    refused_with("yes >$target", "[DEFAULT]\nimage_size_cap = 20000000\n", NOT);
    let memory = "[dataplane]\nconversion_memory_bytes_max = 100000000\n";
    refused_with("yes | tail -c 300000000", memory, NOT);
    refused_with("exec $QEMU_IMG create -q -f qcow2 $target 1M", "", "Converted image in unexpected format");
    refused_with("exit 3", "", NOT);
    refused_with("yes complaint >&2", "", NOT);
}

#[test]
#[cfg(feature = "installed")]
fn the_converter_reaches_its_files_and_nothing_else() {
    let home = tempfile::tempdir().expect("a directory");
    fs::write(home.path().join("secret"), "topsecret").expect("written");
    let server = with_script(home.path(), "", "");
    // What it complains of is in the log.
    write_script(
        home.path(),
        &format!(
            "[ \"$1\" = convert ] || exec $QEMU_IMG \"$@\"\nfor target; do :; done\nexec 1>&2\necho begun; env; ls -l /proc/self/fd\n\
             cat {0}/secret; echo x >{0}/written; echo x >$target.other; cat $target && echo own\n\
             bash -c 'echo >/dev/tcp/127.0.0.1/{1} && echo connected'\nexit 1",
            home.path().display(),
            server.address.port()
        ),
    );
    let id = import(&server, "qcow2", "bare", &converted(home.path(), &disk(), &["-O", "qcow2"]));
    assert_refused(&server, &id, "cannot be converted");
    let log = server.log();
    let said = log.split_once("cannot be converted: ").expect("it complains").1;
    assert!(said.contains("begun") && said.contains("own"), "{said}");
    for (what, other) in [("CARGO", "HOME="), ("socket:", ".sqlite")] {
        assert!(!said.contains(what) && !said.contains(other), "{said}");
    }
    assert!(!said.contains("topsecret") && !said.contains("connected"), "a kernel without Landlock? {said}");
    assert!(!home.path().join("written").exists(), "{said}");
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn without_the_program_the_service_does_not_start() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("glance-api.conf");
    let start = |plugins: &str| {
        fs::write(&file, config(plugins, "")).expect("written");
        let vitrine = crate::harness::server::binary().get_program().to_owned();
        let program = Path::new("/usr/bin/env");
        let path = format!("PATH={}", home.path().display());
        let (data, config) = (home.path().join("data").display().to_string(), file.display().to_string());
        let vitrine = vitrine.to_string_lossy().into_owned();
        let arguments = [&path, &vitrine, "serve", "--data-dir", &data, "--config", &config, "--listen", "127.0.0.1:0"];
        run_program_to_end(program, &arguments, home.path())
    };
    let (code, said) = start("image_conversion");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("needs the program qemu-img") && said.contains("qemu-utils"), "{said}");
    let (code, said) = start("image_compression");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("image_import_plugins = image_compression") && said.contains("no_op"), "{said}");
    let (code, said) = start("image_conversion, image_conversion");
    assert_eq!((code, said.contains("each plug-in once")), (Some(2), true), "{said}");
}
