//! What can be asked of the catalog about one image.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, ToSql};

use super::fault::{corrupt, failed};
use super::memo::Memo;
use super::rows::{self, IMAGE_COLUMNS, MEMBER_COLUMNS};
use crate::Result;
use crate::model::{Image, Location, Member, MemberStatus};

/// Questions to the catalog. Only live rows are seen, unless said otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'c> {
    pub(super) connection: &'c Connection,
    /// What was read before; only where all is asked in a transaction that reads.
    memo: Option<&'c Memo>,
}

impl<'c> Queries<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Queries { connection, memo: None }
    }

    /// The same in a transaction that reads, for whoever remembers in `memo`.
    pub(super) fn with_memo(connection: &'c Connection, memo: &'c Memo) -> Self {
        Queries { connection, memo: Some(memo) }
    }

    /// The image `id`, whole. Four statements; where images are remembered one more, or only that one.
    pub fn image(&self, id: &str) -> Result<Option<Image>> {
        let Some(memo) = self.memo else { return self.read_image(id) };
        memo.renew(self.connection)?;
        if let Some(image) = memo.get(id) {
            return Ok(Some((*image).clone()));
        }
        let image = self.read_image(id)?;
        if let Some(image) = &image {
            memo.put(&Arc::new(image.clone()));
        }
        Ok(image)
    }

    fn read_image(&self, id: &str) -> Result<Option<Image>> {
        let sql = format!("SELECT {IMAGE_COLUMNS} FROM images WHERE id = ?1 AND deleted = 0");
        let Some(image) = self.one(&sql, [id], rows::image)? else { return Ok(None) };
        let mut images = [image];
        self.fill(&mut images)?;
        let [image] = images;
        Ok(Some(image))
    }

    /// The whole images of these rows, `rowid` and `id`, in this order; each once, and of the present transaction. Five statements at
    /// most, however many they are.
    pub(super) fn images(&self, rows: &[(i64, String)]) -> Result<Vec<Arc<Image>>> {
        if let Some(memo) = self.memo {
            memo.renew(self.connection)?;
        }
        let remembered = |id: &str| self.memo.and_then(|memo| memo.get(id));
        let mut images: Vec<Option<Arc<Image>>> = rows.iter().map(|(_, id)| remembered(id)).collect();
        let missing = rows.iter().zip(&images).filter(|(_, image)| image.is_none());
        let missing: Vec<i64> = missing.map(|((row, _), _)| *row).collect();
        if !missing.is_empty() {
            let sql = format!("SELECT {IMAGE_COLUMNS} FROM images WHERE rowid IN (SELECT value FROM json_each(?1))");
            let mut read = self.all(&sql, [rows::json_column(&missing)?], rows::image)?;
            self.fill(&mut read)?;
            let mut read: HashMap<String, Image> = read.into_iter().map(|image| (image.id.clone(), image)).collect();
            for (place, (_, id)) in images.iter_mut().zip(rows).filter(|(place, _)| place.is_none()) {
                let image = Arc::new(read.remove(id).ok_or_else(|| corrupt("images.id", id))?);
                if let Some(memo) = self.memo {
                    memo.put(&image);
                }
                *place = Some(image);
            }
        }
        Ok(images.into_iter().flatten().collect())
    }

    /// Whether an image of this id was ever made: deleted ones count, their ids stay taken.
    pub fn image_id_taken(&self, id: &str) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM images WHERE id = ?1", [id], |_| Ok(()))?.is_some())
    }

    /// What `project` made of the offer of image `image_id`; `None` when it is no member.
    pub fn membership(&self, image_id: &str, project: &str) -> Result<Option<MemberStatus>> {
        Ok(self.member(image_id, project)?.map(|member| member.status))
    }

    /// The membership of `project` in image `image_id`.
    pub fn member(&self, image_id: &str, project: &str) -> Result<Option<Member>> {
        let sql = format!(
            "SELECT {MEMBER_COLUMNS} FROM image_members WHERE image_id = ?1 AND member = ?2 AND +deleted = 0 \
             ORDER BY id LIMIT 1"
        );
        self.one(&sql, [image_id, project], rows::member)
    }

    /// All members of image `image_id`, in the order of their making.
    pub fn members(&self, image_id: &str) -> Result<Vec<Member>> {
        let sql =
            format!("SELECT {MEMBER_COLUMNS} FROM image_members WHERE image_id = ?1 AND +deleted = 0 ORDER BY id");
        self.all(&sql, [image_id], rows::member)
    }

    /// Puts properties, tags and locations to the images: three statements, however many images there are.
    pub(super) fn fill(&self, images: &mut [Image]) -> Result<()> {
        let ids: Vec<&str> = images.iter().map(|image| image.id.as_str()).collect();
        let ids = rows::json_column(&ids)?;
        let index: HashMap<String, usize> =
            images.iter().enumerate().map(|(place, image)| (image.id.clone(), place)).collect();
        let place = |id: &str| index.get(id).copied().ok_or_else(|| corrupt("image_id", id));

        self.each(PROPERTIES_OF, [&ids], |row| {
            let value: Option<String> = row.get(2).map_err(failed)?;
            let target = &mut images[place(row.get_ref(0).and_then(text).map_err(failed)?)?];
            target.properties.push((row.get(1).map_err(failed)?, value.unwrap_or_default()));
            Ok(())
        })?;
        self.each(TAGS_OF, [&ids], |row| {
            let target = &mut images[place(row.get_ref(0).and_then(text).map_err(failed)?)?];
            let tag: String = row.get(1).map_err(failed)?;
            // Nothing in the schema keeps a racing Glance from writing a tag twice.
            if !target.tags.contains(&tag) {
                target.tags.push(tag);
            }
            Ok(())
        })?;
        self.each(LOCATIONS_OF, [&ids], |row| {
            let target = &mut images[place(row.get_ref(0).and_then(text).map_err(failed)?)?];
            let metadata: Option<String> = row.get(3).map_err(failed)?;
            target.locations.push(Location {
                id: row.get(1).map_err(failed)?,
                url: row.get(2).map_err(failed)?,
                metadata: rows::location_metadata(metadata.as_deref()),
                status: row.get(4).map_err(failed)?,
            });
            Ok(())
        })
    }

    /// The first row of `sql`, decoded.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        decode: impl FnOnce(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(params, |row| Ok(decode(row))).optional().map_err(failed)?.transpose()
    }

    /// All rows of `sql`, decoded.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut decode: impl FnMut(&rusqlite::Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut values = Vec::new();
        self.each(sql, params, |row| {
            values.push(decode(row)?);
            Ok(())
        })?;
        Ok(values)
    }

    fn each(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(params).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            take(row)?;
        }
        Ok(())
    }

    /// Runs a statement that changes rows; how many it changed.
    pub(super) fn execute(&self, sql: &str, params: &[&dyn ToSql]) -> Result<usize> {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(failed)
    }
}

// The unary plus keeps the engine from the index on `deleted`, which tells nothing apart.
const PROPERTIES_OF: &str = "SELECT image_id, name, value FROM image_properties \
     WHERE image_id IN (SELECT value FROM json_each(?1)) AND +deleted = 0 ORDER BY image_id, id";
const TAGS_OF: &str = "SELECT image_id, value FROM image_tags \
     WHERE image_id IN (SELECT value FROM json_each(?1)) AND +deleted = 0 ORDER BY image_id, id";
const LOCATIONS_OF: &str = "SELECT image_id, id, value, meta_data, status FROM image_locations \
     WHERE image_id IN (SELECT value FROM json_each(?1)) AND +deleted = 0 ORDER BY image_id, id";

fn text(value: rusqlite::types::ValueRef<'_>) -> rusqlite::Result<&str> {
    Ok(value.as_str()?)
}
