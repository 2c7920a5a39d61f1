//! What an import is to do, as its record keeps it.

use common::catalog::JobRecord;
use common::identity::Token;
use common::model::Image;
use common::rpc::JobSource;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::discover::Remote;
use super::rework::{Made, Step};
use crate::signature::Statement;

/// The property that lists the stores that are still to be filled.
pub(crate) const IMPORTING_STORES: &str = "os_glance_importing_to_stores";

/// The property that lists the stores that failed.
pub(crate) const FAILED_STORES: &str = "os_glance_failed_import";

/// What users are told whose import went on in another process than the one that had their token.
const TOKEN_GONE: &str = "The token that the import was asked for with is not there any more. Import the image again.";

/// How data is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// From the staging area, where a client put it.
    GlanceDirect,
    /// From another server.
    WebDownload,
    /// From the Image service of another region.
    GlanceDownload,
    /// From a store that has it into others.
    CopyImage,
    /// Nothing is moved: the image gets a location whose data is somewhere, and its digests. No method of the API's import.
    Location,
}

impl Method {
    /// Those that there are.
    pub(crate) const ALL: [Method; 4] =
        [Method::GlanceDirect, Method::WebDownload, Method::GlanceDownload, Method::CopyImage];

    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::GlanceDirect => crate::uploads::GLANCE_DIRECT,
            Method::WebDownload => "web-download",
            Method::GlanceDownload => "glance-download",
            Method::CopyImage => "copy-image",
            Method::Location => "location",
        }
    }

    /// Whether it brings the first data of an image into stores.
    pub(crate) fn is_first(self) -> bool {
        self == Method::GlanceDirect || self.is_download()
    }

    /// Whether the data comes from another server.
    pub(crate) fn is_download(self) -> bool {
        matches!(self, Method::WebDownload | Method::GlanceDownload)
    }
}

/// What an import is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How.
    pub(crate) method: Method,
    /// The stores to fill, by id.
    pub(crate) stores: Vec<String>,
    /// Whether the failure of one is that of all.
    pub(crate) all_must_succeed: bool,
    /// Which image of another region it is of, until it is known where that is and what is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<Remote>,
    /// Where the data is, for downloads and [`Method::Location`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uri: Option<String>,
    /// Whether the image was made for this import: without its data there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) makes_image: bool,
    /// What the data of a location must be: the name of a digest, and its value in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<(String, String)>,
    /// How the data of a signed image is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<Verification>,
    /// Disk and container format that the data is looked at as, and that the image has with it, whatever was said meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) formats: Option<(String, String)>,
    /// What is to be done to the staged data first; what is done is gone from here.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// What was done to it.
    #[serde(default)]
    pub(crate) made: Made,
    /// Properties that the image gets with its data.
    #[serde(default)]
    pub(crate) inject: Vec<(String, String)>,
    /// The token of whoever asked for it. Never on record: it is theirs, and ends with the process.
    #[serde(skip)]
    pub(crate) token: Option<Token>,
}

/// How the data of a signed image is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verification {
    /// By this.
    By(Statement),
    /// Not at all, for a reason that the user can mend: the import fails.
    Refused(String),
}

impl Plan {
    /// A plan for `stores` and nothing besides.
    pub(crate) fn new(method: Method, stores: Vec<String>, all_must_succeed: bool) -> Self {
        Plan {
            method,
            stores,
            all_must_succeed,
            remote: None,
            uri: None,
            makes_image: false,
            digest: None,
            signature: None,
            formats: None,
            steps: Vec::new(),
            made: Made::default(),
            inject: Vec::new(),
            token: None,
        }
    }

    /// The image as it will be.
    pub(super) fn apply(&self, image: &mut Image) {
        if let Some((disk, container)) = &self.formats {
            (image.disk_format, image.container_format) = (Some(disk.clone()), Some(container.clone()));
        }
        self.made.apply(image);
    }

    /// Whether the data lies in the staging area, by now.
    pub(super) fn is_staged(&self) -> bool {
        self.method == Method::GlanceDirect || self.made.is_something()
    }

    /// The server that has the data.
    ///
    /// # Errors
    /// 500 for a plan without a URL; 400 as [`Plan::lent_token`].
    pub(super) fn web_source(&self) -> Result<JobSource> {
        let url = self.uri.clone().ok_or_else(|| Error::internal("a download without a URL"))?;
        let token = match self.method {
            Method::GlanceDownload => Some(self.lent_token()?.clone()),
            _ => None,
        };
        Ok(JobSource::Web { url, token })
    }

    /// The token of whoever asked for the import.
    ///
    /// # Errors
    /// 400 where there is none, or no longer.
    pub(super) fn lent_token(&self) -> Result<&Token> {
        self.token.as_ref().ok_or_else(|| Error::bad_request(TOKEN_GONE))
    }

    /// The plan of a job on record.
    ///
    /// # Errors
    /// 500 for one that this version does not understand.
    pub(crate) fn from_record(job: &JobRecord) -> Result<Self> {
        Plan::deserialize(&job.plan)
            .map_err(|error| Error::internal(format!("the plan of job {}: {error}", job.job_id)))
    }

    /// As the record keeps it.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn to_record(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(Error::internal)
    }
}

/// `list`, names joined by commas, and `stores` with it; sorted, as Glance writes such lists.
pub(crate) fn merge_stores(list: Option<&str>, stores: &[String]) -> String {
    let have = list.unwrap_or_default().split(',').filter(|store| !store.is_empty());
    let mut all: Vec<&str> = have.chain(stores.iter().map(String::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

/// `list` without `stores`.
pub(crate) fn without_stores(list: Option<&str>, stores: &[String]) -> String {
    let have = list.unwrap_or_default().split(',').filter(|store| !store.is_empty());
    let mut left: Vec<&str> = have.filter(|have| !stores.iter().any(|store| store == have)).collect();
    left.sort_unstable();
    left.dedup();
    left.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_stores_are_sorted_and_know_each_name_once() {
        let stores = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(merge_stores(None, &stores(&["slow", "fast"])), "fast,slow");
        assert_eq!(merge_stores(Some("slow,b"), &stores(&["slow", "a"])), "a,b,slow");
        assert_eq!(without_stores(Some("slow,fast"), &stores(&["slow", "other"])), "fast");
        assert_eq!(without_stores(Some(""), &stores(&["slow"])), "");
        assert_eq!(without_stores(None, &stores(&[])), "");
    }

    #[test]
    fn a_plan_reads_back_from_its_record() {
        let plan = Plan {
            steps: vec![Step::Decompress, Step::Convert { output_format: "raw".into() }],
            inject: vec![("key".into(), "value".into())],
            ..Plan::new(Method::CopyImage, vec!["fast".into()], false)
        };
        let record = JobRecord {
            job_id: "j".into(),
            image_id: "i".into(),
            plan: plan.to_record().expect("a record"),
            failure: None,
        };
        assert_eq!(record.plan["method"], "copy-image");
        assert_eq!(Plan::from_record(&record), Ok(plan.clone()));
        let old = serde_json::json!({"method": "copy-image", "stores": ["fast"], "all_must_succeed": false});
        let plain = Plan { steps: Vec::new(), inject: Vec::new(), ..plan };
        assert_eq!(
            Plan::from_record(&JobRecord { plan: old, ..record.clone() }),
            Ok(plain),
            "of before there were any"
        );
        let other = JobRecord { plan: serde_json::json!({"method": "teleport"}), ..record };
        assert!(Plan::from_record(&other).is_err());
    }
}
