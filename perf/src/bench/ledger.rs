//! What a run has done: counted by its workers, taken away by whoever reports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::fault::Fault;
use super::latency::Latency;
use super::wire::Moved;

/// Parts of the ledger that are locked apart, so that workers rarely meet.
const SHARDS: usize = 4;
/// Wrong bytes that are told one by one; all are counted.
const WRONG_TOLD: usize = 10;
/// Kinds of faults that are told apart; further ones are counted as `other`.
const LABELS_MAX: usize = 32;

/// What a row of the table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A download, whole or a range.
    Pull,
    /// Everything of an upload that its user waits for: create, and send until it is acknowledged.
    Push,
    /// A step of a push: `POST /v2/images`.
    PushCreate,
    /// A step of a push: `PUT …/file`.
    PushUpload,
    /// A step of a push: `GET /v2/images/ID`, compared with what was sent.
    PushShow,
    /// A step of a push: `DELETE /v2/images/ID`.
    PushDelete,
    /// `GET /v2/images/ID`.
    Show,
    /// `GET /v2/images`.
    List,
    /// `POST /v2/images`.
    Create,
    /// `PATCH /v2/images/ID`.
    Patch,
    /// `DELETE /v2/images/ID`.
    Delete,
}

impl Kind {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::PushCreate => "push.create",
            Self::PushUpload => "push.upload",
            Self::PushShow => "push.show",
            Self::PushDelete => "push.delete",
            Self::Create => "create",
            Self::Show => "show",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Requests of one kind.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// From the intended start to the last byte.
    pub latency: Latency,
    /// From the intended start to the head of the answer, of downloads.
    pub first_byte: Option<Latency>,
    /// Image data moved by successful requests, in bytes.
    pub bytes: u64,
    /// Failed requests by label.
    pub faults: BTreeMap<String, u64>,
}

impl Record {
    /// Adds another record of the same kind.
    pub fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        if let Some(first) = &other.first_byte {
            self.first_byte.get_or_insert_default().merge(first);
        }
        self.bytes += other.bytes;
        for (label, count) in &other.faults {
            *self.faults.entry(label.clone()).or_default() += count;
        }
    }

    /// Requests that succeeded.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.latency.count()
    }

    /// Requests that failed.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Records by kind.
pub type Records = BTreeMap<Kind, Record>;

/// Adds `other` to `records`.
pub fn merge(records: &mut Records, other: &Records) {
    for (kind, record) in other {
        records.entry(*kind).or_default().merge(record);
    }
}

/// What went wrong, for the end of a report.
#[derive(Debug, Clone, Default)]
pub struct Troubles {
    /// The first text of each label.
    pub first: BTreeMap<String, String>,
    /// The first wrong bytes.
    pub wrong: Vec<String>,
    /// All wrong answers.
    pub wrong_count: u64,
}

/// The ledger of one load on one endpoint.
#[derive(Debug)]
pub struct Ledger {
    shards: Vec<Mutex<Records>>,
    moved: Vec<Arc<Moved>>,
    troubles: Mutex<Troubles>,
    /// Arrivals that began later than they should have.
    pub late: AtomicU64,
    /// Arrivals that were given up because no connection was free in time.
    pub dropped: AtomicU64,
    /// Requests that the end of the run cut off.
    pub unfinished: AtomicU64,
    /// Requests on their way.
    pub in_flight: AtomicU64,
}

impl Ledger {
    /// An empty ledger for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers.clamp(1, SHARDS)).map(|_| Mutex::default()).collect(),
            moved: (0..workers).map(|_| Arc::default()).collect(),
            troubles: Mutex::default(),
            late: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unfinished: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// The counters of bytes of one worker.
    #[must_use]
    pub fn moved(&self, worker: usize) -> Arc<Moved> {
        self.moved.get(worker).cloned().unwrap_or_default()
    }

    /// Bytes of image data so far: received, and sent.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        self.moved.iter().fold((0, 0), |(down, up), each| {
            (down + each.down.load(Ordering::Relaxed), up + each.up.load(Ordering::Relaxed))
        })
    }

    fn shard(&self, worker: usize) -> std::sync::MutexGuard<'_, Records> {
        self.shards[worker % self.shards.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a success.
    pub fn good(&self, worker: usize, kind: Kind, latency: Duration, first_byte: Option<Duration>, bytes: u64) {
        let mut shard = self.shard(worker);
        let record = shard.entry(kind).or_default();
        record.latency.record(latency);
        record.bytes += bytes;
        if let Some(first) = first_byte {
            record.first_byte.get_or_insert_default().record(first);
        }
    }

    /// Counts a failure.
    pub fn bad(&self, worker: usize, kind: Kind, fault: &Fault) {
        if *fault == Fault::Stopped {
            self.unfinished.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut label = fault.label();
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.first.len() >= LABELS_MAX && !troubles.first.contains_key(&label) {
            label = "other".into();
        }
        let text = format!("{}: {fault}", kind.name());
        if matches!(fault, Fault::Wrong(_)) {
            troubles.wrong_count += 1;
            if troubles.wrong.len() < WRONG_TOLD {
                troubles.wrong.push(text.clone());
            }
        }
        troubles.first.entry(label.clone()).or_insert(text);
        drop(troubles);
        *self.shard(worker).entry(kind).or_default().faults.entry(label).or_default() += 1;
    }

    /// Takes away what was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Records {
        let mut all = Records::new();
        for shard in &self.shards {
            let part = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            if all.is_empty() { all = part } else { merge(&mut all, &part) }
        }
        all
    }

    /// What went wrong so far.
    #[must_use]
    pub fn troubles(&self) -> Troubles {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_once() {
        let ledger = Ledger::new(6);
        for worker in 0..6 {
            ledger.good(worker, Kind::Pull, Duration::from_millis(2), Some(Duration::from_millis(1)), 10);
            ledger.bad(worker, Kind::Pull, &Fault::Status(503, "busy".into()));
            ledger.bad(worker, Kind::Show, &Fault::Stopped);
        }
        ledger.bad(0, Kind::Pull, &Fault::Wrong("byte 7".into()));
        let records = ledger.take();
        let pull = &records[&Kind::Pull];
        assert_eq!((pull.good(), pull.bad(), pull.bytes), (6, 7, 60));
        assert_eq!(pull.first_byte.as_ref().map(Latency::count), Some(6));
        assert_eq!(pull.faults.get("503"), Some(&6));
        assert_eq!(ledger.unfinished.load(Ordering::Relaxed), 6);
        assert!(ledger.take().is_empty());
        let troubles = ledger.troubles();
        assert_eq!(troubles.wrong, ["pull: byte 7"]);
        assert_eq!(troubles.wrong_count, 1);
        assert!(troubles.first["503"].contains("busy"));
    }
}
