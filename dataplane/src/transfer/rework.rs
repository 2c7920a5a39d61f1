//! A rework: staged data becomes something else in the staging area, by a plug-in on a thread of its own that is led from here.
//!
//! As with jobs, the place of the result is an upload to control, and nothing is removed here.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use common::error::Kind;
use common::rpc::{EndJob, JOB_IMAGE_GONE, JobOutcome, Rework, ReworkKind};
use common::{Error, Result};

use super::job::{self, Running};
use super::receive::Interrupted;
use crate::futures::{Either, race};
use crate::plugins::{Converter, Failure, Files, Stop, convert, decompress, on_own_thread};
use crate::shard::{Shard, Shared};
use crate::store::{Placement, StoreError};
use crate::uploads::CoreEvent;

/// Gives a rework to a core. Its upload runs from here on.
///
/// # Errors
/// 503 when the core has too much mail.
pub(crate) fn begin(shared: &Shared, rework: Rework) -> Result<()> {
    let uploads = [rework.sink.upload_id.clone()];
    job::post(shared, &uploads, CoreEvent::Rework(Box::new(rework)))
}

/// Does it, and tells control what came of it.
pub(crate) async fn run(shard: Rc<Shard>, rework: Rework) {
    let begun = Instant::now();
    let _running = Running::begin(&shard, &rework.job_id, std::slice::from_ref(&rework.sink));
    let outcome = match work(&shard, &rework).await {
        Ok(outcome) => outcome,
        // Control will find that it does not run, and begin it again.
        Err(Interrupted::Store(StoreError::Exhausted(cause))) => {
            tracing::warn!(job = rework.job_id, "a plug-in is postponed: nothing left to work with: {cause}");
            return;
        }
        Err(error) => JobOutcome::Failed { reason: job::reason(&rework.job_id, error), sinks: Vec::new() },
    };
    tracing::info!(
        job = rework.job_id,
        milliseconds = begun.elapsed().as_millis(),
        "{} {}",
        match rework.work {
            ReworkKind::Decompress => "image_decompression",
            ReworkKind::Convert { .. } => "image_conversion",
        },
        match outcome {
            JobOutcome::Reworked { .. } => "has made something else of the data",
            JobOutcome::Kept => "leaves the data as it is",
            _ => "fails",
        }
    );
    let uploads = vec![rework.sink.upload_id.clone()];
    job::tell_end(&shard, EndJob { job_id: rework.job_id.clone(), uploads, outcome }).await;
}

async fn work(shard: &Shard, rework: &Rework) -> Result<JobOutcome, Interrupted> {
    let stores = &shard.shared.stores;
    let sink = &rework.sink;
    let Some(store) = stores.by_id(&sink.store) else { return Err(StoreError::Foreign(sink.url.clone()).into()) };
    let source = store.local_path(&rework.source)?;
    // Through the page cache: the next step, or the import, reads it at once.
    let placement = Placement { url: &sink.url, upload_id: &sink.upload_id, size: None, direct: false };
    let writer = store.create(shard, placement).await?;
    let files = Files { source, target: writer.local_path()?.to_owned(), size_max: rework.size_max };
    let stop = Arc::new(Stop::default());
    let made = {
        let mut working = std::pin::pin!(on_own_thread(plugin(shard, rework, files, Arc::clone(&stop))?));
        match race(working.as_mut(), shard.upload_cancelled(&sink.upload_id)).await {
            Either::First(made) => made,
            Either::Second(()) => {
                stop.stop();
                // What it writes is only removed once it writes no more.
                working.await
            }
        }
    };
    match made {
        Ok(Some(size)) => {
            writer.commit(size).await?;
            Ok(JobOutcome::Reworked { size })
        }
        Ok(None) => Ok(JobOutcome::Kept),
        Err(Failure::Refused(text)) => Err(Interrupted::Refused(Error::bad_request(text))),
        Err(Failure::Stopped) => Err(Interrupted::Refused(Error::new(Kind::Gone, JOB_IMAGE_GONE))),
        Err(Failure::Broken(error)) => Err(StoreError::from(error).into()),
    }
}

/// What comes to so many bytes, or leaves the data alone.
type Work = Box<dyn FnOnce() -> Result<Option<u64>, Failure> + Send>;

/// The work itself.
///
/// # Errors
/// [`Interrupted::Broken`] for a conversion where the configuration asks for none: control's is another.
fn plugin(shard: &Shard, rework: &Rework, files: Files, stop: Arc<Stop>) -> Result<Work, Interrupted> {
    match rework.work.clone() {
        ReworkKind::Decompress => {
            let memory_bytes = shard.config.plugins.decompression_memory_bytes;
            Ok(Box::new(move || decompress(&files, memory_bytes, &stop)))
        }
        ReworkKind::Convert { disk_format, output_format } => {
            let Some(qemu_img) = &shard.shared.qemu_img else {
                return Err(Interrupted::Broken(std::io::Error::other("conversion is not configured here")));
            };
            let converter = Converter::new(&shard.config, qemu_img);
            Ok(Box::new(move || convert(&files, &disk_format, &output_format, &converter, &stop)))
        }
    }
}
