//! VHD: Microsoft's "Virtual Hard Disk Image Format Specification". Dynamic disks start with a copy of the footer;
//! fixed ones have it at the end only, and are raw as far as their start tells. Integers are big-endian.

use super::fields::be_u64;
use super::verdict::{Finding, Format};

const COOKIE: &[u8] = b"conectix";

const FOOTER_BYTES: usize = 512;

pub(super) fn detect(head: &[u8]) -> Option<Finding> {
    if !head.starts_with(COOKIE) {
        return None;
    }
    let finding = match head.get(..FOOTER_BYTES) {
        // The original size, as Glance reports it.
        Some(footer) => Finding::new(Format::Vhd).sized(be_u64(footer, 40)),
        None => Finding::incomplete(Format::Vhd),
    };
    Some(finding)
}
