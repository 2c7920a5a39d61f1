//! Stores under load, without clients and without a catalog: the calls by which images are stored and served, on one core.
//!
//! For every store there is a phase of each kind of work with one worker, and one with several. What a phase needs is made before
//! it, and everything that was made is removed at the end, whatever happens; what a killed process leaves is on record in the data
//! directory, and [`clean`] removes it.

mod ledger;
mod objects;
mod phase;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::config::Config;

use self::ledger::Ledger;
use self::phase::Session;
use crate::boot::{StartError, run_alone};

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Ids of the stores, measured in this order.
    pub stores: Vec<String>,
    /// Kinds of work, in the order of [`Work::ALL`].
    pub works: Vec<Work>,
    /// Bytes of an object.
    pub size: u64,
    /// Objects that a phase writes or reads at most.
    pub objects: usize,
    /// Workers of the phases with several; 1: there are none.
    pub parallel: usize,
    /// Bytes of a range.
    pub range_bytes: u64,
    /// Buffers of 256 KiB of one worker that are on their way at once; `None`: as the service has it.
    pub depth: Option<usize>,
    /// After this time a phase begins nothing more.
    pub duration: Duration,
    /// Of all that is random: data, and where ranges lie.
    pub seed: u64,
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Objects are written, durable and visible at the end.
    Write,
    /// Whole objects are read.
    Read,
    /// Ranges at random places are read, each of an object that is opened for it.
    Range,
    /// Objects are opened, and the first buffer is read.
    FirstByte,
    /// Objects are removed.
    Delete,
}

impl Work {
    /// All of them, in the order in which they are done.
    pub const ALL: [Work; 5] = [Work::Write, Work::Read, Work::Range, Work::FirstByte, Work::Delete];

    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Work::Write => "write",
            Work::Read => "read",
            Work::Range => "range",
            Work::FirstByte => "first-byte",
            Work::Delete => "delete",
        }
    }

    /// Whether there is a phase with several workers.
    fn is_parallel(self) -> bool {
        matches!(self, Work::Write | Work::Read | Work::Range)
    }
}

/// What one phase came to.
#[derive(Debug, Clone)]
pub struct Phase {
    /// The store.
    pub store: String,
    /// What was done.
    pub work: Work,
    /// By how many workers.
    pub workers: usize,
    /// From the beginning of the first operation to the end of the last.
    pub seconds: f64,
    /// CPU seconds of this process in that time.
    pub cpu_seconds: f64,
    /// What was done, in the order of its end.
    pub operations: Vec<Operation>,
    /// Why operations failed.
    pub failures: Vec<String>,
}

/// One operation that succeeded.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// When it ended, from the beginning of the phase.
    pub ended: Duration,
    /// How long it took.
    pub took: Duration,
    /// After which time the first bytes were there, of reads.
    pub first_byte: Option<Duration>,
    /// How long it took to make what was written durable and visible, of writes.
    pub commit: Option<Duration>,
    /// Bytes of data.
    pub bytes: u64,
}

/// What the measurement came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The phases, in the order in which they were.
    pub phases: Vec<Phase>,
    /// Objects that could not be removed, with the reason. They stay on record.
    pub left: Vec<String>,
}

/// How others see the measurement while it goes on, and end it.
#[derive(Debug, Default)]
pub struct Watch {
    /// Set to end it: nothing more begins, and what goes on is broken off.
    pub stop: AtomicBool,
    label: Mutex<String>,
    bytes: AtomicU64,
    bytes_expected: AtomicU64,
}

impl Watch {
    /// The phase, in words; its bytes so far, and all of them: 0 where it has none.
    #[must_use]
    pub fn now(&self) -> (String, u64, u64) {
        let label = self.label.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (label, self.bytes.load(Relaxed), self.bytes_expected.load(Relaxed))
    }

    fn begin(&self, label: String, bytes_expected: u64) {
        *self.label.lock().unwrap_or_else(PoisonError::into_inner) = label;
        self.bytes.store(0, Relaxed);
        self.bytes_expected.store(bytes_expected, Relaxed);
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

/// Measures the stores of `config` as `plan` says. `cpu_seconds`: CPU time of this process so far.
///
/// # Errors
/// [`StartError`] when something that it needs is not there, or a store is not configured, or cannot be written to.
pub fn run(
    config: &Arc<Config>,
    plan: Plan,
    watch: Arc<Watch>,
    cpu_seconds: impl Fn() -> f64 + 'static,
) -> Result<Outcome, StartError> {
    let place = config.paths.data_dir.clone();
    run_alone(config, async move |shard| {
        for id in &plan.stores {
            match shard.shared.stores.by_id(id) {
                None => return Err(StartError::misconfigured(format!("store {id} is not configured"))),
                Some(store) if !store.is_writable() => {
                    return Err(StartError::misconfigured(format!("store {id} cannot be written to")));
                }
                Some(_) => {}
            }
        }
        let ledger = Ledger::create(&place).map_err(StartError::new)?;
        let session = Rc::new(Session::new(shard, plan, watch, ledger));
        let mut phases = Vec::new();
        for id in &session.plan.stores {
            session.measure(id, &mut phases, &cpu_seconds).await;
        }
        Ok(Outcome { phases, left: session.finish().await })
    })?
}

/// Removes what measurements of this configuration have left that were killed: how many objects, and those that could not be removed,
/// with the reason.
///
/// # Errors
/// [`StartError`] when something that it needs is not there.
pub fn clean(config: &Arc<Config>) -> Result<(usize, Vec<String>), StartError> {
    let found = Ledger::abandoned(&config.paths.data_dir).map_err(StartError::new)?;
    run_alone(config, async move |shard| {
        let (mut removed, mut left) = (0, Vec::new());
        for ledger in found {
            let (gone, kept) = objects::remove_all(&shard, ledger).await;
            removed += gone;
            left.extend(kept);
        }
        (removed, left)
    })
}
