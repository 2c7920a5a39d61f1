//! VMDK: VMware's "Virtual Disk Format 5.0". Integers are little-endian.
//!
//! Two shapes are recognised: a sparse extent with its descriptor embedded, the only one that holds its own data, and a
//! descriptor alone, a text whose data stands in other files and which is therefore always refused.

use super::fields::{le_u32, le_u64};
use super::region::{NOTHING, Region, Tail};
use super::verdict::{Finding, Format};
use super::vmdk_descriptor;

const MAGIC: &[u8] = b"KDMV";

/// The part of the sparse extent's header that is used, and of a text that tells whether it is one.
const HEADER_BYTES: usize = 64;

const SECTOR_BYTES: u64 = 512;

/// The descriptor stands in the sector after the header: anywhere else it could hide from one reader or another.
const DESCRIPTOR_SECTOR: u64 = 1;

/// The longest descriptor that readers take.
const MAX_DESCRIPTOR_BYTES: usize = (1 << 20) - 1;

/// The place of the grain directory when a footer tells it.
const DIRECTORY_AT_END: u64 = u64::MAX;

/// A footer's marker, the footer and the end-of-stream marker, a sector each.
const FOOTER_BYTES: usize = 3 * 512;
const MARKER_FOOTER: u32 = 3;
const MARKER_END_OF_STREAM: u32 = 0;

/// Follows a stream that may be VMDK.
pub(super) struct Vmdk {
    header: Region,
    stage: Stage,
}

enum Stage {
    /// The header is not complete yet.
    Header,
    /// What may be a text from the start: what follows the header's bytes, up to a NUL.
    Text(Region),
    /// A sparse extent with its descriptor, and the end of the stream if there should be a footer.
    Sparse(Region, Option<Tail<FOOTER_BYTES>>),
    /// A sparse extent whose header is not acceptable.
    Malformed,
    Other,
}

impl Vmdk {
    pub(super) fn new() -> Self {
        Self { header: Region::new(0, HEADER_BYTES), stage: Stage::Header }
    }

    pub(super) fn next(&self) -> u64 {
        match &self.stage {
            Stage::Header => self.header.next(),
            Stage::Text(text) => text.next(),
            Stage::Sparse(descriptor, None) => descriptor.next(),
            // Any byte may be among the last ones.
            Stage::Sparse(_, Some(_)) => 0,
            Stage::Malformed | Stage::Other => NOTHING,
        }
    }

    pub(super) fn capture(&mut self, position: u64, bytes: &[u8]) {
        if !matches!(self.stage, Stage::Header) {
            return self.stage.capture(position, bytes);
        }
        let before = self.header.bytes().len();
        self.header.capture(position, bytes);
        if self.header.is_complete() {
            self.stage = Stage::after(self.header.bytes());
            let rest = bytes.get(HEADER_BYTES - before..).unwrap_or_default();
            self.stage.capture(HEADER_BYTES as u64, rest);
        }
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let stage = match &self.stage {
            Stage::Text(text) => text.bytes().len(),
            Stage::Sparse(descriptor, tail) => descriptor.bytes().len() + tail.as_ref().map_or(0, Tail::held),
            Stage::Header | Stage::Malformed | Stage::Other => 0,
        };
        self.header.bytes().len() + stage
    }

    pub(super) fn detect(&self) -> Option<Finding> {
        let header = self.header.bytes();
        match &self.stage {
            Stage::Header if header.starts_with(MAGIC) => Some(Finding::incomplete(Format::Vmdk)),
            Stage::Header => detect_text(header),
            Stage::Text(rest) => detect_text(&[header, rest.bytes()].concat()),
            Stage::Sparse(descriptor, tail) => detect_sparse(header, descriptor, tail.as_ref()),
            Stage::Malformed => Some(Finding::new(Format::Vmdk).check("descriptor", false)),
            Stage::Other => None,
        }
    }
}

impl Stage {
    /// What a complete header leads to.
    fn after(header: &[u8]) -> Self {
        if header.starts_with(MAGIC) {
            return Self::after_magic(header).unwrap_or(Self::Malformed);
        }
        match header.first() {
            Some(byte) if byte.is_ascii_graphic() || byte.is_ascii_whitespace() => {
                let rest = if header.contains(&0) { 0 } else { MAX_DESCRIPTOR_BYTES - HEADER_BYTES };
                Self::Text(Region::new(HEADER_BYTES as u64, rest))
            }
            _ => Self::Other,
        }
    }

