//! Images that a reader has read, for as long as nobody commits anything.
//!
//! An image that many ask for is read once. SQLite says whether another connection has committed since, and says it inside of
//! the reader's own transaction: what is remembered is what the same four statements would give again.

use std::cell::{Cell, RefCell};

use rusqlite::Connection;

use super::fault::failed;
use crate::Result;
use crate::model::Image;

/// Images that are remembered: few are read at a time.
const IMAGES_MAX: usize = 16;

/// Bytes of the texts of an image that is remembered, at most: owners may store megabytes in properties.
const IMAGE_BYTES_MAX: usize = 16 * 1024;

/// What one reader remembers.
#[derive(Debug, Default)]
pub(super) struct Memo {
    images: RefCell<Vec<Image>>,
    /// The state of the database that they are of.
    version: Cell<Option<i64>>,
}

impl Memo {
    /// The image `id` of the present state, if it is remembered. To be asked in a transaction of `connection`.
    pub(super) fn get(&self, connection: &Connection, id: &str) -> Result<Option<Image>> {
        let mut ask = connection.prepare_cached("PRAGMA data_version").map_err(failed)?;
        let version = ask.query_row([], |row| row.get(0)).map_err(failed)?;
        if self.version.replace(Some(version)) != Some(version) {
            self.images.borrow_mut().clear();
        }
        Ok(self.images.borrow().iter().find(|image| image.id == id).cloned())
    }

    /// Remembers `image`, read in the transaction in which it was asked for.
    pub(super) fn put(&self, image: &Image) {
        if bytes(image) > IMAGE_BYTES_MAX {
            return;
        }
        let mut images = self.images.borrow_mut();
        if images.len() >= IMAGES_MAX {
            images.clear();
        }
        images.push(image.clone());
    }
}

/// Bytes of what an image has any number of.
fn bytes(image: &Image) -> usize {
    let properties = image.properties.iter().map(|(name, value)| name.len() + value.len());
    let tags = image.tags.iter().map(String::len);
    let locations = image.locations.iter().map(|location| {
        let metadata = serde_json::to_vec(&location.metadata).map_or(0, |text| text.len());
        location.url.len() + metadata
    });
    properties.chain(tags).chain(locations).sum()
}
