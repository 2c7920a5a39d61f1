//! The catalog for asynchronous callers: one thread writes, a few read, and single images are looked up on the spot.
//!
//! Changes that wait at the same time share one transaction and so one wait for the disk. Each is undone alone when it
//! fails, and each is answered only after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use common::catalog::{Batch, Catalog, Changes, OpenError, Queries, Reader};
use common::{Error, Kind, Result};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, Registry};
use tokio::sync::oneshot;

/// Reads, and changes, that may wait for their turn; more are refused with 503.
const QUEUE_MAX: usize = 1024;

/// Look-ups at a time on their callers' threads; more go to the threads that read. As many as control has workers.
const LOOK_UPS_MAX: usize = 2;

/// Bounds of the histogram of catalog times, seconds.
const SECONDS_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// Bounds of the histogram of changes per commit.
const BATCH_BUCKETS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// How the catalog is used.
#[derive(Debug, Clone)]
pub(crate) struct DbOptions {
    /// Connections that only read, at least one.
    pub(crate) readers: usize,
    /// Changes that may share one commit, at least one.
    pub(crate) commit_batch_max: usize,
    /// What clients are told in `Retry-After` when the catalog cannot be used, seconds.
    pub(crate) retry_after_seconds: u64,
}

/// A handle on the catalog. Clones are the same catalog; with the last one its threads end.
#[derive(Clone)]
pub(crate) struct Db {
    /// Connections for look-ups on the thread of whoever asks.
    look_ups: Arc<[Mutex<Reader>]>,
    metrics: Arc<Metrics>,
    reads: Sender<ReadJob>,
    writes: Sender<WriteJob>,
    retry_after_seconds: u64,
}

/// Asks, if anybody still wants to know; whether somebody did.
type ReadJob = Box<dyn FnOnce(&Reader) -> bool + Send>;

/// Runs one change in the batch, or fails with the reason why there is no batch; gives back what to do after the commit.
type WriteJob = Box<dyn FnOnce(Result<&mut Batch<'_>>) -> Answer + Send>;

type Answer = Box<dyn FnOnce(Result<()>)>;

impl Db {
    /// Opens the catalog at `path`, making it if need be, and starts the threads. Its metrics go to `registry`.
    ///
    /// # Errors
    /// A database that cannot be used; see [`OpenError`].
    pub(crate) fn open(path: &Path, options: &DbOptions, registry: &Registry) -> Result<Self, OpenError> {
        let metrics = Arc::new(Metrics::register(registry));
        let catalog = Catalog::open(path)?;
        let (reads, read_jobs) = bounded(QUEUE_MAX);
        for _ in 0..options.readers.max(1) {
            let reader = Reader::open(path)?;
            let (jobs, metrics) = (read_jobs.clone(), metrics.clone());
            spawn("catalog-read", path, move || read_loop(&reader, &jobs, &metrics))?;
        }
        let look_ups: Result<Vec<_>, _> = (0..LOOK_UPS_MAX).map(|_| Reader::open(path).map(Mutex::new)).collect();
        let (writes, write_jobs) = bounded(QUEUE_MAX);
        let batch_max = options.commit_batch_max.max(1);
        let writer_metrics = metrics.clone();
        spawn("catalog-write", path, move || write_loop(&catalog, &write_jobs, batch_max, &writer_metrics))?;
        let retry_after_seconds = options.retry_after_seconds;
        Ok(Db { look_ups: look_ups?.into(), metrics, reads, writes, retry_after_seconds })
    }

    /// As [`Db::read`], for a few indexed look-ups: done on the caller's thread while a connection is free. That takes less
    /// time than waking another thread and being woken by it.
    ///
    /// # Errors
    /// Those of [`Db::read`].
    pub(crate) async fn look_up<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Queries<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.look_up_here(work) {
            Ok(outcome) => outcome.map_err(|error| self.with_retry(error)),
            Err(work) => self.read(work).await,
        }
    }

    /// Gives `work` back when no connection is free.
    fn look_up_here<T, W: FnOnce(&Queries<'_>) -> Result<T>>(&self, work: W) -> Result<Result<T>, W> {
        let Some(reader) = self.look_ups.iter().find_map(|reader| reader.try_lock().ok()) else { return Err(work) };
        let timer = Instant::now();
        let outcome = run("read", || reader.read(work));
        self.metrics.read.observe(timer.elapsed().as_secs_f64());
        Ok(outcome.unwrap_or_else(|| Err(panicked())))
    }

    /// Asks the catalog; all questions of `work` see one state of it, which holds everything that was written before.
    ///
    /// # Errors
    /// Those of `work`; 503 when too many wait or the database cannot be read now.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Queries<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |reader| {
            // A caller that went away while this waited for its turn does not want the answer.
            let is_wanted = !reply.is_closed();
            if is_wanted {
                let _ = reply.send(reader.read(work));
            }
            is_wanted
        });
        self.submit(&self.reads, job)?;
        self.answered(answer).await
    }

    /// Changes the catalog. What `work` did is durable when this returns `Ok`, and undone when it fails. It is done even
    /// if the caller stops waiting.
    ///
    /// # Errors
    /// Those of `work`; 503 when too many wait or the database cannot be written now.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Changes<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: WriteJob = Box::new(move |batch| {
            let outcome = batch.and_then(|batch| batch.step(work));
            Box::new(move |committed| {
                let outcome = outcome.and_then(|value| committed.map(|()| value));
                drop(reply.send(outcome));
            })
        });
        self.submit(&self.writes, job)?;
        self.answered(answer).await
    }

    fn submit<J>(&self, queue: &Sender<J>, job: J) -> Result<()> {
        queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                Error::unavailable("The image catalog is overloaded. Try again.", self.retry_after_seconds)
            }
            TrySendError::Disconnected(_) => Error::internal("the catalog's threads are gone"),
        })
    }

    async fn answered<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        let outcome = answer.await.unwrap_or_else(|_| Err(panicked()));
        outcome.map_err(|error| self.with_retry(error))
    }

    fn with_retry(&self, error: Error) -> Error {
        match error.kind {
            Kind::Unavailable => {
                Error { headers: Vec::new(), ..error }.header("Retry-After", self.retry_after_seconds.to_string())
            }
            _ => error,
        }
    }
}

