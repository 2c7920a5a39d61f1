//! Reading an image: several operations ahead, into the transfer's buffers, and nothing where there is nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use common::rbd::Place;

use super::cluster::{Cluster, Tie};
use super::queue::Open;
use super::sys::{Image, Operation, PIECES};
use crate::io::{BUFFER_BYTES, Buffer, BufferPool, Length};
use crate::store::StoreError;

/// Bytes of one operation.
const OPERATION_BYTES: u64 = (PIECES * BUFFER_BYTES) as u64;

/// An image that is open for reading.
pub(crate) struct Blocks {
    pub(super) open: Open,
    pub(super) tie: Tie,
    pub(super) place: Place,
    /// Tells it from another image of the same name.
    pub(super) id: String,
    pub(super) size: u64,
    /// Where there is data, by whole buffers, in order, where that was asked; elsewhere there are zeros.
    pub(super) data: Option<Vec<Range<u64>>>,
    /// Operations at a time.
    pub(super) depth: usize,
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocks").field("place", &self.place).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Blocks {
    /// Bytes of the image.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Buffers that reading at full depth takes.
    pub(crate) fn buffers(&self) -> usize {
        (self.depth + 1) * PIECES
    }

    /// Begins to read `span`. `fill_holes`: zeros are wanted in buffers too.
    pub(crate) fn read(&self, span: Range<u64>, fill_holes: bool) -> ReadAhead<'_> {
        ReadAhead {
            blocks: self,
            next: span.start,
            end: span.end.min(self.size),
            fill_holes,
            extent: 0,
            ahead: VecDeque::with_capacity(self.depth + 1),
            wanted: 1,
            pieces: VecDeque::with_capacity(PIECES),
        }
    }

    /// Makes sure that what was read so far was the image: once it is removed, what is read of it are zeros. Its snapshot goes
    /// before its data does, so if that is still there, all was.
    pub(crate) async fn confirm(&self) -> Result<(), StoreError> {
        let (pool, place, id) = (self.tie.pool(), self.place.clone(), self.id.clone());
        let check = move |cluster: &Arc<Cluster>| {
            let pool = pool.value();
            let opened = Image::open_read_only(pool, &place.image, place.snapshot()).and_then(|image| image.id());
            match opened.map_err(|failed| cluster.lost(failed, pool.rados()))? {
                found if found == id => Ok(()),
                _ => Err(StoreError::NotFound),
            }
        };
        self.tie.cluster().run(Length::Short, check).await
    }
}

/// A piece of an image.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Data.
    Data(Buffer),
    /// So many zeros, no more than a buffer has room for.
    Zeros(usize),
}

enum Ahead {
    Read(Rc<Operation>),
    Zeros(u64),
    Filled(Buffer),
}

/// A span that is being read.
pub(crate) struct ReadAhead<'a> {
    blocks: &'a Blocks,
    /// Where the next operation begins.
    next: u64,
    end: u64,
    fill_holes: bool,
    /// The first extent of the data that does not lie before `next`.
    extent: usize,
    ahead: VecDeque<Ahead>,
    /// How many of them there may be: more as long as they come too late, so that slow clients do not hold memory.
    wanted: usize,
    /// What the oldest operation has read.
    pieces: VecDeque<Buffer>,
}

