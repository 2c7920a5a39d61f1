//! Imports: data that the data plane brings from one place into stores, and the tasks that tell how it goes.
//!
//! An import is a job on record (`common::catalog`) before anything moves, until its task is over. [`Imports::run`] takes a job
//! from wherever it stands to its end, and each of its steps may be repeated, so that a crash of either plane at any instant is
//! followed by the step that was not finished:
//!
//! - nothing of it runs: its places are recorded as uploads, and the data plane begins, with what the plug-ins do to the staged data
//!   ([`rework`]) before what fills stores;
//! - its uploads run: the end is waited for, which [`Imports::end`] records;
//! - its uploads do not run any more: they are undone as all uploads are, and it begins again;
//! - it failed: once the last of its uploads is undone, its task ends and the image is what it was.

mod conclude;
mod discover;
mod location;
mod plan;
mod rework;
mod signed;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::authorise::Authority;
use common::catalog::{Changes, JobRecord, NewUpload, Purpose, new_id};
use common::config::{Config, STAGING_STORE, Stores};
use common::identity::Token;
use common::model::{Image, Task};
use common::rpc::{
    DataplaneStatus, Done, EndJob, Examination, JOB_IMAGE_GONE, JOB_INTERNAL_ERROR, Job, JobSink, JobSource,
    ToDataplane,
};
use common::{Error, Kind, Result};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

pub(crate) use conclude::expiry;
pub(crate) use discover::Remote;
pub(crate) use plan::{FAILED_STORES, IMPORTING_STORES, Method, Plan, Verification, merge_stores, without_stores};
pub(crate) use rework::planned;

use crate::app::locations::in_order;
use crate::auth::Authenticator;
use crate::dataplane_client::DataplaneClient;
use crate::db::Db;
use crate::kinds::is_web;
use crate::limits::Share;
use crate::uploads::{Uploads, examination, location_metadata, place};

/// Pause after a step that failed; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often a job that should run is looked after.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a place may take to be cleared before an import that needs it gives up.
const CLEARING_PATIENCE: Duration = Duration::from_mins(5);

/// What users are told then.
const STILL_CLEARING: &str = "Data that lay in a store before is still being removed.";

/// Attempts at a job: a data plane that dies each time is not to die of it for ever.
const ATTEMPTS_MAX: i64 = 5;

/// All imports. Clones are the same.
#[derive(Clone)]
pub(crate) struct Imports {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<Config>,
    db: Db,
    uploads: Uploads,
    dataplane: DataplaneClient,
    /// Turns to move data.
    turns: Semaphore,
    /// Of those, how many there are for what comes from other servers, which may be slow.
    download_turns: Semaphore,
    /// Wakes whoever looks after a job.
    running: Mutex<HashMap<String, Arc<Notify>>>,
    /// Decides who may set which property.
    authority: Arc<Authority>,
    /// Tells where services are.
    authenticator: Arc<Authenticator>,
    /// Tokens that were lent to jobs.
    tokens: Mutex<HashMap<String, Token>>,
}

/// A turn to move data, until dropped.
struct Turn<'a> {
    _download: Option<SemaphorePermit<'a>>,
    _turn: Option<SemaphorePermit<'a>>,
}

/// What is to be done next.
enum Next {
    /// The next step, at once.
    Step,
    /// It is to begin, once there is a turn.
    Begin(JobRecord),
    /// The next step when the end of the job is heard of, or after a while.
    Running,
    /// The next step when what it left is removed.
    Undoing {
        /// Whether the job has done a step, and has not failed.
        goes_on: bool,
    },
    /// Nothing: it is over.
    Over,
}

/// Waits for news of a job, for `pause` at most; the next pause: without news it doubles.
async fn rest(pause: Duration, heard: &Notify) -> Duration {
    match tokio::time::timeout(pause, heard.notified()).await {
        Ok(()) => PAUSE_MIN,
        Err(_) => pause.saturating_mul(2).min(PAUSE_MAX),
    }
}

