//! Image data that anyone who knows two numbers can make again at any offset, and compare at the speed of memory.
//!
//! The run's seed gives a table of noise, which repeats every 256 KiB. Over it, each block of 4 KiB begins with a stamp of
//! 16 bytes made of the image's key and the block's number. So two blocks are never equal, no byte can be left out,
//! moved or taken from another image without being seen, and to make the next piece of data only stamps are written.

use std::sync::Arc;

use crate::payload::{Digester, Digests, Noise};

/// Bytes after which the noise repeats.
pub(super) const PERIOD: usize = 256 * 1024;
/// Bytes that have one stamp.
pub(super) const BLOCK: usize = 4096;
const STAMP: usize = 16;
/// The first byte of every block: no format of disk images begins like this.
const FIRST: u8 = 0xA5;

/// The data of all images of one run.
#[derive(Debug, Clone)]
pub struct Pattern {
    noise: Arc<[u8]>,
    seed: u64,
}

/// Where data is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// Offset in the image, in bytes.
    pub offset: u64,
    /// What should be there.
    pub expected: u8,
    /// What is.
    pub found: u8,
}

impl Pattern {
    /// The data of the run with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut noise = vec![0; PERIOD];
        Noise::new(seed).fill(&mut noise);
        // No boot record by accident, nor a protective one.
        noise[510] = 0;
        Self { noise: noise.into(), seed }
    }

    /// A key of image `number` of this run.
    #[must_use]
    pub fn key(&self, number: u64) -> u64 {
        mix(self.seed ^ mix(number.wrapping_add(1)))
    }

    /// What writes the data of this run's images.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer { key: 0, piece: self.noise.to_vec() }
    }

    /// Compares `bytes` with what stands at `offset` of the image `key`.
    ///
    /// # Errors
    /// The first byte that differs.
    pub fn check(&self, key: u64, mut offset: u64, mut bytes: &[u8]) -> Result<(), Mismatch> {
        while !bytes.is_empty() {
            let number = offset / BLOCK as u64;
            let within = usize::try_from(offset % BLOCK as u64).unwrap_or_default();
            let (block, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            let stamp = stamp(key, number);
            let head = STAMP.saturating_sub(within).min(block.len());
            let at = usize::try_from(offset % PERIOD as u64).unwrap_or_default();
            let expected =
                [stamp.get(within..within + head).unwrap_or_default(), &self.noise[at + head..at + block.len()]];
            if block[..head] != *expected[0] || block[head..] != *expected[1] {
                let expected = expected[0].iter().chain(expected[1]);
                let differs =
                    (offset..).zip(block.iter().zip(expected)).find(|(_, (found, expected))| found != expected);
                if let Some((offset, (found, expected))) = differs {
                    return Err(Mismatch { offset, expected: *expected, found: *found });
                }
            }
            offset += block.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// The digests of the first `size` bytes of the image `key`.
    #[must_use]
    pub fn digests(&self, key: u64, size: u64) -> Digests {
        let mut digester = Digester::new();
        let mut writer = self.writer();
        writer.key = key;
        for offset in (0..size).step_by(PERIOD) {
            digester.update(writer.piece(offset, size - offset));
        }
        digester.finish()
    }
}

/// Makes the data of an image, a piece after the other, in one buffer that always holds the noise.
#[derive(Debug)]
pub struct Writer {
    /// The key of the image whose data is made.
    pub key: u64,
    piece: Vec<u8>,
}

impl Writer {
    /// What stands at `offset`, a multiple of the period: `size` bytes of it, or a whole period if that is less.
    pub fn piece(&mut self, offset: u64, size: u64) -> &[u8] {
        let part = PERIOD.min(usize::try_from(size).unwrap_or(usize::MAX));
        // Whole blocks are stamped, so that what is in the buffer stays complete.
        for (number, block) in
            (offset / BLOCK as u64..).zip(self.piece[..part.next_multiple_of(BLOCK)].chunks_mut(BLOCK))
        {
            block[..STAMP].copy_from_slice(&stamp(self.key, number));
        }
        &self.piece[..part]
    }
}

fn stamp(key: u64, block: u64) -> [u8; STAMP] {
    let first = mix(key ^ block.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut stamp = [0; STAMP];
    stamp[..8].copy_from_slice(&first.to_le_bytes());
    stamp[8..].copy_from_slice(&mix(first ^ key).to_le_bytes());
    stamp[0] = FIRST;
    stamp
}

/// The finalizer of SplitMix64: every bit of the input changes about half of the bits of the output.
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(pattern: &Pattern, key: u64, size: usize) -> Vec<u8> {
        let mut writer = pattern.writer();
        writer.key = key;
        let pieces = (0..size).step_by(PERIOD);
        pieces.flat_map(|at| writer.piece(at as u64, (size - at) as u64).to_vec()).collect()
    }

    #[test]
    fn what_is_made_passes_at_any_cut() {
        let pattern = Pattern::new(7);
        let key = pattern.key(3);
        let image = image(&pattern, key, 2 * PERIOD + 777);
        assert_eq!(pattern.check(key, 0, &image), Ok(()));
        let mut state = 1;
        for _ in 0..2_000 {
            state = mix(state + 1);
            let from = usize::try_from(state).unwrap_or_default() % image.len();
            let length = usize::try_from(state >> 32).unwrap_or_default() % (image.len() - from).min(9_000);
            assert_eq!(pattern.check(key, from as u64, &image[from..from + length]), Ok(()), "{from}+{length}");
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let pattern = Pattern::new(7);
        let key = pattern.key(0);
        let mut image = image(&pattern, key, PERIOD + 5_000);
        for at in (0..image.len()).step_by(211).chain([0, 15, 16, 4095, 4096, PERIOD, image.len() - 1]) {
            let before = image[at];
            image[at] ^= 1;
            let found = Mismatch { offset: at as u64, expected: before, found: before ^ 1 };
            assert_eq!(pattern.check(key, 0, &image), Err(found));
            image[at] = before;
        }
    }

    #[test]
    fn data_of_another_place_image_or_run_is_found() {
        let pattern = Pattern::new(7);
        let key = pattern.key(0);
        let image = image(&pattern, key, 3 * PERIOD);
        assert!(pattern.check(key, 0, &image[PERIOD..]).is_err(), "moved by a period");
        assert!(pattern.check(key, 0, &image[BLOCK..]).is_err(), "moved by a block");
        assert!(pattern.check(pattern.key(1), 0, &image).is_err(), "another image");
        assert!(Pattern::new(8).check(key, 0, &image).is_err(), "another run");
    }

    #[test]
    fn a_writer_goes_from_image_to_image() {
        let pattern = Pattern::new(1);
        let mut writer = pattern.writer();
        let period = PERIOD as u64;
        for (key, offset, size) in
            [(1, 0, period), (2, period, 2 * period), (3, 0, 100), (4, 0, 5), (5, period, period)]
        {
            writer.key = key;
            let piece = writer.piece(offset, size);
            assert_eq!(piece.len() as u64, size.min(period));
            assert_eq!(pattern.check(key, offset, piece), Ok(()), "{key}");
        }
    }

    #[test]
    fn digests_are_those_of_the_data() {
        let pattern = Pattern::new(1);
        let image = image(&pattern, 9, PERIOD + 1);
        let mut digester = Digester::new();
        digester.update(&image);
        assert_eq!(pattern.digests(9, image.len() as u64), digester.finish());
    }
}
