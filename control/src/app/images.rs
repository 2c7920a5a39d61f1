//! Create, list, show, change and delete images.

use std::sync::Arc;

use common::authorise::Authority;
use common::catalog::{Changes, ListQuery, Located, NewImage, Queries};
use common::config::{STAGING_STORE, StoreConfig};
use common::identity::Identity;
use common::model::{Image, Location, Status, Visibility};
use common::{Error, Kind, Result};

use super::patch::{self, Change, Op, Target};
use super::patch_locations::{self, Site, Sizes};
use super::{App, Seen, locations, protected, quota, reworded};
use crate::limits::Share;
use crate::uploads::staged_url;

/// One page of a list.
pub(crate) struct Page {
    /// The images that the caller may get.
    pub(crate) images: Vec<Arc<Image>>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next_marker: Option<String>,
}

impl App {
    /// Makes an image without data.
    ///
    /// # Errors
    /// 403 by policy, 409 when the id was ever used, 413 over a quota, 503 while Keystone does not tell its limits.
    pub(crate) async fn create_image(&self, caller: &Identity, new: NewImage) -> Result<Image> {
        authorise_create(&self.authority, caller, &new)?;
        let share = self.limits.of(caller.project_id.as_deref()).await?;
        let checked = self.check_fields(caller, &new);
        let created = self.db.write(move |catalog| {
            share.check_images(catalog)?;
            checked?;
            catalog.create_image(&new)
        });
        created.await
    }

    /// Refuses an image that the caller may not make, as far as the limits of its project do not matter.
    ///
    /// # Errors
    /// 403 by policy, 413 over a quota.
    pub(super) fn check_new_image(&self, caller: &Identity, new: &NewImage) -> Result<()> {
        authorise_create(&self.authority, caller, new)?;
        self.check_fields(caller, new)
    }

    fn check_fields(&self, caller: &Identity, new: &NewImage) -> Result<()> {
        protected::check_new(&self.authority, caller, new)?;
        quota::check_tags(&new.tags, self.config.api.tag_quota)?;
        quota::check_properties(&new.properties, self.config.api.property_quota)
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
        let removed = |seen: &Seen| {
            let mut after = Seen { image: seen.image.clone(), is_member: seen.is_member };
            let mut sizes = Sizes::default();
            let applied = changes.iter().try_for_each(|change| self.apply(&caller, &mut after, change, &mut sizes));
            let is_left = |location: &Location| after.image.locations.iter().any(|left| left.url == location.url);
            match applied {
                Ok(()) => seen.image.locations.iter().filter(|location| !is_left(location)).cloned().collect(),
                // What does not happen removes nothing.
                Err(_) => Vec::new(),
            }
        };
        if changes.iter().any(is_of_locations) {
            self.check_removable(&caller, &id, removed).await?;
        }
        let removes_data = changes.iter().any(|change| change.op == Op::Remove && is_of_locations(change));
        let mut sizes = self.sizes_of_new_locations(&caller, &id, &changes).await?;
        let share = self.limits.of_located(caller.project_id.as_deref());
        let changed = self.db.write(move |catalog| {
            let mut seen = Seen::find(catalog, &caller, &id)?;
            let before = seen.image.clone();
            for change in &changes {
                app.apply(&caller, &mut seen, change, &mut sizes)?;
            }
            if !sizes.unknown().is_empty() {
                return Err(Error::conflict(format!("Image {id} was changed by somebody else meanwhile. Try again.")));
            }
            app.check_quotas(&before, &seen.image)?;
            if !changes.iter().any(is_of_locations) {
                return catalog.update_image(&id, &[], &patch::difference(&before, &seen.image));
            }
            check_new_locations(catalog, &share, &before, &seen.image)?;
            save_with_locations(catalog, &before, &seen.image)
        });
        let image = changed.await?;
        if removes_data {
            self.uploads.wake_reaper();
        }
        Ok(image)
    }

