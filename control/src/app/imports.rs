//! Imports: what may be asked for, and the task that it becomes.

use common::authorise::Authority;
use common::catalog::{Changes, IMPORT_LOCK, NewTask, Purpose, new_id};
use common::config::Config;
use common::identity::{Identity, Proof, Token};
use common::model::{Image, Status, TaskKind, TaskStatus};
use common::time::Timestamp;
use common::{Error, Kind, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::locations::store_of;
use super::{App, Seen, to_the_end};
use crate::imports::{
    FAILED_STORES, IMPORTING_STORES, Method, Plan, Remote, Verification, expiry, merge_stores, planned, without_stores,
};
use crate::signature::Claim;

/// For how long the lock of a task is believed that does not go on, and twice as long where it has not begun. Only imports that
/// the original began can be so old: ours are resumed or undone.
const LOCK_LIFETIME_MICROS: i64 = 3600 * 1_000_000;

/// What tasks are told whose lock was taken from them.
const PREEMPTED: &str = "Expired lock preempted";

/// An import as a client asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// How.
    pub(crate) method: Method,
    /// Into which stores, or what is wrong with how they are named: told in its turn, and only where stores have names.
    pub(crate) stores: Result<WantedStores>,
    /// Whether the failure of one store is that of all.
    pub(crate) all_must_succeed: bool,
    /// The whole body, for the task.
    pub(crate) body: Value,
    /// Id of the request.
    pub(crate) request_id: Option<String>,
    /// Who sends it: the certificate of a signed image is fetched as theirs.
    pub(crate) proof: Proof,
}

/// The stores of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WantedStores {
    /// All that can be written.
    All,
    /// These, by id.
    Named(Vec<String>),
    /// The default one.
    Default,
}

impl App {
    /// Begins an import: it is on record when this returns.
    ///
    /// # Errors
    /// In Glance's order: 413 where Keystone's limits are passed already; 404; 409 for the status, for formats that are not set, for an import that goes on and for an unknown store;
    /// 403 by policy; 400 for a store that has the image, and for a choice of stores that does not fit.
    pub(crate) async fn import_image(&self, caller: &Identity, id: String, wanted: Wanted) -> Result<()> {
        let (authority, config, caller) = (self.authority.clone(), self.config.clone(), caller.clone());
        let image = self.importable(&caller, &id, wanted.method).await;
        let uri = match (wanted.method, &image) {
            (Method::WebDownload, Ok(_)) => Some(self.admitted(&wanted.body["method"]["uri"]).await),
            // Who may not is told so in its turn, and no name is looked up for them.
            (Method::WebDownload, Err(error)) => Some(Err(error.clone())),
            _ => None,
        };
        let share = self.limits.of(caller.project_id.as_deref()).await?;
        let signature = match &image {
            Ok(image) => self.verification(image, &wanted).await,
            // Nor is anybody asked for a certificate.
            Err(_) => Ok(None),
        };
        let lent = wanted.proof.token.clone().filter(|_| wanted.method == Method::GlanceDownload);
        let token = lent.filter(|token| !token.is_empty()).map(Token::new);
        let (db, imports, job_id) = (self.db.clone(), self.imports.clone(), new_id());
        to_the_end(async move {
            token.into_iter().for_each(|token| imports.lend(&job_id, token));
            let id_of_job = job_id.clone();
            let begun = db.write(move |catalog| {
                share.check_data(catalog, Purpose::Store, None)?;
                let seen = Seen::find(catalog, &caller, &id)?;
                let found = Found { job_id: id_of_job, uri, signature: signature? };
                decide(catalog, &authority, &config, &caller, &seen, &wanted, found)
            });
            match begun.await {
                Ok(true) => imports.start(job_id),
                Ok(false) => imports.take_back(&job_id),
                Err(error) => {
                    imports.take_back(&job_id);
                    return Err(error);
                }
            }
            Ok(())
        })
        .await
    }

    /// The image, if the caller could import it now.
    async fn importable(&self, caller: &Identity, id: &str, method: Method) -> Result<Image> {
        let (authority, caller, id) = (self.authority.clone(), caller.clone(), id.to_owned());
        let found = self.db.look_up(move |catalog| {
            let seen = Seen::find(catalog, &caller, &id)?;
            check_image(&seen.image, method)?;
            seen.require(&authority, rule(method), &caller)?;
            Ok(seen.image)
        });
        found.await
    }

    /// The URL, if it may be fetched.
    async fn admitted(&self, uri: &Value) -> Result<String> {
        if let Some(uri) = uri.as_str()
            && self.gate.admits(uri).await?
        {
            return Ok(uri.to_owned());
        }
        let shown = match uri {
            Value::Null => "None".to_owned(),
            Value::String(uri) => uri.clone(),
            other => other.to_string(),
        };
        Err(Error::bad_request(format!("URI for web-download does not pass filtering: {shown}")))
    }

