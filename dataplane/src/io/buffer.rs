//! Aligned buffers: filled by one task, then read by the ring and by other threads at the same time, never copied.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use super::core::{current, spawn};
use super::local::Notify;
use super::mailbox::{MailSender, Mailbox, mailbox};
use super::raw::Memory;
use super::ring::StorageRing;

/// Size of every pooled buffer in bytes, 256 KiB: large enough that the cost per operation vanishes, small enough that some fit
/// in a core's cache while they are hashed.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// Alignment of every pooled buffer in bytes, and the granularity of direct file I/O.
pub const PAGE_BYTES: usize = 4096;

/// The memory of one buffer, and its place in the kernel's table if it is pinned there.
struct Block {
    memory: Box<Memory>,
    place: Option<u16>,
}

/// All buffer memory of one core: pools take blocks from it and bring them back.
///
/// Memory is taken when a block is first needed. Some free blocks are kept, pinned, for the next transfer; the rest goes back
/// to the system, so that a burst of transfers leaves nothing behind.
pub(super) struct Arena {
    ring: Option<Rc<StorageRing>>,
    free: RefCell<Vec<Block>>,
    /// Blocks that pools have.
    lent: Cell<usize>,
    limits: BufferLimits,
    returned: Notify,
}

/// How much buffer memory a core may have, in buffers of [`BUFFER_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    /// Buffers that may be in use at a time.
    pub in_use_max: usize,
    /// Free buffers that are kept for later.
    pub kept_max: usize,
    /// Buffers that may be pinned for the kernel.
    pub pinned_max: u16,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self { in_use_max: 4096, kept_max: 64, pinned_max: 128 }
    }
}

impl Arena {
    pub(super) fn new(limits: BufferLimits, ring: Option<Rc<StorageRing>>) -> Self {
        Self { ring, free: RefCell::default(), lent: Cell::new(0), limits, returned: Notify::new() }
    }

    /// A block, unless the part of all blocks that `claim` may have is in use.
    fn try_take(&self, claim: Claim) -> Option<Block> {
        let max = match claim {
            Claim::All => self.limits.in_use_max,
            Claim::Half => self.limits.in_use_max / 2,
        };
        if self.lent.get() >= max.max(1) {
            return None;
        }
        self.lent.set(self.lent.get() + 1);
        let kept = self.free.borrow_mut().pop();
        Some(kept.unwrap_or_else(|| {
            let mut memory = Memory::zeroed();
            let place = self.ring.as_ref().and_then(|ring| ring.pin(&mut memory));
            Block { memory, place }
        }))
    }

    async fn take(&self, claim: Claim) -> Block {
        loop {
            match self.try_take(claim) {
                Some(block) => return block,
                None => self.returned.wait().await,
            }
        }
    }

    fn give(&self, block: Block) {
        self.lent.set(self.lent.get().saturating_sub(1));
        let mut free = self.free.borrow_mut();
        if free.len() < self.limits.kept_max {
            free.push(block);
        } else if let (Some(ring), Some(place)) = (&self.ring, block.place) {
            ring.unpin(place);
        }
        drop(free);
        self.returned.notify();
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("lent", &self.lent.get()).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How much of a core's memory a pool may leave in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// All.
    All,
    /// Half of it, for those who can do without; the rest is for those who cannot.
    Half,
}

/// A bounded set of buffers of one transfer. Memory comes from the core when a buffer is first needed, and goes back when
/// the pool is dropped and the last buffer has come home.
pub struct BufferPool {
    home: MailSender<Block>,
    free: Option<Mailbox<Block>>,
    /// Blocks that this pool has from the core.
    taken: Cell<usize>,
    count: usize,
    claim: Claim,
    arena: Rc<Arena>,
}

impl BufferPool {
    /// A pool of at most `count` buffers of [`BUFFER_BYTES`] (at least one), for the core of this thread.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(count: usize) -> io::Result<Self> {
        Self::with_claim(count, Claim::All)
    }

    /// The same for those who may be held up by slow clients: together they have half of the core's memory at most.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn for_slow_clients(count: usize) -> io::Result<Self> {
        Self::with_claim(count, Claim::Half)
    }

    /// The same, of no more than `claim` of the core's memory.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn with_claim(count: usize, claim: Claim) -> io::Result<Self> {
        let count = count.max(1);
        let (home, seed) = mailbox(count)?;
        let arena = Rc::clone(&current().arena);
        Ok(Self { home, free: Some(seed.attach()?), taken: Cell::new(0), count, claim, arena })
    }

    /// An empty buffer, if one is free.
    pub fn try_get(&self) -> Option<Buffer> {
        let block = self.free().try_recv().or_else(|| {
            let room = self.taken.get() < self.count;
            let block = room.then(|| self.arena.try_take(self.claim)).flatten()?;
            self.taken.set(self.taken.get() + 1);
            Some(block)
        })?;
        Some(self.buffer(block))
    }

    /// An empty buffer; waits for one to come back, in order of arrival. The first one is waited for if the core has none
    /// left; whoever has one goes on with what it has.
    pub async fn get(&self) -> Buffer {
        if let Some(buffer) = self.try_get() {
            return buffer;
        }
        if self.taken.get() > 0 {
            return self.buffer(self.free().recv().await);
        }
        let block = self.arena.take(self.claim).await;
        self.taken.set(self.taken.get() + 1);
        self.buffer(block)
    }

    fn free(&self) -> &Mailbox<Block> {
        self.free.as_ref().expect("present until the drop")
    }

    fn buffer(&self, block: Block) -> Buffer {
        Buffer { block: Some(block), len: 0, home: self.home.clone() }
    }
}

impl Drop for BufferPool {
    /// Blocks that are still out (with a digest, with the disk) are waited for: they go back on their own core.
    fn drop(&mut self) {
        let (Some(free), arena) = (self.free.take(), Rc::clone(&self.arena)) else { return };
        let mut left = self.taken.get();
        while let Some(block) = free.try_recv() {
            arena.give(block);
            left = left.saturating_sub(1);
        }
        if left > 0 {
            drop(spawn(async move {
                for _ in 0..left {
                    arena.give(free.recv().await);
                }
            }));
        }
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("taken", &self.taken.get())
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// A buffer of [`BUFFER_BYTES`] bytes, aligned to [`PAGE_BYTES`], filled from its start. Dereferences to what is filled.
/// It returns to its pool when dropped, from any thread.
pub struct Buffer {
    /// Present until the drop.
    block: Option<Block>,
    len: usize,
    home: MailSender<Block>,
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
    pub(crate) fn spare_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.block.as_mut().expect("present until the drop").memory.bytes_mut()[len..]
    }

    /// Counts `count` more bytes of the rest as filled.
    pub(crate) fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_add(count).min(BUFFER_BYTES);
    }

    fn block(&self) -> &[u8; BUFFER_BYTES] {
        self.block.as_ref().expect("present until the drop").memory.bytes()
    }

    /// Its place in the kernel's table of pinned buffers.
    pub(super) fn place(&self) -> Option<u16> {
        self.block.as_ref().and_then(|block| block.place)
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
    /// Its place in the kernel's table of pinned buffers.
    pub(super) fn place(&self) -> Option<u16> {
        self.0.place()
    }

    /// Whether all of them are zero. Data mostly is not from its first bytes on, so it mostly costs nothing.
    pub fn is_zero(&self) -> bool {
        // By pages: the compiler makes vector code of the inner loop, which the early end of the outer one leaves to it.
        self.chunks(PAGE_BYTES).all(|page| page.iter().fold(0, |all, byte| all | byte) == 0)
    }

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
