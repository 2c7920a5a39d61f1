//! VDI: VirtualBox's disk image (`VDICore.h`). Integers are little-endian.

use super::fields::{le_u32, le_u64};
use super::verdict::{Finding, Format};

const SIGNATURE: u32 = 0xbeda_107f;

/// Bytes that must be there for a stream to be taken for VDI.
const HEADER_BYTES: usize = 512;

pub(super) fn detect(head: &[u8]) -> Option<Finding> {
    let header = head.get(..HEADER_BYTES)?;
    if le_u32(header, 0x40)? != SIGNATURE {
        return None;
    }
    Some(Finding::new(Format::Vdi).sized(le_u64(header, 0x170)))
}
