//! The bytes that go in and must come out: reproducible noise, so that nothing can be compressed, deduplicated or left
//! out as a hole, with the digests that an Image service states of them.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use md5::{Digest, Md5};
use ring::digest::{Context, SHA512};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::error::{During, Result};

/// Piece by which a payload is made; any size will do.
const PIECE: usize = 256 * 1024;

/// A file of known content.
#[derive(Debug)]
pub struct Payload {
    /// The file, readable and writable.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// Its digests.
    pub digests: Digests,
}

impl Payload {
    /// Makes a payload of `size` bytes in a new file at `path`, durable and in the page cache.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn on_disk(path: &Path, size: u64) -> Result<Self> {
        let open = File::options().read(true).write(true).create_new(true).open(path);
        let payload = Self::fill(open.during(|| path.display().to_string())?, size)?;
        payload.file.sync_all().during(|| path.display().to_string())?;
        Ok(payload)
    }

    /// Makes a payload of `size` bytes in memory, as a file that `sendfile` can read.
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn in_memory(size: u64) -> Result<Self> {
        let memory: OwnedFd = memfd_create("perf-payload", MemfdFlags::CLOEXEC).during(|| "memfd")?;
        Self::fill(File::from(memory), size)
    }

    fn fill(mut file: File, size: u64) -> Result<Self> {
        let mut noise = Noise::new(size);
        let mut digester = Digester::new();
        let mut piece = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let part = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            noise.fill(&mut piece[..part]);
            digester.update(&piece[..part]);
            file.write_all(&piece[..part]).during(|| "writing a payload")?;
            left -= part as u64;
        }
        Ok(Self { file, size, digests: digester.finish() })
    }
}

/// Digests of an image in lower-case hexadecimal, as the Images API states them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// MD5: `checksum`.
    pub md5: String,
    /// SHA-512: `os_hash_value` with the default `os_hash_algo`.
    pub sha512: String,
}

/// Computes [`Digests`] of bytes that come in pieces.
pub struct Digester {
    md5: Md5,
    sha512: Context,
}

impl Digester {
    /// Starts with no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self { md5: Md5::new(), sha512: Context::new(&SHA512) }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha512.update(bytes);
    }

    /// The digests of all bytes.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests { md5: hex(&self.md5.finalize()), sha512: hex(self.sha512.finish().as_ref()) }
    }
}

impl Default for Digester {
    fn default() -> Self {
        Self::new()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pseudo-random bytes: the SplitMix64 generator (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            word.copy_from_slice(&mixed.to_le_bytes()[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, SeekFrom};

    #[test]
    fn noise_is_the_published_sequence() {
        let mut bytes = [0; 20];
        Noise::new(1_234_567).fill(&mut bytes);
        assert_eq!(bytes[..8], 6_457_827_717_110_365_317_u64.to_le_bytes());
        assert_eq!(bytes[8..16], 3_203_168_211_198_807_973_u64.to_le_bytes());
        assert_eq!(bytes[16..], 9_817_491_932_198_370_423_u64.to_le_bytes()[..4]);
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        let mut digester = Digester::new();
        digester.update(b"a");
        digester.update(b"bc");
        let digests = digester.finish();
        assert_eq!(digests.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert!(digests.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digests.sha512.len(), 128);
    }

    #[test]
    fn a_payload_has_the_stated_size_and_digests() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let size = 2 * PIECE as u64 + 5;
        let path = directory.path().join("image");
        for made in [Payload::on_disk(&path, size), Payload::in_memory(size)] {
            let mut payload = made.map_err(std::io::Error::other)?;
            let mut content = Vec::new();
            payload.file.seek(SeekFrom::Start(0))?;
            payload.file.read_to_end(&mut content)?;
            assert_eq!(content.len() as u64, size);
            let mut digester = Digester::new();
            digester.update(&content);
            assert_eq!(digester.finish(), payload.digests);
        }
        assert!(Payload::on_disk(&path, size).is_err(), "an existing file is never overwritten");
        Ok(())
    }
}
