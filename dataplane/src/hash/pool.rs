//! The workers: threads that hash what the [`Schedule`] gives them.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::figures::Counters;
use super::kernels::MAX_LANES;
use super::schedule::{Next, Schedule, Task};
use super::stream::Sink;
use super::{Algorithm, Digest, Figures, Kernels, Stream};

/// Worker threads that hash the buffers of every [`Stream`] opened here.
///
/// Dropping the pool hashes what has been submitted, then joins the workers; streams that are still open
/// refuse buffers from then on.
pub struct Pool<B: AsRef<[u8]> + Send + Sync + 'static> {
    shared: Arc<Shared<B>>,
    workers: Vec<JoinHandle<()>>,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Pool<B> {
    /// Starts `workers` threads with the best code for this processor.
    ///
    /// # Errors
    /// When the system refuses a thread; those already started are joined.
    pub fn new(workers: NonZeroUsize) -> io::Result<Self> {
        Self::with_kernels(workers, Kernels::best())
    }

    /// Starts `workers` threads that hash with `kernels`.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn with_kernels(workers: NonZeroUsize, kernels: &'static Kernels) -> io::Result<Self> {
        let mut pool =
            Self { shared: Arc::new(Shared::new(kernels, workers.get())), workers: Vec::with_capacity(workers.get()) };
        for number in 0..workers.get() {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new().name(format!("hash-{number}")).spawn(move || work(&shared))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Starts a digest for an upload of `depth` buffers: no more than that wait for a worker at a time, and once that many
    /// wait they are not held back to be hashed with those of other uploads.
    #[must_use]
    pub fn open(&self, algorithm: Algorithm, depth: NonZeroUsize) -> Stream<B> {
        Stream::new(Arc::clone(&self.shared), algorithm, depth.get())
    }

    /// What `algorithm` has cost so far.
    #[must_use]
    pub fn figures(&self, algorithm: Algorithm) -> Figures {
        self.shared.counters[algorithm.index()].read()
    }
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Drop for Pool<B> {
    fn drop(&mut self) {
        self.shared.close();
        for worker in self.workers.drain(..) {
            // A sink may own the pool, and so drop it on a worker's thread, which cannot wait for itself.
            if worker.thread().id() != thread::current().id() && worker.join().is_err() {
                tracing::error!("a digest worker ended in a panic");
            }
        }
    }
}

/// What the handles and the workers share. The lock is held for the bookkeeping of a buffer or a batch, well below a
/// microsecond, some ten thousand times a second at most: a core hardly ever meets it.
pub(super) struct Shared<B> {
    state: Mutex<State<B>>,
    /// For workers without work.
    wake: Condvar,
    kernels: &'static Kernels,
    counters: [Counters; Algorithm::COUNT],
}

/// What is under the lock.
pub(super) struct State<B> {
    pub(super) schedule: Schedule<B>,
    /// Workers waiting for [`Shared::wake`]: waking costs a system call, spared when there is none.
    sleeping: usize,
    /// One of them wakes by itself when the next batch has waited long enough.
    timed: bool,
}

impl<B> Shared<B> {
    fn new(kernels: &'static Kernels, workers: usize) -> Self {
        Self {
            state: Mutex::new(State { schedule: Schedule::new(kernels, workers), sleeping: 0, timed: false }),
            wake: Condvar::new(),
            kernels,
            counters: std::array::from_fn(|_| Counters::default()),
        }
    }

    /// No code that can panic runs under this lock, hence a poisoned one is sound.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a worker, if one sleeps that is needed now: to work, or to look at the clock.
    pub(super) fn wake(&self, state: MutexGuard<'_, State<B>>, now: Instant) {
        let needed = state.sleeping > 0
            && match state.schedule.work(now) {
                Next::Until(_) => !state.timed,
                Next::Batch | Next::Deliver(..) => true,
                Next::Nothing | Next::Closed => false,
            };
        drop(state);
        if needed {
            self.wake.notify_one();
        }
    }

    /// Waits for something to do. Buffers to hash are put into `batch`; `Some(Some(_))` is a digest to pass on. `None` when the pool is closed and
    /// nothing is left.
    fn take(&self, batch: &mut Vec<Task<B>>) -> Option<Option<(Box<Digest>, Sink)>> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.schedule.next(now, batch) {
                Next::Batch => {
                    self.wake(state, now);
                    return Some(None);
                }
                Next::Deliver(digest, sink) => {
                    self.wake(state, now);
                    return Some(Some((digest, sink)));
                }
                Next::Until(due) if !state.timed => {
                    state.sleeping += 1;
                    state.timed = true;
                    let wait = self.wake.wait_timeout(state, due.saturating_duration_since(now));
                    state = wait.unwrap_or_else(PoisonError::into_inner).0;
                    state.timed = false;
                    state.sleeping -= 1;
                }
                Next::Until(_) | Next::Nothing => {
                    state.sleeping += 1;
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.sleeping -= 1;
                }
                Next::Closed => return None,
            }
        }
    }

    fn give_back(&self, batch: impl Iterator<Item = (usize, Box<Digest>)>) {
        let mut state = self.lock();
        let now = Instant::now();
        for (key, digest) in batch {
            state.schedule.give_back(key, digest, now);
        }
        // The worker that calls this comes back for what it can do now.
    }

    fn close(&self) {
        self.lock().schedule.close();
        self.wake.notify_all();
    }
}

/// A worker's life. It allocates nothing but the text of each finished digest.
///
/// It runs at the priority of the cores' threads. A nice value lets a core go first more quickly (lateness at p99.9 4 ms at 0, 0.2 ms at
/// 10, at p99 0.1 ms either way), but the kernel's load balancer weighs threads: at 10 it left both workers of
/// a lone upload on one of two processors.
fn work<B: AsRef<[u8]>>(shared: &Shared<B>) {
    let mut batch = Vec::with_capacity(MAX_LANES);
    let mut digests = Vec::with_capacity(MAX_LANES);
    while let Some(end) = shared.take(&mut batch) {
        if let Some((digest, sink)) = end {
            deliver(digest.finish(), sink);
        }
        hash(shared, &mut batch);
        // About a millisecond is over: who waits for this processor is short, a core or a thread of control, and would else wait for a tick.
        thread::yield_now();
        // Releasing a buffer runs its owner's code: not under the lock.
        digests.extend(batch.drain(..).map(|Task { key, digest, buffer }| {
            drop(buffer);
            (key, digest)
        }));
        if !digests.is_empty() {
            shared.give_back(digests.drain(..));
        }
    }
}

/// Hashes one batch and counts what it cost.
fn hash<B: AsRef<[u8]>>(shared: &Shared<B>, batch: &mut [Task<B>]) {
    let Some(first) = batch.first() else { return };
    let algorithm = first.digest.algorithm();
    let start = Instant::now();
    shared.kernels.update(batch);
    let took = start.elapsed();
    let length = |task: &Task<B>| task.buffer.as_ref().len() as u64;
    match batch {
        // A pair: each has its half of the time.
        [one, other] if other.digest.algorithm() != algorithm => {
            for task in [one, other] {
                shared.counters[task.digest.algorithm().index()].add(1, length(task), took / 2);
            }
        }
        _ => shared.counters[algorithm.index()].add(batch.len(), batch.iter().map(length).sum(), took),
    }
}

/// Passes a digest on. A sink that panics must not take the worker with it.
fn deliver(digest: String, sink: Sink) {
    if catch_unwind(AssertUnwindSafe(|| sink(digest))).is_err() {
        tracing::error!("the receiver of a digest panicked");
    }
}

#[cfg(test)]
mod tests;
