//! Import plug-ins: what becomes of staged data before it goes into stores.
//!
//! Each step makes, of what lies in the staging area, something else at another place there. When that is durable, one transaction
//! notes it in the plan and gives up what it was made of, which is removed before the next step begins. Nothing of the image itself
//! changes until its data is stored: an import that fails leaves it as it was.

use common::catalog::{Changes, ImageChange, JobRecord, NewUpload, Purpose, new_id};
use common::config::{Config, Plugin, STAGING_STORE, StoreConfig};
use common::identity::Identity;
use common::model::Image;
use common::rpc::{DataplaneStatus, Done, Examination, JOB_IMAGE_GONE, Job, JobSink, Rework, ReworkKind, ToDataplane};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::{Imports, Method, Next, Plan, Verification, count_attempt, project, settle};
use crate::app::{fields, patch};
use crate::limits::Share;
use crate::uploads::staged_url;

/// The container of images that shall stay packed.
const COMPRESSED: &str = "compressed";

/// The container of what was converted.
const BARE: &str = "bare";

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The data comes from another server.
    Fetch,
    /// The data is unpacked if it came compressed.
    Decompress,
    /// The data becomes one of another disk format.
    Convert {
        /// That format.
        output_format: String,
    },
}

/// What the steps that are done have made of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// How many of them there were.
    count: u32,
    /// Which of them made what is staged now; 0: none, it is what was staged first.
    serial: u32,
    /// Bytes of that; before any step, those that must come, where that is known.
    pub(super) size: Option<u64>,
    /// Its disk format, where a step has changed it.
    disk_format: Option<String>,
}

impl Made {
    /// The image as it will be, as far as the steps have changed it.
    pub(super) fn apply(&self, image: &mut Image) {
        image.size = self.size.or(image.size);
        if let Some(disk_format) = &self.disk_format {
            image.disk_format = Some(disk_format.clone());
            image.container_format = Some(BARE.to_owned());
        }
    }

    /// Whether a step has made anything.
    pub(super) fn is_something(&self) -> bool {
        self.serial > 0
    }

    /// The URI of what is staged now for an image.
    ///
    /// # Errors
    /// 400 for an id that cannot be a file's name.
    pub(super) fn staged(&self, staging: &StoreConfig, image_id: &str) -> Result<String> {
        interim(staging, image_id, self.serial)
    }

    /// The URI of what the next step makes.
    fn next(&self, staging: &StoreConfig, image_id: &str) -> Result<String> {
        interim(staging, image_id, self.count.saturating_add(1))
    }
}

/// The URI of what step `serial` makes for an image. A dot and a text after an image's id name data of that image for Glance too.
fn interim(staging: &StoreConfig, image_id: &str, serial: u32) -> Result<String> {
    match serial {
        0 => staged_url(staging, image_id),
        _ => staged_url(staging, &format!("{image_id}.{serial}")),
    }
}

/// What the configured plug-ins do with an import of `caller`: the steps, and the properties that the image gets with its data. What
/// comes from elsewhere goes straight into stores where nothing is to be done to it.
pub(crate) fn planned(
    config: &Config,
    caller: &Identity,
    image: &Image,
    method: Method,
) -> (Vec<Step>, Vec<(String, String)>) {
    let (mut steps, mut inject) = (Vec::new(), Vec::new());
    for plugin in &config.plugins.steps {
        match plugin {
            Plugin::Decompress => steps.push(Step::Decompress),
            Plugin::Convert => {
                steps.push(Step::Convert { output_format: config.plugins.output_format.clone() });
            }
            Plugin::InjectMetadata => inject = injected(config, caller),
        }
    }
    match method {
        // Of the image in the other region less is known yet.
        Method::GlanceDownload => {}
        _ => fit(&mut steps, method, image.container_format.as_deref()),
    }
    (steps, inject)
}

/// Fits the steps to an image with such a container: one that shall stay packed does; and what comes from elsewhere is fetched first.
pub(super) fn fit(steps: &mut Vec<Step>, method: Method, container_format: Option<&str>) {
    if container_format == Some(COMPRESSED) {
        steps.retain(|step| *step != Step::Decompress);
    }
    if method.is_download() && !steps.is_empty() {
        steps.insert(0, Step::Fetch);
    }
}

fn injected(config: &Config, caller: &Identity) -> Vec<(String, String)> {
    let ignored = &config.plugins.inject_ignored_roles;
    if caller.roles.iter().any(|role| ignored.iter().any(|other| other.eq_ignore_ascii_case(role))) {
        return Vec::new();
    }
    let mut properties = config.plugins.inject.clone();
    properties.retain(|(name, _)| {
        let usable = is_property(name);
        if !usable {
            tracing::warn!("[inject_metadata_properties] inject: no property of images can be named {name}");
        }
        usable
    });
    properties
}

/// Whether images can have a property of that name.
pub(super) fn is_property(name: &str) -> bool {
    !patch::is_base(name)
        && fields::refuse_read_only(name).is_ok()
        && fields::refuse_reserved(name).is_ok()
        && fields::refuse_long_property(name).is_ok()
}

impl Imports {
    /// Records the place of the next step's result and has the data plane begin.
    pub(super) async fn begin_rework(&self, job: JobRecord, plan: Plan, step: Step) -> Result<Next> {
        let config = self.shared.config.clone();
        let job_id = job.job_id.clone();
        let task = self.shared.db.read(move |catalog| catalog.task(&job_id)).await?;
        let share = self.shared.uploads.limits().of(project(task.as_ref())).await?;
        let status: DataplaneStatus = self.shared.dataplane.call(ToDataplane::Status).await?;
        let opened = self.shared.db.write(move |catalog| {
            let opened = open(catalog, &config, &job, (&plan, &step), &share, &status.instance);
            settle(catalog, &config, &job, &plan, opened.map(Some))
        });
        let Some(start) = opened.await? else { return Ok(Next::Step) };
        self.shared.dataplane.call::<Done>(start).await?;
        Ok(Next::Running)
    }
}

