//! Uploads as control sees them: permission, commit, abort; and the bytes that nobody owns any more.
//!
//! An upload is recorded before its bytes move and stays on record until an image owns them or they are removed. What a
//! crash leaves on record, [`reaper`] clears up.

mod growth;
mod metrics;
pub(crate) mod place;
mod reaper;
pub(crate) mod request;
mod room;
mod signed;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::authorise::Authority;
use common::catalog::{Aborted, Changes, Commit, CommitFindings, Committed, NewUpload, Purpose, new_id};
use common::config::{Config, StoreConfig};
use common::identity::Identity;
use common::model::{Image, Status};
use common::rpc::{CommitUpload, Done, Examination, Findings, OpenUpload, ToDataplane, UploadTarget, UploadTicket};
use common::time::Timestamp;
use common::{Error, Kind, Result};
use prometheus::Registry;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::app::Seen;
use crate::dataplane_client::DataplaneClient;
use crate::db::Db;
use crate::kinds::{self, Base};
use crate::limits::Limits;
use crate::signature::Signatures;
use growth::{check_cap, given_up};
use metrics::Metrics;
use request::Wanted;
use room::Room;

/// The import method whose data is staged by the client.
pub(crate) const GLANCE_DIRECT: &str = "glance-direct";

/// Pauses between two times of asking stores what they are.
const MEET_PAUSE_MIN: Duration = Duration::from_millis(100);
const MEET_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Uploads under way and bytes to remove. Clones are the same.
#[derive(Clone)]
pub(crate) struct Uploads {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<Config>,
    db: Db,
    limits: Limits,
    dataplane: DataplaneClient,
    signatures: Signatures,
    metrics: Metrics,
    room: Room,
    /// Wakes the reaper.
    work: Notify,
    /// The data plane that said hello last.
    greeted: Mutex<Option<String>>,
    /// When this control plane began: uploads on record from before are known to the data plane or to nobody.
    began: Timestamp,
}

impl Uploads {
    /// Uploads into the catalog `db`; figures go to `registry`. Starts nothing.
    pub(crate) fn new(
        config: Arc<Config>,
        db: Db,
        limits: Limits,
        signatures: Signatures,
        registry: &Registry,
    ) -> Self {
        let dataplane = DataplaneClient::new(
            &config.paths.data_dir,
            config.control.rpc_timeout,
            config.control.retry_after_seconds,
        );
        let shared = Shared {
            config,
            db,
            limits,
            dataplane,
            signatures,
            metrics: Metrics::register(registry),
            room: Room::default(),
            work: Notify::new(),
            greeted: Mutex::new(None),
            began: Timestamp::now(),
        };
        Uploads { shared: Arc::new(shared) }
    }

    /// A data plane began. Uploads of others can never be committed after this; their bytes are removed as soon as it
    /// answers.
    pub(crate) async fn hello(&self, instance: String) -> Result<()> {
        *self.greeted() = Some(instance.clone());
        let abandoned = self.shared.db.write(move |catalog| {
            let abandoned = catalog.uploads_of_other_instances(&instance)?;
            for upload in &abandoned {
                catalog.doom_upload(&upload.upload_id)?;
            }
            Ok(abandoned.len())
        });
        let abandoned = abandoned.await?;
        if abandoned > 0 {
            tracing::info!("{abandoned} uploads of an earlier data plane will be undone");
        }
        self.shared.work.notify_one();
        Ok(())
    }

