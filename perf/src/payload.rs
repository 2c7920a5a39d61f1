//! The bytes that go in and must come out: reproducible noise, so that nothing can be compressed, deduplicated or left
//! out as a hole, with the digests that an Image service states of them.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use md5::{Digest, Md5};
use ring::digest::{Context, SHA512};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::error::{During, Error, Result};

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
        let mut piece = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let part = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            noise.fill(&mut piece[..part]);
            file.write_all(&piece[..part]).during(|| "writing a payload")?;
            left -= part as u64;
        }
        // Each digest takes seconds: both at once.
        let (mut md5, mut sha512) = (Md5::new(), Context::new(&SHA512));
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| read_all(&file, |bytes| md5.update(bytes)));
            let second = read_all(&file, |bytes| sha512.update(bytes));
            (first.join().unwrap_or_else(|_| Err(Error::Setup("a digest panicked".into()))), second)
        });
        first.and(second)?;
        Ok(Self { file, size, digests: Digests { md5: hex(&md5.finalize()), sha512: hex(sha512.finish().as_ref()) } })
    }
}

/// Hands over all of a file in pieces, and returns its size.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_all(file: &File, mut take: impl FnMut(&[u8])) -> Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let count = file.read_at(&mut piece, at).during(|| "reading a payload")?;
        if count == 0 {
            return Ok(at);
        }
        take(&piece[..count]);
        at += count as u64;
    }
}

/// Compares bytes that come in pieces with a payload.
pub struct Comparer<'a> {
    truth: &'a Payload,
    piece: Vec<u8>,
    at: u64,
    wrong: Option<String>,
}

impl<'a> Comparer<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub fn new(truth: &'a Payload) -> Self {
        Self { truth, piece: Vec::new(), at: 0, wrong: None }
    }

    /// Compares the next bytes.
    pub fn compare(&mut self, bytes: &[u8]) {
        self.piece.resize(bytes.len(), 0);
        let outcome = self.truth.file.read_exact_at(&mut self.piece, self.at);
        let wrong = match outcome {
            Err(error) => Some(error.to_string()),
            Ok(()) => {
                self.piece.iter().zip(bytes).position(|(a, b)| a != b).map(|at| format!("byte {}", self.at + at as u64))
            }
        };
        self.wrong = self.wrong.take().or(wrong);
        self.at += bytes.len() as u64;
    }

    /// Says whether all that came, `count` bytes, was right and complete.
    ///
    /// # Errors
    /// It was not: where it differs first.
    pub fn finish(self, count: u64) -> Result<()> {
        match self.wrong {
            Some(wrong) => Err(Error::Bytes(format!("differs from what was stored at {wrong}"))),
            None if count != self.truth.size || self.at != count => {
                Err(Error::Bytes(format!("{count} bytes instead of {}", self.truth.size)))
            }
            None => Ok(()),
        }
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
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be 0; as good as equally likely, as `limit` is far below 2^64.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
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
    fn a_wrong_byte_and_a_missing_one_are_found() -> std::io::Result<()> {
        let payload = Payload::in_memory(100_000).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; 100_000];
        payload.file.read_exact_at(&mut bytes, 0)?;
        let compare = |bytes: &[u8]| {
            let mut comparer = Comparer::new(&payload);
            bytes.chunks(33_333).for_each(|piece| comparer.compare(piece));
            comparer.finish(bytes.len() as u64)
        };
        assert!(compare(&bytes).is_ok());
        assert!(compare(&bytes[..99_999]).is_err());
        bytes[70_000] ^= 1;
        let message = compare(&bytes).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("byte 70000"), "{message}");
        bytes.push(0);
        assert!(compare(&bytes).is_err());
        Ok(())
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
