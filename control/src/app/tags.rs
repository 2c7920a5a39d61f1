//! Single tags of an image.

use common::catalog::{Changes, ImageChange};
use common::identity::Identity;
use common::model::Image;
use common::{Error, Kind, Result};

use super::{App, Seen, quota, reworded};

impl App {
    /// Adds a tag; nothing changes if the image has it.
    ///
    /// # Errors
    /// 404, 403 by policy, 413 over the quota.
    pub(crate) async fn add_tag(&self, caller: &Identity, id: String, tag: String) -> Result<()> {
        let limit = self.config.api.tag_quota;
        self.change_tags(caller, id, move |image| {
            let mut tags = image.tags.clone();
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            quota::check_tags(&tags, limit).map_err(|error| {
                let text = format!("Image tag limit exceeded for image {}: {}:", image.id, error.message);
                reworded(error, Kind::TooLarge, || text)
            })?;
            Ok(tags)
        })
        .await
    }

    /// Removes a tag.
    ///
    /// # Errors
    /// 404 also if the image does not have it, 403 by policy.
    pub(crate) async fn remove_tag(&self, caller: &Identity, id: String, tag: String) -> Result<()> {
        self.change_tags(caller, id, move |image| {
            if !image.tags.contains(&tag) {
                return Err(Error::not_found(common::authorise::NOT_FOUND_TEXT));
            }
            Ok(image.tags.iter().filter(|old| **old != tag).cloned().collect())
        })
        .await
    }

    async fn change_tags(
        &self,
        caller: &Identity,
        id: String,
        change: impl FnOnce(&Image) -> Result<Vec<String>> + Send + 'static,
    ) -> Result<()> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .write(move |catalog: &Changes<'_>| {
                let seen = Seen::find(catalog, &caller, &id)
                    .map_err(|error| reworded(error, Kind::NotFound, || format!("Image {id} not found.")))?;
                seen.require(&authority, "modify_image", &caller)?;
                let tags = Some(change(&seen.image)?);
                catalog.update_image(&id, &[], &ImageChange { tags, ..ImageChange::default() })?;
                Ok(())
            })
            .await
    }
}