    /// How the data of a signed image will be verified. What is wrong with that, the task will tell.
    async fn verification(&self, image: &Image, wanted: &Wanted) -> Result<Option<Verification>> {
        let request_id = wanted.request_id.as_deref().unwrap_or_default();
        match self.signatures.statement(image, &wanted.proof, request_id).await {
            Ok(statement) => Ok(statement.map(Verification::By)),
            Err(error) if error.kind == Kind::BadRequest => Ok(Some(Verification::Refused(error.message))),
            Err(error) => Err(error),
        }
    }
}

/// The rule of the policy that `method` needs.
fn rule(method: Method) -> &'static str {
    if method == Method::CopyImage { "copy_image" } else { "modify_image" }
}

/// What was found out before the catalog is changed.
struct Found {
    /// Id of the job, if there is to be one.
    job_id: String,
    /// The URL of a download, or why it may not be fetched.
    uri: Option<Result<String>>,
    /// How the data of a signed image will be verified.
    signature: Option<Verification>,
}

/// Whether there is a job now: there is none when nothing is left to be copied.
fn decide(
    catalog: &Changes<'_>,
    authority: &Authority,
    config: &Config,
    caller: &Identity,
    seen: &Seen,
    wanted: &Wanted,
    found: Found,
) -> Result<bool> {
    let image = &seen.image;
    check_image(image, wanted.method)?;
    let remote = match wanted.method {
        Method::GlanceDownload => Some(remote(&wanted.body["method"], caller)?),
        _ => None,
    };
    seen.require(authority, rule(wanted.method), caller)?;
    let is_current = match &found.signature {
        None => Claim::of(image).is_none(),
        Some(Verification::By(statement)) => statement.is_about(image),
        Some(Verification::Refused(_)) => true,
    };
    if !is_current {
        return Err(Error::conflict("The signature of the image was changed meanwhile. Try again."));
    }
    let stolen = match image.property(IMPORT_LOCK) {
        Some(task_id) => steal_lock(catalog, config, image, task_id)?,
        None => None,
    };
    let stores = choose_stores(config, image, wanted)?;
    if stores.is_empty() {
        return Ok(false);
    }
    if !wanted.all_must_succeed && !config.stores.multi {
        let uri = wanted.body["method"]["uri"].as_str().unwrap_or("None");
        let text = format!("All_stores_must_succeed can only be set with enabled_backends {uri}");
        return Err(Error::bad_request(text));
    }
    let uri = found.uri.transpose()?;
    let job_id = found.job_id;
    if !catalog.lock_for_import(&image.id, &job_id)? {
        return Err(Error::conflict(format!(
            "New operation on image '{}' is not permitted as prior operation is still in progress",
            image.id
        )));
    }
    let named: Vec<Option<&str>> = stores.iter().map(|store| config.stores.multi.then_some(store.as_str())).collect();
    let mut body = wanted.body.clone();
    if let Some(remote) = &remote {
        body["method"]["glance_service_interface"] = remote.interface.clone().into();
    }
    catalog.create_task(&NewTask {
        id: job_id.clone(),
        kind: TaskKind::ApiImageImport,
        owner: caller.project_id.clone().unwrap_or_default(),
        image_id: Some(image.id.clone()),
        request_id: wanted.request_id.clone(),
        user_id: Some(caller.user_id.clone()).filter(|user| !user.is_empty()),
        input: json!({"image_id": image.id, "import_req": body, "backend": named}),
    })?;
    if wanted.method != Method::CopyImage {
        catalog.set_status(&image.id, &[image.status], Status::Importing)?;
    }
    note_stores(catalog, config, image, stolen.as_deref(), &stores)?;
    let (steps, inject) = match wanted.method {
        Method::CopyImage | Method::Location => (Vec::new(), Vec::new()),
        method => planned(config, caller, image, method),
    };
    let plan = Plan {
        remote,
        uri,
        signature: found.signature,
        steps,
        inject,
        formats: image.disk_format.clone().zip(image.container_format.clone()),
        ..Plan::new(wanted.method, stores, wanted.all_must_succeed)
    };
    catalog.create_job(&job_id, &image.id, &plan.to_record()?)?;
    Ok(true)
}

/// The image of another region that a client names.
///
/// # Errors
/// 400 for what is missing, or no id.
fn remote(method: &Value, caller: &Identity) -> Result<Remote> {
    let word = |name: &str| match &method[name] {
        Value::Null => {
            let text = format!("'{name}' needs to be set for glance-download import method");
            Err(Error::bad_request(text))
        }
        Value::String(word) => Ok(word.clone()),
        other => Err(Error::bad_request(format!("'{name}' must be a string: {other}"))),
    };
    let (region, image_id) = (word("glance_region")?, word("glance_image_id")?);
    let Ok(id) = Uuid::try_parse(&image_id) else {
        return Err(Error::bad_request(format!("Remote image id does not look like a UUID: {image_id}")));
    };
    let interface = match method.get("glance_service_interface") {
        None => "public".to_owned(),
        Some(_) => word("glance_service_interface")?,
    };
    Ok(Remote { region, interface, image_id: id.to_string(), caller: caller.clone() })
}

