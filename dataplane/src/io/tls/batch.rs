//! Many records in one piece of memory, to be sent with one call.

use std::cell::RefCell;

use super::record::{OVERHEAD_BYTES_MAX, PLAIN_BYTES_MAX};

/// Records of a full batch.
pub(super) const RECORDS: usize = 16;

/// Most bytes of plaintext in a batch: 256 KiB, which stay in a core's cache between read, encryption and send.
pub(super) const BATCH_PLAIN_BYTES: usize = RECORDS * PLAIN_BYTES_MAX;

/// Bytes of a batch: its records, and a small one before them that tells of a new key.
const BATCH_BYTES: usize = RECORDS * (PLAIN_BYTES_MAX + OVERHEAD_BYTES_MAX) + 64;

/// Batches that a core keeps for the next use. One is enough while sockets take what they are given; sockets that do not hold
/// more of them for as long as that lasts.
const SPARE_MAX: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Room for records, and how much of it is filled.
pub(super) struct Batch {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Batch {
    /// An empty batch, out of this core's spare ones where there is one.
    pub(super) fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Batch { bytes: spare.unwrap_or_else(|| vec![0; BATCH_BYTES].into_boxed_slice()), filled: 0 }
    }

    /// What is filled.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// What is not.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// Counts `count` bytes of the room as filled.
    pub(super) fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.bytes.len());
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // While the thread ends there is nobody to keep it for.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
    }
}
