//! Aligned buffers: filled by one task, then read by the ring and by other threads at the same time, never copied.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::mailbox::{MailSender, Mailbox, mailbox};
use super::raw::Block;

/// Size of every pooled buffer in bytes, 256 KiB: large enough that the cost per operation vanishes, small enough that some fit
/// in a core's cache while they are hashed.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// Alignment of every pooled buffer in bytes, and the granularity of direct file I/O.
pub const PAGE_BYTES: usize = 4096;

/// A bounded set of buffers of one core. Memory is taken when a buffer is first needed and then kept.
#[derive(Debug)]
pub struct BufferPool {
    home: MailSender<Box<Block>>,
    free: Mailbox<Box<Block>>,
    unused: std::cell::Cell<usize>,
}

impl BufferPool {
    /// A pool of at most `count` buffers of [`BUFFER_BYTES`] (at least one), for the core of this thread.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let (home, seed) = mailbox(count)?;
        Ok(Self { home, free: seed.attach()?, unused: std::cell::Cell::new(count) })
    }

    /// An empty buffer, if one is free.
    pub fn try_get(&self) -> Option<Buffer> {
        let block = self.free.try_recv().or_else(|| {
            self.unused.set(self.unused.get().checked_sub(1)?);
            Some(Block::zeroed())
        })?;
        Some(self.buffer(block))
    }

    /// An empty buffer; waits for one to come back, in order of arrival.
    pub async fn get(&self) -> Buffer {
        match self.try_get() {
            Some(buffer) => buffer,
            None => self.buffer(self.free.recv().await),
        }
    }

    fn buffer(&self, block: Box<Block>) -> Buffer {
        Buffer { block: Some(block), len: 0, home: self.home.clone() }
    }
}

/// A buffer of [`BUFFER_BYTES`] bytes, aligned to [`PAGE_BYTES`], filled from its start. Dereferences to what is filled.
/// It returns to its pool when dropped, from any thread.
pub struct Buffer {
    /// Present until the drop.
    block: Option<Box<Block>>,
    len: usize,
    home: MailSender<Box<Block>>,
}

impl Buffer {
    /// Bytes that can still be filled.
    pub fn room(&self) -> usize {
        BUFFER_BYTES - self.len
    }

    /// Appends as much of `bytes` as fits and returns how much that was.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.spare_mut()[..count].copy_from_slice(&bytes[..count]);
        self.len += count;
        count
    }

    /// Keeps the first `len` bytes of what is filled.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Empties the buffer.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Ends the filling: from now on the bytes are shared and cannot change. What follows them up to the next multiple of
    /// [`PAGE_BYTES`] is zeroed, because a direct write takes whole pages.
    pub fn freeze(mut self) -> Frozen {
        let padding = self.len.next_multiple_of(PAGE_BYTES) - self.len;
        self.spare_mut()[..padding].fill(0);
        Frozen(Arc::new(self))
    }

    /// The unfilled rest.
    pub(super) fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.block.as_mut().expect("present until the drop").bytes_mut()[len..]
    }

    /// Counts `count` more bytes of the rest as filled.
    pub(super) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_add(count).min(BUFFER_BYTES);
    }

    fn block(&self) -> &[u8; BUFFER_BYTES] {
        self.block.as_ref().expect("present until the drop").bytes()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.block()[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            // Never full: its capacity is the number of blocks there are.
            let _ = self.home.post(block);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A filled buffer that any number of holders on any thread read. The memory returns to its own core's pool when the last
/// holder drops it.
#[derive(Debug, Clone)]
pub struct Frozen(Arc<Buffer>);

impl Frozen {
    /// The bytes with the zeroes that fill their last page.
    pub(super) fn padded(&self) -> &[u8] {
        &self.0.block()[..self.0.len.next_multiple_of(PAGE_BYTES)]
    }
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for Frozen {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
