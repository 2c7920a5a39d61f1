//! Images that a reader has read, for as long as nobody commits anything.
//!
//! An image that many ask for is read once. SQLite says whether another connection has committed since, and says it inside of
//! the reader's own transaction: what is remembered is what the same four statements would give again.

use std::cell::{Cell, RefCell};

use rusqlite::Connection;

use super::fault::failed;
use crate::Result;
use crate::model::Image;

/// Images that are remembered: few are read at a time, and an image may have large properties.
const IMAGES_MAX: usize = 16;

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
        let mut images = self.images.borrow_mut();
        if images.len() >= IMAGES_MAX {
            images.clear();
        }
        images.push(image.clone());
    }
}
