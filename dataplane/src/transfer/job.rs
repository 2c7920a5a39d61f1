//! A job: data from one place to others, read once, whatever the number of places; or only looked at.
//!
//! Each place is an upload to control, so that what a job leaves unfinished is removed as that of an upload is: nothing is removed
//! here. From [`begin`] to control's acknowledgement of the outcome the uploads count as running.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::rpc::{Done, EndJob, Findings, Job, JobOutcome, JobSink, JobSource, ToControl};
use common::{Error, Kind};

use super::examine::Examiner;
use super::origin::{self, Origin, Reading};
use super::receive::{Interrupted, check_complete, check_size};
use super::reservation::Reservation;
use super::upload::{CONTROL_PATIENCE, CONTROL_PAUSE};
use super::writes::Writes;
use crate::control_client::is_away;
use crate::futures::{Either, race};
use crate::io::{BUFFER_BYTES, BufferPool, Progress, sleep, timeout};
use crate::shard::{Shard, Shared};
use crate::store::{Piece, Placement, Store, StoreError, Writer};
use crate::uploads::CoreEvent;

/// How often control hears of the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// How long the memory for a buffer is waited for before the writes are looked at that have some.
const SHORTAGE_PATIENCE: Duration = Duration::from_secs(1);

/// Gives a job to a core. Its uploads run from here on.
///
/// # Errors
/// 503 when the core has too much mail.
pub(crate) fn begin(shared: &Shared, job: Job) -> Result<(), Error> {
    let ids: Vec<String> = running_ids(&job.job_id, &job.sinks).map(str::to_owned).collect();
    post(shared, &ids, CoreEvent::Job(Box::new(job)))
}

/// Gives work to a core, with the uploads that run from here on.
///
/// # Errors
/// 503 when the core has too much mail.
pub(super) fn post(shared: &Shared, uploads: &[String], work: CoreEvent) -> Result<(), Error> {
    let (core, mail) = shared.spread.next_for_a_job().ok_or_else(|| Error::internal("there is no core"))?;
    uploads.iter().for_each(|id| shared.uploads.begin(id, mail.clone()));
    mail.post(work).map_err(|_| {
        uploads.iter().for_each(|id| shared.uploads.end(id));
        let retry = shared.config.control.retry_after_seconds;
        Error::unavailable("The data plane is busy.", retry).caused_by(format!("core {core} has too much mail"))
    })
}

/// What a job runs as: its uploads, or its own id where it fills nothing.
fn running_ids<'j>(job_id: &'j str, sinks: &'j [JobSink]) -> impl Iterator<Item = &'j str> {
    let own = sinks.is_empty().then_some(job_id);
    sinks.iter().map(|sink| sink.upload_id.as_str()).chain(own)
}

/// Does the job, and tells control what came of it.
pub(crate) async fn run(shard: Rc<Shard>, job: Job) {
    let begun = Instant::now();
    let _running = Running::begin(&shard, &job.job_id, &job.sinks);
    let progress = Progress::new();
    let outcome = {
        let _turn = shard.upload_turns.acquire().await;
        move_data(&shard, &job, &progress).await
    };
    tracing::info!(
        job = job.job_id,
        bytes = progress.get(),
        milliseconds = begun.elapsed().as_millis(),
        outcome = match &outcome {
            Some(JobOutcome::Stored { .. }) => "stored",
            Some(_) => "failed",
            None => "postponed",
        },
        "job is over"
    );
    if let Some(outcome) = outcome {
        let uploads = job.sinks.iter().map(|sink| sink.upload_id.clone()).collect();
        tell_end(&shard, EndJob { job_id: job.job_id.clone(), uploads, outcome }).await;
    }
}

/// The uploads of a job, running until dropped: then control may take what is left of them for abandoned.
pub(super) struct Running<'a> {
    shard: &'a Shard,
    job_id: &'a str,
    sinks: &'a [JobSink],
}

impl<'a> Running<'a> {
    pub(super) fn begin(shard: &'a Shard, job_id: &'a str, sinks: &'a [JobSink]) -> Self {
        running_ids(job_id, sinks).for_each(|id| shard.begin_upload(id));
        Running { shard, job_id, sinks }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        running_ids(self.job_id, self.sinks).for_each(|id| self.shard.end_upload(id));
    }
}

/// A place that is being filled.
struct Target<'a> {
    sink: &'a JobSink,
    store: &'a Store,
    writer: Writer<'a>,
}

/// Places that failed by themselves.
#[derive(Default)]
struct Losses {
    sinks: Vec<String>,
    all_must_succeed: bool,
}

impl Losses {
    /// Notes that a place failed.
    ///
    /// # Errors
    /// The same, where the job cannot do without it.
    fn note(&mut self, sink: &JobSink, error: StoreError) -> Result<(), Interrupted> {
        self.sinks.push(sink.upload_id.clone());
        if self.all_must_succeed {
            return Err(error.into());
        }
        tracing::warn!("a job goes on without store {}, which fails: {error}", sink.store);
        Ok(())
    }
}

