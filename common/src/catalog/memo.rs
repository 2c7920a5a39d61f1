//! Images that a reader has read, for as long as nobody commits anything.
//!
//! What many ask for, again and again (an image, the first page of a list), is read and decoded once. SQLite says whether
//! another connection has committed since, and says it of the state that the reader's transaction sees: what is remembered is
//! what the same statements would give again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::fault::failed;
use crate::Result;
use crate::model::{Image, Location};

/// Bytes of the images that a reader remembers, at most: some thousand of usual ones, which are dozens of pages.
const BYTES_MAX: usize = 4 << 20;

/// Bytes of an image that is remembered, at most: owners may store megabytes in properties.
const IMAGE_BYTES_MAX: usize = 16 << 10;

/// Bytes that a text costs beside its characters: its place and what the allocator adds, in a list that has grown.
const TEXT_BYTES: usize = 64;

/// Bytes of memory for each byte of the JSON of a location's metadata, where it is dearest: `0,` is a value of some 72 bytes.
const METADATA_FACTOR: usize = 40;

/// What one reader remembers.
#[derive(Debug, Default)]
pub(super) struct Memo {
    images: RefCell<HashMap<String, Arc<Image>>>,
    /// Of these images.
    bytes: Cell<usize>,
    /// The state of the database that they are of.
    version: Cell<Option<i64>>,
}

impl Memo {
    /// Forgets all if it is of another state than the present transaction of `connection` sees. To be called in each transaction
    /// that asks.
    pub(super) fn renew(&self, connection: &Connection) -> Result<()> {
        let mut ask = connection.prepare_cached("PRAGMA data_version").map_err(failed)?;
        let version = ask.query_row([], |row| row.get(0)).map_err(failed)?;
        if self.version.replace(Some(version)) != Some(version) {
            self.clear();
        }
        Ok(())
    }

    /// The image `id`, if it is remembered.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Image>> {
        self.images.borrow().get(id).cloned()
    }

    /// Remembers `image`, read in the transaction in which [`Memo::renew`] was called; one that is remembered already is the same.
    pub(super) fn put(&self, image: &Arc<Image>) {
        let bytes = bytes(image);
        if bytes > IMAGE_BYTES_MAX {
            return;
        }
        // Whoever goes through all pages leaves nothing worth keeping behind.
        if self.bytes.get() + bytes > BYTES_MAX {
            self.clear();
        }
        if self.images.borrow_mut().insert(image.id.clone(), Arc::clone(image)).is_none() {
            self.bytes.set(self.bytes.get() + bytes);
        }
    }

    fn clear(&self) {
        self.images.borrow_mut().clear();
        self.bytes.set(0);
    }
}

/// The memory of an image, rather more than less.
fn bytes(image: &Image) -> usize {
    let properties = image.properties.iter().map(|(name, value)| name.len() + value.len() + 2 * TEXT_BYTES);
    let tags = image.tags.iter().map(|tag| tag.len() + TEXT_BYTES);
    let locations = image.locations.iter().map(|location| {
        let metadata = serde_json::to_vec(&location.metadata).map_or(0, |text| text.len());
        location.url.len() + METADATA_FACTOR * metadata + size_of::<Location>() + 2 * TEXT_BYTES
    });
    let parts: usize = properties.chain(tags).chain(locations).sum();
    // The texts of its row are short, but for the name.
    let name = image.name.as_deref().map_or(0, str::len);
    size_of::<Image>() + 16 * TEXT_BYTES + name + parts
}
