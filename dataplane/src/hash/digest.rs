//! One running digest: its state, the bytes that do not fill a block yet, and the padding at its end.

use super::constants;
use super::{Algorithm, Kernels};

/// Bytes of the longest block of any algorithm.
const BLOCK_MAX: usize = 128;

/// A digest in progress.
#[derive(Clone, Debug)]
pub struct Digest {
    algorithm: Algorithm,
    /// Of algorithms with words of 32 bits in the lower halves.
    words: [u64; 8],
    /// The bytes behind the last whole block.
    tail: [u8; BLOCK_MAX],
    /// How many they are: fewer than a block.
    filled: usize,
    /// Bytes so far.
    length: u64,
}

/// A word of an algorithm's state.
pub(super) trait Word: Copy + Default {
    fn of(word: u64) -> Self;
    fn into_u64(self) -> u64;
}

impl Word for u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the word")]
    fn of(word: u64) -> Self {
        word as u32
    }

    fn into_u64(self) -> u64 {
        self.into()
    }
}

impl Word for u64 {
    fn of(word: u64) -> Self {
        word
    }

    fn into_u64(self) -> u64 {
        self
    }
}

impl Digest {
    /// Starts a digest of no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let words = match algorithm {
            Algorithm::Md5 => constants::MD5_START.map(u64::from),
            Algorithm::Sha1 => constants::SHA1_START.map(u64::from),
            Algorithm::Sha224 => constants::SHA224_START.map(u64::from),
            Algorithm::Sha256 => constants::SHA256_START.map(u64::from),
            Algorithm::Sha384 => constants::SHA384_START,
            Algorithm::Sha512 => constants::SHA512_START,
            Algorithm::Sha512_256 => constants::SHA512_256_START,
            Algorithm::Sha512_224 => constants::SHA512_224_START,
        };
        Self { algorithm, words, tail: [0; BLOCK_MAX], filled: 0, length: 0 }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Adds `bytes` to what has been hashed so far.
    pub fn update(&mut self, bytes: &[u8]) {
        Kernels::best().update_one(self, bytes);
    }

    /// Ends the digest: its bytes as lower-case hexadecimal digits.
    #[must_use]
    pub fn finish(mut self) -> String {
        // A one bit, zeroes, and the number of bits at the end of a block.
        let bits = u128::from(self.length) << 3;
        let (block, count) = if self.algorithm.is_wide() { (128, 16) } else { (64, 8) };
        let zeroes = (2 * block - count - 1 - self.filled) % block;
        let mut padding = [0; 2 * BLOCK_MAX];
        padding[0] = 0x80;
        let end = 1 + zeroes + count;
        if self.algorithm == Algorithm::Md5 {
            padding[end - count..end].copy_from_slice(&bits.to_le_bytes()[..count]);
        } else {
            padding[end - count..end].copy_from_slice(&bits.to_be_bytes()[16 - count..]);
        }
        self.update(&padding[..end]);
        let mut bytes = [0; 64];
        for (index, word) in self.words.into_iter().enumerate() {
            match self.algorithm {
                Algorithm::Md5 => bytes[4 * index..][..4].copy_from_slice(&u32::of(word).to_le_bytes()),
                _ if self.algorithm.is_wide() => bytes[8 * index..][..8].copy_from_slice(&word.to_be_bytes()),
                _ => bytes[4 * index..][..4].copy_from_slice(&u32::of(word).to_be_bytes()),
            }
        }
        hex(&bytes[..self.algorithm.digest_bytes()])
    }

    /// Hashes what is whole of `bytes` by `code`, and keeps the rest.
    pub(super) fn absorb<W: Word, const B: usize>(&mut self, bytes: &[u8], code: fn(&mut [W; 8], &[[u8; B]])) {
        let (skipped, mut state) = self.begin(bytes, code);
        let blocks = bytes[skipped..].as_chunks().0;
        if !blocks.is_empty() {
            code(&mut state, blocks);
        }
        self.end::<W, B>(bytes, state);
    }

    /// Completes a block that was begun: how many of `bytes` it took, or all where they do not suffice, and the state from which
    /// the whole blocks behind them are to be hashed. [`Digest::end`] comes next, with the same bytes.
    pub(super) fn begin<W: Word, const B: usize>(
        &mut self,
        bytes: &[u8],
        code: fn(&mut [W; 8], &[[u8; B]]),
    ) -> (usize, [W; 8]) {
        let mut state = self.words.map(W::of);
        let missing = self.missing::<B>();
        if bytes.len() < missing {
            return (bytes.len(), state);
        }
        if missing > 0 {
            self.tail[self.filled..B].copy_from_slice(&bytes[..missing]);
            code(&mut state, &self.tail.as_chunks::<B>().0[..1]);
        }
        (missing, state)
    }

    /// Takes the state behind the whole blocks, and keeps the bytes that follow them.
    pub(super) fn end<W: Word, const B: usize>(&mut self, bytes: &[u8], state: [W; 8]) {
        self.words = state.map(W::into_u64);
        self.length = self.length.wrapping_add(bytes.len() as u64);
        let missing = self.missing::<B>();
        let rest = if bytes.len() < missing {
            bytes
        } else {
            self.filled = 0;
            bytes[missing..].as_chunks::<B>().1
        };
        self.tail[self.filled..][..rest.len()].copy_from_slice(rest);
        self.filled += rest.len();
    }

    /// Bytes that complete the block that was begun, 0 if none was.
    fn missing<const B: usize>(&self) -> usize {
        if self.filled == 0 { 0 } else { B - self.filled }
    }
}

