//! ISO 9660 (ECMA-119) and UDF (ECMA-167): the first volume descriptor, after 16 sectors that are free for boot code.

use super::fields::{le_u16, le_u32};
use super::region::Region;
use super::verdict::{Finding, Format};

/// Where the first volume descriptor stands: sector 16.
pub(super) const DESCRIPTOR_OFFSET: u64 = 16 * 2048;

/// Bytes of a volume descriptor.
pub(super) const DESCRIPTOR_BYTES: usize = 2048;

const IDENTIFIERS: [&[u8]; 3] = [b"CD001", b"NSR02", b"NSR03"];

/// The type of a primary volume descriptor, which alone has the size of the volume.
const PRIMARY: u8 = 1;

pub(super) fn detect(descriptor: &Region) -> Option<Finding> {
    if !descriptor.is_complete() {
        return None;
    }
    let descriptor = descriptor.bytes();
    if !IDENTIFIERS.contains(&descriptor.get(1..6)?) {
        return None;
    }
    let size = if *descriptor.first()? == PRIMARY {
        let blocks = u64::from(le_u32(descriptor, 80)?);
        let block_bytes = u64::from(le_u16(descriptor, 128)?);
        blocks.checked_mul(block_bytes)
    } else {
        Some(0)
    };
    Some(Finding::new(Format::Iso).sized(size))
}
