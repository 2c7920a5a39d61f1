//! What is imported, and what must come of it.

use std::fs;

use serde_json::{Value, json};
use uuid::Uuid;

use super::site::{STORES, Site};
use crate::harness::server::OCTETS;

/// How data is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Copy,
    Direct,
    Web,
    /// By `POST /v2/tasks`.
    Task,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Nothing,
    /// Store `slow` takes the data and cannot give it its name: its directory is full (`steps.c`).
    Full,
    /// The data is not of the format that the image claims.
    Claim,
}

/// An import of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) method: Method,
    /// Where to; nowhere: `all_stores`.
    pub(super) stores: &'static [&'static str],
    pub(super) all_must_succeed: bool,
    pub(super) flaw: Flaw,
}

/// Goes well, into these stores.
pub(super) const fn good(method: Method, stores: &'static [&'static str]) -> Scenario {
    Scenario { method, stores, all_must_succeed: true, flaw: Flaw::Nothing }
}

/// Has a flaw.
pub(super) const fn flawed(
    method: Method,
    stores: &'static [&'static str],
    all_must_succeed: bool,
    flaw: Flaw,
) -> Scenario {
    Scenario { method, stores, all_must_succeed, flaw }
}

impl Scenario {
    /// The stores that are to be filled, sorted.
    pub(super) fn wanted(&self) -> Vec<&'static str> {
        match (self.method, self.stores) {
            (Method::Task, _) => vec!["fast"],
            (Method::Copy, []) => vec!["far", "slow"],
            (_, []) => STORES.to_vec(),
            (_, named) => named.to_vec(),
        }
    }

    /// Whether it fails as a whole.
    pub(super) fn fails(&self) -> bool {
        self.flaw == Flaw::Claim || (self.flaw == Flaw::Full && self.all_must_succeed)
    }

    /// The stores that have failed when it is over, as the API lists them.
    pub(super) fn failed(&self) -> String {
        match self.flaw {
            Flaw::Nothing => String::new(),
            // With a download that fails goes what was fetched for the others.
            Flaw::Full if self.fails() && self.method == Method::Web => self.wanted().join(","),
            Flaw::Full => "slow".to_owned(),
            Flaw::Claim => self.wanted().join(","),
        }
    }

    /// The stores that have the image when it is over, sorted; none: it is not active.
    pub(super) fn filled(&self) -> Vec<&'static str> {
        let mut filled = if self.fails() { Vec::new() } else { self.wanted() };
        filled.retain(|store| self.flaw != Flaw::Full || *store != "slow");
        if self.method == Method::Copy {
            filled.push("fast");
        }
        filled.sort_unstable();
        filled
    }

    fn disk_format(&self) -> &'static str {
        if self.flaw == Flaw::Claim { "qcow2" } else { "raw" }
    }

    /// The id of an image that can be imported so.
    pub(super) fn prepare(&self, site: &Site) -> String {
        let fields = json!({"disk_format": self.disk_format(), "container_format": "bare"});
        let queued = || site.server.create(&fields)["id"].as_str().expect("an id").to_owned();
        let id = match self.method {
            Method::Copy => site.server.active(&site.data),
            Method::Direct => queued(),
            Method::Web => queued(),
            Method::Task => Uuid::new_v4().to_string(),
        };
        if self.method == Method::Direct {
            stage(site, &id);
        }
        if self.flaw == Flaw::Full {
            fs::write(site.mark("slow", &id), b"").expect("written");
        }
        id
    }

    /// The path and the body of the request that begins it, with the data from `url`.
    pub(super) fn request(&self, id: &str, url: &str) -> (String, Value) {
        let name = match self.method {
            Method::Copy => "copy-image",
            Method::Direct => "glance-direct",
            Method::Web => "web-download",
            Method::Task => {
                let properties = json!({"id": id, "disk_format": self.disk_format(), "container_format": "bare"});
                let input = json!({"import_from": url, "import_from_format": "raw", "image_properties": properties});
                return ("/v2/tasks".to_owned(), json!({"type": "import", "input": input}));
            }
        };
        let mut method = json!({"name": name});
        if self.method == Method::Web {
            method["uri"] = json!(url);
        }
        let mut body = json!({"method": method, "all_stores_must_succeed": self.all_must_succeed});
        match self.stores {
            [] => body["all_stores"] = json!(true),
            named => body["stores"] = json!(named),
        }
        (format!("/v2/images/{id}/import"), body)
    }
}

/// Stages the data for an image.
pub(super) fn stage(site: &Site, id: &str) {
    let path = format!("/v2/images/{id}/stage");
    site.server.request("PUT", &path, &[("Content-Type", OCTETS)], Some(&site.data)).expect(204);
}
