//! What an import is to do, as its record keeps it.

use common::catalog::JobRecord;
use common::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rework::{Made, Step};

/// The property that lists the stores that are still to be filled.
pub(crate) const IMPORTING_STORES: &str = "os_glance_importing_to_stores";

/// The property that lists the stores that failed.
pub(crate) const FAILED_STORES: &str = "os_glance_failed_import";

/// How data is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// From the staging area, where a client put it.
    GlanceDirect,
    /// From a store that has it into others.
    CopyImage,
}

impl Method {
    /// Those that there are.
    pub(crate) const ALL: [Method; 2] = [Method::GlanceDirect, Method::CopyImage];

    /// The name in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::GlanceDirect => crate::uploads::GLANCE_DIRECT,
            Method::CopyImage => "copy-image",
        }
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
    /// What is to be done to the staged data first; what is done is gone from here.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// What was done to it.
    #[serde(default)]
    pub(crate) made: Made,
    /// Properties that the image gets with its data.
    #[serde(default)]
    pub(crate) inject: Vec<(String, String)>,
}

impl Plan {
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
            method: Method::CopyImage,
            stores: vec!["fast".into()],
            all_must_succeed: false,
            steps: vec![Step::Decompress, Step::Convert { output_format: "raw".into() }],
            made: Made::default(),
            inject: vec![("key".into(), "value".into())],
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