    /// Lets an upload begin: the image is `saving` and the intent on record when this returns.
    ///
    /// # Errors
    /// In Glance's order: 413 for Keystone's limits, 400 for an unknown store, 404, 403, 409 for the status, 400 for formats that
    /// are not set, 413 for the storage quota, 400 for a signature that cannot be verified. 503 for a data plane that control does
    /// not know, and while Keystone is away.
    pub(crate) async fn open(
        &self,
        message: &OpenUpload,
        wanted: Wanted,
        caller: Identity,
        authority: Arc<Authority>,
    ) -> Result<UploadTicket> {
        self.require_greeted(&message.instance)?;
        let config = self.shared.config.clone();
        let staging = message.target == UploadTarget::Staging;
        if staging && !config.api.enabled_import_methods.iter().any(|method| method == GLANCE_DIRECT) {
            let text = format!("'{GLANCE_DIRECT}' method is not available at this site.");
            return Err(Error::not_found(text));
        }
        let (image_id, instance) = (message.image_id.clone(), message.instance.clone());
        let share = self.shared.limits.of(caller.project_id.as_deref()).await?;
        let store = match staging {
            true => Ok(config.stores.staging.clone()),
            false => place::store(&config.stores, message.store.as_deref()).cloned(),
        };
        // Told only to callers who may upload, so its failure waits for its turn.
        let base = match &store {
            Ok(store) => self.base(store, wanted.size).await,
            Err(error) => Err(error.clone()),
        };
        let statement = match staging {
            true => Ok(None),
            false => self.statement(message, &caller, &authority).await,
        };
        let opened = self.shared.db.write(move |catalog| {
            let (rule, purpose) = match staging {
                true => ("modify_image", Purpose::Staging),
                false => ("upload_image", Purpose::Store),
            };
            share.check_data(catalog, purpose, wanted.size)?;
            let store = store?;
            let seen = Seen::find(catalog, &caller, &image_id)?;
            seen.require(&authority, rule, &caller)?;
            let api = &config.api;
            let examination = match staging {
                true => {
                    require_queued(&seen.image, Status::Uploading)?;
                    None
                }
                false => {
                    require_queued(&seen.image, Status::Saving)?;
                    Some(examination(&seen.image, api.hashing_algorithm.clone())?)
                }
            };
            let reserved = share.reserve(catalog, wanted.size)?;
            check_cap(wanted.size, api.image_size_max)?;
            let statement = statement?;
            if !staging && !signed::is_about(statement.as_ref(), &seen.image) {
                return Err(Error::conflict("The signature of the image was changed meanwhile. Try again."));
            }
            let examination = examination.map(|wanted| Examination {
                signed_hash_algo: statement.as_ref().map(|statement| statement.digest_name().to_owned()),
                ..wanted
            });
            let ticket = UploadTicket {
                upload_id: new_id(),
                store: store.id.clone(),
                url: base?.url(&seen.image.id)?,
                expected_size: wanted.size,
                size_max: api.image_size_max,
                // What is known to come is reserved at once.
                reserved: reserved.filter(|_| wanted.size.is_none()),
                examination,
            };
            let metadata = location_metadata(config.stores.multi && !staging, &store.id);
            catalog.open_upload(
                &NewUpload {
                    upload_id: &ticket.upload_id,
                    image_id: &seen.image.id,
                    instance: &instance,
                    store: &ticket.store,
                    url: &ticket.url,
                    location_metadata: &metadata,
                    hash_algo: ticket.examination.as_ref().map_or("", |wanted| &wanted.hash_algo),
                    quota_project: share.project(),
                    reserved,
                    signature: statement.map(|statement| statement.to_record()).transpose()?.as_deref(),
                },
                purpose,
            )?;
            share.check_moving(catalog)?;
            Ok(ticket)
        });
        let ticket = opened.await?;
        self.shared.metrics.opened.inc();
        tracing::info!(
            request = message.request_id,
            upload = ticket.upload_id,
            image = message.image_id,
            "upload begins"
        );
        Ok(ticket)
    }

    /// Makes the image active. Repeating it is harmless.
    ///
    /// # Errors
    /// 410 when the image was deleted meanwhile, 409 for an upload that was given up, 413 for more than was reserved, 400 for data
    /// that was not signed as the image says: the data plane must then remove the bytes and abort. After a 503 nobody knows: it must ask again, or leave
    /// everything to control.
    pub(crate) async fn commit(&self, message: CommitUpload) -> Result<()> {
        let upload_id = message.upload_id.clone();
        let is_verified = self.verify(&message).await?;
        let outcome = self.shared.db.write(move |catalog| {
            let Some(intent) = catalog.upload(&message.upload_id)? else {
                return Ok((commit(catalog, &message)?, String::new()));
            };
            if intent.signature.is_some() && !is_verified {
                return Err(Error::internal("the digest of a signature is missing"));
            }
            check_cap(Some(message.size), intent.reserved.unwrap_or(u64::MAX))?;
            Ok((commit(catalog, &message)?, intent.image_id))
        });
        match outcome.await? {
            (Committed::Now, image_id) => {
                self.shared.metrics.committed.inc();
                tracing::info!(upload = upload_id, image = image_id, "upload is committed");
                Ok(())
            }
            (Committed::Before, _) => Ok(()),
            (Committed::ImageGone, image_id) => Err(Error::new(
                Kind::Gone,
                format!(
                    "Image {image_id} could not be found after upload. The image may have been deleted during the \
                     upload, cleaning up the chunks uploaded."
                ),
            )),
            (Committed::Unknown, _) => Err(given_up()),
        }
    }

    /// The upload failed and its bytes are removed. Repeating it is harmless.
    ///
    /// # Errors
    /// 409 for a committed upload.
    pub(crate) async fn abort(&self, upload_id: String, reason: &str) -> Result<()> {
        let id = upload_id.clone();
        match self.shared.db.write(move |catalog| catalog.abort_upload(&id)).await? {
            Aborted::Requeued | Aborted::OfJob | Aborted::ImageGone => {
                self.shared.metrics.aborted.inc();
                tracing::info!(upload = upload_id, "upload is aborted: {reason}");
                Ok(())
            }
            Aborted::Unknown => Ok(()),
            Aborted::Committed => {
                tracing::error!(upload = upload_id, "the data plane aborts a committed upload: {reason}");
                Err(Error::conflict("The upload is committed."))
            }
        }
    }

