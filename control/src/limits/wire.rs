//! Keystone's documents about limits, in version 3 of the Identity API, and what of them counts here.

use common::Result;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::keystone::away;

/// Where limits of this service are filed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Place {
    /// The service.
    pub(super) service_id: String,
    /// The region.
    pub(super) region_id: Option<String>,
}

/// The reply to `/v3/endpoints/{id}`.
#[derive(Deserialize)]
pub(super) struct EndpointDocument {
    pub(super) endpoint: Place,
}

/// The reply to `/v3/endpoints`.
#[derive(Deserialize)]
pub(super) struct EndpointsDocument {
    pub(super) endpoints: Vec<Place>,
}

/// The reply to `/v3/services`.
#[derive(Deserialize)]
pub(super) struct ServicesDocument {
    pub(super) services: Vec<Service>,
}

/// A service of the catalogue.
#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) id: String,
}

/// The reply to `/v3/limits/model`.
#[derive(Deserialize)]
pub(super) struct ModelDocument {
    pub(super) model: Model,
}

/// How limits of projects and their parents go together.
#[derive(Deserialize)]
pub(super) struct Model {
    pub(super) name: String,
}

/// The reply to `/v3/registered_limits`.
#[derive(Deserialize)]
pub(super) struct RegisteredDocument {
    pub(super) registered_limits: Vec<Registered>,
}

/// What a project may have that has no limit of its own.
#[derive(Deserialize)]
pub(super) struct Registered {
    resource_name: String,
    default_limit: i64,
}

/// The reply to `/v3/limits`.
#[derive(Deserialize)]
pub(super) struct LimitsDocument {
    pub(super) limits: Vec<OfProject>,
}

/// What one project may have.
#[derive(Deserialize)]
pub(super) struct OfProject {
    resource_name: String,
    resource_limit: i64,
}

/// Reads a document.
///
/// # Errors
/// 503: this is not Keystone.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| away(format_args!("{what}: {error}")))
}

/// What limits there are, by Glance's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// MiB in stores.
    SizeTotal,
    /// MiB in the staging area.
    StageTotal,
    /// Images.
    CountTotal,
    /// Images that are being uploaded or imported.
    CountUploading,
}

impl Resource {
    /// All, in Glance's order.
    pub(super) const ALL: [Resource; 4] =
        [Resource::SizeTotal, Resource::StageTotal, Resource::CountTotal, Resource::CountUploading];

    /// The name in Keystone and in the API.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Resource::SizeTotal => "image_size_total",
            Resource::StageTotal => "image_stage_total",
            Resource::CountTotal => "image_count_total",
            Resource::CountUploading => "image_count_uploading",
        }
    }
}

/// Limits by resource, in the order of [`Resource::ALL`]; what Keystone does not know is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures([Option<i64>; 4]);

impl Figures {
    /// Those of all projects.
    pub(super) fn registered(limits: &[Registered]) -> Self {
        Figures::new(limits.iter().map(|limit| (limit.resource_name.as_str(), limit.default_limit)))
    }

    /// Those of one project.
    pub(super) fn of_project(limits: &[OfProject]) -> Self {
        Figures::new(limits.iter().map(|limit| (limit.resource_name.as_str(), limit.resource_limit)))
    }

    /// The first of a name counts.
    fn new<'a>(limits: impl Iterator<Item = (&'a str, i64)>) -> Self {
        let mut figures = Figures::default();
        for (name, limit) in limits {
            if let Some(index) = Resource::ALL.iter().position(|resource| resource.as_str() == name) {
                figures.0[index].get_or_insert(limit);
            }
        }
        figures
    }

    /// The limit of a resource.
    pub(super) fn get(&self, resource: Resource) -> Option<i64> {
        Resource::ALL.iter().zip(self.0).find(|(each, _)| **each == resource).and_then(|(_, limit)| limit)
    }

    /// These, and `others` where these say nothing.
    pub(super) fn or(self, others: Figures) -> Figures {
        let mut all = self;
        for (mine, other) in all.0.iter_mut().zip(others.0) {
            *mine = mine.or(other);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_own_limits_and_else_those_of_all() {
        let text = r#"{"registered_limits": [
            {"id": "1", "resource_name": "image_size_total", "default_limit": 10, "service_id": "s", "region_id": null},
            {"resource_name": "image_count_total", "default_limit": 5}, {"resource_name": "servers", "default_limit": 1},
            {"resource_name": "image_count_total", "default_limit": 6}], "links": {}}"#;
        let registered: RegisteredDocument = read(text.as_bytes(), "limits").expect("a document");
        let text = r#"{"limits": [{"resource_name": "image_size_total", "resource_limit": -1, "project_id": "p"}]}"#;
        let own: LimitsDocument = read(text.as_bytes(), "limits").expect("a document");
        let figures = Figures::of_project(&own.limits).or(Figures::registered(&registered.registered_limits));
        let all = Resource::ALL.map(|resource| figures.get(resource));
        assert_eq!(all, [Some(-1), None, Some(5), None]);
        for other in ["", "<html>", "{}", r#"{"limits": [{"resource_name": "x", "resource_limit": "many"}]}"#] {
            let error = read::<LimitsDocument>(other.as_bytes(), "limits").map(|_| ()).expect_err(other);
            assert_eq!(error.status().as_u16(), 503);
        }
    }
}