fn panicked() -> Error {
    Error::internal("a question to the catalog panicked")
}

fn spawn(name: &str, path: &Path, work: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|source| OpenError::Thread { path: path.to_owned(), source })
}

fn read_loop(reader: &Reader, jobs: &Receiver<ReadJob>, metrics: &Metrics) {
    while let Ok(job) = jobs.recv() {
        let timer = Instant::now();
        match run("read", || job(reader)) {
            Some(false) => metrics.skipped.inc(),
            Some(true) | None => metrics.read.observe(timer.elapsed().as_secs_f64()),
        }
    }
}

fn write_loop(catalog: &Catalog, jobs: &Receiver<WriteJob>, batch_max: usize, metrics: &Metrics) {
    while let Ok(first) = jobs.recv() {
        let mut batch = match catalog.batch() {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!("the catalog cannot be written: {error}");
                first(Err(error.clone()))(Err(error));
                continue;
            }
        };
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            let timer = Instant::now();
            answers.extend(run("change", || job(Ok(&mut batch))));
            metrics.write.observe(timer.elapsed().as_secs_f64());
            next = if answers.len() < batch_max { jobs.try_recv().ok() } else { None };
        }
        let timer = Instant::now();
        let committed = batch.commit();
        metrics.commit.observe(timer.elapsed().as_secs_f64());
        metrics.batch.observe(f64::from(u32::try_from(answers.len()).unwrap_or(u32::MAX)));
        if let Err(error) = &committed {
            tracing::error!("changes of the catalog were lost: {error}");
        }
        for answer in answers {
            answer(committed.clone());
        }
    }
}

/// A fault in one request's closure must not take the catalog away from all others: its caller gets a 500.
fn run<T>(what: &str, job: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(job));
    if outcome.is_err() {
        tracing::error!("a {what} of the catalog panicked");
    }
    outcome.ok()
}

struct Metrics {
    read: Histogram,
    skipped: IntCounter,
    write: Histogram,
    commit: Histogram,
    batch: Histogram,
}

impl Metrics {
    fn register(registry: &Registry) -> Self {
        let seconds = HistogramOpts::new(
            "vitrine_control_catalog_seconds",
            "Time of the catalog's thread for one read, one change or one commit.",
        );
        let batch = HistogramOpts::new("vitrine_control_catalog_commit_changes", "Changes that shared one commit.");
        // Only a malformed name, known here at compile time, makes these fail; tests would show it.
        let seconds = HistogramVec::new(seconds.buckets(SECONDS_BUCKETS.to_vec()), &["operation"]);
        let batch = Histogram::with_opts(batch.buckets(BATCH_BUCKETS.to_vec()));
        let skipped = IntCounter::new(
            "vitrine_control_catalog_skipped_total",
            "Reads that were left out, because nobody waited for them any more.",
        );
        let (seconds, batch) = (seconds.expect("a valid metric"), batch.expect("a valid metric"));
        let skipped = skipped.expect("a valid metric");
        let collectors: [Box<dyn prometheus::core::Collector>; 3] =
            [Box::new(seconds.clone()), Box::new(batch.clone()), Box::new(skipped.clone())];
        for collector in collectors {
            if let Err(error) = registry.register(collector) {
                tracing::error!("a metric of the catalog is registered twice: {error}");
            }
        }
        let of = |operation: &str| seconds.with_label_values(&[operation]);
        Metrics { read: of("read"), skipped, write: of("write"), commit: of("commit"), batch }
    }
}

#[cfg(test)]
mod tests;
