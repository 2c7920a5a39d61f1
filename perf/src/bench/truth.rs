//! What is known of the data of an image, and the comparison of what comes with it.

use std::sync::Arc;

use super::fault::{Fault, Outcome};
use super::pattern::{BLOCK, Pattern};

/// How the bytes of an image can be checked.
#[derive(Debug, Clone)]
pub enum Truth {
    /// We made them.
    Pattern {
        /// The image's key.
        key: u64,
    },
    /// Others made them; the data was read whole once and its digests were right.
    Blocks(Arc<Blocks>),
    /// They are not looked at.
    Unknown,
}

/// CRC-32 of each block of 4 KiB: 1 MiB for each GiB of image.
#[derive(Debug, Default)]
pub struct Blocks {
    sums: Vec<u32>,
    /// Size of the image in bytes.
    size: u64,
}

/// Makes [`Blocks`] of data that comes in pieces.
#[derive(Debug, Default)]
pub struct BlocksMaker {
    blocks: Blocks,
    open: crc32fast::Hasher,
}

impl BlocksMaker {
    /// Adds the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(to_block_end(self.blocks.size).min(bytes.len()));
            self.open.update(part);
            self.blocks.size += part.len() as u64;
            if self.blocks.size.is_multiple_of(BLOCK as u64) {
                self.blocks.sums.push(std::mem::take(&mut self.open).finalize());
            }
            bytes = rest;
        }
    }

    /// The checksums of all bytes.
    #[must_use]
    pub fn finish(mut self) -> Blocks {
        if !self.blocks.size.is_multiple_of(BLOCK as u64) {
            self.blocks.sums.push(self.open.finalize());
        }
        self.blocks
    }
}

fn to_block_end(offset: u64) -> usize {
    BLOCK - usize::try_from(offset % BLOCK as u64).unwrap_or_default()
}

/// The comparison of one download.
#[derive(Debug)]
pub struct Check<'a> {
    truth: &'a Truth,
    pattern: &'a Pattern,
    /// Where the next bytes stand in the image.
    offset: u64,
    /// Checksum of the block that is not complete.
    open: crc32fast::Hasher,
    /// Whether that block was seen from its beginning.
    whole: bool,
}

impl<'a> Check<'a> {
    /// Compares data that begins at `offset` of the image.
    #[must_use]
    pub fn new(truth: &'a Truth, pattern: &'a Pattern, offset: u64) -> Self {
        let whole = offset.is_multiple_of(BLOCK as u64);
        Self { truth, pattern, offset, open: crc32fast::Hasher::new(), whole }
    }

    /// Compares the next bytes.
    ///
    /// # Errors
    /// Something differs; the text says where.
    pub fn update(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self.truth {
            Truth::Unknown => {}
            Truth::Pattern { key } => self.pattern.check(*key, self.offset, bytes).map_err(|found| {
                Fault::Wrong(format!(
                    "byte {} of the image is 0x{:02x} and should be 0x{:02x}",
                    found.offset, found.found, found.expected
                ))
            })?,
            Truth::Blocks(blocks) => return self.update_blocks(blocks, bytes),
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Blocks of which only a part is asked for cannot be checked and are passed over.
    fn update_blocks(&mut self, blocks: &Blocks, mut bytes: &[u8]) -> Outcome<()> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(to_block_end(self.offset).min(bytes.len()));
            self.open.update(part);
            let number = self.offset / BLOCK as u64;
            self.offset += part.len() as u64;
            if self.offset.is_multiple_of(BLOCK as u64) || self.offset == blocks.size {
                let sum = std::mem::take(&mut self.open).finalize();
                let expected = usize::try_from(number).ok().and_then(|number| blocks.sums.get(number));
                if self.whole && expected != Some(&sum) {
                    let begin = number * BLOCK as u64;
                    return Err(Fault::Wrong(format!(
                        "bytes {begin} to {} of the image are not those of its first download",
                        self.offset - 1
                    )));
                }
                self.whole = true;
            }
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_find_every_flipped_byte_and_pass_the_rest() {
        let pattern = Pattern::new(1);
        let mut data: Vec<u8> = (0..30_011_u32).map(|n| (n / 7).to_le_bytes()[0]).collect();
        let mut maker = BlocksMaker::default();
        for piece in data.chunks(1_000) {
            maker.update(piece);
        }
        let truth = Truth::Blocks(Arc::new(maker.finish()));
        let check = |data: &[u8], from: usize, piece: usize| {
            let mut check = Check::new(&truth, &pattern, from as u64);
            data[from..].chunks(piece).try_for_each(|piece| check.update(piece))
        };
        for (from, piece) in [(0, 100), (0, 30_011), (4_096, 777), (5_000, 4_096), (30_010, 1)] {
            assert_eq!(check(&data, from, piece), Ok(()), "{from} by {piece}");
        }
        for at in (0..data.len()).step_by(97).chain([data.len() - 1]) {
            data[at] ^= 0x80;
            let outcome = check(&data, 0, 1_111);
            let block = format!("bytes {} to", at / 4_096 * 4_096);
            assert!(matches!(&outcome, Err(Fault::Wrong(text)) if text.contains(&block)), "{at}: {outcome:?}");
            data[at] ^= 0x80;
        }
    }

    #[test]
    fn a_pattern_says_where_it_differs() {
        let pattern = Pattern::new(1);
        let truth = Truth::Pattern { key: 5 };
        let mut writer = pattern.writer();
        writer.key = 5;
        let mut data = writer.piece(0, 9_000).to_vec();
        data[8_000] ^= 0xff;
        let mut check = Check::new(&truth, &pattern, 0);
        assert_eq!(check.update(&data[..5_000]), Ok(()));
        let outcome = check.update(&data[5_000..]);
        assert!(matches!(&outcome, Err(Fault::Wrong(text)) if text.contains("byte 8000 ")), "{outcome:?}");
    }
}
