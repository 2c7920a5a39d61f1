//! Data as it comes packed.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use rawzip::{CompressionMethod, ZipArchiveWriter};

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

pub(crate) fn zip(data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut packed);
    let file = archive.new_file("disk.img").compression_method(CompressionMethod::DEFLATE);
    let (mut entry, config) = file.start().expect("a file");
    let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
    writer.write_all(data).expect("packs");
    let (encoder, descriptor) = writer.finish().expect("ends");
    encoder.finish().expect("ends");
    entry.finish(descriptor).expect("ends");
    archive.finish().expect("ends");
    packed
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("packs")
}

/// `data` packed in each way.
pub(crate) fn all(data: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let zstd = ::zstd::encode_all(data, 1).expect("packs");
    [("gzip", gzip(data)), ("zip", zip(data)), ("xz", xz(data)), ("zstd", zstd), ("bzip2", bzip2(data))]
}
