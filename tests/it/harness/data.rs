//! Bytes that are cheap to make again, and their digests.

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512};

/// A small generator of pseudo-random numbers (xorshift64*): the same seed gives the same sequence everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// `length` bytes that no server can guess, and that do not look like a disk image of any format.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        out.extend_from_slice(&random.next().to_le_bytes());
    }
    out.truncate(length);
    if length >= 512 {
        // Not a boot sector by accident.
        out[510] = 0;
    }
    out
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn md5(data: &[u8]) -> String {
    hex(&Md5::digest(data))
}

pub(crate) fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

pub(crate) fn sha512(data: &[u8]) -> String {
    hex(&Sha512::digest(data))
}

/// The head of an empty qcow2 image (version 2) of `virtual_size` bytes, with enough behind it to be recognised.
pub(crate) fn qcow2(virtual_size: u64) -> Vec<u8> {
    let mut image = vec![0; 65536 * 4];
    image[..4].copy_from_slice(b"QFI\xfb");
    image[4..8].copy_from_slice(&2u32.to_be_bytes());
    image[20..24].copy_from_slice(&16u32.to_be_bytes()); // cluster_bits
    image[24..32].copy_from_slice(&virtual_size.to_be_bytes());
    image[36..40].copy_from_slice(&1u32.to_be_bytes()); // l1_size
    image[40..48].copy_from_slice(&(3u64 * 65536).to_be_bytes()); // l1_table_offset
    image[48..56].copy_from_slice(&65536u64.to_be_bytes()); // refcount_table_offset
    image[56..60].copy_from_slice(&1u32.to_be_bytes()); // refcount_table_clusters
    image
}
