//! What hashing has cost so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What one algorithm has cost since the pool was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes hashed.
    pub bytes: u64,
    /// Time the workers spent hashing them.
    pub time: Duration,
    /// Batches hashed: buffers that went side by side through one call.
    pub batches: u64,
    /// Buffers in all batches: divided by `batches`, the mean number of lanes in use.
    pub lanes: u64,
}

/// The counters behind [`Figures`], one for each algorithm.
#[derive(Default)]
pub(super) struct Counters {
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
    batches: AtomicU64,
    lanes: AtomicU64,
}

impl Counters {
    /// Adds one batch of `lanes` buffers.
    pub(super) fn add(&self, lanes: usize, bytes: u64, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.lanes.fetch_add(lanes as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Figures {
        Figures {
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            batches: self.batches.load(Ordering::Relaxed),
            lanes: self.lanes.load(Ordering::Relaxed),
        }
    }
}