fn check_image(image: &Image, method: Method) -> Result<()> {
    match (method, image.status) {
        (Method::CopyImage, Status::Active)
        | (Method::GlanceDirect, Status::Uploading)
        | (Method::WebDownload | Method::GlanceDownload, Status::Queued) => {}
        (Method::CopyImage, _) => {
            return Err(Error::conflict("Only images with status active can be targeted for copying"));
        }
        (_, Status::Active) => {
            return Err(Error::conflict("Image with status active cannot be target for import"));
        }
        (Method::Location, _) => return Err(Error::internal("locations are not imported")),
        (Method::WebDownload | Method::GlanceDownload, _) => {
            let text = format!("Image needs to be in 'queued' state to use '{}' method", method.as_str());
            return Err(Error::conflict(text));
        }
        (Method::GlanceDirect, _) => {
            let text = "Image needs to be staged before 'glance-direct' method can be used";
            return Err(Error::conflict(text));
        }
    }
    let formats = [("container_format", &image.container_format), ("disk_format", &image.disk_format)];
    match formats.into_iter().find(|(_, format)| format.as_deref().unwrap_or_default().is_empty()) {
        Some((name, _)) => Err(Error::conflict(format!("'{name}' needs to be set before import"))),
        // Staged, but not yet whole.
        None if image.status == Status::Uploading && image.size.is_none() => {
            Err(Error::conflict("Image needs to be staged before 'glance-direct' method can be used"))
        }
        None => Ok(()),
    }
}

/// Takes the lock from a task that has not gone on for too long; the stores that it was filling, for what it left behind.
///
/// # Errors
/// 409 while the task may go on.
fn steal_lock(catalog: &Changes<'_>, config: &Config, image: &Image, task_id: &str) -> Result<Option<Vec<String>>> {
    let busy = || Error::conflict("Image has active task");
    if catalog.job(task_id)?.is_some() {
        return Err(busy());
    }
    let task = catalog.task(task_id)?;
    let mut stores = None;
    if let Some(task) = task {
        let lifetime = if task.status == TaskStatus::Pending { 2 * LOCK_LIFETIME_MICROS } else { LOCK_LIFETIME_MICROS };
        let age = Timestamp::now().as_micros() - task.updated_at.as_micros();
        if age < lifetime {
            return Err(busy());
        }
        catalog.end_task(task_id, Err(PREEMPTED), expiry(config))?;
        let named = task.input["backend"].as_array().map(Vec::as_slice).unwrap_or_default();
        stores = Some(named.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    if !catalog.unlock_import(&image.id, task_id)? {
        return Err(busy());
    }
    tracing::warn!(image = image.id, task = task_id, "a stale import lock is removed");
    Ok(stores)
}

/// The ids of the stores to fill. Empty when nothing is left to be copied.
fn choose_stores(config: &Config, image: &Image, wanted: &Wanted) -> Result<Vec<String>> {
    let stores = &config.stores;
    if !stores.multi {
        // Names say nothing where there are none; the only store has whatever there is.
        if wanted.method == Method::CopyImage {
            return Err(Error::bad_request("Image is already present at the only store"));
        }
        return Ok(vec![stores.default.clone()]);
    }
    let named = wanted.stores.as_ref().map_err(Clone::clone)?;
    let mut chosen: Vec<String> = match named {
        WantedStores::All => {
            stores.list.iter().filter(|store| store.kind.is_writable()).map(|store| store.id.clone()).collect()
        }
        WantedStores::Named(named) => named.clone(),
        WantedStores::Default => vec![stores.default.clone()],
    };
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|store| seen.insert(store.clone()));
    if let Some(unknown) = chosen.iter().find(|id| !stores.list.iter().any(|store| store.id == **id)) {
        return Err(Error::conflict(format!("Store for identifier {unknown} not found")));
    }
    if wanted.method == Method::CopyImage {
        let has = |id: &String| {
            image.locations.iter().any(|location| store_of(stores, location).is_some_and(|store| store.id == *id))
        };
        if *named == WantedStores::All {
            chosen.retain(|store| !has(store));
        } else if let Some(present) = chosen.iter().find(|store| has(store)) {
            return Err(Error::bad_request(format!("Image is already present at store '{present}'")));
        }
    }
    Ok(chosen)
}

/// Lists the stores that are to be filled, and forgets what a task before has listed.
fn note_stores(
    catalog: &Changes<'_>,
    config: &Config,
    image: &Image,
    stolen: Option<&[String]>,
    stores: &[String],
) -> Result<()> {
    let named: &[String] = if config.stores.multi { stores } else { &[] };
    let stale = stolen.unwrap_or_default();
    let importing = without_stores(image.property(IMPORTING_STORES), stale);
    catalog.set_property(&image.id, IMPORTING_STORES, &merge_stores(Some(&importing), named))?;
    let failed = without_stores(image.property(FAILED_STORES), stale);
    catalog.set_property(&image.id, FAILED_STORES, &without_stores(Some(&failed), named))
}
