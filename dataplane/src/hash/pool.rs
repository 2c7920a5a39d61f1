//! The workers, and the queue of streams that have something to hash.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::figures::Counters;
use super::kernel;
use super::stream::{After, Lane, Sink, Turn};
use super::{Algorithm, Digest, Figures, Stream};

/// Streams of one algorithm that can wait for a worker before the run queue allocates.
const RUN_QUEUE_RESERVE: usize = 256;

/// Worker threads that hash the buffers of every [`Stream`] opened here.
///
/// Dropping the pool hashes what has been submitted, then joins the workers; streams that are still open
/// refuse buffers from then on.
pub struct Pool<B: AsRef<[u8]> + Send + Sync + 'static> {
    shared: Arc<Shared<B>>,
    workers: Vec<JoinHandle<()>>,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Pool<B> {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// When the system refuses a thread; those already started are joined.
    pub fn new(workers: NonZeroUsize) -> io::Result<Self> {
        let mut pool = Self { shared: Arc::new(Shared::new()), workers: Vec::with_capacity(workers.get()) };
        for number in 0..workers.get() {
            let shared = Arc::clone(&pool.shared);
            let worker = thread::Builder::new().name(format!("hash-{number}")).spawn(move || work(&shared))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Starts one thread for each core that this process may use.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn with_default_size() -> io::Result<Self> {
        Self::new(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// Starts a digest for an upload of `depth` buffers: no more than that wait for a worker at a time.
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

/// What the handles and the workers share.
pub(super) struct Shared<B> {
    ready: Mutex<RunQueue<B>>,
    wake: Condvar,
    counters: [Counters; Algorithm::COUNT],
}

/// The streams that have something to do, by algorithm. A stream stands in it at most once.
struct RunQueue<B> {
    queues: [VecDeque<Arc<Lane<B>>>; Algorithm::COUNT],
    /// The algorithm that is served next, so that none starves another.
    next: usize,
    /// Workers waiting for [`Shared::wake`]: waking costs a system call, spared when there is none.
    sleeping: usize,
    closed: bool,
}

impl<B> Shared<B> {
    fn new() -> Self {
        let queues = std::array::from_fn(|_| VecDeque::with_capacity(RUN_QUEUE_RESERVE));
        Self {
            ready: Mutex::new(RunQueue { queues, next: 0, sleeping: 0, closed: false }),
            wake: Condvar::new(),
            counters: std::array::from_fn(|_| Counters::default()),
        }
    }

    /// No code that can panic runs under this lock, hence a poisoned one is sound.
    fn lock(&self) -> MutexGuard<'_, RunQueue<B>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a lane that has something to do at the end of its queue; false when the pool is closed.
    pub(super) fn enqueue(&self, lane: Arc<Lane<B>>) -> bool {
        let mut ready = self.lock();
        if ready.closed {
            return false;
        }
        ready.push(lane);
        let sleeping = ready.sleeping > 0;
        drop(ready);
        if sleeping {
            self.wake.notify_one();
        }
        true
    }

    /// Puts a lane back after its turn. Unlike [`Shared::enqueue`] this works while the pool closes: the worker that
    /// calls it comes back for the lane itself.
    fn requeue(&self, lane: Arc<Lane<B>>) {
        self.lock().push(lane);
    }

    /// Moves the lanes of the next batch, all of one algorithm, into `batch`, waiting for one.
    /// False when the pool is closed and nothing is left.
    fn take(&self, batch: &mut Vec<Arc<Lane<B>>>) -> bool {
        let mut ready = self.lock();
        loop {
            if ready.take(batch) {
                return true;
            }
            if ready.closed {
                return false;
            }
            ready.sleeping += 1;
            ready = self.wake.wait(ready).unwrap_or_else(PoisonError::into_inner);
            ready.sleeping -= 1;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }
}

impl<B> RunQueue<B> {
    fn push(&mut self, lane: Arc<Lane<B>>) {
        self.queues[lane.algorithm().index()].push_back(lane);
    }

    fn take(&mut self, batch: &mut Vec<Arc<Lane<B>>>) -> bool {
        for step in 0..Algorithm::COUNT {
            let index = (self.next + step) % Algorithm::COUNT;
            let queue = &mut self.queues[index];
            let lanes = kernel::lanes(Algorithm::ALL[index]).min(queue.len());
            if lanes > 0 {
                batch.extend(queue.drain(..lanes));
                self.next = index + 1;
                return true;
            }
        }
        false
    }
}

/// One buffer of one stream, in a worker's hands.
struct Task<B> {
    lane: Arc<Lane<B>>,
    digest: Digest,
    buffer: B,
}

/// A worker's life. It allocates nothing but the text of each finished digest.
fn work<B: AsRef<[u8]>>(shared: &Shared<B>) {
    let mut lanes = Vec::with_capacity(kernel::MAX_LANES);
    let mut tasks = Vec::with_capacity(kernel::MAX_LANES);
    while shared.take(&mut lanes) {
        for lane in lanes.drain(..) {
            match lane.turn() {
                Turn::Hash(digest, buffer) => tasks.push(Task { lane, digest, buffer }),
                Turn::After(after) => settle(shared, lane, after),
            }
        }
        hash(shared, &mut tasks);
        for Task { lane, digest, buffer } in tasks.drain(..) {
            drop(buffer);
            let after = lane.give_back(digest);
            settle(shared, lane, after);
        }
    }
}

fn settle<B>(shared: &Shared<B>, lane: Arc<Lane<B>>, after: After) {
    match after {
        After::Again => shared.requeue(lane),
        After::Deliver(digest, sink) => deliver(digest, sink),
        After::Rest => {}
    }
}

/// Hashes one batch and counts what it cost.
fn hash<B: AsRef<[u8]>>(shared: &Shared<B>, tasks: &mut [Task<B>]) {
    let Some(first) = tasks.first() else { return };
    let counters = &shared.counters[first.lane.algorithm().index()];
    let bytes = tasks.iter().map(|task| task.buffer.as_ref().len() as u64).sum();
    let start = Instant::now();
    kernel::hash(tasks.iter_mut().map(|task| (&mut task.digest, task.buffer.as_ref())));
    counters.add(bytes, start.elapsed());
}

/// Passes a digest on. A sink that panics must not take the worker with it.
fn deliver(digest: String, sink: Sink) {
    if catch_unwind(AssertUnwindSafe(|| sink(digest))).is_err() {
        tracing::error!("the receiver of a digest panicked");
    }
}

#[cfg(test)]
mod tests;
