//! Create, list, show, change and delete images.

use common::authorise::Authority;
use common::catalog::{ListQuery, NewImage};
use common::config::STAGING_STORE;
use common::identity::Identity;
use common::model::{Image, Status, Visibility};
use common::{Error, Kind, Result};

use super::patch::{self, Change, Op, Target};
use super::{App, Seen, protected, quota, reworded};
use crate::uploads::staged_url;

/// One page of a list.
pub(crate) struct Page {
    /// The images that the caller may get.
    pub(crate) images: Vec<Image>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next_marker: Option<String>,
}

impl App {
    /// Makes an image without data.
    ///
    /// # Errors
    /// 403 by policy, 409 when the id was ever used, 413 over a quota.
    pub(crate) async fn create_image(&self, caller: &Identity, new: NewImage) -> Result<Image> {
        authorise_create(&self.authority, caller, &new)?;
        protected::check_new(&self.authority, caller, &new)?;
        quota::check_tags(&new.tags, self.config.api.tag_quota)?;
        quota::check_properties(&new.properties, self.config.api.property_quota)?;
        self.db.write(move |catalog| catalog.create_image(&new)).await
    }

    /// One page of the images that the caller may list.
    ///
    /// # Errors
    /// 403 by policy, 400 or 403 for a bad marker.
    pub(crate) async fn list_images(&self, caller: &Identity, mut query: ListQuery) -> Result<Page> {
        let project = caller.project_id.as_deref().unwrap_or("None");
        self.authority.enforce("get_images", caller, &[("project_id", project)])?;
        protected::hide_filters(&self.authority, caller, &mut query);
        let limit = query.limit;
        let mut images = self.db.read(move |catalog| catalog.list(&query)).await?;
        let is_full = images.len() == limit;
        // A shared image of somebody else is listed only for its members.
        let is_member = |image: &Image| {
            image.visibility == Visibility::Shared && !caller.is_admin && !caller.is_project(image.owner.as_deref())
        };
        images.retain(|image| self.authority.allows("get_image", caller, image, is_member(image)));
        let next_marker = images.last().filter(|_| is_full).map(|image| image.id.clone());
        Ok(Page { images, next_marker })
    }

