//! Images of other regions: where one is, and what is said of it, is found out with the token of whoever imports it, before any data
//! moves. The formats and properties become those of the image with its data, and not before.

use common::authorise::Authority;
use common::catalog::{Changes, JobRecord};
use common::config::Config;
use common::identity::Identity;
use common::protect::Action;
use common::rpc::{DataplaneStatus, Document, JOB_IMAGE_GONE, ToDataplane};
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::conclude::mine;
use super::{Imports, Next, Plan, count_attempt, rework, settle};
use crate::app::{fields, quota};
use crate::signature::is_claim;

/// Bytes of the longest description of an image that is read.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Times that a description is asked for: some minutes, with the pauses between them.
const ATTEMPTS_MAX: i64 = 60;

/// What users are told whose image is not described there.
const NOT_DESCRIBED: &str = "The image could not be found in the other region.";

/// An image of another region, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remote {
    /// The region.
    pub(crate) region: String,
    /// The kind of its Image service's endpoint: `public`, `internal` or `admin`.
    pub(crate) interface: String,
    /// The image.
    pub(crate) image_id: String,
    /// Who imports it: some properties are not for everybody to set.
    pub(crate) caller: Identity,
}

/// What is said of it.
struct Found {
    size: u64,
    disk_format: String,
    container_format: String,
    properties: Vec<(String, String)>,
}

impl Imports {
    /// Finds out where the data is and what it is, and writes that into the plan.
    pub(super) async fn discover(&self, job: JobRecord, plan: Plan, remote: Remote) -> Result<Next> {
        let found = self.look_up(&job, &plan, &remote).await;
        let (config, authority) = (self.shared.config.clone(), self.shared.authority.clone());
        let recorded = self.shared.db.write(move |catalog| {
            let found = found.and_then(|found| replan(catalog, (&config, &authority), &job, &plan, &remote, found));
            settle(catalog, &config, &job, &plan, found.map(Some))
        });
        recorded.await.map(|_| Next::Step)
    }

    /// The URL of the data, and what is said of it.
    ///
    /// # Errors
    /// 5xx when another time may do; everything else is for the user.
    async fn look_up(&self, job: &JobRecord, plan: &Plan, remote: &Remote) -> Result<(String, Found)> {
        let token = plan.lent_token()?;
        let image_id = job.image_id.clone();
        if self.shared.db.read(move |catalog| catalog.image(&image_id)).await?.is_none() {
            return Err(Error::not_found(JOB_IMAGE_GONE));
        }
        let catalog = self.shared.authenticator.catalog(token).await?;
        let Remote { region, interface, image_id, .. } = remote;
        let endpoint = catalog.as_ref().and_then(|catalog| {
            catalog.find("image", interface, |endpoint| endpoint.is_in(|known| known.eq_ignore_ascii_case(region)))
        });
        let Some(endpoint) = endpoint else {
            return Err(Error::bad_request(format!("{interface} glance endpoint not found for region {region}")));
        };
        let url = format!("{endpoint}/v2/images/{image_id}");
        // Whoever is not there is not asked in vain.
        self.shared.dataplane.call::<DataplaneStatus>(ToDataplane::Status).await?;
        let counted = job.clone();
        self.shared.db.write(move |catalog| count_attempt(catalog, &counted, ATTEMPTS_MAX)).await?;
        let asked =
            ToDataplane::FetchDocument { url: url.clone(), token: Some(token.clone()), bytes_max: DOCUMENT_BYTES_MAX };
        let document: Result<Document> = self.shared.dataplane.call(asked).await;
        let Document { text } = document.map_err(|error| match error.status().is_server_error() {
            true => error,
            // Why is in the data plane's log.
            false => Error::bad_request(NOT_DESCRIBED),
        })?;
        let found = read(&text, image_id, &self.shared.config.api.remote_properties)?;
        Ok((format!("{url}/file"), found))
    }
}

