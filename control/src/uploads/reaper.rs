//! Clears up what crashes left: uploads that nobody carries on, and bytes that no image owns.
//!
//! An upload is given up only when the data plane was asked and does not know it. Then, in this order: it is doomed, so
//! that no late commit can make its image active; its bytes are removed; its image is `queued` again. Each step may be
//! repeated, so a crash between them loses nothing.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use common::catalog::{Aborted, Intent, Removal};
use common::rpc::{DataplaneStatus, Done, ToDataplane};
use common::time::Timestamp;
use common::{Kind, Result};
use tokio::task::JoinSet;

use super::Uploads;

/// Pause after a round that left something undone; doubles up to the configured interval.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Removals that are read at a time.
const REMOVALS_PER_PAGE: usize = 256;

/// Removals, or uploads that are undone, under way at a time: one that takes long holds up no others.
const REMOVALS_AT_A_TIME: usize = 16;

/// How long committed uploads are remembered, so that a commit whose answer was lost may be repeated.
const COMMITTED_MEMORY: Duration = Duration::from_hours(24);

/// The pause between two times of forgetting older ones.
const FORGET_PAUSE: Duration = Duration::from_mins(1);

/// An upload that the data plane does not know is left alone for this many of its longest waits: the answer that tells
/// it of the upload may be on its way.
const GRACE_TIMEOUTS: u32 = 2;

/// What one round tells the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When uploads were seen first, by their id.
    first_seen: HashMap<String, Instant>,
    /// Places that no configured store has and that an operator was told of.
    told: HashSet<String>,
    /// When committed uploads were forgotten last.
    forgot: Option<Instant>,
}

/// What became of an attempt to remove bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// They are gone.
    Done,
    /// No configured store has the place: it waits until one does.
    NoStore,
    /// The data plane or the store does not answer now.
    Away,
    /// It failed, and may succeed another time.
    Failed,
}

/// What came of a round.
#[derive(Debug, Default)]
struct Tried {
    /// Places with which there is nothing to be done in this round.
    out: HashSet<String>,
    /// How many things are left.
    waiting: i64,
    /// Whether another try may be of use.
    is_again: bool,
}

impl Tried {
    fn note(&mut self, place: String, outcome: Outcome) {
        self.waiting += i64::from(outcome != Outcome::Done);
        self.is_again |= !matches!(outcome, Outcome::Done | Outcome::NoStore);
        if matches!(outcome, Outcome::NoStore | Outcome::Away) {
            self.out.insert(place);
        }
    }
}

