//! The end of an import: what becomes of the image, of its lock and of the task, in one transaction each.

use common::catalog::{Changes, ImportedData, JobRecord};
use common::config::{Config, STAGING_STORE};
use common::model::{Image, Status};
use common::rpc::{EndJob, Findings, JOB_IMAGE_GONE, JOB_INTERNAL_ERROR, JobOutcome};
use common::time::Timestamp;
use common::{Error, Result};

use super::rework::Step;
use super::{FAILED_STORES, IMPORTING_STORES, Method, Plan, location, merge_stores, result_of, rework, without_stores};

/// What users are told whose lock another import took.
const LOCK_LOST: &str = "Task was aborted externally";

/// What users are told whose image is not what it was when its data was stored.
const CHANGED: &str = "The data of the image is not what it was when it was stored.";

/// Records the outcome of a job, whose data is `verified` or not what was signed. The image is active when this succeeds; else the job has a failure, and its places are given up.
///
/// # Errors
/// 409 for a run of the job that was given up meanwhile.
pub(super) fn end(
    catalog: &Changes<'_>,
    config: &Config,
    end: &EndJob,
    verified: std::result::Result<(), String>,
) -> Result<()> {
    let Some(job) = catalog.job(&end.job_id)? else { return Ok(()) };
    if job.failure.is_some() {
        return Ok(());
    }
    let uploads = catalog.uploads_of_job(&job.job_id)?;
    let is_open = |id: &String| uploads.iter().any(|upload| upload.upload_id == *id && !upload.doomed);
    if !end.uploads.iter().all(is_open) {
        if let (JobOutcome::Reworked { .. } | JobOutcome::Stored { .. }, [sink]) =
            (&end.outcome, end.uploads.as_slice())
            && catalog.is_sink_committed(&job.job_id, sink)?
        {
            // The answer was lost.
            return Ok(());
        }
        return Err(Error::conflict("That run of the job was given up."));
    }
    let plan = Plan::from_record(&job)?;
    let stores_of = |ids: &[String]| -> Vec<String> {
        uploads.iter().filter(|upload| ids.contains(&upload.upload_id)).map(|upload| upload.store.clone()).collect()
    };
    match &end.outcome {
        // It is tried again, some times.
        JobOutcome::Failed { .. } if plan.method == Method::Location => Ok(()),
        JobOutcome::Stored { findings, .. } if plan.method == Method::Location => {
            location::conclude(catalog, config, &job, &plan, findings)
        }
        JobOutcome::Failed { reason, sinks } => {
            let mut failed = stores_of(sinks);
            // Without a culprit among the stores all of them have failed; so they have, as Glance tells it, where what was fetched
            // for them goes with the failure.
            if failed.is_empty() || matches!(plan.method, Method::WebDownload | Method::GlanceDownload) {
                failed.extend(plan.stores.iter().cloned());
            }
            fail(catalog, config, &job, &plan, &failed, reason)
        }
        JobOutcome::Reworked { size } => rework::step_done(catalog, config, &job, plan, &end.uploads, Some(*size)),
        JobOutcome::Kept => rework::step_done(catalog, config, &job, plan, &end.uploads, None),
        // What was fetched is staged.
        JobOutcome::Stored { size, .. } if plan.steps.first() == Some(&Step::Fetch) => {
            rework::step_done(catalog, config, &job, plan, &end.uploads, Some(*size))
        }
        JobOutcome::Stored { size, findings, sinks } => {
            let stored = stores_of(sinks);
            let failed: Vec<String> = plan.stores.iter().filter(|store| !stored.contains(store)).cloned().collect();
            let image = match mine(catalog, &job)? {
                Ok(image) => image,
                Err(reason) => return fail(catalog, config, &job, &plan, &[], reason),
            };
            if let Err(reason) = verified {
                return fail(catalog, config, &job, &plan, &plan.stores, &reason);
            }
            if plan.method == Method::CopyImage && !is_same(&image, *size, findings) {
                return fail(catalog, config, &job, &plan, &plan.stores, CHANGED);
            }
            for upload_id in sinks {
                if !catalog.commit_sink(&job.job_id, upload_id)? {
                    return Err(Error::conflict("That run of the job was given up."));
                }
            }
            catalog.doom_uploads_of_job(&job.job_id)?;
            if plan.method.is_first() {
                catalog.activate_imported(
                    &image.id,
                    &ImportedData {
                        size: *size,
                        virtual_size: findings.virtual_size,
                        checksum: &findings.checksum,
                        sink: sinks.first().map_or("", String::as_str),
                        hash_value: &findings.hash_value,
                    },
                )?;
                rework::record(catalog, &image, &plan)?;
            }
            if plan.is_staged() {
                let url = plan.made.staged(&config.stores.staging, &job.image_id)?;
                catalog.add_removal(&job.image_id, Some(STAGING_STORE), &url, None)?;
            }
            note_stores(catalog, config, &image, &plan, &failed)?;
            if !plan.makes_image {
                catalog.tell_task(&job.job_id, &progress_text(*size))?;
            }
            finish(catalog, config, &job, Ok(()))
        }
    }
}