    /// What projects may have.
    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Bytes to be removed are on record: the reaper does it, beginning now.
    pub(crate) fn wake_reaper(&self) {
        self.shared.work.notify_one();
    }

    /// Where in `store` data of so many bytes goes, if known.
    ///
    /// # Errors
    /// 413 when there is no room, 503 while nobody knows.
    pub(crate) async fn base(&self, store: &StoreConfig, size: Option<u64>) -> Result<Base> {
        place::base(store, size, &self.shared.room, &self.shared.dataplane).await
    }

    /// Learns what stores are that do not say it in the configuration: until then their locations are told by the rest of their
    /// URLs. Those that do not answer are asked again.
    pub(crate) async fn meet_stores(self) {
        for pause in
            std::iter::successors(Some(MEET_PAUSE_MIN), |pause| Some(pause.saturating_mul(2).min(MEET_PAUSE_MAX)))
        {
            let mut known = true;
            for store in &self.shared.config.stores.list {
                known &= place::meet(store, &self.shared.dataplane).await.is_ok();
            }
            if known {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Refuses to remove what others need: asks the stores of these locations, as far as they may know of anybody.
    ///
    /// # Errors
    /// 409 for data in use, 503 while a store does not answer.
    pub(crate) async fn check_removable(&self, locations: &[(StoreConfig, String)]) -> Result<()> {
        for (store, url) in locations.iter().filter(|(store, _)| kinds::may_be_in_use(&store.kind)) {
            let check = ToDataplane::CheckRemovable { store: store.id.clone(), url: url.clone() };
            match self.shared.dataplane.call::<Done>(check).await {
                Ok(Done {}) => {}
                // No store has it any more: the removal waits until one does.
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn require_greeted(&self, instance: &str) -> Result<()> {
        // After a restart of control the running data plane has no reason to greet again.
        if self.greeted().as_deref().is_some_and(|greeted| greeted != instance) {
            let retry_after_seconds = self.shared.config.control.retry_after_seconds;
            return Err(Error::unavailable("The data plane is being replaced. Try again.", retry_after_seconds)
                .caused_by(format_args!("instance {instance} was followed by another one")));
        }
        Ok(())
    }

    fn greeted(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.shared.greeted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses images that take no data.
fn require_queued(image: &Image, to: Status) -> Result<()> {
    match image.status {
        Status::Queued => Ok(()),
        from => Err(Error::conflict(format!("Image status transition from {from} to {to} is not allowed"))),
    }
}

/// What is to be found out about the data of an image.
///
/// # Errors
/// 400 for an image that does not say what it is.
pub(crate) fn examination(image: &Image, hash_algo: String) -> Result<Examination> {
    let (disk_format, container_format) = require_formats(&image.disk_format, &image.container_format)?;
    Ok(Examination { hash_algo, disk_format, container_format, signed_hash_algo: None })
}

/// Both formats of an image, which it must have before it has data.
///
/// # Errors
/// 400 that names what is missing.
pub(crate) fn require_formats(disk: &Option<String>, container: &Option<String>) -> Result<(String, String)> {
    let given = |format: &Option<String>| format.clone().filter(|format| !format.is_empty());
    let missing = match (given(disk), given(container)) {
        (Some(disk), Some(container)) => return Ok((disk, container)),
        (None, None) => "Properties disk_format, container_format",
        (None, _) => "Property disk_format",
        _ => "Property container_format",
    };
    Err(Error::bad_request(format!("{missing} must be set prior to saving data.")))
}

/// Metadata of the location to come: which store it is in, where there are several.
pub(crate) fn location_metadata(multi: bool, store: &str) -> Map<String, Value> {
    let entry = multi.then(|| ("store".to_owned(), Value::from(store)));
    entry.into_iter().collect()
}

/// The URI of what is staged for an image.
///
/// # Errors
/// 400 for an id that cannot be a file's name.
pub(crate) fn staged_url(staging: &StoreConfig, image_id: &str) -> Result<String> {
    Base::only(staging)?.ok_or_else(|| Error::internal("the staging store has no directory"))?.url(image_id)
}

fn commit(catalog: &Changes<'_>, message: &CommitUpload) -> Result<Committed> {
    catalog.commit_upload(&Commit {
        upload_id: &message.upload_id,
        size: message.size,
        findings: message.findings.as_ref().map(|Findings { virtual_size, checksum, hash_value, .. }| CommitFindings {
            virtual_size: *virtual_size,
            checksum,
            hash_value,
        }),
    })
}

#[cfg(test)]
pub(crate) mod tests;
