//! `image_decompression`.

use serde_json::json;

use super::{assert_refused, import, imported, stage_and_import, with_plugins};
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::packed::{self, gzip};

#[test]
fn packed_data_becomes_what_it_was() {
    let server = with_plugins("image_decompression", "");
    let data = [bytes(1, 900_000), vec![0; 1_200_000], bytes(2, 7)].concat();
    for (name, packed) in packed::all(&data) {
        assert!(packed.len() < data.len(), "{name}");
        let id = import(&server, "raw", "bare", &packed);
        let image = imported(&server, &id);
        assert_eq!((&image["size"], &image["virtual_size"]), (&json!(data.len()), &json!(data.len())), "{name}");
        assert_eq!((&image["checksum"], &image["os_hash_value"]), (&json!(md5(&data)), &json!(sha512(&data))));
        assert!(server.download(&id) == data, "{name}");
    }
    let plain = import(&server, "raw", "bare", &data);
    imported(&server, &plain);
    assert!(server.download(&plain) == data, "what is not packed stays");
    let packed = gzip(&data);
    let kept = import(&server, "raw", "compressed", &packed);
    imported(&server, &kept);
    assert!(server.download(&kept) == packed, "this container says that it shall be packed");
    let twice = import(&server, "raw", "bare", &gzip(&packed));
    imported(&server, &twice);
    assert!(server.download(&twice) == packed, "one layer");
}

#[test]
fn without_the_plug_in_nothing_is_unpacked() {
    let server = with_plugins("", "");
    let packed = gzip(b"data");
    let id = import(&server, "raw", "bare", &packed);
    imported(&server, &id);
    assert!(server.download(&id) == packed);
}

#[test]
fn bombs_end_at_the_largest_size_and_at_the_quota() {
    let limits = "[DEFAULT]\nimage_size_cap = 3000000\nuser_storage_quota = 4000000\n";
    let server = with_plugins("image_decompression", limits);
    let bomb = vec![0; 40_000_000];
    let refused = packed::all(&bomb).map(|(_, packed)| {
        let id = import(&server, "raw", "bare", &packed);
        assert_refused(&server, &id, "unpacks to more than 3000000 bytes");
        id
    });
    // Such an image takes better data.
    stage_and_import(&server, &refused[0], &gzip(&vec![7; 2_500_000]));
    imported(&server, &refused[0]);
    // 2.5 MB of the project's 4 MB are taken by now.
    let id = import(&server, "raw", "bare", &gzip(&vec![7; 2_500_000]));
    assert_refused(&server, &id, "unpacks to more than 1500000 bytes");
    server.assert_bytes_gone(Some(&id));
}

#[test]
fn broken_data_is_refused_in_words_and_what_it_holds_is_checked() {
    let server = with_plugins("image_decompression", "");
    let data = bytes(3, 600_000);
    for (name, packed) in packed::all(&data) {
        let id = import(&server, "raw", "bare", &packed[..packed.len() - 30]);
        assert_refused(&server, &id, &format!("cannot be unpacked as {name}"));
    }
    let id = import(&server, "qcow2", "bare", &gzip(&data));
    assert_refused(&server, &id, "does not match stream data raw");
    let id = import(&server, "raw", "bare", b"\x20\x00-lh5-and so on");
    assert_refused(&server, &id, "LHA");
}
