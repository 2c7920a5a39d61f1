//! Unpacking of what real encoders make, of bombs and of damage; and what is refused of an image that qemu-img describes.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rawzip::{CompressionMethod, ZipArchiveWriter};
use serde_json::json;
use tempfile::TempDir;

use super::convert::judge;
use super::*;

/// Memory that decoders may have in these tests.
const MEMORY: u64 = 64 << 20;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    // As its command does.
    encoder.include_checksum(true).expect("it can");
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut packed);
    for (name, data) in files {
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().expect("a file");
        let descriptor = if method == CompressionMethod::DEFLATE {
            let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
            writer.write_all(data).expect("packs");
            let (encoder, descriptor) = writer.finish().expect("ends");
            encoder.finish().expect("ends");
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(data).expect("packs");
            writer.finish().expect("ends").1
        };
        entry.finish(descriptor).expect("ends");
    }
    archive.finish().expect("ends");
    packed
}

fn deflated(files: &[(&str, &[u8])]) -> Vec<u8> {
    zip(files, CompressionMethod::DEFLATE)
}

/// A staging area with something in it.
struct Staged {
    files: Files,
    _dir: TempDir,
}

impl Staged {
    fn new(data: &[u8], size_max: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files { source: dir.path().join("in"), target: dir.path().join("out"), size_max };
        fs::write(&files.source, data).and_then(|()| fs::write(&files.target, b"")).expect("written");
        Staged { files, _dir: dir }
    }

    /// What it is unpacked to, with the length that whoever publishes it gives it.
    fn unpack(&self, memory_bytes: u64) -> Result<Option<Vec<u8>>, String> {
        match decompress(&self.files, memory_bytes, &Stop::default()) {
            Ok(Some(size)) => {
                let mut made = fs::read(&self.files.target).expect("reads");
                assert!(made.len() as u64 <= size);
                made.resize(usize::try_from(size).expect("small"), 0);
                Ok(Some(made))
            }
            Ok(None) => Ok(None),
            Err(Failure::Refused(text)) => Err(text),
            Err(other) => panic!("{other}"),
        }
    }
}

fn unpack(data: &[u8]) -> Result<Option<Vec<u8>>, String> {
    Staged::new(data, 1 << 30).unpack(MEMORY)
}

/// Data with runs, holes and noise, longer than a piece.
fn sample() -> Vec<u8> {
    let mut data = vec![0; 1_000_003];
    for (index, byte) in data.iter_mut().enumerate().skip(300_000).take(400_000) {
        *byte = u8::try_from((index * index / 7) % 251).expect("small");
    }
    data
}

type Packer = fn(&[u8]) -> Vec<u8>;

const PACKERS: [(&str, Packer); 5] =
    [("gzip", gzip), ("xz", xz), ("zstd", zstd), ("bzip2", bzip2), ("zip", |data| deflated(&[("disk", data)]))];

#[test]
fn each_packing_is_known_and_undone() {
    let data = sample();
    for (name, pack) in PACKERS {
        assert!(unpack(&pack(&data)) == Ok(Some(data.clone())), "{name}");
        assert_eq!(unpack(&pack(b"")), Ok(Some(Vec::new())), "{name} of nothing");
    }
    assert!(unpack(&zip(&[("disk", &data)], CompressionMethod::STORE)) == Ok(Some(data)), "stored");
}

#[test]
fn what_is_not_packed_is_left_alone() {
    for data in [&b""[..], b"\x1f", b"BZh91 is no bzip2", b"QFI\xfb", b"PK", &[0; 4096]] {
        assert_eq!(unpack(data), Ok(None), "{data:?}");
    }
}

#[test]
fn several_files_in_a_row_are_one() {
    for (name, pack) in PACKERS.iter().filter(|(name, _)| *name != "zip") {
        let both = [pack(b"one "), pack(b"two")].concat();
        assert_eq!(unpack(&both), Ok(Some(b"one two".to_vec())), "{name}");
    }
    let padded = [gzip(b"one "), vec![0; 700_000], gzip(b"two"), vec![0; 512]].concat();
    assert_eq!(unpack(&padded), Ok(Some(b"one two".to_vec())));
    let followed = unpack(&[gzip(b"one"), b"garbage".to_vec()].concat()).expect_err("that is no gzip");
    assert!(followed.contains("cannot be unpacked as gzip"), "{followed}");
}

#[test]
fn a_bomb_ends_at_the_largest_size_and_zeros_take_no_room() {
    let data = vec![0; 20 << 20];
    for (name, pack) in PACKERS {
        let bomb = pack(&data);
        assert!(bomb.len() < 1_000_000, "{name}: {}", bomb.len());
        let staged = Staged::new(&bomb, (20 << 20) - 1);
        let told = staged.unpack(MEMORY).expect_err("too large");
        assert!(told.contains("unpacks to more than 20971519 bytes"), "{name}: {told}");
        let exact = Staged::new(&bomb, 20 << 20);
        assert!(exact.unpack(MEMORY) == Ok(Some(data.clone())), "{name}");
        assert_eq!(fs::metadata(&exact.files.target).expect("there").len(), 0, "{name}: holes");
    }
}

