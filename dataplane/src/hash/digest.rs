//! One running digest over the fastest scalar implementation at hand.

use md5::Md5;
use ring::digest as ring_digest;
use sha2::{Digest as _, Sha224, Sha512_224};

use super::Algorithm;

/// A digest in progress.
pub struct Digest {
    state: State,
}

enum State {
    /// SHA-1, SHA-256, SHA-384, SHA-512 and SHA-512/256: ring's assembler is the fastest.
    Ring(ring_digest::Context),
    Md5(Md5),
    Sha224(Sha224),
    Sha512_224(Sha512_224),
}

impl Digest {
    /// Starts a digest of no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let ring = |algorithm| State::Ring(ring_digest::Context::new(algorithm));
        let state = match algorithm {
            Algorithm::Md5 => State::Md5(Md5::new()),
            Algorithm::Sha1 => ring(&ring_digest::SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::Sha224 => State::Sha224(Sha224::new()),
            Algorithm::Sha256 => ring(&ring_digest::SHA256),
            Algorithm::Sha384 => ring(&ring_digest::SHA384),
            Algorithm::Sha512 => ring(&ring_digest::SHA512),
            Algorithm::Sha512_256 => ring(&ring_digest::SHA512_256),
            Algorithm::Sha512_224 => State::Sha512_224(Sha512_224::new()),
        };
        Self { state }
    }

    /// Adds `bytes` to what has been hashed so far.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Ring(context) => context.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Sha224(state) => state.update(bytes),
            State::Sha512_224(state) => state.update(bytes),
        }
    }

    /// Ends the digest: its bytes as lower-case hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        match self.state {
            State::Ring(context) => hex(context.finish().as_ref()),
            State::Md5(state) => hex(&state.finalize()),
            State::Sha224(state) => hex(&state.finalize()),
            State::Sha512_224(state) => hex(&state.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
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

    /// The second implementation of what ring gives, where the dependencies have one.
    fn second(algorithm: Algorithm, bytes: &[u8]) -> Option<String> {
        match algorithm {
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
