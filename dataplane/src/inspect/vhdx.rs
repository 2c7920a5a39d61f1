//! VHDX: Microsoft's \[MS-VHDX\]. Integers are little-endian, GUIDs in their mixed order.
//!
//! The size of the disk stands behind two tables: the region table tells where the metadata region is, its table tells
//! where the item is. Both pointers must point past what they stand in, as the format demands, which is also what
//! makes one pass enough.

use super::fields::{array, le_u16, le_u32, le_u64};
use super::region::{NOTHING, Region};
use super::verdict::{Finding, Format};

const IDENTIFIER: &[u8] = b"vhdxfile";

const KIB: usize = 1 << 10;
const REGION_TABLE_OFFSET: u64 = 192 << 10;
const REGION_TABLE_BYTES: usize = 64 * KIB;
const REGION_TABLE_HEADER_BYTES: usize = 16;
const REGION_TABLE_SIGNATURE: &[u8] = b"regi";

const METADATA_SIGNATURE: &[u8] = b"metadata";
const METADATA_HEADER_BYTES: usize = 32;

const ENTRY_BYTES: usize = 32;
/// The most entries of either table, which keeps each within 64 KiB.
const MAX_ENTRIES: usize = 2047;

/// Regions start at or after the first mebibyte, items after the table of metadata.
const MIN_REGION_OFFSET: u64 = 1 << 20;
const MIN_ITEM_OFFSET: u32 = 64 << 10;

/// `8B7CA206-4790-4B9A-B8FE-575F050F886E`
const METADATA_REGION: [u8; 16] =
    [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
/// `2FA54224-CD1B-4876-B211-5DBED83BF4B8`
const VIRTUAL_DISK_SIZE: [u8; 16] =
    [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
const VIRTUAL_DISK_SIZE_BYTES: usize = 8;

/// Follows a stream that may be VHDX.
pub(super) struct Vhdx {
    stage: Stage,
}

/// What is being captured, and what became of it.
enum Stage {
    Identifier(Region),
    RegionTable(Region),
    /// The header of the metadata table; the offset is the region's.
    MetadataHeader(Region, u64),
    MetadataTable(Region, u64),
    Size(Region),
    /// It is not VHDX.
    Other,
    /// It is, and this is the size of its disk.
    Sized(u64),
    /// It claims to be, but a table is not what the format demands.
    Malformed,
}

impl Stage {
    /// The region that is being captured.
    fn region(&self) -> Option<&Region> {
        match self {
            Self::Identifier(region)
            | Self::RegionTable(region)
            | Self::MetadataHeader(region, _)
            | Self::MetadataTable(region, _)
            | Self::Size(region) => Some(region),
            Self::Other | Self::Sized(_) | Self::Malformed => None,
        }
    }

    fn region_mut(&mut self) -> Option<&mut Region> {
        match self {
            Self::Identifier(region)
            | Self::RegionTable(region)
            | Self::MetadataHeader(region, _)
            | Self::MetadataTable(region, _)
            | Self::Size(region) => Some(region),
            Self::Other | Self::Sized(_) | Self::Malformed => None,
        }
    }
}

impl Vhdx {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Identifier(Region::new(0, IDENTIFIER.len())) }
    }

    pub(super) fn next(&self) -> u64 {
        self.stage.region().map_or(NOTHING, Region::next)
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.stage.region().map_or(0, |region| region.bytes().len())
    }

    pub(super) fn capture(&mut self, position: u64, bytes: &[u8]) {
        while let Some(region) = self.stage.region_mut() {
            region.capture(position, bytes);
            if !region.is_complete() {
                return;
            }
            self.stage = self.following();
        }
    }

    /// The stage after one whose region is complete.
    fn following(&self) -> Stage {
        let following = match &self.stage {
            Stage::Identifier(region) if region.bytes() != IDENTIFIER => Some(Stage::Other),
            Stage::Identifier(_) => Some(Stage::RegionTable(Region::new(REGION_TABLE_OFFSET, REGION_TABLE_BYTES))),
            Stage::RegionTable(region) => find_metadata(region.bytes()),
            Stage::MetadataHeader(region, offset) => metadata_table(region.bytes(), *offset),
            Stage::MetadataTable(region, offset) => find_size(region.bytes(), *offset),
            Stage::Size(region) => le_u64(region.bytes(), 0).map(Stage::Sized),
            Stage::Other | Stage::Sized(_) | Stage::Malformed => None,
        };
        following.unwrap_or(Stage::Malformed)
    }

    pub(super) fn detect(&self) -> Option<Finding> {
        match self.stage {
            Stage::Identifier(_) | Stage::Other => None,
            Stage::Sized(size) => Some(Finding::new(Format::Vhdx).sized(Some(size))),
            Stage::Malformed => Some(Finding::new(Format::Vhdx).check("metadata", false)),
            _ => Some(Finding::incomplete(Format::Vhdx)),
        }
    }
}

/// Finds the metadata region in the region table.
fn find_metadata(table: &[u8]) -> Option<Stage> {
    let count = usize::try_from(le_u32(table, 8)?).ok()?;
    if !table.starts_with(REGION_TABLE_SIGNATURE) || count > MAX_ENTRIES {
        return None;
    }
    let entry = find_entry(&table[REGION_TABLE_HEADER_BYTES..], count, METADATA_REGION)?;
    let offset = le_u64(entry, 16)?;
    // The end of all that is captured there must be an offset too.
    offset.checked_add(u64::from(u32::MAX) + VIRTUAL_DISK_SIZE_BYTES as u64)?;
    (offset >= MIN_REGION_OFFSET).then(|| Stage::MetadataHeader(Region::new(offset, METADATA_HEADER_BYTES), offset))
}

/// Reads the header of the metadata table, which says how many entries follow.
fn metadata_table(header: &[u8], offset: u64) -> Option<Stage> {
    let count = usize::from(le_u16(header, 10)?);
    if !header.starts_with(METADATA_SIGNATURE) || count > MAX_ENTRIES {
        return None;
    }
    let start = offset.checked_add(METADATA_HEADER_BYTES as u64)?;
    Some(Stage::MetadataTable(Region::new(start, count * ENTRY_BYTES), offset))
}

/// Finds the size of the disk among the entries of the metadata table.
fn find_size(entries: &[u8], offset: u64) -> Option<Stage> {
    let entry = find_entry(entries, MAX_ENTRIES, VIRTUAL_DISK_SIZE)?;
    let item_offset = le_u32(entry, 16)?;
    let item_bytes = usize::try_from(le_u32(entry, 20)?).ok()?;
    if item_offset < MIN_ITEM_OFFSET || item_bytes != VIRTUAL_DISK_SIZE_BYTES {
        return None;
    }
    let start = offset.checked_add(u64::from(item_offset))?;
    Some(Stage::Size(Region::new(start, VIRTUAL_DISK_SIZE_BYTES)))
}

/// The entry of a GUID among the first `count` entries.
fn find_entry(entries: &[u8], count: usize, guid: [u8; 16]) -> Option<&[u8]> {
    entries.chunks_exact(ENTRY_BYTES).take(count).find(|entry| array(entry, 0) == Some(guid))
}
