//! Where the data of an image lies, as it is changed after the data was written.
//!
//! Whoever may add locations by their URLs can name one that others have too: data is removed only with the last
//! location that leads to it.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::fault::{failed, no_image};
use super::rows::{self, to_column};
use super::{Changes, Queries};
use crate::Result;
use crate::model::{Location, Status};
use crate::rbd;
use crate::time::Timestamp;

/// What is known of data that lies somewhere already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located<'a> {
    /// Bytes, where known.
    pub size: Option<u64>,
    /// MD5, hexadecimal.
    pub checksum: Option<&'a str>,
    /// Name of the digest beside MD5.
    pub hash_algo: Option<&'a str>,
    /// That digest, hexadecimal.
    pub hash_value: Option<&'a str>,
}

impl Queries<'_> {
    /// Whether data at `url` belongs to another image than `image_id`, too.
    fn is_of_others(&self, image_id: &str, url: &str) -> Result<bool> {
        // Our own file stores name files after their images, and nobody can add a location there: no need to look
        // through all locations, which have no index by URL.
        let path = url.strip_prefix("file://").filter(|path| path.rsplit('/').next() == Some(image_id));
        if path.is_some() {
            return Ok(false);
        }
        let located =
            "SELECT 1 FROM image_locations WHERE value IN (?1, ?3) AND image_id <> ?2 AND +deleted = 0 LIMIT 1";
        let written = "SELECT 1 FROM vitrine_uploads \
                       WHERE url IN (?1, ?3) AND image_id <> ?2 AND committed_at IS NULL LIMIT 1";
        // Of an image in a cluster there may be locations of old, which say less.
        let old = rbd::old_form(url).unwrap_or_else(|| url.to_owned());
        for sql in [located, written] {
            if self.one(sql, [url, image_id, &old], |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        // And the other way round.
        if old != url {
            return Ok(false);
        }
        let sql = "SELECT value FROM image_locations WHERE value LIKE 'rbd://%' AND image_id <> ?1 AND +deleted = 0";
        let others: Vec<String> = match rbd::Place::parse(url) {
            Some(_) => self.all(sql, [image_id], |row| row.get(0).map_err(failed))?,
            None => Vec::new(),
        };
        Ok(others.iter().any(|other| rbd::old_form(other).as_deref() == Some(url)))
    }
}

impl Changes<'_> {
    /// Makes the live locations of the image those that `wanted` holds: new ones are added, rows that differ are saved, and
    /// those that are not there any more are removed, with their data on record for removal. 404 when there is no such
    /// image.
    pub fn save_locations(&self, image_id: &str, wanted: &[Location]) -> Result<()> {
        let image = self.image(image_id)?.ok_or_else(|| no_image(image_id))?;
        let now = Timestamp::now().to_sql();
        for location in wanted {
            match image.locations.iter().find(|old| old.id == location.id) {
                None => {
                    self.insert_location(image_id, &location.url, &rows::json_column(&location.metadata)?, &now)?;
                }
                Some(old) if old.metadata != location.metadata || old.url != location.url => {
                    let metadata = rows::json_column(&location.metadata)?;
                    self.execute(
                        "UPDATE image_locations SET value = ?2, meta_data = ?3, updated_at = ?4 WHERE id = ?1",
                        &[&location.id, &location.url, &metadata, &now],
                    )?;
                }
                Some(_) => {}
            }
        }
        let live = || image.locations.iter().filter(|old| old.is_live());
        for gone in live().filter(|old| !wanted.iter().any(|location| location.id == old.id)) {
            self.execute(
                "UPDATE image_locations SET deleted = 1, deleted_at = ?2, updated_at = ?2, status = 'deleted' \
                 WHERE id = ?1",
                &[&gone.id, &now],
            )?;
        }
        // By URL: one image may name a place twice, with other metadata, and rows may have changed places.
        let mut seen = HashSet::new();
        for old in live().filter(|old| !wanted.iter().any(|location| location.url == old.url)) {
            if seen.insert(&old.url) {
                self.release(image_id, old)?;
            }
        }
        Ok(())
    }

    /// Gives the image one more location.
    pub fn attach_location(&self, image_id: &str, url: &str, metadata: &Map<String, Value>) -> Result<()> {
        self.insert_location(image_id, url, &rows::json_column(metadata)?, &Timestamp::now().to_sql())
    }

    /// Gives the image its size, bytes.
    pub fn set_size(&self, image_id: &str, size: u64) -> Result<()> {
        self.execute("UPDATE images SET size = ?2 WHERE id = ?1", &[&image_id, &to_column(size)?]).map(|_| ())
    }

    /// Gives the image its digests, hexadecimal: MD5, and another by its name.
    pub fn set_digests(&self, image_id: &str, checksum: &str, algorithm: &str, value: &str) -> Result<()> {
        self.execute(
            "UPDATE images SET checksum = ?2, os_hash_algo = ?3, os_hash_value = ?4, updated_at = ?5 WHERE id = ?1",
            &[&image_id, &checksum, &algorithm, &value, &Timestamp::now().to_sql()],
        )
        .map(|_| ())
    }

    /// The queued image becomes active with data that lies somewhere already. 404 when there is no such image, 409 when
    /// it is not queued.
    pub fn activate_located(&self, image_id: &str, data: &Located<'_>) -> Result<()> {
        self.set_status(image_id, &[Status::Queued], Status::Active)?;
        self.execute(
            "UPDATE images SET size = ?2, checksum = ?3, os_hash_algo = ?4, os_hash_value = ?5 WHERE id = ?1",
            &[&image_id, &data.size.map(to_column).transpose()?, &data.checksum, &data.hash_algo, &data.hash_value],
        )
        .map(|_| ())
    }

    /// The image gives up the data at `location`: it is recorded for removal unless it is another image's as well.
    pub(super) fn release(&self, image_id: &str, location: &Location) -> Result<()> {
        if self.is_of_others(image_id, &location.url)? {
            return Ok(());
        }
        self.add_removal(image_id, location.store(), &location.url, None)
    }
}
