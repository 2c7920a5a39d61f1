//! LUKS: "LUKS1 On-Disk Format Specification". Integers are big-endian. Version 2 is recognised and refused: its header
//! is a text of its own that nothing here can vouch for.

use super::fields::{be_u16, be_u32};
use super::verdict::{Finding, Format};

const MAGIC: &[u8] = b"LUKS\xba\xbe";

/// The header with its eight key slots.
pub(super) const HEADER_BYTES: usize = 592;

const SECTOR_BYTES: u64 = 512;

pub(super) fn detect(head: &[u8], total_bytes: u64) -> Option<Finding> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    if head.len() < HEADER_BYTES {
        return Some(Finding::incomplete(Format::Luks));
    }
    let version = be_u16(head, 6)?;
    let payload_offset = u64::from(be_u32(head, 104)?) * SECTOR_BYTES;
    // A header without its payload is of unknown size.
    let size = total_bytes.saturating_sub(payload_offset);
    Some(Finding::new(Format::Luks).sized(Some(size)).check("version", version == 1))
}