    /// Applies `change` to the image in memory.
    pub(super) fn apply(&self, caller: &Identity, seen: &mut Seen, change: &Change, sizes: &mut Sizes) -> Result<()> {
        match &change.target {
            Target::Locations { position } => self.apply_to_locations(caller, seen, change, position.as_deref(), sizes),
            Target::Field(name) => {
                if name == "owner" && !caller.is_admin && changes_owner(&seen.image, change) {
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

    fn apply_to_locations(
        &self,
        caller: &Identity,
        seen: &mut Seen,
        change: &Change,
        position: Option<&str>,
        sizes: &mut Sizes,
    ) -> Result<()> {
        let is_empty = change.value.as_array().is_some_and(Vec::is_empty);
        if change.op == Op::Replace && is_empty {
            return Err(Error::forbidden("Cannot set locations to empty list."));
        }
        let (rule, verb) = match change.op {
            Op::Add => ("set_image_location", "add"),
            Op::Replace => ("set_image_location", "update"),
            Op::Remove => ("delete_image_location", "remove"),
        };
        seen.require(&self.authority, rule, caller)?;
        let (api, stores) = (&self.config.api, &self.config.stores);
        if !api.show_multiple_locations {
            return Err(Error::forbidden(format!("It's not allowed to {verb} locations if locations are invisible.")));
        }
        let id_of = |store: &StoreConfig| store.id.clone();
        let site = Site {
            quota: api.location_quota,
            hashing_algorithm: &api.hashing_algorithm,
            sort: &|image| locations::sort(image, stores),
            store_to_name: &|url| locations::store_by_url(stores, url).filter(|_| stores.multi).map(id_of),
            store_for_clients: &|url| locations::store_for_clients(stores, url).map(id_of),
        };
        patch_locations::apply(&mut seen.image, change, position, &site, sizes)
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
        let deleted = |seen: &Seen| {
            let may = seen.require(&self.authority, "delete_image", caller).is_ok() && !seen.image.protected;
            if may { seen.image.locations.clone() } else { Vec::new() }
        };
        self.check_removable(caller, &id, deleted).await?;
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

/// What the catalog has to say about locations that `after` has and `before` has not.
fn check_new_locations(catalog: &Queries<'_>, share: &Share, before: &Image, after: &Image) -> Result<()> {
    for location in after.locations.iter().filter(|location| location.id == Location::UNSAVED) {
        if catalog.is_occupied(&location.url)? {
            return Err(locations::invalid_location());
        }
    }
    let added = after.locations.len().saturating_sub(before.locations.len());
    let added = after.size.unwrap_or(0).saturating_mul(u64::try_from(added).unwrap_or(u64::MAX));
    if added == 0 { Ok(()) } else { share.check_located(catalog, added) }
}

fn is_of_locations(change: &Change) -> bool {
    matches!(change.target, Target::Locations { .. })
}

/// Saves all that differs, locations as well, and a status that the first location changed.
fn save_with_locations(catalog: &Changes<'_>, before: &Image, after: &Image) -> Result<Image> {
    let id = &after.id;
    catalog.update_image(id, &[before.status], &patch::difference(before, after))?;
    if before.status != after.status {
        let data = Located {
            size: after.size,
            checksum: after.checksum.as_deref(),
            hash_algo: after.os_hash_algo.as_deref(),
            hash_value: after.os_hash_value.as_deref(),
        };
        catalog.activate_located(id, &data)?;
    }
    catalog.save_locations(id, &after.locations)?;
    catalog.image(id)?.ok_or_else(|| common::authorise::no_image(id))
}

/// Whether a change gives the image another owner. The original looks at `replace` only, so that members can put images, and what
/// they take of a quota, into other projects by `add`.
fn changes_owner(image: &Image, change: &Change) -> bool {
    match change.op {
        Op::Replace => true,
        // In the older dialect a field that is there cannot be added.
        Op::Add => !change.refuse_present && change.value.as_str() != image.owner.as_deref(),
        Op::Remove => false,
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
