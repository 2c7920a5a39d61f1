//! What the service does: authorise, decide, call the catalog. No HTTP in here, and no SQL.

pub(crate) mod actions;
pub(crate) mod cache;
pub(crate) mod digests;
pub(crate) mod fields;
pub(crate) mod images;
pub(crate) mod imports;
pub(crate) mod info;
pub(crate) mod locations;
pub(crate) mod members;
pub(crate) mod metadefs;
pub(crate) mod patch;
pub(crate) mod patch_locations;
pub(crate) mod protected;
pub(crate) mod quota;
pub(crate) mod stores;
pub(crate) mod tags;
pub(crate) mod task_imports;
pub(crate) mod tasks;

use std::sync::Arc;

use common::access::find_visible;
use common::authorise::Authority;
use common::catalog::Queries;
use common::config::Config;
use common::identity::Identity;
use common::model::Image;
use common::{Error, Kind, Result};

use crate::db::Db;
use crate::imports::Imports;
use crate::limits::Limits;
use crate::outbound::Gate;
use crate::signature::Signatures;
use crate::uploads::Uploads;

/// The application: everything that a request works with.
#[derive(Clone)]
pub(crate) struct App {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The policy.
    pub(crate) authority: Arc<Authority>,
    /// The catalog.
    pub(crate) db: Db,
    /// What projects may have.
    pub(crate) limits: Limits,
    /// Uploads under way and bytes to remove.
    pub(crate) uploads: Uploads,
    /// Imports under way.
    pub(crate) imports: Imports,
    /// The gate to what is not ours.
    pub(crate) gate: Gate,
    /// Verification of image signatures.
    pub(crate) signatures: Signatures,
}

/// An image that the caller can see.
pub(crate) struct Seen {
    /// The image.
    pub(crate) image: Image,
    /// Whether the caller's project is a member of it.
    pub(crate) is_member: bool,
}

impl Seen {
    /// Finds image `id`, if `caller` can see it.
    ///
    /// # Errors
    /// 404 "No image found with ID …" if it is not there or hidden from the caller.
    pub(crate) fn find(catalog: &Queries<'_>, caller: &Identity, id: &str) -> Result<Seen> {
        find_visible(catalog, caller, id).map(|(image, is_member)| Seen { image, is_member })
    }

    /// Refuses unless `rule` holds for the image.
    ///
    /// # Errors
    /// 403, or 404 when the caller may not even get the image.
    pub(crate) fn require(&self, authority: &Authority, rule: &str, caller: &Identity) -> Result<()> {
        authority.enforce_image(rule, caller, &self.image, self.is_member)
    }
}

/// The same failure with another text, if it is of this kind.
pub(crate) fn reworded(error: Error, kind: Kind, text: impl FnOnce() -> String) -> Error {
    if error.kind == kind { Error { message: text(), ..error } } else { error }
}

/// Does `work` to its end, also when whoever asks is gone before: what is on record is begun.
///
/// # Errors
/// Those of `work`.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.map_err(Error::internal)?
}