/// The plan that knows where the data is.
///
/// # Errors
/// 4xx for formats that there are not here, and for properties that the caller may not set, or that are too many.
fn replan(
    catalog: &Changes<'_>,
    (config, authority): (&Config, &Authority),
    job: &JobRecord,
    plan: &Plan,
    remote: &Remote,
    (url, found): (String, Found),
) -> Result<()> {
    let image = mine(catalog, job)?.map_err(Error::not_found)?;
    let api = &config.api;
    for (what, format, known) in [
        ("disk_format", &found.disk_format, &api.disk_formats),
        ("container_format", &found.container_format, &api.container_formats),
    ] {
        if !known.contains(format) {
            return Err(Error::bad_request(format!("The {what} '{format}' of the image is not accepted here")));
        }
    }
    let mut properties = image.properties.clone();
    for (name, value) in &found.properties {
        let known = properties.iter_mut().find(|(known, _)| known == name);
        let action = if known.is_some() { Action::Update } else { Action::Create };
        if !authority.allows_property(action, name, &remote.caller) {
            return Err(fields::reserved(name));
        }
        match known {
            Some((_, known)) => known.clone_from(value),
            None => properties.push((name.clone(), value.clone())),
        }
    }
    quota::check_properties(&properties, api.property_quota)?;
    let mut plan = plan.clone();
    plan.remote = None;
    plan.uri = Some(url);
    plan.made.size = Some(found.size);
    rework::fit(&mut plan.steps, plan.method, Some(&found.container_format));
    plan.formats = Some((found.disk_format, found.container_format));
    // What this site gives to all images counts for more.
    plan.inject.splice(0..0, found.properties);
    catalog.replan_job(&job.job_id, &plan.to_record()?)
}

/// What a description says, with the properties whose names begin in one of these ways.
///
/// # Errors
/// 400 for what is none, or not that of an image with data.
fn read(text: &str, image_id: &str, prefixes: &[String]) -> Result<Found> {
    let described: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| Error::bad_request(NOT_DESCRIBED).caused_by(error))?;
    let word = |name: &str| described.get(name).and_then(Value::as_str).unwrap_or_default();
    if word("status") != "active" {
        let status = word("status");
        return Err(Error::bad_request(format!("Source image status should be active instead of {status}")));
    }
    let size = described.get("size").and_then(Value::as_u64).ok_or_else(|| {
        Error::bad_request(format!("Size attribute of remote image {image_id} could not be determined."))
    })?;
    // How the data is verified is decided by then.
    let wanted = |name: &str| {
        prefixes.iter().any(|prefix| name.starts_with(prefix)) && rework::is_property(name) && !is_claim(name)
    };
    let properties = described.iter().filter(|(name, _)| wanted(name));
    let properties = properties.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let (disk_format, container_format) = (word("disk_format").to_owned(), word("container_format").to_owned());
    Ok(Found { size, disk_format, container_format, properties })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_description_only_what_is_wanted_is_taken() {
        let text = json!({
            "id": "i", "status": "active", "size": 5, "disk_format": "qcow2", "container_format": "bare",
            "hw_disk_bus": "scsi", "hw_count": 3, "os_hash_algo": "sha512", "os_glance_import_task": "t", "owner": "o",
            "os_type": "linux", "description": "x",
            "img_signature": "s",
        });
        let prefixes = ["hw_", "os_", "own", "img_"].map(str::to_owned);
        let found = read(&text.to_string(), "i", &prefixes).expect("a description");
        assert_eq!((found.size, found.disk_format.as_str(), found.container_format.as_str()), (5, "qcow2", "bare"));
        let taken: Vec<&str> = found.properties.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(taken, ["hw_disk_bus", "os_type"]);
    }

    #[test]
    fn what_cannot_be_imported_says_why() {
        for (text, reason) in [
            ("<html>", NOT_DESCRIBED),
            ("[]", NOT_DESCRIBED),
            (r#"{"status": "queued"}"#, "Source image status should be active instead of queued"),
            (r#"{"status": "active", "size": null}"#, "Size attribute of remote image i could not be determined."),
            (r#"{"status": "active", "size": -1}"#, "Size attribute of remote image i could not be determined."),
        ] {
            let error = read(text, "i", &[]).err().map(|error| error.message);
            assert_eq!(error.as_deref(), Some(reason), "{text}");
        }
    }
}
