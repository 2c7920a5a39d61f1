//! What can be changed: images, their properties, tags and locations.

use std::collections::HashSet;
use std::ops::Deref;

use rusqlite::{Connection, ErrorCode, ToSql};
use serde_json::{Map, Value};

use super::fault::{failed, no_image};
use super::{Queries, rows};
use crate::model::{Image, Status, Visibility};
use crate::time::Timestamp;
use crate::{Error, Result};

/// The property that Glance's import uses as a lock; taken and released on its own, never by a save of the image.
pub const IMPORT_LOCK: &str = "os_glance_import_task";

/// Changes inside a transaction. Everything of [`Queries`] can be asked too and sees the changes made so far.
#[derive(Debug)]
pub struct Changes<'c> {
    queries: Queries<'c>,
}

impl<'c> Deref for Changes<'c> {
    type Target = Queries<'c>;

    fn deref(&self) -> &Queries<'c> {
        &self.queries
    }
}

/// An image to be made; its status will be `queued`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// UUID text.
    pub id: String,
    /// See [`Image`].
    pub name: Option<String>,
    /// See [`Image`].
    pub visibility: Visibility,
    /// See [`Image`].
    pub protected: bool,
    /// See [`Image`].
    pub hidden: bool,
    /// See [`Image`]; the empty text counts as none.
    pub owner: Option<String>,
    /// See [`Image`].
    pub disk_format: Option<String>,
    /// See [`Image`].
    pub container_format: Option<String>,
    /// See [`Image`].
    pub min_disk: i64,
    /// See [`Image`].
    pub min_ram: i64,
    /// Extra properties, each name once.
    pub properties: Vec<(String, String)>,
    /// Tags in order; repeated ones count once.
    pub tags: Vec<String>,
}

impl NewImage {
    /// An image of nobody with the defaults of the API.
    pub fn new(id: impl Into<String>) -> Self {
        NewImage {
            id: id.into(),
            name: None,
            visibility: Visibility::Shared,
            protected: false,
            hidden: false,
            owner: None,
            disk_format: None,
            container_format: None,
            min_disk: 0,
            min_ram: 0,
            properties: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// What a save changes of an image: `None` leaves a column as it is, `Some(None)` sets it to NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageChange {
    /// See [`Image`].
    pub name: Option<Option<String>>,
    /// See [`Image`].
    pub visibility: Option<Visibility>,
    /// See [`Image`].
    pub protected: Option<bool>,
    /// See [`Image`].
    pub hidden: Option<bool>,
    /// See [`Image`].
    pub owner: Option<Option<String>>,
    /// See [`Image`].
    pub disk_format: Option<Option<String>>,
    /// See [`Image`].
    pub container_format: Option<Option<String>>,
    /// See [`Image`].
    pub min_disk: Option<i64>,
    /// See [`Image`].
    pub min_ram: Option<i64>,
    /// The extra properties that the image shall have, all of them: others are removed.
    pub properties: Option<Vec<(String, String)>>,
    /// The tags that the image shall have, all of them: others are removed.
    pub tags: Option<Vec<String>>,
}

impl<'c> Changes<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Changes { queries: Queries::new(connection) }
    }