impl Imports {
    /// Imports into the catalog `db`. Starts nothing.
    pub(crate) fn new(
        config: Arc<Config>,
        db: Db,
        uploads: Uploads,
        authority: Arc<Authority>,
        authenticator: Arc<Authenticator>,
    ) -> Self {
        let dataplane = DataplaneClient::new(
            &config.paths.data_dir,
            config.control.rpc_timeout,
            config.control.retry_after_seconds,
        );
        let turns = Semaphore::new(config.api.imports_at_a_time);
        let download_turns = Semaphore::new((config.api.imports_at_a_time / 2).max(1));
        let (running, tokens) = (Mutex::default(), Mutex::default());
        let shared =
            Shared { config, db, uploads, dataplane, turns, download_turns, running, authority, authenticator, tokens };
        Imports { shared: Arc::new(shared) }
    }

    /// Looks after every job on record, for ever: those that an earlier control plane left, and one whose request was cut off right
    /// after it was recorded. Must be called inside a runtime.
    pub(crate) async fn resume(self) {
        loop {
            match self.shared.db.read(|catalog| catalog.jobs()).await {
                Ok(jobs) => jobs.into_iter().for_each(|job| self.start(job.job_id)),
                Err(error) => tracing::warn!("imports cannot be looked after now: {error}"),
            }
            tokio::time::sleep(self.shared.config.control.reap_interval).await;
        }
    }

    /// Begins with a job that is on record, unless it is being looked after. Must be called inside a runtime.
    pub(crate) fn start(&self, job_id: String) {
        let heard = Arc::new(Notify::new());
        {
            let mut running = self.running();
            if running.contains_key(&job_id) {
                return;
            }
            running.insert(job_id.clone(), Arc::clone(&heard));
        }
        tokio::spawn(self.clone().run(job_id, heard));
    }

    /// Lends a token to a job, before that is on record, until its end.
    pub(crate) fn lend(&self, job_id: &str, token: Token) {
        self.tokens().insert(job_id.to_owned(), token);
    }

    /// Forgets the token of a job that did not come to be.
    pub(crate) fn take_back(&self, job_id: &str) {
        self.tokens().remove(job_id);
    }

    /// A data plane began: what an earlier one carried on is to be seen to now.
    pub(crate) fn wake(&self) {
        self.running().values().for_each(|heard| heard.notify_one());
    }

    /// A job goes on.
    pub(crate) async fn progress(&self, job_id: String, bytes: u64) -> Result<()> {
        let message = conclude::progress_text(bytes);
        self.shared.db.write(move |catalog| catalog.tell_task(&job_id, &message)).await
    }

    /// A job of the data plane is over: its outcome is on record when this returns. Repeating it is harmless.
    pub(crate) async fn end(&self, end: EndJob) -> Result<()> {
        let config = self.shared.config.clone();
        let job_id = end.job_id.clone();
        let verified = self.verify(&end).await?;
        let recorded = self.shared.db.write(move |catalog| conclude::end(catalog, &config, &end, verified)).await;
        self.shared.uploads.wake_reaper();
        if let Some(heard) = self.running().get(&job_id) {
            heard.notify_one();
        }
        recorded
    }

    async fn run(self, job_id: String, heard: Arc<Notify>) {
        // Had from the beginning of the job to its end, and not while it is undone.
        let mut turn = None;
        let mut pause = PAUSE_MIN;
        let mut blocked: Option<Instant> = None;
        loop {
            let next = match self.step(&job_id).await {
                Ok(Next::Begin(job)) if turn.is_none() => {
                    turn = Some(self.turn(&job).await);
                    // Much may have happened meanwhile.
                    continue;
                }
                Ok(Next::Begin(job)) => self.begin(job).await,
                next => next,
            };
            match next {
                Ok(Next::Over) => break,
                Ok(Next::Step | Next::Begin(_)) => pause = PAUSE_MIN,
                Ok(Next::Running) => {
                    pause = PAUSE_MIN;
                    blocked = None;
                    let _ = tokio::time::timeout(LOOK_INTERVAL, heard.notified()).await;
                }
                Ok(Next::Undoing { goes_on }) => {
                    // Between two steps it is kept: nobody else begins to stage before this is stored.
                    if !goes_on {
                        turn = None;
                    }
                    // Each time: the data plane may have counted the upload as running when it was looked at last.
                    self.shared.uploads.wake_reaper();
                    pause = rest(pause, &heard).await;
                }
                Err(error) => {
                    log_retry(&job_id, &error);
                    turn = None;
                    if error.kind == Kind::Conflict
                        && blocked.get_or_insert_with(Instant::now).elapsed() >= CLEARING_PATIENCE
                        && let Err(error) = self.give_up(&job_id).await
                    {
                        log_retry(&job_id, &error);
                    }
                    pause = rest(pause, &heard).await;
                }
            }
        }
        self.running().remove(&job_id);
        self.take_back(&job_id);
    }