/// Records the place of a step's result, and says what is to be done.
///
/// # Errors
/// As [`super::open`].
fn open(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    (plan, step): (&Plan, &Step),
    share: &Share,
    instance: &str,
) -> Result<ToDataplane> {
    let mut image = catalog.image(&job.image_id)?.ok_or_else(|| Error::not_found(JOB_IMAGE_GONE))?;
    count_attempt(catalog, job, super::ATTEMPTS_MAX)?;
    plan.apply(&mut image);
    // What is known to fail is not fetched and worked on first.
    if let Some(Verification::Refused(reason)) = &plan.signature {
        return Err(Error::bad_request(reason));
    }
    if *step == Step::Fetch {
        share.check_data(catalog, Purpose::Staging, image.size)?;
    }
    let reserved = match step {
        Step::Fetch => share.reserve(catalog, image.size)?,
        _ => None,
    };
    let size_max = share.left(catalog)?.min(config.api.image_size_max);
    catalog.begin_task(&job.job_id)?;
    let sink = JobSink {
        upload_id: new_id(),
        store: STAGING_STORE.to_owned(),
        url: plan.made.next(&config.stores.staging, &image.id)?,
        // What is known to come is reserved at once.
        reserved: reserved.filter(|_| image.size.is_none()),
    };
    catalog.open_sink(
        &job.job_id,
        &NewUpload {
            upload_id: &sink.upload_id,
            image_id: &job.image_id,
            instance,
            store: STAGING_STORE,
            url: &sink.url,
            location_metadata: &Map::new(),
            hash_algo: "",
            quota_project: share.project(),
            reserved,
            signature: None,
        },
    )?;
    let work = match step {
        Step::Fetch => {
            return Ok(ToDataplane::StartJob(Job {
                job_id: job.job_id.clone(),
                source: plan.web_source()?,
                expected_size: image.size,
                size_max,
                // It is looked at when it goes into stores.
                examination: Examination {
                    hash_algo: config.api.hashing_algorithm.clone(),
                    disk_format: String::new(),
                    container_format: String::new(),
                    signed_hash_algo: None,
                },
                sinks: vec![sink],
                all_must_succeed: true,
            }));
        }
        Step::Decompress => ReworkKind::Decompress,
        Step::Convert { output_format } => ReworkKind::Convert {
            disk_format: image.disk_format.unwrap_or_default(),
            output_format: output_format.clone(),
        },
    };
    let source = plan.made.staged(&config.stores.staging, &image.id)?;
    Ok(ToDataplane::StartRework(Rework { job_id: job.job_id.clone(), source, sink, size_max, work }))
}

/// The first step of the plan is done. `size`: bytes of what it made; `None`: it left the data alone.
///
/// # Errors
/// 409 for a run of the job that was given up meanwhile.
pub(super) fn step_done(
    catalog: &Changes<'_>,
    config: &Config,
    job: &JobRecord,
    mut plan: Plan,
    uploads: &[String],
    size: Option<u64>,
) -> Result<()> {
    let given_up = || Error::conflict("That run of the job was given up.");
    let ([upload_id], Some(step)) = (uploads, plan.steps.first().cloned()) else { return Err(given_up()) };
    match size {
        Some(size) => {
            if !catalog.commit_interim_sink(&job.job_id, upload_id)? {
                return Err(given_up());
            }
            if plan.is_staged() {
                give_up_staged(catalog, config, job, &plan)?;
            }
            plan.made.serial = plan.made.count.saturating_add(1);
            plan.made.size = Some(size);
            if let Step::Convert { output_format } = step {
                plan.made.disk_format = Some(output_format);
            }
        }
        None => catalog.doom_uploads_of_job(&job.job_id)?,
    }
    plan.made.count = plan.made.count.saturating_add(1);
    plan.steps.remove(0);
    catalog.replan_job(&job.job_id, &plan.to_record()?)
}

/// Gives up what is staged now: it is removed before anything else is done for the job.
pub(super) fn give_up_staged(catalog: &Changes<'_>, config: &Config, job: &JobRecord, plan: &Plan) -> Result<()> {
    let staged = NewUpload {
        upload_id: &new_id(),
        image_id: &job.image_id,
        instance: "",
        store: STAGING_STORE,
        url: &plan.made.staged(&config.stores.staging, &job.image_id)?,
        location_metadata: &Map::new(),
        hash_algo: "",
        quota_project: None,
        reserved: None,
        signature: None,
    };
    catalog.give_up_with_job(&job.job_id, &staged)
}

/// Writes down what the image is, whose data is stored by now.
pub(super) fn record(catalog: &Changes<'_>, image: &Image, plan: &Plan) -> Result<()> {
    let mut made = image.clone();
    plan.apply(&mut made);
    if (&made.disk_format, &made.container_format) != (&image.disk_format, &image.container_format) {
        let change = ImageChange {
            disk_format: Some(made.disk_format),
            container_format: Some(made.container_format),
            ..ImageChange::default()
        };
        catalog.update_image(&image.id, &[], &change)?;
    }
    plan.inject.iter().try_for_each(|(name, value)| catalog.set_property(&image.id, name, value))
}