    fn after_magic(header: &[u8]) -> Option<Self> {
        let fields = Header::parse(header)?;
        let descriptor = Region::new(DESCRIPTOR_SECTOR * SECTOR_BYTES, fields.descriptor_bytes()?);
        let tail = (fields.directory == DIRECTORY_AT_END).then(|| {
            let mut tail = Tail::new();
            tail.capture(header);
            tail
        });
        Some(Self::Sparse(descriptor, tail))
    }

    /// Keeps what is wanted of the bytes after the header.
    fn capture(&mut self, position: u64, bytes: &[u8]) {
        match self {
            Self::Text(text) => {
                let before = text.bytes().len();
                text.capture(position, bytes);
                if text.bytes()[before..].contains(&0) {
                    text.close();
                }
            }
            Self::Sparse(descriptor, tail) => {
                descriptor.capture(position, bytes);
                if let Some(tail) = tail {
                    tail.capture(bytes);
                }
            }
            Self::Header | Self::Malformed | Self::Other => {}
        }
    }
}

/// The fields of a sparse extent's header that are used. Sizes and places are in sectors.
#[derive(PartialEq)]
struct Header {
    version: u32,
    capacity: u64,
    descriptor_sector: u64,
    descriptor_sectors: u64,
    directory: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.starts_with(MAGIC).then_some(())?;
        Some(Self {
            version: le_u32(bytes, 4)?,
            capacity: le_u64(bytes, 12)?,
            descriptor_sector: le_u64(bytes, 28)?,
            descriptor_sectors: le_u64(bytes, 36)?,
            directory: le_u64(bytes, 56)?,
        })
    }

    /// The length of the descriptor, when it is where it belongs and of a length that readers take.
    fn descriptor_bytes(&self) -> Option<usize> {
        let length = usize::try_from(self.descriptor_sectors.checked_mul(SECTOR_BYTES)?).ok()?;
        let sound = matches!(self.version, 1..=3)
            && self.descriptor_sector == DESCRIPTOR_SECTOR
            && (1..=MAX_DESCRIPTOR_BYTES).contains(&length);
        sound.then_some(length)
    }
}

fn detect_text(text: &[u8]) -> Option<Finding> {
    vmdk_descriptor::is_descriptor(text).then(|| Finding::new(Format::Vmdk).check("descriptor", false))
}

fn detect_sparse(header: &[u8], descriptor: &Region, tail: Option<&Tail<FOOTER_BYTES>>) -> Option<Finding> {
    let footer = tail.map(Tail::bytes);
    if !descriptor.is_complete() || footer == Some(None) {
        return Some(Finding::incomplete(Format::Vmdk));
    }
    let fields = Header::parse(header)?;
    let footer_is_sound = footer.flatten().is_none_or(|footer| is_sound_footer(footer, &fields));
    let finding = Finding::new(Format::Vmdk)
        .sized(fields.capacity.checked_mul(SECTOR_BYTES))
        .check("descriptor", vmdk_descriptor::is_safe(descriptor.bytes()))
        .check("footer", footer_is_sound);
    Some(finding)
}

/// Whether the footer, which readers prefer to the header, says what the header says.
fn is_sound_footer(bytes: &[u8; FOOTER_BYTES], header: &Header) -> bool {
    let (marker, rest) = bytes.split_at(FOOTER_BYTES / 3);
    let (footer, end) = rest.split_at(FOOTER_BYTES / 3);
    let Some(footer) = Header::parse(footer) else { return false };
    footer.directory != DIRECTORY_AT_END
        && footer == Header { directory: footer.directory, ..*header }
        && is_marker(marker, MARKER_FOOTER)
        && is_marker(end, MARKER_END_OF_STREAM)
        && le_u64(end, 0) == Some(0)
}

/// Whether a sector is a marker of this kind: a value, a size of zero, the kind, and nothing else.
fn is_marker(sector: &[u8], kind: u32) -> bool {
    le_u32(sector, 8) == Some(0) && le_u32(sector, 12) == Some(kind) && sector[16..].iter().all(|byte| *byte == 0)
}