/// What came of it; `None` when there was nothing left to work with: control will find that the job does not run, and begin it again.
async fn move_data(shard: &Shard, job: &Job, progress: &Progress) -> Option<JobOutcome> {
    let mut losses = Losses { sinks: Vec::new(), all_must_succeed: job.all_must_succeed };
    Some(match try_move(shard, job, progress, &mut losses).await {
        Ok((size, findings, sinks)) => JobOutcome::Stored { size, findings, sinks },
        Err(Interrupted::Store(StoreError::Exhausted(cause))) => {
            tracing::warn!(job = job.job_id, "a job is postponed: nothing left to work with: {cause}");
            return None;
        }
        Err(error) => JobOutcome::Failed { reason: reason(&job.job_id, error), sinks: losses.sinks },
    })
}

/// The size, what was found out, and the uploads of the places that hold it; at least one, if there are any.
async fn try_move(
    shard: &Shard,
    job: &Job,
    progress: &Progress,
    losses: &mut Losses,
) -> Result<(u64, Findings, Vec<String>), Interrupted> {
    let mut origin = Origin::open(shard, &job.source).await?;
    let expected = job.expected_size.or(origin.length());
    check_size(None, job.size_max, expected.unwrap_or_default())?;
    let targets = create(shard, job, losses).await?;
    let outcome = copy(shard, job, (&mut origin, expected), &targets, progress, losses).await;
    for target in &targets {
        shard.metrics.bytes(target.store.index, target.writer.path(), progress.get());
    }
    outcome
}

async fn create<'a>(shard: &'a Shard, job: &'a Job, losses: &mut Losses) -> Result<Vec<Target<'a>>, Interrupted> {
    let mut targets = Vec::with_capacity(job.sinks.len());
    for sink in &job.sinks {
        let placement = Placement {
            url: &sink.url,
            upload_id: &sink.upload_id,
            // What a server of somebody else's says takes no room before it comes.
            size: job.expected_size.filter(|_| matches!(job.source, JobSource::Place { .. })),
            direct: shard.config.dataplane.upload_direct_io,
        };
        let Some(store) = shard.shared.stores.by_id(&sink.store) else {
            losses.note(sink, StoreError::Foreign(sink.url.clone()))?;
            continue;
        };
        match store.create(shard, placement).await {
            Ok(writer) => targets.push(Target { sink, store, writer }),
            Err(error) => losses.note(sink, error)?,
        }
    }
    Ok(targets)
}