impl ReadAhead<'_> {
    /// Begins as many reads as there is memory for in `pool`; whether a piece is there or on its way, or none is left.
    pub(crate) fn is_ready(&mut self, pool: &BufferPool) -> Result<bool, StoreError> {
        while self.next < self.end && self.ahead.len() < self.wanted {
            let Some(buffer) = self.memory_of_next(pool) else { break };
            self.begin(buffer, pool)?;
        }
        Ok(!self.pieces.is_empty() || !self.ahead.is_empty() || self.next >= self.end)
    }

    /// Waits for the memory of the next piece. May be dropped at any time.
    pub(crate) async fn ready(&mut self, pool: &BufferPool) -> Result<(), StoreError> {
        if !self.is_ready(pool)? {
            let buffer = pool.get().await;
            self.begin(Some(buffer), pool)?;
        }
        Ok(())
    }

    /// The first buffer of what comes next, or none where it needs none; nothing while there is no memory.
    fn memory_of_next(&mut self, pool: &BufferPool) -> Option<Option<Buffer>> {
        if !self.fill_holes && self.is_hole() { Some(None) } else { pool.try_get().map(Some) }
    }

    fn is_hole(&mut self) -> bool {
        self.until().1
    }

    /// Where what begins at `next` ends, and whether it is a hole.
    fn until(&mut self) -> (u64, bool) {
        let Some(data) = &self.blocks.data else { return (self.end, false) };
        while data.get(self.extent).is_some_and(|extent| extent.end <= self.next) {
            self.extent += 1;
        }
        match data.get(self.extent) {
            Some(extent) if extent.start <= self.next => (extent.end.min(self.end), false),
            Some(extent) => (extent.start.min(self.end), true),
            None => (self.end, true),
        }
    }

    fn begin(&mut self, first: Option<Buffer>, pool: &BufferPool) -> Result<(), StoreError> {
        let (until, is_hole) = self.until();
        let (ahead, next) = match first {
            None => (Ahead::Zeros(until - self.next), until),
            Some(mut buffer) if is_hole => {
                let count = clamp(until - self.next).min(BUFFER_BYTES);
                buffer.spare_mut()[..count].fill(0);
                buffer.advance(count);
                (Ahead::Filled(buffer), self.next + count as u64)
            }
            Some(buffer) => {
                // Up to the end of an operation's own part of the image: then none touches two objects.
                let until = until.min((self.next / OPERATION_BYTES + 1) * OPERATION_BYTES);
                let wanted = clamp(until - self.next).div_ceil(BUFFER_BYTES);
                let mut buffers = Vec::with_capacity(wanted);
                buffers.push(buffer);
                while buffers.len() < wanted
                    && let Some(more) = pool.try_get()
                {
                    buffers.push(more);
                }
                let length = clamp(until - self.next).min(buffers.len() * BUFFER_BYTES);
                let operation = Operation::reading(buffers);
                let started = self.blocks.open.start(&operation, self.next, length);
                started.map_err(|failed| self.blocks.tie.lost(failed))?;
                (Ahead::Read(operation), self.next + length as u64)
            }
        };
        self.ahead.push_back(ahead);
        self.next = next;
        Ok(())
    }

    /// The next piece, which has to be [ready](ReadAhead::ready); `None` at the end. All but the last one and those around holes
    /// are whole buffers.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, StoreError> {
        loop {
            if let Some(buffer) = self.pieces.pop_front() {
                return Ok(Some(Piece::Data(buffer)));
            }
            match self.ahead.front_mut() {
                None => return Ok(None),
                Some(Ahead::Zeros(left)) => {
                    let count = clamp(*left).min(BUFFER_BYTES);
                    *left -= count as u64;
                    if *left == 0 {
                        self.ahead.pop_front();
                    }
                    return Ok(Some(Piece::Zeros(count)));
                }
                Some(Ahead::Filled(_)) => {
                    if let Some(Ahead::Filled(buffer)) = self.ahead.pop_front() {
                        return Ok(Some(Piece::Data(buffer)));
                    }
                }
                Some(Ahead::Read(operation)) => {
                    if !operation.is_over() {
                        self.wanted = self.wanted.saturating_mul(2).min(self.blocks.depth);
                    }
                    operation.done().await.map_err(|failed| self.blocks.tie.lost(failed))?;
                    self.pieces.extend(operation.take_filled());
                    self.ahead.pop_front();
                }
            }
        }
    }
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Extents by whole buffers: what is read with them is aligned for whoever it is written by.
pub(super) fn by_buffers(extents: Vec<Range<u64>>) -> Vec<Range<u64>> {
    const UNIT: u64 = BUFFER_BYTES as u64;
    let mut whole: Vec<Range<u64>> = Vec::with_capacity(extents.len());
    for extent in extents {
        let (start, end) = (extent.start - extent.start % UNIT, extent.end.next_multiple_of(UNIT));
        match whole.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => whole.push(start..end),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_become_whole_buffers() {
        const UNIT: u64 = BUFFER_BYTES as u64;
        assert_eq!(by_buffers(vec![5..10, 20..UNIT + 1, 5 * UNIT..6 * UNIT]), [0..2 * UNIT, 5 * UNIT..6 * UNIT]);
        assert_eq!(by_buffers(Vec::new()), []);
    }
}
