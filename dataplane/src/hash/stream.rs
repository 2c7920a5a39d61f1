//! One digest of one upload: the handle that its owner holds, and the lane that the workers serve.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pool::Shared;
use super::{Algorithm, Digest};

/// What is called with the digest, once.
pub(super) type Sink = Box<dyn FnOnce(String) + Send>;

/// Why a stream took no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many buffers wait as may. The stream takes another one when one of them is released.
    #[error("as many buffers as may already wait for their digest")]
    Full,
    /// The pool has been shut down.
    #[error("the digest pool has been shut down")]
    Closed,
}

/// One digest of one upload. Buffers are hashed in the order in which they are submitted.
///
/// A handle that is dropped before [`Stream::finish`] aborts the digest: what it holds is released at once, except a
/// buffer that a worker is hashing at that moment.
pub struct Stream<B: AsRef<[u8]> + Send + Sync + 'static> {
    shared: Arc<Shared<B>>,
    lane: Arc<Lane<B>>,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Stream<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, algorithm: Algorithm, depth: usize) -> Self {
        Self { shared, lane: Arc::new(Lane::new(algorithm, depth)) }
    }

    /// The algorithm of this digest.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.lane.algorithm
    }

    /// Hands over the next bytes. The handle is dropped as soon as they are hashed.
    ///
    /// # Errors
    /// [`SubmitError::Full`] when as many buffers wait as the stream was opened for, [`SubmitError::Closed`] when the pool is
    /// gone. The handle is dropped in either case.
    pub fn submit(&mut self, buffer: B) -> Result<(), SubmitError> {
        if self.lane.push(buffer)? { self.enqueue() } else { Ok(()) }
    }

    /// Ends the digest. After the last buffer `sink` is called, on a worker's thread, with the lower-case hexadecimal
    /// digest; it should only pass it on.
    ///
    /// # Errors
    /// [`SubmitError::Closed`] when the pool is gone: then `sink` is dropped without being called.
    pub fn finish(self, sink: impl FnOnce(String) + Send + 'static) -> Result<(), SubmitError> {
        if self.lane.end(Box::new(sink))? { self.enqueue() } else { Ok(()) }
    }

    fn enqueue(&self) -> Result<(), SubmitError> {
        if self.shared.enqueue(Arc::clone(&self.lane)) {
            return Ok(());
        }
        self.lane.abort();
        Err(SubmitError::Closed)
    }
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Drop for Stream<B> {
    fn drop(&mut self) {
        self.lane.abandon();
    }
}

/// What the handle and the workers share about one digest.
pub(super) struct Lane<B> {
    algorithm: Algorithm,
    /// The most buffers that wait at once.
    depth: usize,
    inner: Mutex<Inner<B>>,
}

struct Inner<B> {
    waiting: VecDeque<B>,
    place: Place,
    /// Absent while a worker has it, and after the end.
    digest: Option<Digest>,
    sink: Option<Sink>,
}

/// Where a lane is. Only one worker at a time has it, hence the order of its buffers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing to do: in no queue.
    Idle,
    /// In the run queue, once, or in a worker's hands.
    Busy,
    /// Finished or aborted: takes nothing, gives nothing.
    Ended,
}

/// What a worker has to do for a lane that it took from the run queue.
pub(super) enum Turn<B> {
    /// Hash a buffer, then call [`Lane::give_back`].
    Hash(Digest, B),
    /// There is no buffer.
    After(After),
}

/// What a worker has to do for a lane without a buffer in its hands.
pub(super) enum After {
    /// Put it into the run queue again.
    Again,
    /// Deliver its digest: the lane has ended.
    Deliver(String, Sink),
    /// Nothing: it was aborted, or its owner puts it into the run queue with its next buffer.
    Rest,
}

impl<B> Lane<B> {
    fn new(algorithm: Algorithm, depth: usize) -> Self {
        let inner = Inner {
            waiting: VecDeque::with_capacity(depth),
            place: Place::Idle,
            digest: Some(Digest::new(algorithm)),
            sink: None,
        };
        Self { algorithm, depth, inner: Mutex::new(inner) }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// No code that can panic runs under this lock, hence a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a buffer; true when the lane must be put into the run queue.
    fn push(&self, buffer: B) -> Result<bool, SubmitError> {
        let mut inner = self.lock();
        if inner.place == Place::Ended {
            return Err(SubmitError::Closed);
        }
        if inner.waiting.len() >= self.depth {
            return Err(SubmitError::Full);
        }
        inner.waiting.push_back(buffer);
        Ok(inner.wake())
    }

    /// Sets who gets the digest; true when the lane must be put into the run queue.
    fn end(&self, sink: Sink) -> Result<bool, SubmitError> {
        let mut inner = self.lock();
        if inner.place == Place::Ended {
            return Err(SubmitError::Closed);
        }
        inner.sink = Some(sink);
        Ok(inner.wake())
    }

    /// The handle is gone: aborts, unless the digest was asked for.
    fn abandon(&self) {
        if self.lock().sink.is_none() {
            self.abort();
        }
    }

    /// Ends the lane and releases what it holds.
    fn abort(&self) {
        let mut inner = self.lock();
        inner.place = Place::Ended;
        let waiting = mem::take(&mut inner.waiting);
        let sink = inner.sink.take();
        inner.digest = None;
        // Releasing a buffer runs its owner's code: not under the lock.
        drop(inner);
        drop(waiting);
        drop(sink);
    }

    /// What is to be done for a lane that was just taken from the run queue.
    pub(super) fn turn(&self) -> Turn<B> {
        let mut inner = self.lock();
        let Some(digest) = inner.digest.take() else {
            return Turn::After(After::Rest);
        };
        if let Some(buffer) = inner.waiting.pop_front() {
            return Turn::Hash(digest, buffer);
        }
        Turn::After(inner.settle(digest))
    }

    /// Takes the digest back after a buffer, and says what comes next.
    pub(super) fn give_back(&self, digest: Digest) -> After {
        let mut inner = self.lock();
        if inner.place == Place::Ended {
            return After::Rest;
        }
        if !inner.waiting.is_empty() {
            inner.digest = Some(digest);
            return After::Again;
        }
        inner.settle(digest)
    }
}

impl<B> Inner<B> {
    /// There is something to do: true when nobody knows yet.
    fn wake(&mut self) -> bool {
        let idle = self.place == Place::Idle;
        if idle {
            self.place = Place::Busy;
        }
        idle
    }

    /// What comes next for a lane without waiting buffers: its end when the digest was asked for, else rest.
    fn settle(&mut self, digest: Digest) -> After {
        match self.sink.take() {
            Some(sink) => {
                self.place = Place::Ended;
                After::Deliver(digest.finish(), sink)
            }
            None => {
                self.digest = Some(digest);
                self.place = Place::Idle;
                After::Rest
            }
        }
    }
}
