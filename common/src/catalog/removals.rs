//! Bytes that must go and may not be gone yet.

use super::fault::failed;
use super::{Changes, Queries};
use crate::Result;
use crate::time::Timestamp;

/// Bytes that a change of the catalog left behind and that must be removed from their store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Names it in [`Changes::finish_removal`].
    pub id: i64,
    /// The image they belonged to.
    pub image_id: String,
    /// The store, in multi-store mode; `None`: the only store.
    pub store: Option<String>,
    /// The place, as a store URI.
    pub url: String,
    /// The upload that wrote them, when it never finished.
    pub upload_id: Option<String>,
}

impl Queries<'_> {
    /// The `limit` oldest removals that are not done, of those after the id `after`; 0 is before all.
    pub fn removals(&self, after: i64, limit: usize) -> Result<Vec<Removal>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.all(
            "SELECT id, image_id, store, url, upload_id FROM vitrine_removals WHERE id > ?1 ORDER BY id LIMIT ?2",
            [after, limit],
            |row| {
                Ok(Removal {
                    id: row.get(0).map_err(failed)?,
                    image_id: row.get(1).map_err(failed)?,
                    store: row.get(2).map_err(failed)?,
                    url: row.get(3).map_err(failed)?,
                    upload_id: row.get(4).map_err(failed)?,
                })
            },
        )
    }
}

impl Changes<'_> {
    /// Notes that the bytes at `url` must go.
    pub fn add_removal(&self, image_id: &str, store: Option<&str>, url: &str, upload_id: Option<&str>) -> Result<()> {
        self.execute(
            "INSERT INTO vitrine_removals (image_id, store, url, upload_id, recorded_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            &[&image_id, &store, &url, &upload_id, &Timestamp::now().to_sql()],
        )
        .map(|_| ())
    }

    /// The bytes are gone. Repeating it is harmless.
    pub fn finish_removal(&self, id: i64) -> Result<()> {
        self.execute("DELETE FROM vitrine_removals WHERE id = ?1", &[&id]).map(|_| ())
    }
}
