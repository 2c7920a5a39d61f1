//! The bodies of the fuzz targets: each takes any bytes, and panics when the product breaks a promise.
//!
//! `fuzz_targets/` gives them to libFuzzer; `tests/fuzz_corpus.rs` runs every kept input through them on stable Rust.
//! None of them knows more than the public API, and each compares the product with something: with itself under
//! another cut of the bytes, with a model written another way, or with an independent library.

pub mod chunked;
pub mod formats;
pub mod hash;
pub mod import_request;
pub mod ini;
pub mod inspect;
pub mod json_patch;
pub mod list_query;
pub mod outbound;
pub mod policy_file;
pub mod policy_rule;
pub mod protections;
pub mod range;
pub mod request_head;
pub mod routes;
pub mod signature;

/// Takes any input, and panics on a finding.
pub type Target = fn(&[u8]);

/// Every target under the name of its binary and of its directory in `corpus/`.
pub const TARGETS: [(&str, Target); 27] = [
    ("request_head", request_head::run),
    ("chunked", chunked::run),
    ("range", range::run),
    ("routes", routes::run),
    ("ini", ini::run),
    ("policy_rule", policy_rule::run),
    ("policy_file", policy_file::run),
    ("protections", protections::run),
    ("json_patch", json_patch::run),
    ("list_query", list_query::run),
    ("inspect", inspect::run),
    ("hash", hash::run),
    ("inspect_qcow2", formats::qcow2),
    ("inspect_vhd", formats::vhd),
    ("inspect_vhdx", formats::vhdx),
    ("inspect_vmdk", formats::vmdk),
    ("inspect_vmdk_footer", formats::vmdk_footer),
    ("inspect_vdi", formats::vdi),
    ("inspect_qed", formats::qed),
    ("inspect_iso", formats::iso),
    ("inspect_gpt", formats::gpt),
    ("inspect_mbr", formats::mbr),
    ("inspect_luks", formats::luks),
    ("inspect_raw", formats::raw),
    ("outbound", outbound::run),
    ("import_request", import_request::run),
    ("signature", signature::run),
];

/// The pieces of `bytes` whose lengths are `lengths` over and over, a length of 0 counting as 256.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let length = match lengths.next() {
            None => bytes.len(),
            Some(0) => 256,
            Some(length) => usize::from(*length),
        };
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        bytes = rest;
        Some(piece)
    })
}
