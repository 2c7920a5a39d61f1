//! What is done to data that comes from another server: it is staged first.

use serde_json::json;

use super::{assert_refused, converted, imported, with_plugins};
use crate::harness::Server;
use crate::harness::data::{bytes, md5};
use crate::harness::origin::{Origin, whole};
use crate::harness::packed::gzip;

const OPEN: &str = "[import_filtering_opts]\nallowed_hosts = [127.0.0.1]\nallowed_ports = []\n[dataplane]\n\
    fetch_answer_timeout_seconds = 1\n";

/// An image whose import from `origin` is asked for; its id.
fn import(server: &Server, disk_format: &str, container_format: &str, origin: &Origin) -> String {
    let image = server.create(&json!({"disk_format": disk_format, "container_format": container_format}));
    let id = image["id"].as_str().expect("an id").to_owned();
    let body = json!({"method": {"name": "web-download", "uri": origin.url("/")}});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
    id
}

fn sends(data: Vec<u8>) -> Origin {
    Origin::start(move |_, wire| whole(wire, &data))
}

#[test]
#[cfg(feature = "installed")]
fn what_is_fetched_is_unpacked_and_converted() {
    let server = with_plugins("image_decompression, image_conversion", OPEN);
    let home = tempfile::tempdir().expect("a directory");
    let data = [bytes(81, 700_000), vec![0; 1 << 20], bytes(82, 324_000)].concat();
    let data = [data.as_slice(), &vec![0; (512 - data.len() % 512) % 512]].concat();
    let packed = gzip(&converted(home.path(), &data, &["-O", "qcow2"]));
    let origin = sends(packed);
    let id = import(&server, "qcow2", "bare", &origin);
    let image = imported(&server, &id);
    assert_eq!((&image["disk_format"], &image["size"]), (&json!("raw"), &json!(data.len())), "{image}");
    assert_eq!(image["checksum"], json!(md5(&data)));
    assert!(server.download(&id) == data);
    assert_eq!(origin.requests().len(), 1, "fetched once");
}

#[test]
fn what_shall_stay_packed_goes_straight_into_the_store() {
    let server = with_plugins("image_decompression", OPEN);
    let packed = gzip(b"data");
    let origin = sends(packed.clone());
    let id = import(&server, "raw", "compressed", &origin);
    imported(&server, &id);
    assert!(server.download(&id) == packed);
}

#[test]
fn what_cannot_be_unpacked_or_fetched_leaves_nothing() {
    let limits = "[DEFAULT]\nimage_size_cap = 3000000\n";
    let server = with_plugins("image_decompression", &format!("{limits}{OPEN}"));
    let bomb = sends(gzip(&vec![0; 40_000_000]));
    assert_refused(&server, &import(&server, "raw", "bare", &bomb), "unpacks to more than 3000000 bytes");
    let absent = Origin::start(|_, wire| drop(wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")));
    let told = "The image data could not be fetched from the given URI.";
    assert_refused(&server, &import(&server, "raw", "bare", &absent), told);
}
