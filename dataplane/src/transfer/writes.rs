//! Writes to one place that are on their way.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;

use super::receive::Interrupted;
use crate::futures::{Either, race};
use crate::io::{Buffer, BufferPool, Frozen};
use crate::store::{Pending, StoreError, Writer};

/// The writes to one place that are on their way, oldest first. There are no more of them than buffers.
pub(crate) struct Writes<'a> {
    writer: &'a Writer<'a>,
    in_flight: VecDeque<Pending<'a>>,
}

impl<'a> Writes<'a> {
    /// None yet, of at most `depth` to come.
    pub(crate) fn new(writer: &'a Writer<'a>, depth: usize) -> Self {
        Writes { writer, in_flight: VecDeque::with_capacity(depth) }
    }

    /// Where they go.
    pub(crate) fn writer(&self) -> &'a Writer<'a> {
        self.writer
    }

    /// Starts one more.
    pub(crate) async fn start(&mut self, bytes: Frozen, offset: u64) -> Result<(), StoreError> {
        let pending = self.writer.start_write(bytes, offset).await?;
        self.in_flight.push_back(pending);
        Ok(())
    }

    /// Waits for `work`, and ends it if a write fails meanwhile.
    pub(crate) async fn beside<T>(
        &mut self,
        work: impl Future<Output = Result<T, Interrupted>>,
    ) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        loop {
            match race(self.oldest(), work.as_mut()).await {
                Either::First(written) => written?,
                Either::Second(done) => return done,
            }
        }
    }

    /// A buffer of `pool` to be filled. What waits for more is written now if it is all that the pool has.
    ///
    /// # Errors
    /// When a write fails meanwhile.
    pub(crate) async fn buffer(&mut self, pool: &BufferPool) -> Result<Buffer, Interrupted> {
        if let Some(buffer) = pool.try_get() {
            return Ok(buffer);
        }
        self.writer.flush().await?;
        self.beside(async { Ok(pool.get().await) }).await
    }

    /// Starts to write what waits for more.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }

    /// Waits for the oldest write, for ever if there is none.
    async fn oldest(&mut self) -> Result<(), StoreError> {
        let Some(oldest) = self.in_flight.front_mut() else { return std::future::pending().await };
        oldest.done().await?;
        self.in_flight.pop_front();
        Ok(())
    }

    /// Waits until there are fewer than `count`.
    pub(crate) async fn fewer_than(&mut self, count: usize) -> Result<(), StoreError> {
        if self.in_flight.len() >= count {
            // Nobody waits for what has not begun.
            self.writer.flush().await?;
        }
        while self.in_flight.len() >= count {
            self.oldest().await?;
        }
        Ok(())
    }

    /// Waits for all of them.
    pub(crate) async fn finish(&mut self) -> Result<(), StoreError> {
        self.fewer_than(1).await
    }
}
