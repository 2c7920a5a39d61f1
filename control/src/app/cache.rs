//! The image cache. A copy of a file on this server would be no nearer than the original, and images in Ceph are read from there at the
//! rate of its own tools: nothing is ever cached, what is asked for is found to need none, and so the answers are those of an empty cache.

use common::authorise::{NOT_FOUND_TEXT, not_authorized};
use common::config::ImageCache;
use common::identity::Identity;
use common::model::Status;
use common::{Error, Kind, Result};

use super::{App, Seen, reworded};

/// What callers read where there is no cache.
const NO_CACHE: &str = "Caching via API is not supported at this site.";

impl App {
    /// Whether the caller may do with the whole cache what `rule` is about.
    ///
    /// # Errors
    /// 403 by policy, 404 where there is no cache.
    pub(crate) fn require_cache(&self, caller: &Identity, rule: &str) -> Result<ImageCache> {
        self.authority.enforce(rule, caller, &())?;
        self.config.cache.ok_or_else(|| Error::not_found(NO_CACHE))
    }

    /// As [`App::require_cache`] for the older interface, which is not there for anybody unless the flavor has it.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn require_older_cache(&self, caller: &Identity) -> Result<()> {
        if !self.config.cache.is_some_and(|cache| cache.has_older_interface) {
            return Err(Error::not_found(NOT_FOUND_TEXT));
        }
        self.require_cache(caller, "manage_image_cache").map(|_| ())
    }

    /// Has image `id` cached: it needs that no more than any other.
    ///
    /// # Errors
    /// 404 for an image that is not there, and without a cache; 403 by policy; 400 for one that has no data.
    pub(crate) async fn cache_image(&self, caller: &Identity, id: String) -> Result<()> {
        let seen = self.find_for_cache(caller, &id).await?;
        self.require_image_cache(caller, "cache_image", &seen)?;
        if seen.image.status != Status::Active {
            return Err(Error::bad_request("Only images with status active can be targeted for queueing"));
        }
        tracing::info!(image = id, "not cached: it is read where it is stored");
        Ok(())
    }

    /// Takes image `id` out of the cache, where it is not.
    ///
    /// # Errors
    /// 404 for an image that is not there, and without a cache; 403 by policy.
    pub(crate) async fn uncache_image(&self, caller: &Identity, id: String) -> Result<()> {
        let seen = self.find_for_cache(caller, &id).await?;
        self.require_image_cache(caller, "cache_delete", &seen)
    }

    /// Whether the servers' caches may be asked for image `id`: no server has it.
    ///
    /// # Errors
    /// 403 by policy, 404 without a cache and for an image that is not there, 409 where each server knows of its own cache only.
    pub(crate) async fn find_in_caches(&self, caller: &Identity, id: String) -> Result<()> {
        if !self.require_cache(caller, "list_cached_nodes")?.is_centralized {
            return Err(Error::conflict("Centralized caching is not enabled"));
        }
        self.find_for_cache(caller, &id).await.map(|_| ())
    }

    /// 403 also for who may not get the image: the cache is the operator's, and its rules stand alone.
    fn require_image_cache(&self, caller: &Identity, rule: &str, seen: &Seen) -> Result<()> {
        if !self.authority.allows(rule, caller, &seen.image, seen.is_member) {
            return Err(not_authorized(rule));
        }
        self.config.cache.map(|_| ()).ok_or_else(|| Error::not_found(NO_CACHE))
    }

    async fn find_for_cache(&self, caller: &Identity, id: &str) -> Result<Seen> {
        let (caller, wanted) = (caller.clone(), id.to_owned());
        let found = self.db.look_up(move |catalog| Seen::find(catalog, &caller, &wanted)).await;
        found.map_err(|error| reworded(error, Kind::NotFound, || format!("Image {id} not found.")))
    }
}