    /// Makes an image. 409 when its id was ever used, even by an image that is deleted.
    pub fn create_image(&self, new: &NewImage) -> Result<Image> {
        let now = Timestamp::now().to_sql();
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO images (id, name, status, visibility, protected, os_hidden, owner, disk_format, \
                 container_format, min_disk, min_ram, created_at, updated_at, deleted) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, 0)",
            )
            .and_then(|mut statement| {
                statement.execute(rusqlite::params![
                    new.id,
                    new.name,
                    Status::Queued.as_str(),
                    new.visibility.as_str(),
                    new.protected,
                    new.hidden,
                    new.owner.as_deref().filter(|owner| !owner.is_empty()),
                    new.disk_format,
                    new.container_format,
                    new.min_disk,
                    new.min_ram,
                    now,
                ])
            });
        match inserted {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return Err(Error::conflict(format!("Image ID {} already exists!", new.id)).caused_by(error));
            }
            Err(error) => return Err(failed(error)),
        }
        // It has none yet to be removed.
        self.put_properties(&new.id, &new.properties, &now)?;
        self.put_tags(&new.id, &rows::json_column(&new.tags)?, &now)?;
        self.image(&new.id)?.ok_or_else(|| Error::internal("catalog: a new image is not there"))
    }

    /// Saves `change`; `updated_at` moves even when nothing differs. `from`: statuses in which the image may be, empty
    /// for any. 404 when there is no such image, 409 when it is in another status.
    pub fn update_image(&self, id: &str, from: &[Status], change: &ImageChange) -> Result<Image> {
        self.require_status(id, from, |current| {
            Error::conflict(format!("Image {id} is in status {current}, which does not permit this change."))
        })?;
        let now = Timestamp::now().to_sql();
        let mut set = Assignments::new(&now);
        set.put("name", change.name.as_ref());
        let visibility = change.visibility.map(Visibility::as_str);
        set.put("visibility", visibility.as_ref());
        set.put("protected", change.protected.as_ref());
        set.put("os_hidden", change.hidden.as_ref());
        let owner = change.owner.clone().map(|owner| owner.filter(|owner| !owner.is_empty()));
        set.put("owner", owner.as_ref());
        set.put("disk_format", change.disk_format.as_ref());
        set.put("container_format", change.container_format.as_ref());
        set.put("min_disk", change.min_disk.as_ref());
        set.put("min_ram", change.min_ram.as_ref());
        set.run(self, &id)?;
        if let Some(properties) = &change.properties {
            self.save_properties(id, properties, &now)?;
        }
        if let Some(tags) = &change.tags {
            self.save_tags(id, tags, &now)?;
        }
        self.image(id)?.ok_or_else(|| no_image(id))
    }

    /// Moves the image to status `to`. `from`: statuses in which it may be; empty: those of the status machine. Going
    /// back to `queued` clears size and virtual size. 404 when there is no such image, 409 when it is in another status.
    pub fn set_status(&self, id: &str, from: &[Status], to: Status) -> Result<()> {
        let predecessors: Vec<Status> =
            if from.is_empty() { Status::predecessors(to).collect() } else { from.to_vec() };
        self.require_status(id, &predecessors, |current| {
            Error::conflict(format!("Image status transition from {current} to {to} is not allowed"))
        })?;
        let sql = match to {
            Status::Queued => {
                "UPDATE images SET status = ?2, updated_at = ?3, size = NULL, virtual_size = NULL WHERE id = ?1"
            }
            _ => "UPDATE images SET status = ?2, updated_at = ?3 WHERE id = ?1",
        };
        self.execute(sql, &[&id, &to.as_str(), &Timestamp::now().to_sql()]).map(|_| ())
    }

    /// Marks the image and everything of it as deleted and records its bytes for removal, but those that another image
    /// has too. Open uploads into it stay on
    /// record until their bytes are removed. 404 when there is no such image, 409 when its status does not permit it. Asks
    /// nothing about `protected`.
    pub fn delete_image(&self, id: &str) -> Result<()> {
        let image = self.image(id)?.ok_or_else(|| no_image(id))?;
        self.set_status(id, &[], Status::Deleted)?;
        // One place may be named twice, with other metadata.
        let mut seen = HashSet::new();
        for location in image.locations.iter().filter(|location| location.status != "deleted") {
            if seen.insert(&location.url) {
                self.release(id, location)?;
            }
        }
        let now = Timestamp::now().to_sql();
        self.execute("UPDATE images SET deleted = 1, deleted_at = ?2, updated_at = ?2 WHERE id = ?1", &[&id, &now])?;
        self.execute(
            "UPDATE image_locations SET deleted = 1, deleted_at = ?2, updated_at = ?2, \
             status = CASE status WHEN 'pending_delete' THEN status ELSE 'deleted' END \
             WHERE image_id = ?1 AND +deleted = 0",
            &[&id, &now],
        )?;
        for sql in [
            "UPDATE image_properties SET deleted = 1, deleted_at = ?2, updated_at = ?2 \
             WHERE image_id = ?1 AND +deleted = 0",
            "UPDATE image_members SET deleted = 1, deleted_at = ?2, updated_at = ?2 \
             WHERE image_id = ?1 AND +deleted = 0",
            "UPDATE image_tags SET deleted = 1, deleted_at = ?2, updated_at = ?2 \
             WHERE image_id = ?1 AND +deleted = 0",
        ] {
            self.execute(sql, &[&id, &now])?;
        }
        Ok(())
    }

    /// Adds a place where the image's data lies.
    pub fn add_location(&self, image_id: &str, url: &str, metadata: &Map<String, Value>) -> Result<()> {
        self.insert_location(image_id, url, &rows::json_column(metadata)?, &Timestamp::now().to_sql())
    }

    pub(super) fn insert_location(&self, image_id: &str, url: &str, metadata: &str, now: &str) -> Result<()> {
        self.execute(
            "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, updated_at, deleted) \
             VALUES (?1, ?2, ?3, 'active', ?4, ?4, 0)",
            &[&image_id, &url, &metadata, &now],
        )
        .map(|_| ())
    }

    /// The writer's lock is held, so what holds now holds at the commit.
    fn require_status(&self, id: &str, from: &[Status], refuse: impl FnOnce(Status) -> Error) -> Result<()> {
        let current = self.one("SELECT status FROM images WHERE id = ?1 AND deleted = 0", [id], |row| {
            rows::parsed::<Status>(row, 0, "images.status")
        })?;
        match current {
            None => Err(no_image(id)),
            Some(current) if from.is_empty() || from.contains(&current) => Ok(()),
            Some(current) => Err(refuse(current)),
        }
    }

    /// Makes the extra properties of an image those given.
    fn save_properties(&self, image_id: &str, properties: &[(String, String)], now: &str) -> Result<()> {
        let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
        self.execute(
            "UPDATE image_properties SET deleted = 1, deleted_at = ?3, updated_at = ?3 \
             WHERE image_id = ?1 AND +deleted = 0 AND name <> ?4 AND name NOT IN (SELECT value FROM json_each(?2))",
            &[&image_id, &rows::json_column(&names)?, &now, &IMPORT_LOCK],
        )?;
        self.put_properties(image_id, properties, now)
    }

    fn put_properties(&self, image_id: &str, properties: &[(String, String)], now: &str) -> Result<()> {
        for (name, value) in properties.iter().filter(|(name, _)| name != IMPORT_LOCK) {
            // One row per name for ever: a removed property comes back in its old row. `deleted_at` must go too:
            // Glance's purge looks at nothing else.
            self.execute(
                "INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted) \
                 VALUES (?1, ?2, ?3, ?4, ?4, 0) \
                 ON CONFLICT (image_id, name) DO UPDATE \
                 SET value = excluded.value, updated_at = excluded.updated_at, deleted = 0, deleted_at = NULL \
                 WHERE deleted <> 0 OR value IS NOT excluded.value",
                &[&image_id, name, value, &now],
            )?;
        }
        Ok(())
    }

    /// Makes the tags of an image those given.
    fn save_tags(&self, image_id: &str, tags: &[String], now: &str) -> Result<()> {
        let wanted = rows::json_column(&tags)?;
        self.execute(
            "UPDATE image_tags SET deleted = 1, deleted_at = ?3, updated_at = ?3 \
             WHERE image_id = ?1 AND +deleted = 0 AND value NOT IN (SELECT value FROM json_each(?2))",
            &[&image_id, &wanted, &now],
        )?;
        self.put_tags(image_id, &wanted, now)
    }

    /// `wanted`: a JSON list of texts.
    fn put_tags(&self, image_id: &str, wanted: &str, now: &str) -> Result<()> {
        self.execute(
            "INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted) \
             SELECT ?1, tag.value, ?3, ?3, 0 FROM json_each(?2) AS tag \
             WHERE NOT EXISTS (SELECT 1 FROM image_tags AS old \
                 WHERE old.image_id = ?1 AND old.value = tag.value AND +old.deleted = 0) \
             GROUP BY tag.value ORDER BY min(tag.key)",
            &[&image_id, &wanted, &now],
        )
        .map(|_| ())
    }
}

/// The `SET` part of an update of one image.
struct Assignments<'a> {
    sql: String,
    values: Vec<&'a dyn ToSql>,
}

impl<'a> Assignments<'a> {
    fn new(now: &'a dyn ToSql) -> Self {
        Assignments { sql: "UPDATE images SET updated_at = ?1".to_owned(), values: vec![now] }
    }

    fn put<T: ToSql>(&mut self, column: &'static str, value: Option<&'a T>) {
        if let Some(value) = value {
            self.values.push(value);
            self.sql.push_str(&format!(", {column} = ?{}", self.values.len()));
        }
    }

    fn run(mut self, changes: &Changes<'_>, id: &'a &str) -> Result<()> {
        self.values.push(id);
        self.sql.push_str(&format!(" WHERE id = ?{}", self.values.len()));
        changes.execute(&self.sql, &self.values).map(|_| ())
    }
}