#[test]
fn damaged_and_cut_data_is_refused_in_words() {
    let data = sample();
    for (name, pack) in PACKERS {
        let packed = pack(&data);
        let mut damaged = packed.clone();
        for byte in &mut damaged[packed.len() / 2..packed.len() / 2 + 40] {
            *byte ^= 0x55;
        }
        for (how, broken) in [("damaged", damaged), ("cut", packed[..packed.len() - 9].to_vec())] {
            let told = unpack(&broken).map(drop).expect_err("broken");
            assert!(told.contains(&format!("cannot be unpacked as {name}")), "{how} {name}: {told}");
        }
    }
}

#[test]
fn an_archive_holds_one_file() {
    let refused = |data: &[u8]| unpack(data).expect_err("refused");
    let two = refused(&deflated(&[("one", b"1"), ("two", b"2")]));
    assert!(two.contains("more than one file"), "{two}");
    let strange = refused(&zip(&[("disk", b"1")], CompressionMethod::LZMA));
    assert!(strange.contains("packed by method 14"), "{strange}");
    let mut encrypted = deflated(&[("disk", b"data")]);
    let record = encrypted.windows(4).position(|bytes| bytes == b"PK\x01\x02").expect("a directory");
    encrypted[record + 8] |= 1;
    assert!(refused(&encrypted).contains("encrypted"));
    // It says that its file is shorter than it is.
    let mut lying = deflated(&[("disk", b"data data data")]);
    let record = lying.windows(4).position(|bytes| bytes == b"PK\x01\x02").expect("a directory");
    lying[record + 24] = 3;
    assert!(refused(&lying).contains("cannot be unpacked as zip"));
    // A name that leads elsewhere leads nowhere: it is not looked at.
    assert_eq!(unpack(&deflated(&[("../../etc/passwd", b"disk")])), Ok(Some(b"disk".to_vec())));
    let lha = refused(b"\x20\x00-lh5-rest of a header");
    assert!(lha.contains("LHA"), "{lha}");
}

#[test]
fn a_decoder_gets_no_more_memory_than_it_may_have() {
    let data = sample();
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.window_log(27).expect("it can");
    encoder.write_all(&data).expect("packs");
    let wide = encoder.finish().expect("ends");
    for packed in [wide, {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 9);
        encoder.write_all(&data).and_then(|()| encoder.finish()).expect("packs")
    }] {
        let told = Staged::new(&packed, 1 << 30).unpack(1 << 20).expect_err("too little memory");
        assert!(told.contains("cannot be unpacked as"), "{told}");
        assert!(Staged::new(&packed, 1 << 30).unpack(512 << 20) == Ok(Some(data.clone())));
    }
}

#[test]
fn work_can_be_stopped() {
    let staged = Staged::new(&gzip(&sample()), 1 << 30);
    let stop = Stop::default();
    stop.stop();
    assert!(matches!(decompress(&staged.files, MEMORY, &stop), Err(Failure::Stopped)));
}

#[test]
fn what_qemu_img_says_of_an_image_is_judged_as_glance_does() {
    let types = vec!["monolithicSparse".to_owned()];
    let judge = |said: serde_json::Value, format: &str, types: &[String]| {
        judge(&said, format, types).map_err(|failure| failure.to_string())
    };
    let good = json!({"format": "qcow2", "virtual-size": 512});
    assert_eq!(judge(good.clone(), "qcow2", &types), Ok(512));
    for (change, told) in [
        (json!({"format": "raw"}), "Image metadata disagrees about format"),
        (json!({"backing-filename": "/etc/passwd"}), "QCOW images with backing files are not allowed"),
        (json!({"format-specific": {"data": {"data-file": "x"}}}), "QCOW images with data-file set are not allowed"),
        (json!({"virtual-size": null}), "qemu-img does not say how large an image is"),
    ] {
        let mut said = good.clone();
        said.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        assert_eq!(judge(said, "qcow2", &types), Err(told.to_owned()));
    }
    let vmdk = |kind: serde_json::Value| json!({"format": "vmdk", "virtual-size": 512, "format-specific": {"data": {"create-type": kind}}});
    assert_eq!(judge(vmdk(json!("monolithicSparse")), "vmdk", &types), Ok(512));
    let told = |kind, types: &[String]| judge(vmdk(kind), "vmdk", types).expect_err("refused");
    assert_eq!(told(json!("monolithicFlat"), &types), "Invalid VMDK create-type specified");
    assert_eq!(told(json!(null), &types), "Unable to determine VMDK create-type");
    assert_eq!(told(json!("monolithicSparse"), &[]), "Image is a VMDK, but no VMDK createType is specified");
}
