//! Partition tables: the master boot record, alone or as the protective one of a GUID partition table (UEFI
//! specification, chapter 5).

use super::fields::{le_u16, le_u32};
use super::verdict::{Finding, Format};

const SECTOR_BYTES: usize = 512;
const SIGNATURE_OFFSET: usize = 510;
const SIGNATURE: u16 = 0xaa55;

const TABLE_OFFSET: usize = 446;
const ENTRY_BYTES: usize = 16;
const ENTRIES: usize = 4;

/// The type of the entry that protects a GUID partition table.
const TYPE_PROTECTIVE: u8 = 0xee;
/// Its first sector, as cylinder, head and sector.
const PROTECTIVE_START_CHS: [u8; 3] = [0x00, 0x02, 0x00];
const PROTECTIVE_START_LBA: u32 = 1;

/// A FAT file system's boot sector has the same signature: it has this number of tables at 0x10 …
const FAT_TABLES: u8 = 2;
/// … and this media descriptor, a fixed disk, at 0x15.
const FAT_MEDIA: u8 = 0xf8;

pub(super) fn detect(head: &[u8], total_bytes: u64) -> Option<Finding> {
    let sector = head.get(..SECTOR_BYTES)?;
    let is_fat = sector[0x10] == FAT_TABLES && sector[0x15] == FAT_MEDIA;
    if le_u16(sector, SIGNATURE_OFFSET)? != SIGNATURE || is_fat {
        return None;
    }
    Some(Finding::new(Format::Gpt).sized(Some(total_bytes)).check("mbr", is_sound(sector)))
}

/// Whether the four entries are a plain MBR or a protective one, rather than a disguise.
fn is_sound(sector: &[u8]) -> bool {
    let entries: Vec<&[u8]> = sector[TABLE_OFFSET..].chunks_exact(ENTRY_BYTES).take(ENTRIES).collect();
    let kind = |entry: &[u8]| entry[4];
    let boot_flags_are_valid = entries.iter().all(|entry| matches!(entry[0], 0x00 | 0x80));
    let used = entries.iter().filter(|entry| kind(entry) != 0).count();
    let protective = entries.iter().position(|entry| kind(entry) == TYPE_PROTECTIVE);
    let protective_is_sound = match protective {
        None => true,
        // It is the first entry, and the only one in use.
        Some(place) => {
            let entry = entries[place];
            place == 0
                && used == 1
                && entry[1..4] == PROTECTIVE_START_CHS
                && le_u32(entry, 8) == Some(PROTECTIVE_START_LBA)
        }
    };
    boot_flags_are_valid && used > 0 && protective_is_sound
}
