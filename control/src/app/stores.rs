//! Removing the data of images from single stores.

use common::authorise::NOT_FOUND_TEXT;
use common::catalog::{Changes, ImageChange};
use common::identity::Identity;
use common::model::{Location, Status};
use common::{Error, Kind, Result};

use super::locations::{in_order, store_of};
use super::{App, Seen, reworded};
use crate::kinds;

impl App {
    /// Removes the image's data from the store named `store`. The bytes are on record for removal when this returns, and
    /// will be removed at once.
    ///
    /// # Errors
    /// In Glance's order: 404 with a single store, 409 for an unknown one, 404, 403 by policy, 409 unless the image is
    /// active, 403 for the last location, 404 when the store does not have the data.
    pub(crate) async fn remove_from_store(&self, caller: &Identity, store: String, id: String) -> Result<()> {
        let stores = &self.config.stores;
        if !stores.multi {
            return Err(Error::not_found(NOT_FOUND_TEXT));
        }
        if !stores.list.iter().any(|known| known.id == store) {
            return Err(Error::conflict(format!("The selected store {store} is not available on this node.")));
        }
        let removed = |seen: &Seen| {
            let may = ["get_image_location", "delete_image_location"];
            let may = may.iter().all(|rule| seen.require(&self.authority, rule, caller).is_ok());
            let there = in_order(&seen.image, stores);
            // The last one stays anyway.
            let there = there.into_iter().filter(|_| may && seen.image.locations.len() > 1);
            there
                .filter(|location| store_of(stores, location).is_some_and(|found| found.id == store))
                .cloned()
                .collect()
        };
        self.check_removable(caller, &id, removed).await?;
        let (app, caller) = (self.clone(), caller.clone());
        self.db.write(move |catalog| app.take_from_store(catalog, &caller, &store, &id)).await?;
        self.uploads.wake_reaper();
        Ok(())
    }

    /// Refuses to remove data that others need. `removed`: the locations that would go, none of an image that the caller may not change.
    ///
    /// # Errors
    /// 409 for data in use, 503 while a store does not answer.
    pub(super) async fn check_removable(
        &self,
        caller: &Identity,
        id: &str,
        removed: impl Fn(&Seen) -> Vec<Location>,
    ) -> Result<()> {
        let stores = &self.config.stores;
        if !stores.list.iter().any(|store| kinds::may_be_in_use(&store.kind)) {
            return Ok(());
        }
        let (reader, wanted) = (caller.clone(), id.to_owned());
        let seen = self.db.look_up(move |catalog| Seen::find(catalog, &reader, &wanted)).await;
        // Whatever is wrong with the image is told by who wants to change it.
        let Ok(seen) = seen else { return Ok(()) };
        let places = removed(&seen).into_iter().filter(Location::is_live);
        let places = places.filter_map(|location| Some((store_of(stores, &location)?.clone(), location.url)));
        let checked = self.uploads.check_removable(&places.collect::<Vec<_>>()).await;
        checked.map_err(|error| {
            reworded(error, Kind::Conflict, || {
                format!(
                    "Image {id} could not be deleted because it is in use: The image cannot be deleted because it is in use through \
                     the backend store outside of Glance."
                )
            })
        })
    }

    fn take_from_store(&self, catalog: &Changes<'_>, caller: &Identity, store: &str, id: &str) -> Result<()> {
        let stores = &self.config.stores;
        let seen = Seen::find(catalog, caller, id)
            .map_err(|error| reworded(error, Kind::NotFound, || format!("Failed to find image {id}")))?;
        seen.require(&self.authority, "get_image_location", caller)?;
        seen.require(&self.authority, "delete_image_location", caller)?;
        if seen.image.status != Status::Active {
            let text = "It's not allowed to remove image data from store if image status is not 'active'";
            return Err(Error::conflict(text));
        }
        let mut left: Vec<Location> = in_order(&seen.image, stores).into_iter().cloned().collect();
        if left.len() == 1 {
            return Err(Error::forbidden(
                "Cannot delete image data from the only store containing it. Consider deleting the image instead.",
            ));
        }
        let is_there = |location: &Location| store_of(stores, location).is_some_and(|found| found.id == store);
        let Some(place) = left.iter().position(is_there) else {
            return Err(Error::not_found(format!("Image {id} is not stored in store {store}.")));
        };
        left.remove(place);
        catalog.save_locations(id, &left)?;
        // For `updated_at`.
        catalog.update_image(id, &[Status::Active], &ImageChange::default()).map(|_| ())
    }
}