/// The lower-case hexadecimal digits of `bytes`.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 0x0f)].into());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;

    fn digest(algorithm: Algorithm, bytes: &[u8]) -> String {
        let mut digest = Digest::new(algorithm);
        digest.update(bytes);
        digest.finish()
    }

    /// RFC 1321 and FIPS 180-4's examples: the digest of `abc`.
    const ABC: [&str; Algorithm::COUNT] = [
        "900150983cd24fb0d6963f7d28e17f72",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
        "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
    ];

    #[test]
    fn published_vectors() {
        for algorithm in Algorithm::ALL {
            assert_eq!(digest(algorithm, b"abc"), ABC[algorithm.index()], "{algorithm}");
        }
    }

    /// For each algorithm H: H over the hexadecimal H of every message of 0 to 300 bytes, byte `i` being
    /// `(7 * i + length) mod 256`. Made with Python's hashlib (OpenSSL), so that every length around the
    /// blocks' edges is compared with another implementation.
    const EVERY_LENGTH: [&str; Algorithm::COUNT] = [
        "6b17c297413904f899439ba384a83c93",
        "9c5dda79c0be8cee2e2272304c8e3502832cdc60",
        "d3a88e9d857a039a4aa433cb0dcd782b8c9988dbe2089e356b30d532",
        "94bc81110d562891b0adac6bac4837f28ae9118c192446b6ac4414fdf4c6e629",
        "193570ab6249e6ef15cd46431d8b884b8ba5d0f538c6c7d24abb05dd41df127a9254e57f05913275a65ef9e9ab12695a",
        "e95e6767913ed1920530e5028b1a97936b37a3b30665a24bd709b6593b5ed389\
         86d7a1546bcacef4b54b49ff8a3eb6cdbc3d2e64337146c9b3f5a9a637e7133a",
        "ffbd7b2eb389ac81bbb479391f1ef311b241a934636516121e9ac61b4c60e48d",
        "bfb8ce380b4819a35d6ec7729a83d1eae5ecd925ae881dd6c7c10173",
    ];

    #[test]
    fn every_length_agrees_with_openssl() {
        for algorithm in Algorithm::ALL {
            let mut all = Digest::new(algorithm);
            for length in 0..=300_usize {
                let message: Vec<u8> = (0..length).map(|i| (7 * i + length).to_le_bytes()[0]).collect();
                all.update(digest(algorithm, &message).as_bytes());
            }
            assert_eq!(all.finish(), EVERY_LENGTH[algorithm.index()], "{algorithm}");
        }
    }

    /// An implementation that is not ours, where the dependencies have one.
    fn second(algorithm: Algorithm, bytes: &[u8]) -> Option<String> {
        match algorithm {
            Algorithm::Md5 => Some(hex(&md5::Md5::digest(bytes))),
            Algorithm::Sha224 => Some(hex(&sha2::Sha224::digest(bytes))),
            Algorithm::Sha512_224 => Some(hex(&sha2::Sha512_224::digest(bytes))),
            Algorithm::Sha256 => Some(hex(&sha2::Sha256::digest(bytes))),
            Algorithm::Sha384 => Some(hex(&sha2::Sha384::digest(bytes))),
            Algorithm::Sha512 => Some(hex(&sha2::Sha512::digest(bytes))),
            Algorithm::Sha512_256 => Some(hex(&sha2::Sha512_256::digest(bytes))),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..2000),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            for algorithm in Algorithm::ALL {
                let mut pieces = Digest::new(algorithm);
                let mut from = 0;
                for cut in cuts.iter().copied().chain([bytes.len()]) {
                    pieces.update(&bytes[from..cut]);
                    from = cut;
                }
                let pieces = pieces.finish();
                prop_assert_eq!(&pieces, &digest(algorithm, &bytes));
                if let Some(second) = second(algorithm, &bytes) {
                    prop_assert_eq!(pieces, second);
                }
            }
        }
    }
}
