//! Locations that clients add: the image gets the place at once, or, where the client says what the data must be, once the data was
//! read and is that.

use common::catalog::{Changes, JobRecord, Located};
use common::config::Config;
use common::model::{Image, Status};
use common::rpc::{Done, Examination, Findings, Job, JobSource, Probed, ToDataplane};
use common::{Error, Kind, Result};

use super::conclude::{fail, finish, mine};
use super::{Imports, Next, Plan};
use crate::app::locations::{invalid_location, store_for_clients};
use crate::uploads::{location_metadata, require_formats};

/// What users are told whose data cannot be read.
const UNREADABLE: &str = "Hash calculation failed for image data";

/// Tries that do not count as retries: for the size, for the digests, and one that a dying data plane may cost.
const TRIES_BESIDE_RETRIES: i64 = 3;

impl Imports {
    /// The next step of a job for a location, of which nothing runs.
    pub(super) async fn begin_location(&self, job: JobRecord, plan: Plan) -> Result<Next> {
        let tries_max = i64::from(self.shared.config.api.hash_retries) + TRIES_BESIDE_RETRIES;
        let (image_id, job_id) = (job.image_id.clone(), job.job_id.clone());
        let read = self.shared.db.write(move |catalog| {
            let tries = catalog.count_attempt(&job_id)?;
            Ok((catalog.image(&image_id)?, tries))
        });
        let (image, tries) = read.await?;
        let url = plan.uri.clone().unwrap_or_default();
        let is_attached = image
            .as_ref()
            .is_some_and(|image| image.locations.iter().any(|location| location.is_live() && location.url == url));
        let config = self.shared.config.clone();
        if tries > tries_max {
            self.shared.db.write(move |catalog| give_up(catalog, &config, &job, &plan)).await?;
            return Ok(Next::Step);
        }
        if !is_attached {
            let size = match store_for_clients(&config.stores, &url) {
                Some(store) => self.size_at(&store.id, &url).await?,
                None => 0,
            };
            let attached = self.shared.db.write(move |catalog| match attach(catalog, &config, &job, &plan, size) {
                Err(error) if error.kind != Kind::Unavailable => {
                    fail(catalog, &config, &job, &plan, &[], &error.message)
                }
                attached => attached,
            });
            attached.await?;
            return Ok(Next::Step);
        }
        let Some(store) = store_for_clients(&config.stores, &url) else { return Err(invalid_location()) };
        let started = Job {
            job_id: job.job_id.clone(),
            source: JobSource::Place { store: store.id.clone(), url },
            expected_size: image.and_then(|image| image.size),
            size_max: u64::MAX,
            examination: Examination {
                hash_algo: algorithm(&config, &plan),
                disk_format: String::new(),
                container_format: String::new(),
                signed_hash_algo: None,
            },
            sinks: Vec::new(),
            all_must_succeed: true,
        };
        self.shared.dataplane.call::<Done>(ToDataplane::StartJob(started)).await?;
        Ok(Next::Running)
    }

    /// Bytes at a place of a store; 0 when nothing is there.
    pub(crate) async fn size_at(&self, store: &str, url: &str) -> Result<u64> {
        let probe = ToDataplane::Probe { store: store.to_owned(), url: url.to_owned() };
        match self.shared.dataplane.call::<Probed>(probe).await {
            Ok(Probed { size }) => Ok(size),
            Err(error) if error.kind == Kind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The digest that the image shall have beside MD5.
fn algorithm(config: &Config, plan: &Plan) -> String {
    plan.digest.as_ref().map_or_else(|| config.api.hashing_algorithm.clone(), |(algorithm, _)| algorithm.clone())
}

/// Gives the image its location; it is active where nothing remains to be verified.
fn attach(catalog: &Changes<'_>, config: &Config, job: &JobRecord, plan: &Plan, size: u64) -> Result<()> {
    let image = mine(catalog, job)?.map_err(Error::conflict)?;
    // Nothing may be written before what can fail: the failure of a job is recorded in the same transaction.
    if image.status != Status::Queued {
        return Err(Error::conflict(format!("It's not allowed to add locations if image status is {}.", image.status)));
    }
    let url = plan.uri.as_deref().unwrap_or_default();
    let store = store_for_clients(&config.stores, url).filter(|_| size > 0).ok_or_else(invalid_location)?;
    require_formats(&image.disk_format, &image.container_format)?;
    catalog.attach_location(&image.id, url, &location_metadata(config.stores.multi, &store.id))?;
    let located = |digest: Option<&'_ (String, String)>| {
        catalog.activate_located(
            &image.id,
            &Located {
                size: Some(size),
                checksum: None,
                hash_algo: digest.map(|(algorithm, _)| algorithm.as_str()),
                hash_value: digest.map(|(_, value)| value.as_str()),
            },
        )
    };
    match (&plan.digest, config.api.do_secure_hash) {
        (Some(_), true) => {
            catalog.set_status(&image.id, &[Status::Queued], Status::Importing)?;
            catalog.set_size(&image.id, size)
        }
        (None, true) => located(None),
        (digest, false) => {
            located(digest.as_ref())?;
            finish(catalog, config, job, Ok(()))
        }
    }
}

/// The data was read: what it is becomes the image's, unless it must be something else.
pub(super) fn conclude(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    plan: &Plan,
    findings: &Findings,
) -> Result<()> {
    let image = match mine(catalog, job)? {
        Ok(image) => image,
        Err(reason) => return fail(catalog, config, job, plan, &[], reason),
    };
    if let Some((_, wanted)) = &plan.digest
        && *wanted != findings.hash_value
    {
        let found = &findings.hash_value;
        let reason = format!("os_hash_value: ({wanted}) not matched with actual os_hash_value: ({found})");
        return fail(catalog, config, job, plan, &[], &reason);
    }
    let is_there =
        image.locations.iter().any(|location| location.is_live() && Some(&location.url) == plan.uri.as_ref());
    if !is_there {
        // Somebody took it away: what was read is not the image's any more.
        return finish(catalog, config, job, Ok(()));
    }
    catalog.set_digests(&image.id, &findings.checksum, &algorithm(config, plan), &findings.hash_value)?;
    if image.status == Status::Importing {
        catalog.set_status(&image.id, &[Status::Importing], Status::Active)?;
    }
    finish(catalog, config, job, Ok(()))
}

/// The data could not be read, often enough: an image that nobody said what it must be stays active without digests.
fn give_up(catalog: &Changes<'_>, config: &Config, job: &JobRecord, plan: &Plan) -> Result<()> {
    match mine(catalog, job)? {
        Ok(Image { status: Status::Active, .. }) => {
            tracing::warn!(image = job.image_id, "the data of a location cannot be read: the image has no digests");
            finish(catalog, config, job, Ok(()))
        }
        Ok(_) => fail(catalog, config, job, plan, &[], UNREADABLE),
        Err(reason) => fail(catalog, config, job, plan, &[], reason),
    }
}

/// Takes the location from an image that did not become active with it.
pub(super) fn undo(catalog: &Changes<'_>, image: &Image, plan: &Plan) -> Result<()> {
    let url = plan.uri.as_deref();
    let kept: Vec<_> = image.locations.iter().filter(|location| Some(location.url.as_str()) != url).cloned().collect();
    catalog.save_locations(&image.id, &kept)?;
    catalog.set_status(&image.id, &[Status::Importing], Status::Queued)
}