impl Uploads {
    /// Clears up, for ever.
    pub(crate) async fn reap(self) {
        let interval = self.shared.config.control.reap_interval;
        let mut memory = Memory::default();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let done = self.round(&mut memory).await.unwrap_or_else(|error| {
                log_retry("clearing up after uploads", &error);
                false
            });
            pause = if done { interval } else { pause.saturating_mul(2).min(interval) };
            tokio::select! {
                () = tokio::time::sleep(pause) => if done { pause = RETRY_PAUSE_MIN },
                // Somebody has news: what failed before is worth trying soon.
                () = self.shared.work.notified() => pause = RETRY_PAUSE_MIN,
            }
        }
    }

    /// One search. `true` when nothing is left that could be done now.
    pub(super) async fn round(&self, memory: &mut Memory) -> Result<bool> {
        // Before the data plane is asked what it knows: what is on record by now and not known then is nobody's.
        let (intents, removals) =
            self.shared.db.read(|q| Ok((q.uploads()?, q.removals(0, REMOVALS_PER_PAGE)?))).await?;
        self.forget(memory).await?;
        memory.first_seen.retain(|upload_id, _| intents.iter().any(|intent| intent.upload_id == *upload_id));
        if intents.is_empty() && removals.is_empty() {
            self.shared.metrics.removals_waiting.set(0);
            return Ok(true);
        }
        let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
        let mut abandoned = Vec::new();
        for intent in intents {
            let seen = *memory.first_seen.entry(intent.upload_id.clone()).or_insert_with(Instant::now);
            if intent.image_deleted && status.uploads.contains(&intent.upload_id) {
                self.cancel(intent.upload_id).await;
            } else if self.abandoned(&intent, seen.elapsed(), &status) {
                abandoned.push(intent);
            }
        }
        let undone = self.undo_all(abandoned, memory).await?;
        Ok(self.remove_all(removals, memory).await? && undone)
    }

    async fn forget(&self, memory: &mut Memory) -> Result<()> {
        if memory.forgot.is_some_and(|at| at.elapsed() < FORGET_PAUSE) {
            return Ok(());
        }
        let oldest = Timestamp::now().as_micros() - i64::try_from(COMMITTED_MEMORY.as_micros()).unwrap_or(i64::MAX);
        let forgotten = self.shared.db.write(move |catalog| {
            // Readers leave them out as soon as they have expired.
            catalog.expire_tasks()?;
            catalog.forget_committed_uploads(Timestamp::from_micros(oldest))
        });
        forgotten.await?;
        memory.forgot = Some(Instant::now());
        Ok(())
    }

    /// Stops an upload whose image was deleted.
    async fn cancel(&self, upload_id: String) {
        if let Err(error) = self.shared.dataplane.call::<Done>(ToDataplane::CancelUpload { upload_id }).await {
            // It will hear of it when it commits.
            log_retry("cancelling an upload of a deleted image", &error);
        }
    }

    /// Does all removals, of which `page` is the first part; `true` when none is left that could be done now. Those that
    /// fail hold up no others.
    async fn remove_all(&self, mut page: Vec<Removal>, memory: &mut Memory) -> Result<bool> {
        let mut tried = Tried::default();
        while let Some(last) = page.last().map(|removal| removal.id) {
            let placed =
                page.into_iter().map(|removal| (self.place_of(removal.store.as_deref(), &removal.url), removal));
            let remove = async |uploads: Uploads, removal| uploads.remove(removal).await;
            self.each(placed, remove, &mut tried, memory).await?;
            page = self.shared.db.read(move |q| q.removals(last, REMOVALS_PER_PAGE)).await?;
        }
        self.shared.metrics.removals_waiting.set(tried.waiting);
        Ok(!tried.is_again)
    }

    /// Undoes uploads; `true` when none is left that could be undone now. Those that fail hold up no others.
    async fn undo_all(&self, intents: Vec<Intent>, memory: &mut Memory) -> Result<bool> {
        let mut tried = Tried::default();
        let placed = intents.into_iter().map(|intent| (self.place_of(Some(&intent.store), &intent.url), intent));
        let undo = async |uploads: Uploads, intent| uploads.undo(intent).await;
        self.each(placed, undo, &mut tried, memory).await?;
        Ok(!tried.is_again)
    }

    /// Does `work` for each thing that lies at a place, several at a time.
    async fn each<T, F>(
        &self,
        placed: impl Iterator<Item = (String, T)>,
        work: impl Fn(Uploads, T) -> F,
        tried: &mut Tried,
        memory: &mut Memory,
    ) -> Result<()>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut left = placed;
        let mut running = JoinSet::new();
        loop {
            while running.len() < REMOVALS_AT_A_TIME
                && let Some((place, thing)) = left.next()
            {
                if tried.out.contains(&place) {
                    tried.waiting += 1;
                    continue;
                }
                let working = work(self.clone(), thing);
                running.spawn(async move { (working.await, place) });
            }
            let Some(ended) = running.join_next().await else { return Ok(()) };
            let (outcome, place) = ended.map_err(common::Error::internal)?;
            memory.note(&place, outcome);
            tried.note(place, outcome);
        }
    }

    /// A store and a directory in it, for what is the same for all that lies there.
    fn place_of(&self, store: Option<&str>, url: &str) -> String {
        let store = store.unwrap_or(&self.shared.config.stores.default);
        let directory = url.rsplit_once('/').map_or(url, |(directory, _)| directory);
        format!("{store} ({directory})")
    }

    /// Whether nobody carries the upload on. `seen_for`: how long it has been on record, at least.
    fn abandoned(&self, intent: &Intent, seen_for: Duration, status: &DataplaneStatus) -> bool {
        if status.uploads.contains(&intent.upload_id) {
            return false;
        }
        intent.doomed
            || intent.instance != status.instance
            || intent.started_at < self.shared.began
            || seen_for > self.shared.config.control.rpc_timeout.saturating_mul(GRACE_TIMEOUTS)
    }

    async fn undo(&self, intent: Intent) -> Outcome {
        let upload_id = intent.upload_id.clone();
        match self.try_undo(intent).await {
            Ok(()) => Outcome::Done,
            Err(error) => outcome_of(&format!("undoing upload {upload_id}"), &error),
        }
    }

    pub(super) async fn try_undo(&self, intent: Intent) -> Result<()> {
        // What a job gives up that others had staged for it was written by no upload of that id: whatever lies there goes.
        let is_written = !intent.instance.is_empty();
        let Intent { upload_id, image_id, store, url, .. } = intent;
        let id = upload_id.clone();
        if !self.shared.db.write(move |catalog| catalog.doom_upload(&id)).await? {
            // Committed or aborted meanwhile.
            return Ok(());
        }
        let remove = ToDataplane::Remove { store, url, upload_id: is_written.then(|| upload_id.clone()) };
        self.shared.dataplane.call::<Done>(remove).await?;
        let id = upload_id.clone();
        if self.shared.db.write(move |catalog| catalog.abort_upload(&id)).await? != Aborted::Unknown {
            self.shared.metrics.reaped.inc();
            tracing::info!(upload = upload_id, image = image_id, "an abandoned upload is undone");
        }
        Ok(())
    }

    /// Removes bytes that no image owns.
    async fn remove(&self, removal: Removal) -> Outcome {
        let Removal { id, image_id, store, url, upload_id } = removal;
        let store = store.unwrap_or_else(|| self.shared.config.stores.default.clone());
        let remove = ToDataplane::Remove { store, url, upload_id };
        let outcome = match self.shared.dataplane.call::<Done>(remove).await {
            Ok(Done {}) => self.shared.db.write(move |catalog| catalog.finish_removal(id)).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Outcome::Done,
            Err(error) => outcome_of(&format!("removing the data of image {image_id}"), &error),
        }
    }
}