    /// The image.
    ///
    /// # Errors
    /// 404.
    pub(crate) async fn show_image(&self, caller: &Identity, id: String) -> Result<Image> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .look_up(move |catalog| {
                let seen = Seen::find(catalog, &caller, &id)?;
                seen.require(&authority, "get_image", &caller)?;
                Ok(seen.image)
            })
            .await
    }

    /// Applies all of `changes`, or none; the image afterwards.
    ///
    /// # Errors
    /// 404, 403 by policy or state, 409 when a field's presence is not as the change needs it, 413 over a quota, 400
    /// for bad values.
    pub(crate) async fn update_image(&self, caller: &Identity, id: String, changes: Vec<Change>) -> Result<Image> {
        let (app, caller) = (self.clone(), caller.clone());
        if changes.is_empty() {
            // Nothing changes, so that whoever may get the image may do it, as with the original; but nobody else.
            return self.show_image(&caller, id).await;
        }
        self.db
            .write(move |catalog| {
                let mut seen = Seen::find(catalog, &caller, &id)?;
                let before = seen.image.clone();
                for change in &changes {
                    app.apply(&caller, &mut seen, change)?;
                }
                app.check_quotas(&before, &seen.image)?;
                catalog.update_image(&id, &[], &patch::difference(&before, &seen.image))
            })
            .await
    }

    fn apply(&self, caller: &Identity, seen: &mut Seen, change: &Change) -> Result<()> {
        match &change.target {
            Target::Locations { position } => self.refuse_location_change(caller, seen, change, position.as_deref()),
            Target::Field(name) => {
                if name == "owner" && change.op == Op::Replace && !caller.is_admin {
                    return Err(Error::forbidden("Owner can't be updated by non admin."));
                }
                if name == "visibility" && change.op != Op::Remove {
                    let wanted = patch::visibility(&change.value)?;
                    if let Some(rule) = visibility_rule(wanted)
                        && !self.authority.allows(rule, caller, &seen.image, seen.is_member)
                    {
                        return Err(common::authorise::not_authorized(rule));
                    }
                }
                seen.require(&self.authority, "modify_image", caller)?;
                protected::apply_field(&self.authority, caller, &mut seen.image, name, change)
            }
        }
    }

    /// Locations cannot be changed by clients; the refusals are those of the original with
    /// `show_multiple_locations` off.
    fn refuse_location_change(
        &self,
        caller: &Identity,
        seen: &Seen,
        change: &Change,
        position: Option<&str>,
    ) -> Result<()> {
        let is_empty = change.value.as_array().is_some_and(Vec::is_empty);
        if change.op == Op::Replace && position.is_none() && is_empty {
            return Err(Error::forbidden("Cannot set locations to empty list."));
        }
        let (rule, verb) = match change.op {
            Op::Add => ("set_image_location", "add"),
            Op::Replace => ("set_image_location", "update"),
            Op::Remove => ("delete_image_location", "remove"),
        };
        seen.require(&self.authority, rule, caller)?;
        Err(Error::forbidden(format!("It's not allowed to {verb} locations if locations are invisible.")))
    }

    /// Counts only what grew, so that an image above a lowered quota can still be changed.
    fn check_quotas(&self, before: &Image, after: &Image) -> Result<()> {
        if before.tags != after.tags {
            quota::check_tags(&after.tags, self.config.api.tag_quota)?;
        }
        if after.properties.iter().any(|(name, _)| before.property(name).is_none()) {
            quota::check_properties(&after.properties, self.config.api.property_quota)?;
        }
        Ok(())
    }

    /// Deletes the image; its bytes are on record for removal when this returns, and will be removed at once.
    ///
    /// # Errors
    /// 404, 403 by policy or for a protected image.
    pub(crate) async fn delete_image(&self, caller: &Identity, id: String) -> Result<()> {
        let (authority, caller, config) = (self.authority.clone(), caller.clone(), self.config.clone());
        let deleted = self.db.write(move |catalog| {
            let seen = Seen::find(catalog, &caller, &id)
                .map_err(|error| reworded(error, Kind::NotFound, || format!("Failed to find image {id} to delete")))?;
            seen.require(&authority, "delete_image", &caller)?;
            if seen.image.protected {
                return Err(Error::forbidden(format!("Image {id} is protected and cannot be deleted.")));
            }
            if matches!(seen.image.status, Status::Uploading | Status::Importing) {
                let url = staged_url(&config.stores.staging, &seen.image.id)?;
                catalog.add_removal(&seen.image.id, Some(STAGING_STORE), &url, None)?;
            }
            // The original calls a status that forbids deletion a bad request.
            catalog.delete_image(&id).map_err(|error| match error.kind {
                Kind::Conflict => Error { kind: Kind::BadRequest, ..error },
                _ => error,
            })
        });
        deleted.await?;
        self.uploads.wake_reaper();
        Ok(())
    }
}

/// The rule beside `modify_image` or `add_image` that a visibility needs.
fn visibility_rule(visibility: Visibility) -> Option<&'static str> {
    match visibility {
        Visibility::Public => Some("publicize_image"),
        Visibility::Community => Some("communitize_image"),
        Visibility::Private | Visibility::Shared => None,
    }
}

fn authorise_create(authority: &Authority, caller: &Identity, new: &NewImage) -> Result<()> {
    let owner = new.owner.as_deref().unwrap_or("None");
    let target = [("project_id", owner), ("owner", owner), ("visibility", new.visibility.as_str())];
    let is_own = new.owner == caller.project_id;
    let foreign = || format!("You are not permitted to create images owned by '{owner}'");
    authority
        .enforce("add_image", caller, &target)
        .map_err(|error| if is_own { error } else { reworded(error, Kind::Forbidden, foreign) })?;
    if let Some(rule) = visibility_rule(new.visibility) {
        authority.enforce(rule, caller, &target)?;
    }
    if authority.checks_owner() && !caller.is_admin && !is_own {
        return Err(Error::forbidden(foreign()));
    }
    Ok(())
}
