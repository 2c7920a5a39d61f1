//! Imports by the tasks API: one request makes an image and has it filled from a URL.

use common::catalog::{Changes, NewImage, NewTask, new_id};
use common::identity::Identity;
use common::model::{Status, Task, TaskKind};
use common::{Error, Result};
use serde_json::Value;

use super::{App, to_the_end};
use crate::imports::{Method, Plan, expiry};
use crate::signature::SIGNATURE;
use crate::uploads::require_formats;

/// Keys that the input must have.
const REQUIRED: [&str; 3] = ["import_from", "import_from_format", "image_properties"];

/// An import as a client asks for it.
#[derive(Debug)]
pub(crate) struct WantedTask {
    /// The task's input, for whoever looks at it.
    pub(crate) input: Value,
    /// The image, or why there is none: told by the task.
    pub(crate) image: Result<NewImage>,
    /// Id of the request.
    pub(crate) request_id: Option<String>,
}

impl App {
    /// Makes a task that imports an image: it is on record when this returns. What is wrong with the image is told by the task, which
    /// has failed then.
    ///
    /// # Errors
    /// 400 for a URL that may not be fetched.
    pub(crate) async fn create_task(&self, caller: &Identity, wanted: WantedTask) -> Result<Task> {
        let uri = self.task_uri(&wanted.input["import_from"]).await?;
        let new = match wanted.image {
            Ok(new) => self.check_new_image(caller, &new).map(|()| new),
            Err(error) => Err(error),
        };
        let missing = REQUIRED.iter().find(|key| wanted.input.get(**key).is_none());
        let new = match missing {
            Some(key) => Err(Error::bad_request(format!("Input does not contain '{key}' field"))),
            None => new.and_then(check_importable),
        };
        let share = self.limits.of(caller.project_id.as_deref()).await?;
        let (config, owner) = (self.config.clone(), caller.project_id.clone().unwrap_or_default());
        let task = NewTask {
            id: new_id(),
            kind: TaskKind::Import,
            owner,
            image_id: wanted.input["image_id"].as_str().map(str::to_owned),
            request_id: wanted.request_id,
            user_id: Some(caller.user_id.clone()).filter(|user| !user.is_empty()),
            input: wanted.input,
        };
        let (db, imports, job_id) = (self.db.clone(), self.imports.clone(), task.id.clone());
        let create = move |catalog: &Changes<'_>| {
            catalog.create_task(&task)?;
            let stores = vec![config.stores.default.clone()];
            let plan =
                Plan { uri: Some(uri.clone()), makes_image: true, ..Plan::new(Method::WebDownload, stores, true) };
            let begun = match &new {
                Ok(new) => share.check_images(catalog).and_then(|()| begin(catalog, &task.id, new, &plan)),
                Err(error) => Err(error.clone()),
            };
            match begun {
                Err(error) if error.status().is_server_error() => return Err(error),
                Err(error) => catalog.end_task(&task.id, Err(&error.message), expiry(&config))?,
                Ok(()) => {}
            }
            catalog.task(&task.id)?.ok_or_else(|| Error::internal("a task is gone that was just made"))
        };
        to_the_end(async move {
            let task = db.write(create).await?;
            imports.start(job_id);
            Ok(task)
        })
        .await
    }

    /// The URL of an import by the tasks API, if it may be fetched.
    async fn task_uri(&self, uri: &Value) -> Result<String> {
        let shown = uri.as_str().unwrap_or("None");
        if shown == "None" || shown.is_empty() {
            return Err(Error::bad_request(format!("Invalid location: {shown}")));
        }
        if ["file:///", "filesystem:///"].iter().any(|scheme| shown.starts_with(scheme)) {
            let text = "File based imports are not allowed. Please use a non-local source of image data.";
            return Err(Error::bad_request(text));
        }
        if !["http://", "https://"].iter().any(|scheme| shown.starts_with(scheme)) {
            let text = "The given uri is not valid. Please specify a valid uri from the following list of supported uri ['http']";
            return Err(Error::bad_request(text));
        }
        match self.gate.admits(shown).await? {
            true => Ok(shown.to_owned()),
            false => Err(Error::bad_request(format!("URI for legacy import task does not pass filtering: {shown}"))),
        }
    }
}

/// Refuses an image that cannot be filled here.
fn check_importable(new: NewImage) -> Result<NewImage> {
    if new.properties.iter().any(|(name, _)| name == SIGNATURE) {
        let text = "A signed image cannot be imported by the tasks API. Use POST /v2/images/{image}/import.";
        return Err(Error::bad_request(text));
    }
    require_formats(&new.disk_format, &new.container_format).map(|_| new)
}

/// The image, locked for the job, and the job.
fn begin(catalog: &Changes<'_>, job_id: &str, new: &NewImage, plan: &Plan) -> Result<()> {
    catalog.create_image(new)?;
    catalog.lock_for_import(&new.id, job_id)?;
    catalog.set_status(&new.id, &[Status::Queued], Status::Importing)?;
    catalog.create_job(job_id, &new.id, &plan.to_record()?)
}
