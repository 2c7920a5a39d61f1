//! Clears up what crashes left: uploads that nobody carries on, and bytes that no image owns.
//!
//! An upload is given up only when the data plane was asked and does not know it. Then, in this order: it is doomed, so
//! that no late commit can make its image active; its bytes are removed; its image is `queued` again. Each step may be
//! repeated, so a crash between them loses nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::catalog::{Aborted, Intent, Removal};
use common::rpc::{DataplaneStatus, Done, ToDataplane};
use common::time::Timestamp;
use common::{Kind, Result};

use super::Uploads;

/// Pause after a round that left something undone; doubles up to the configured interval.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);

/// Removals that are read at a time.
const REMOVALS_PER_PAGE: usize = 256;

/// How long committed uploads are remembered, so that a commit whose answer was lost may be repeated.
const COMMITTED_MEMORY: Duration = Duration::from_hours(24);

/// An upload that the data plane does not know is left alone for this many of its longest waits: the answer that tells
/// it of the upload may be on its way.
const GRACE_TIMEOUTS: u32 = 2;

impl Uploads {
    /// Clears up, for ever.
    pub(crate) async fn reap(self) {
        let interval = self.shared.config.control.reap_interval;
        let mut first_seen = HashMap::new();
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let done = self.round(&mut first_seen).await.unwrap_or_else(|error| {
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
    pub(super) async fn round(&self, first_seen: &mut HashMap<String, Instant>) -> Result<bool> {
        // Before the data plane is asked what it knows: what is on record by now and not known then is nobody's.
        let (intents, removals) =
            self.shared.db.read(|q| Ok((q.uploads()?, q.removals(0, REMOVALS_PER_PAGE)?))).await?;
        let oldest = Timestamp::now().as_micros() - i64::try_from(COMMITTED_MEMORY.as_micros()).unwrap_or(i64::MAX);
        self.shared.db.write(move |catalog| catalog.forget_committed_uploads(Timestamp::from_micros(oldest))).await?;
        first_seen.retain(|upload_id, _| intents.iter().any(|intent| intent.upload_id == *upload_id));
        if intents.is_empty() && removals.is_empty() {
            self.shared.metrics.removals_waiting.set(0);
            return Ok(true);
        }
        let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
        let mut done = true;
        for intent in intents {
            let seen = *first_seen.entry(intent.upload_id.clone()).or_insert_with(Instant::now);
            if self.abandoned(&intent, seen.elapsed(), &status) {
                done &= self.undo(intent).await;
            }
        }
        Ok(self.remove_all(removals).await? && done)
    }

    /// Does all removals, of which `page` is the first part; `true` when none failed. Those that fail hold up no others.
    async fn remove_all(&self, mut page: Vec<Removal>) -> Result<bool> {
        let mut waiting = 0;
        while let Some(last) = page.last().map(|removal| removal.id) {
            for removal in page {
                if !self.remove(removal).await {
                    waiting += 1;
                }
            }
            page = self.shared.db.read(move |q| q.removals(last, REMOVALS_PER_PAGE)).await?;
        }
        self.shared.metrics.removals_waiting.set(waiting);
        Ok(waiting == 0)
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

    /// Undoes an upload; `false` when something must be tried again.
    async fn undo(&self, intent: Intent) -> bool {
        let upload_id = intent.upload_id.clone();
        match self.try_undo(intent).await {
            Ok(()) => true,
            Err(error) => {
                log_retry(&format!("undoing upload {upload_id}"), &error);
                false
            }
        }
    }

    pub(super) async fn try_undo(&self, intent: Intent) -> Result<()> {
        let Intent { upload_id, image_id, store, url, .. } = intent;
        let id = upload_id.clone();
        if !self.shared.db.write(move |catalog| catalog.doom_upload(&id)).await? {
            // Committed or aborted meanwhile.
            return Ok(());
        }
        let remove = ToDataplane::Remove { store, url, upload_id: Some(upload_id.clone()) };
        self.shared.dataplane.call::<Done>(remove).await?;
        let id = upload_id.clone();
        if self.shared.db.write(move |catalog| catalog.abort_upload(&id)).await? != Aborted::Unknown {
            self.shared.metrics.reaped.inc();
            tracing::info!(upload = upload_id, image = image_id, "an abandoned upload is undone");
        }
        Ok(())
    }

    /// Removes bytes that no image owns; `false` when it must be tried again.
    pub(super) async fn remove(&self, removal: Removal) -> bool {
        let Removal { id, image_id, store, url, upload_id } = removal;
        let store = store.unwrap_or_else(|| self.shared.config.stores.default.clone());
        let remove = ToDataplane::Remove { store, url, upload_id };
        let outcome = match self.shared.dataplane.call::<Done>(remove).await {
            Ok(Done {}) => self.shared.db.write(move |catalog| catalog.finish_removal(id)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            log_retry(&format!("removing the data of image {image_id}"), error);
        }
        outcome.is_ok()
    }
}

/// That a plane is away is part of life; everything else is worth an operator's attention.
fn log_retry(what: &str, error: &common::Error) {
    if error.kind == Kind::Unavailable {
        tracing::debug!("{what} must wait: {error}");
    } else {
        tracing::warn!("{what} fails and is tried again: {error}");
    }
}