/// All bytes into all places, durable.
async fn copy(
    shard: &Shard,
    job: &Job,
    (origin, expected): (&mut Origin<'_>, Option<u64>),
    targets: &[Target<'_>],
    progress: &Progress,
    losses: &mut Losses,
) -> Result<(u64, Findings, Vec<String>), Interrupted> {
    let deepest = targets.iter().map(|target| target.writer.depth()).max().unwrap_or(1);
    let depth =
        NonZeroUsize::new(shard.config.dataplane.upload_buffers_count.max(deepest)).unwrap_or(NonZeroUsize::MIN);
    let mut filling: Vec<Filling<'_>> =
        targets.iter().map(|target| (target, Writes::new(&target.writer, depth.get()))).collect();
    let first = running_ids(&job.job_id, &job.sinks).next().unwrap_or_default();
    let limit = shard.config.dataplane.fetch_timeout.filter(|_| matches!(origin, Origin::Web(_)));
    let beside = origin.buffers();
    let reading = origin.read(shard, shard.config.dataplane.body_min_rate_bytes_per_second, progress);
    let filled = async {
        let filled = fill(shard, job, (reading, expected), &mut filling, losses, (depth, beside));
        match limit {
            Some(limit) => timeout(limit, filled).await.unwrap_or_else(|_| Err(origin::lost(&"it takes too long"))),
            None => filled.await,
        }
    };
    // Only until the first place is made durable: what is published is no longer anybody's to take back here.
    let (size, findings) = match race(filled, shard.upload_cancelled(first)).await {
        Either::First(filled) => filled?,
        Either::Second(()) => return Err(Interrupted::Refused(Error::new(Kind::Gone, common::rpc::JOB_IMAGE_GONE))),
    };
    let mut stored = Vec::with_capacity(filling.len());
    for (target, mut writes) in filling {
        let committed = match writes.finish().await {
            Ok(()) => writes.writer().commit(size).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(()) => stored.push(target.sink.upload_id.clone()),
            Err(error) => losses.note(target.sink, error)?,
        }
    }
    if stored.is_empty() && !job.sinks.is_empty() {
        return Err(nowhere());
    }
    Ok((size, findings, stored))
}

/// Reads the source once; each buffer is examined and goes to every place that has not failed.
async fn fill(
    shard: &Shard,
    job: &Job,
    (mut reading, expected): (Reading<'_>, Option<u64>),
    filling: &mut Vec<Filling<'_>>,
    losses: &mut Losses,
    (depth, beside): (NonZeroUsize, usize),
) -> Result<(u64, Findings), Interrupted> {
    let buffers = depth.saturating_add(beside);
    let pool = BufferPool::new(buffers.get())?;
    let mut examiner = Examiner::new(&job.examination, &shard.shared.hashes, buffers)?;
    let control = &shard.control;
    let reserved = job.sinks.iter().map(|sink| Reservation::new(control, &sink.upload_id, sink.reserved));
    let mut reservations: Vec<_> = reserved.collect();
    let mut told = Instant::now();
    let mut size = 0;
    loop {
        loop {
            if filling.is_empty() && !job.sinks.is_empty() {
                return Err(nowhere());
            }
            if reading.is_ready(&pool)? {
                break;
            }
            for_each_place(filling, losses, async |writes| writes.flush().await).await?;
            // A write that failed keeps its buffer until it is asked about.
            match timeout(SHORTAGE_PATIENCE, reading.ready(&pool)).await {
                Ok(ready) => ready?,
                Err(_) => for_each_place(filling, losses, async |writes| writes.finish().await).await?,
            }
        }
        let buffer = match reading.next(size).await? {
            Some(Piece::Data(buffer)) => buffer,
            Some(Piece::Zeros(_)) => return Err(Interrupted::Broken(std::io::Error::other("zeros without a buffer"))),
            None => break,
        };
        let count = buffer.len();
        let offset = size;
        size += count as u64;
        check_size(expected, job.size_max, size)?;
        for reservation in &mut reservations {
            reservation.cover(size).await.map_err(Interrupted::Refused)?;
        }
        let frozen = buffer.freeze();
        examiner.feed(&frozen)?;
        for_each_place(filling, losses, async |writes| {
            writes.start(frozen.clone(), offset).await?;
            // One buffer stays free for the next read.
            writes.fewer_than(depth.get()).await
        })
        .await?;
        if told.elapsed() >= PROGRESS_INTERVAL {
            told = Instant::now();
            tell_progress(shard, job, size).await;
        }
        if count < BUFFER_BYTES {
            break;
        }
    }
    check_complete(expected, size)?;
    reading.confirm().await?;
    Ok((size, examiner.finish(size, &shard.config.api).await?))
}

/// A place and the writes to it.
type Filling<'a> = (&'a Target<'a>, Writes<'a>);

/// Does `work` with every place, and goes on without those that fail.
async fn for_each_place<'a>(
    filling: &mut Vec<Filling<'a>>,
    losses: &mut Losses,
    work: impl AsyncFn(&mut Writes<'a>) -> Result<(), StoreError>,
) -> Result<(), Interrupted> {
    let mut index = 0;
    while let Some((target, writes)) = filling.get_mut(index) {
        match work(writes).await {
            Ok(()) => index += 1,
            Err(error) => {
                losses.note(target.sink, error)?;
                filling.remove(index);
            }
        }
    }
    Ok(())
}

fn nowhere() -> Interrupted {
    Interrupted::Broken(std::io::Error::other("every store failed"))
}

/// What the user is told. What is no fault of theirs is in the log.
pub(super) fn reason(job_id: &str, error: Interrupted) -> String {
    let cause: Error = match error {
        Interrupted::Refused(error) => return error.message,
        Interrupted::Store(error) => error.into(),
        Interrupted::Broken(error) => Error::internal(error),
        // Nobody sends the data of a job.
        Interrupted::Client(_) | Interrupted::Slow => Error::internal("a job has no client"),
    };
    if cause.status().is_server_error() {
        tracing::error!(job = job_id, "a job fails: {cause}");
        common::rpc::JOB_INTERNAL_ERROR.to_owned()
    } else {
        cause.message
    }
}

async fn tell_progress(shard: &Shard, job: &Job, bytes: u64) {
    let progress = ToControl::JobProgress { job_id: job.job_id.clone(), bytes };
    // It hears the next one.
    drop(shard.control.call::<Done>(progress).await);
}

/// Tells control the outcome. While it restarts we hold on; afterwards it finds out that the job does not run any more, and begins
/// it again.
pub(super) async fn tell_end(shard: &Shard, end: EndJob) {
    let begun = Instant::now();
    loop {
        match shard.control.call::<Done>(ToControl::EndJob(end.clone())).await {
            Ok(Done {}) => return,
            Err(error) if is_away(&error) && begun.elapsed() < CONTROL_PATIENCE => sleep(CONTROL_PAUSE).await,
            Err(error) => {
                tracing::error!("job {}: control does not take its end: {error}", end.job_id);
                return;
            }
        }
    }
}
