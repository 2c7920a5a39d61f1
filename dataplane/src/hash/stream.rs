//! One digest of one upload, as its owner holds it.

use std::sync::Arc;
use std::time::Instant;

use super::Algorithm;
use super::pool::Shared;
use super::schedule::Key;

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
    algorithm: Algorithm,
    /// Gone once the digest was asked for.
    key: Option<Key>,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Stream<B> {
    pub(super) fn new(shared: Arc<Shared<B>>, algorithm: Algorithm, depth: usize) -> Self {
        let key = Some(shared.lock().schedule.open(algorithm, depth));
        Self { shared, algorithm, key }
    }

    /// The algorithm of this digest.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Hands over the next bytes. The handle is dropped as soon as they are hashed.
    ///
    /// # Errors
    /// [`SubmitError::Full`] when as many buffers wait as the stream was opened for, [`SubmitError::Closed`] when the pool is
    /// gone. The handle is dropped in either case.
    pub fn submit(&mut self, buffer: B) -> Result<(), SubmitError> {
        let Some(key) = self.key else { return Err(SubmitError::Closed) };
        // The feature measures what is left of an upload without its digests, which are then those of no bytes.
        if cfg!(feature = "no-digests") {
            return Ok(());
        }
        let now = Instant::now();
        let mut state = self.shared.lock();
        let submitted = state.schedule.submit(key, buffer, now);
        self.shared.wake(state, now);
        submitted.map_err(|(error, buffer)| {
            drop(buffer);
            error
        })
    }

    /// [`Self::submit`] for two digests of the same bytes, so that they can be hashed together.
    ///
    /// # Errors
    /// Those of [`Self::submit`], of either; the other may have taken the buffer.
    pub fn submit_both(&mut self, other: &mut Self, buffer: &B) -> Result<(), SubmitError>
    where
        B: Clone,
    {
        let (Some(one), Some(two)) = (self.key, other.key) else { return Err(SubmitError::Closed) };
        if cfg!(feature = "no-digests") {
            return Ok(());
        }
        debug_assert!(Arc::ptr_eq(&self.shared, &other.shared), "keys of two pools");
        let now = Instant::now();
        let mut state = self.shared.lock();
        let submitted = state.schedule.submit(one, buffer.clone(), now);
        let submitted = submitted.and_then(|()| state.schedule.submit(two, buffer.clone(), now));
        self.shared.wake(state, now);
        // What comes back is never the last handle: the caller has one.
        submitted.map_err(|(error, _)| error)
    }

    /// Ends the digest. After the last buffer `sink` is called, on a worker's thread, with the lower-case hexadecimal
    /// digest; it should only pass it on.
    ///
    /// # Errors
    /// [`SubmitError::Closed`] when the pool is gone: then `sink` is dropped without being called.
    pub fn finish(mut self, sink: impl FnOnce(String) + Send + 'static) -> Result<(), SubmitError> {
        let Some(key) = self.key else { return Err(SubmitError::Closed) };
        let mut state = self.shared.lock();
        let finished = state.schedule.finish(key, Box::new(sink));
        self.shared.wake(state, Instant::now());
        match finished {
            Ok(()) => {
                self.key = None;
                Ok(())
            }
            Err(sink) => {
                drop(sink);
                Err(SubmitError::Closed)
            }
        }
    }
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Drop for Stream<B> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let (waiting, state) = {
                let mut state = self.shared.lock();
                (state.schedule.abandon(key), state)
            };
            // Those that are left may be all that others have waited for.
            self.shared.wake(state, Instant::now());
            // Releasing a buffer runs its owner's code: not under the lock.
            drop(waiting);
        }
    }
}