/// Notes that a job failed, and which stores did; what it stored, and what was staged for it, will be undone, then [`undone`] ends it.
pub(super) fn fail(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    plan: &Plan,
    failed: &[String],
    reason: &str,
) -> Result<()> {
    if let Ok(image) = mine(catalog, job)? {
        note_stores(catalog, config, &image, plan, failed)?;
    }
    if plan.is_staged() {
        // Gone before the image is `queued` again: what is staged next would lie at the same place.
        rework::give_up_staged(catalog, config, job, plan)?;
    }
    catalog.fail_job(&job.job_id, reason)
}

/// Nothing is left of what a failed job has stored: the image is `queued` again, or what it was, or gone if it was made for the job;
/// and the task is over.
pub(super) fn undone(catalog: &Changes<'_>, config: &Config, job: &JobRecord) -> Result<()> {
    if let Ok(image) = mine(catalog, job)?
        && image.status == Status::Importing
    {
        match Plan::from_record(job) {
            Ok(plan) if plan.method == Method::Location => location::undo(catalog, &image, &plan)?,
            Ok(Plan { makes_image: true, .. }) => catalog.delete_image(&image.id)?,
            _ => catalog.set_status(&image.id, &[Status::Importing], Status::Queued)?,
        }
    }
    finish(catalog, config, job, Err(job.failure.as_deref().unwrap_or(JOB_INTERNAL_ERROR)))
}

/// The image, if it is there and locked for this job; else why it is not ours.
pub(super) fn mine(catalog: &Changes<'_>, job: &JobRecord) -> Result<std::result::Result<Image, &'static str>> {
    Ok(match catalog.image(&job.image_id)? {
        None => Err(JOB_IMAGE_GONE),
        Some(image) if image.property(common::catalog::IMPORT_LOCK) == Some(job.job_id.as_str()) => Ok(image),
        Some(_) => Err(LOCK_LOST),
    })
}

fn is_same(image: &Image, size: u64, findings: &Findings) -> bool {
    image.size == Some(size)
        && image.checksum.as_ref().is_none_or(|checksum| *checksum == findings.checksum)
        && image.os_hash_value.as_ref().is_none_or(|value| *value == findings.hash_value)
}

/// None of the plan's stores is waited for any more, and `failed` did not take the data. Stores have names only where there are
/// several; who had the image made for the import cannot ask for it before.
fn note_stores(catalog: &Changes<'_>, config: &Config, image: &Image, plan: &Plan, failed: &[String]) -> Result<()> {
    if plan.makes_image || plan.method == Method::Location {
        return Ok(());
    }
    let importing = without_stores(image.property(IMPORTING_STORES), &plan.stores);
    catalog.set_property(&image.id, IMPORTING_STORES, &importing)?;
    let failed = merge_stores(image.property(FAILED_STORES), if config.stores.multi { failed } else { &[] });
    catalog.set_property(&image.id, FAILED_STORES, &failed)
}

/// The last of a job: its lock, its task, and its record.
pub(super) fn finish(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    outcome: std::result::Result<(), &str>,
) -> Result<()> {
    catalog.unlock_import(&job.image_id, &job.job_id)?;
    let result = result_of(&job.image_id);
    catalog.end_task(&job.job_id, outcome.map(|()| &result), expiry(config))?;
    catalog.finish_job(&job.job_id)
}

/// What a task says whose job has moved so many bytes, in Glance's words.
pub(super) fn progress_text(bytes: u64) -> String {
    format!("Copied {} MiB", bytes >> 20)
}

/// When a task that ends now is forgotten.
pub(crate) fn expiry(config: &Config) -> Timestamp {
    let lifetime = i64::try_from(config.api.task_time_to_live.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(Timestamp::now().as_micros().saturating_add(lifetime))
}