    /// A turn for a job.
    async fn turn(&self, job: &JobRecord) -> Turn<'_> {
        let is_from_others = self.is_from_others(job).await;
        // The semaphores are never closed.
        let download = if is_from_others { self.shared.download_turns.acquire().await.ok() } else { None };
        Turn { _download: download, _turn: self.shared.turns.acquire().await.ok() }
    }

    /// Whether the data of a job comes from a server of somebody else's.
    async fn is_from_others(&self, job: &JobRecord) -> bool {
        let Ok(plan) = Plan::from_record(job) else { return false };
        if plan.method.is_download() || plan.uri.as_deref().is_some_and(is_web) {
            return true;
        }
        let (image_id, stores) = (job.image_id.clone(), self.shared.config.clone());
        let image = self.shared.db.read(move |catalog| catalog.image(&image_id)).await;
        let best = |image: &Image| in_order(image, &stores.stores).first().is_some_and(|best| is_web(&best.url));
        plan.method == Method::CopyImage && image.ok().flatten().as_ref().is_some_and(best)
    }

    async fn step(&self, job_id: &str) -> Result<Next> {
        let id = job_id.to_owned();
        let read = self.shared.db.read(move |catalog| Ok((catalog.job(&id)?, catalog.uploads_of_job(&id)?)));
        let (job, uploads) = read.await?;
        if let Some(upload) = uploads.iter().find(|upload| !upload.doomed) {
            let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
            if upload.instance == status.instance && status.uploads.contains(&upload.upload_id) {
                return Ok(Next::Running);
            }
            // Nobody carries it on.
            let id = job_id.to_owned();
            self.shared.db.write(move |catalog| catalog.doom_uploads_of_job(&id)).await?;
            return Ok(Next::Step);
        }
        if !uploads.is_empty() {
            let is_under_way = |job: &JobRecord| {
                job.failure.is_none() && Plan::from_record(job).is_ok_and(|plan| plan.made.is_something())
            };
            return Ok(Next::Undoing { goes_on: job.as_ref().is_some_and(is_under_way) });
        }
        match job {
            None => Ok(Next::Over),
            Some(job) if job.failure.is_some() => {
                let config = self.shared.config.clone();
                self.shared.db.write(move |catalog| conclude::undone(catalog, &config, &job)).await?;
                Ok(Next::Over)
            }
            Some(job) => {
                // A job that fills nothing runs under its own id, if it does.
                if job.plan["method"] == Method::Location.as_str() {
                    let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
                    if status.uploads.contains(&job.job_id) {
                        let image_id = job.image_id.clone();
                        if self.shared.db.read(move |catalog| catalog.image(&image_id)).await?.is_none() {
                            let upload_id = job.job_id.clone();
                            self.shared.dataplane.call::<Done>(ToDataplane::CancelUpload { upload_id }).await?;
                        }
                        return Ok(Next::Running);
                    }
                }
                Ok(Next::Begin(job))
            }
        }
    }

    /// Ends a job that cannot begin because a place is not cleared.
    async fn give_up(&self, job_id: &str) -> Result<()> {
        let (config, id) = (self.shared.config.clone(), job_id.to_owned());
        let given_up = self.shared.db.write(move |catalog| {
            let Some(job) = catalog.job(&id)?.filter(|job| job.failure.is_none()) else { return Ok(()) };
            let plan = Plan::from_record(&job)?;
            conclude::fail(catalog, &config, &job, &plan, &plan.stores, STILL_CLEARING)
        });
        given_up.await
    }

    /// Records the places and has the data plane begin.
    async fn begin(&self, job: JobRecord) -> Result<Next> {
        let config = self.shared.config.clone();
        let plan = match Plan::from_record(&job) {
            Ok(plan) => Plan { token: self.tokens().get(&job.job_id).cloned(), ..plan },
            Err(error) => {
                tracing::error!(job = job.job_id, "an import cannot begin: {error}");
                self.shared.db.write(move |catalog| catalog.fail_job(&job.job_id, JOB_INTERNAL_ERROR)).await?;
                return Ok(Next::Step);
            }
        };
        if plan.method == Method::Location {
            return self.begin_location(job, plan).await;
        }
        if let Some(remote) = plan.remote.clone() {
            return self.discover(job, plan, remote).await;
        }
        if let Some(step) = plan.steps.first().cloned() {
            return self.begin_rework(job, plan, step).await;
        }
        let (image_id, job_id) = (job.image_id.clone(), job.job_id.clone());
        let read = self.shared.db.read(move |catalog| Ok((catalog.image(&image_id)?, catalog.task(&job_id)?)));
        let (mut image, task) = read.await?;
        image.iter_mut().for_each(|image| plan.apply(image));
        let size = image.as_ref().and_then(|image| image.size);
        let share = self.shared.uploads.limits().of(project(task.as_ref())).await?;
        let mut places = Vec::with_capacity(plan.stores.len());
        for id in &plan.stores {
            let store = config.stores.list.iter().find(|store| store.id == *id);
            let base = match store {
                Some(store) => self.shared.uploads.base(store, size).await,
                None => Err(Error::bad_request(format!("Store for identifier {id} not found"))),
            };
            places.push((id.clone(), base));
        }
        let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
        let instance = status.instance;
        let opened = self.shared.db.write(move |catalog| {
            let opened = places
                .into_iter()
                .map(|(store, base)| Ok((store, base?.url(&job.image_id)?)))
                .collect::<Result<Vec<_>>>()
                .and_then(|places| open(catalog, &config, &job, &plan, &share, &places, &instance));
            settle(catalog, &config, &job, &plan, opened)
        });
        let Some(started) = opened.await? else { return Ok(Next::Step) };
        self.shared.dataplane.call::<Done>(ToDataplane::StartJob(started)).await?;
        Ok(Next::Running)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, Token>> {
        self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was opened, or nothing where that is the end of the job.
///
/// # Errors
/// What another attempt may not meet.
fn settle<T>(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    plan: &Plan,
    opened: Result<Option<T>>,
) -> Result<Option<T>> {
    match opened {
        // That is another matter in a moment.
        Err(error) if matches!(error.kind, Kind::Conflict | Kind::Unavailable) => Err(error),
        Err(error) => {
            let reason = if error.status().is_server_error() { JOB_INTERNAL_ERROR } else { &error.message };
            tracing::warn!(job = job.job_id, "an import cannot begin: {error}");
            conclude::fail(catalog, config, job, plan, &plan.stores, reason)?;
            Ok(None)
        }
        Ok(opened) => Ok(opened),
    }
}

/// Counts an attempt at what the job does next.
///
/// # Errors
/// 500 when there were too many.
fn count_attempt(catalog: &Changes<'_>, job: &JobRecord, attempts_max: i64) -> Result<()> {
    if catalog.count_attempt(&job.job_id)? > attempts_max {
        return Err(Error::internal(format!("job {} was begun {attempts_max} times in vain", job.job_id)));
    }
    Ok(())
}

/// Records the places of a job, and says what is to be done: nothing, when it is over because a limit does not allow it.
///
/// # Errors
/// 409 while a place is still being cleared, 503 while the catalog is away; everything else ends the job.
fn open(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    plan: &Plan,
    share: &Share,
    places: &[(String, String)],
    instance: &str,
) -> Result<Option<Job>> {
    let mut image = catalog.image(&job.image_id)?.ok_or_else(|| Error::not_found(JOB_IMAGE_GONE))?;
    plan.apply(&mut image);
    count_attempt(catalog, job, ATTEMPTS_MAX)?;
    // Else what goes wrong with the copy would be undone at the very place of the image's data.
    if let Some((store, _)) = places.iter().find(|(_, url)| place::is_of(&image, url)) {
        return Err(Error::bad_request(format!("Image is already present at store '{store}'")));
    }
    let source = source(&image, &config.stores, plan)?;
    let hash_algo = match plan.method {
        Method::CopyImage => image.os_hash_algo.clone(),
        _ => None,
    };
    let signed_hash_algo = match &plan.signature {
        None => None,
        Some(Verification::By(statement)) => Some(statement.digest_name().to_owned()),
        Some(Verification::Refused(reason)) => return Err(Error::bad_request(reason)),
    };
    let hash_algo = hash_algo.unwrap_or_else(|| config.api.hashing_algorithm.clone());
    let examination = Examination { signed_hash_algo, ..examination(&image, hash_algo)? };
    let reserved = match check_limits(catalog, plan, share, image.size, places.len()) {
        // No store is to blame.
        Err(error) if error.kind == Kind::TooLarge => {
            conclude::fail(catalog, config, job, plan, &[], &error.message)?;
            return Ok(None);
        }
        checked => checked?,
    };
    catalog.begin_task(&job.job_id)?;
    let mut sinks = Vec::with_capacity(places.len());
    for (store, url) in places {
        let sink = JobSink {
            upload_id: new_id(),
            store: store.clone(),
            url: url.clone(),
            // What is known to come is reserved at once.
            reserved: reserved.filter(|_| image.size.is_none()),
        };
        let new = NewUpload {
            upload_id: &sink.upload_id,
            image_id: &job.image_id,
            instance,
            store,
            url,
            location_metadata: &location_metadata(config.stores.multi, store),
            hash_algo: &examination.hash_algo,
            quota_project: share.project(),
            reserved: image.size.or(reserved),
            signature: None,
        };
        catalog.open_sink(&job.job_id, &new)?;
        sinks.push(sink);
    }
    Ok(Some(Job {
        job_id: job.job_id.clone(),
        source,
        // Of an image without data 0 says nothing.
        expected_size: image.size.filter(|size| *size > 0 || plan.method == Method::GlanceDownload),
        size_max: config.api.image_size_max,
        examination,
        sinks,
        all_must_succeed: plan.all_must_succeed,
    }))
}

/// Refuses a job that the limits of whoever asked for it do not allow, at the places and by the figures that Glance looks at.
/// Bytes that are reserved for all copies.
fn check_limits(
    catalog: &Changes<'_>,
    plan: &Plan,
    share: &Share,
    size: Option<u64>,
    copies: usize,
) -> Result<Option<u64>> {
    match plan.method {
        Method::Location => {}
        Method::GlanceDirect => share.check_data(catalog, Purpose::Store, size)?,
        Method::CopyImage | Method::WebDownload | Method::GlanceDownload => {
            if plan.method.is_download() && size.is_some() {
                let all = size.map(|size| size.saturating_mul(u64::try_from(copies).unwrap_or(u64::MAX)));
                share.check_data(catalog, Purpose::Store, all)?;
            }
            share.check_data(catalog, Purpose::Staging, size)?;
            share.check_moving(catalog)?;
        }
    }
    let copies = u64::try_from(copies).unwrap_or(u64::MAX);
    share.reserve(catalog, size.map(|size| size.saturating_mul(copies)))
}

/// Where the data of an import is.
fn source(image: &Image, stores: &Stores, plan: &Plan) -> Result<JobSource> {
    if plan.is_staged() {
        let url = plan.made.staged(&stores.staging, &image.id)?;
        return Ok(JobSource::Place { store: STAGING_STORE.to_owned(), url });
    }
    match plan.method {
        Method::GlanceDirect => Err(Error::internal("nothing is staged")),
        Method::WebDownload | Method::GlanceDownload => plan.web_source(),
        Method::Location => Err(Error::internal("a location has its data where it is")),
        Method::CopyImage => {
            let best = *in_order(image, stores)
                .first()
                .ok_or_else(|| Error::not_found(format!("Image {} has no data", image.id)))?;
            let store = best.store().unwrap_or_default().to_owned();
            Ok(JobSource::Place { store, url: best.url.clone() })
        }
    }
}

/// The project that a job is for: who has none counts with those that have none.
fn project(task: Option<&Task>) -> Option<&str> {
    task.map(|task| task.owner.as_str()).filter(|owner| !owner.is_empty())
}

/// That a plane is away is part of life; everything else is worth an operator's attention.
fn log_retry(job_id: &str, error: &Error) {
    if matches!(error.kind, Kind::Unavailable | Kind::Conflict) {
        tracing::debug!(job = job_id, "an import must wait: {error}");
    } else {
        tracing::warn!(job = job_id, "a step of an import fails and is tried again: {error}");
    }
}

/// The result of a task that went well.
fn result_of(image_id: &str) -> Value {
    serde_json::json!({"image_id": image_id})
}

#[cfg(test)]
mod tests;
