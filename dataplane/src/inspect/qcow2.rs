//! qcow2: QEMU's `docs/interop/qcow2.txt`. Integers are big-endian.

use super::fields::{be_u32, be_u64};
use super::verdict::{Finding, Format};

const MAGIC: &[u8] = b"QFI\xfb";

/// Bytes that must be there for a stream to be taken for qcow2: the smallest cluster.
const HEADER_BYTES: usize = 512;

/// The header of version 2 ends here, and its extensions begin.
const V2_HEADER_BYTES: usize = 72;

/// Incompatible feature: the data stands in another file.
const FEATURE_DATA_FILE: u64 = 1 << 2;

/// The incompatible features known: dirty, corrupt, external data file, compression type. Any other changes the
/// meaning of the bytes in a way that cannot be judged here.
const KNOWN_FEATURES: u64 = 0xf;

/// The header extension that names an external data file.
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

// Limits that QEMU holds its own reader to, so that an image cannot make it allocate without bound.
const MAX_CLUSTER_BITS: u32 = 21;
const MAX_L1_ENTRIES: u32 = (32 << 20) / 8;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
const MAX_SNAPSHOTS: u32 = 65536;

pub(super) fn detect(head: &[u8]) -> Option<Finding> {
    let header = head.get(..HEADER_BYTES)?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let version = be_u32(header, 4)?;
    let backing_file = be_u64(header, 8)?;
    let features = if version == 3 { be_u64(header, 72)? } else { 0 };
    let data_file = features & FEATURE_DATA_FILE != 0 || names_data_file(header, version);
    let known = matches!(version, 2 | 3) && features & !KNOWN_FEATURES == 0;
    let finding = Finding::new(Format::Qcow2)
        .sized(be_u64(header, 24))
        .check("backing_file", backing_file == 0)
        .check("data_file", !data_file)
        .check("unknown_features", known)
        .check("limits", within_limits(header)?);
    Some(finding)
}

/// Looks for the extension among those that the header's bytes hold. Without the feature bit it has no effect, but no
/// honest image carries it.
fn names_data_file(header: &[u8], version: u32) -> bool {
    let start = if version == 3 { be_u32(header, 100) } else { None };
    let mut at = start.map_or(V2_HEADER_BYTES, |start| usize::try_from(start).unwrap_or(usize::MAX));
    while let (Some(kind), Some(length)) = (be_u32(header, at), at.checked_add(4).and_then(|at| be_u32(header, at))) {
        if kind == EXTENSION_DATA_FILE {
            return true;
        }
        let padded = usize::try_from(length).ok().and_then(|length| length.checked_next_multiple_of(8));
        let next = padded.and_then(|padded| at.checked_add(8)?.checked_add(padded));
        match next {
            Some(next) if kind != 0 => at = next,
            _ => return false,
        }
    }
    false
}

fn within_limits(header: &[u8]) -> Option<bool> {
    let cluster_bits = be_u32(header, 20)?;
    let l1_entries = be_u32(header, 36)?;
    let refcount_table_clusters = u64::from(be_u32(header, 56)?);
    let snapshots = be_u32(header, 60)?;
    if cluster_bits > MAX_CLUSTER_BITS {
        return Some(false);
    }
    Some(
        l1_entries <= MAX_L1_ENTRIES
            && refcount_table_clusters << cluster_bits <= MAX_REFCOUNT_TABLE_BYTES
            && snapshots <= MAX_SNAPSHOTS,
    )
}