impl Memory {
    /// Tells the operator, once, of a place that no store has.
    fn note(&mut self, place: &str, outcome: Outcome) {
        match outcome {
            Outcome::NoStore if self.told.insert(place.to_owned()) => {
                tracing::warn!(
                    "data to be removed lies in store {place}, which is not configured: it stays until it is"
                );
            }
            Outcome::Done => drop(self.told.remove(place)),
            _ => {}
        }
    }

    /// Places that an operator was told of.
    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<&str> {
        self.told.iter().map(String::as_str).collect()
    }
}

/// The data plane's 404 is about the store: bytes that are not there count as removed.
fn outcome_of(what: &str, error: &common::Error) -> Outcome {
    match error.kind {
        Kind::NotFound => return Outcome::NoStore,
        Kind::Unavailable => tracing::debug!("{what} must wait: {error}"),
        _ => tracing::warn!("{what} fails and is tried again: {error}"),
    }
    if error.kind == Kind::Unavailable { Outcome::Away } else { Outcome::Failed }
}

/// That a plane is away is part of life; everything else is worth an operator's attention.
fn log_retry(what: &str, error: &common::Error) {
    if error.kind == Kind::Unavailable {
        tracing::debug!("{what} must wait: {error}");
    } else {
        tracing::warn!("{what} fails and is tried again: {error}");
    }
}
