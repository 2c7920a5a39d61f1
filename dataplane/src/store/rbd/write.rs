//! Writing an image: under a name that only the upload has, several operations at a time, and renamed when it is whole.
//!
//! Unlike the original's, whose images bear their name from the first byte on, so that what a crash leaves half-written looks like
//! an image and is in the way of the next try.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use common::rbd::SNAPSHOT;

use super::cluster::{Cluster, Tie};
use super::queue::Open;
use super::sys::{Failed, Operation, PIECES};
use crate::io::{BUFFER_BYTES, Frozen, Length};
use crate::metrics::Path;
use crate::store::StoreError;
use crate::store::contract::{Pending, Writing};

/// Bytes of one operation.
const OPERATION_BYTES: u64 = (PIECES * BUFFER_BYTES) as u64;

/// Bytes by which an image of unknown size grows at most, at a time.
const GROWTH_BYTES_MAX: u64 = 8 << 30;

/// An image that is being written.
pub(crate) struct RbdWriter {
    pub(super) open: RefCell<Option<Open>>,
    pub(super) tie: Rc<Tie>,
    pub(super) unfinished: String,
    pub(super) finished: String,
    /// Whether zeros are left out.
    pub(super) thin: bool,
    /// Buffers on their way at a time.
    pub(super) depth: usize,
    /// Bytes that the image has room for now.
    pub(super) room: Cell<u64>,
    /// Bytes by which it grew last.
    pub(super) growth: Cell<u64>,
    /// What waits for more pieces, and where it begins and ends.
    pub(super) gathered: RefCell<Option<Gathered>>,
}

pub(super) struct Gathered {
    operation: Rc<Operation>,
    start: u64,
    end: u64,
}

impl std::fmt::Debug for RbdWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RbdWriter").field("unfinished", &self.unfinished).finish_non_exhaustive()
    }
}

/// A piece of it: part of an operation.
#[derive(Debug)]
pub(crate) struct RbdPending {
    operation: Rc<Operation>,
    tie: Rc<Tie>,
}

impl Pending for RbdPending {
    fn started(&self) -> Option<Instant> {
        self.operation.started()
    }

    async fn done(&mut self) -> Result<(), StoreError> {
        self.operation.done().await.map_err(|failed| self.tie.lost(failed))
    }
}

impl Writing for RbdWriter {
    type Pending = RbdPending;

    fn path(&self) -> Path {
        Path::Direct
    }

    fn depth(&self) -> usize {
        // Some are gathered while the others are on their way.
        self.depth + PIECES
    }

    async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Option<RbdPending>, StoreError> {
        if self.thin && bytes.is_zero() {
            self.flush().await?;
            return Ok(None);
        }
        let end = offset + bytes.len() as u64;
        let operation = {
            let mut gathered = self.gathered.borrow_mut();
            let current = gathered.get_or_insert_with(|| Gathered {
                operation: Operation::gathering(),
                start: offset,
                end: offset,
            });
            current.end = end;
            current.operation.add(bytes);
            Rc::clone(&current.operation)
        };
        // An operation ends where its part of the image does: then none touches two objects.
        if end.is_multiple_of(OPERATION_BYTES) {
            self.flush().await?;
        }
        Ok(Some(RbdPending { operation, tie: Rc::clone(&self.tie) }))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let Some(Gathered { operation, start, end }) = self.gathered.take() else { return Ok(()) };
        if end > self.room.get() {
            self.grow(end).await?;
        }
        match &*self.open.borrow() {
            Some(open) => {
                let started = open.start(&operation, start, 0);
                started.map_err(|failed| self.tie.lost(failed))
            }
            None => Err(closed()),
        }
    }

    async fn commit(&self, size: u64) -> Result<(), StoreError> {
        self.flush().await?;
        let Some(open) = self.open.take() else { return Err(closed()) };
        let image = open.image()?;
        let resize = self.room.get() != size;
        let (pool, from, to) = (self.tie.pool(), self.unfinished.clone(), self.finished.clone());
        let publish = move |cluster: &Arc<Cluster>| {
            let published = (|| {
                let image = image.get();
                if resize {
                    image.resize(size)?;
                }
                image.flush()?;
                image.take_snapshot(SNAPSHOT)?;
                image.protect_snapshot(SNAPSHOT)?;
                pool.value().rename_image(&from, &to)
            })();
            published.map_err(|failed: Failed| cluster.lost(failed, pool.value().rados()))
        };
        self.tie.cluster().run(Length::Short, publish).await
    }
}

impl RbdWriter {
    /// Makes room for `needed` bytes, and for as much again as the last time, as the original does.
    async fn grow(&self, needed: u64) -> Result<(), StoreError> {
        let growth = self.growth.get().saturating_mul(2).min(GROWTH_BYTES_MAX);
        let room = needed.max(self.room.get().saturating_add(growth));
        let image = self.open.borrow().as_ref().map_or_else(|| Err(closed()), Open::image)?;
        let resize = move |cluster: &Arc<Cluster>| {
            let resized = image.get().resize(room);
            resized.map_err(|failed| cluster.lost(failed, image.get().rados()))
        };
        self.tie.cluster().run(Length::Short, resize).await?;
        self.growth.set(growth);
        self.room.set(room);
        Ok(())
    }
}

fn closed() -> StoreError {
    StoreError::Broken(std::io::Error::other("the image is closed"))
}
