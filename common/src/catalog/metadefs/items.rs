//! What hangs on a namespace under names of its own: objects, properties and tags.

use rusqlite::{Row, ToSql};
use serde_json::{Map, Value};

use super::page::{Order, page};
use super::unless_taken;
use crate::Result;
use crate::catalog::fault::{corrupt, failed};
use crate::catalog::rows::{json_column, timestamp};
use crate::catalog::{Changes, Queries};
use crate::model::metadef::{Kind, Namespace, Object, ObjectFields, Property, Tag};
use crate::time::Timestamp;

/// Which tags of a namespace a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagQuery {
    /// In which order, from where.
    pub order: Order<TagColumn>,
    /// Tags at most; `None`: all.
    pub limit: Option<usize>,
}

impl Default for TagQuery {
    /// All of them, the newest first.
    fn default() -> Self {
        TagQuery { order: Order { column: TagColumn::CreatedAt, ascending: false, marker: None }, limit: None }
    }
}

/// A column that lists of tags are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagColumn {
    /// `name`
    Name,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
}

impl TagColumn {
    /// All of them.
    pub const ALL: [TagColumn; 3] = [TagColumn::Name, TagColumn::CreatedAt, TagColumn::UpdatedAt];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            TagColumn::Name => "name",
            TagColumn::CreatedAt => "created_at",
            TagColumn::UpdatedAt => "updated_at",
        }
    }
}

const OBJECT_COLUMNS: &str = "name, description, required, json_schema, created_at, updated_at";
const PROPERTY_COLUMNS: &str = "name, json_schema";
const TAG_COLUMNS: &str = "id, name, created_at, updated_at";

/// The table of a kind.
fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "metadef_objects",
        Kind::Property => "metadef_properties",
        Kind::Tag => "metadef_tags",
    }
}

/// Why an item cannot be made.
fn taken(kind: Kind, namespace: &str, name: &str) -> String {
    match kind {
        // Said of every catalog, though only MySQL compares names so.
        Kind::Tag => format!(
            "A metadata tag with name={name} already exists in namespace={namespace}. (Please note that metadata tag \
             names are case insensitive)."
        ),
        Kind::Object | Kind::Property => {
            let kind = kind.as_str();
            format!("A metadata definition {kind} with name={name} already exists in namespace={namespace}.")
        }
    }
}

/// Why an item cannot be renamed.
fn taken_anew(kind: Kind, namespace: &str, name: &str) -> String {
    match kind {
        Kind::Tag => taken(kind, namespace, name),
        Kind::Object | Kind::Property => {
            let kind = kind.as_str();
            format!(
                "Invalid update. It would result in a duplicate metadata definition {kind} with the same name={name} in \
                 namespace={namespace}."
            )
        }
    }
}

impl Queries<'_> {
    /// The objects of namespace number `id`, by name.
    pub fn objects(&self, id: i64) -> Result<Vec<Object>> {
        let sql = format!("SELECT {OBJECT_COLUMNS} FROM metadef_objects WHERE namespace_id = ?1 ORDER BY name");
        self.all(&sql, [id], object)
    }

    /// One object of namespace number `id`.
    pub fn object(&self, id: i64, name: &str) -> Result<Option<Object>> {
        let sql = format!("SELECT {OBJECT_COLUMNS} FROM metadef_objects WHERE namespace_id = ?1 AND name = ?2");
        self.one(&sql, rusqlite::params![id, name], object)
    }

    /// The properties of namespace number `id`, by name.
    pub fn properties(&self, id: i64) -> Result<Vec<Property>> {
        let sql = format!("SELECT {PROPERTY_COLUMNS} FROM metadef_properties WHERE namespace_id = ?1 ORDER BY name");
        self.all(&sql, [id], property)
    }

    /// One property of namespace number `id`.
    pub fn property(&self, id: i64, name: &str) -> Result<Option<Property>> {
        let sql = format!("SELECT {PROPERTY_COLUMNS} FROM metadef_properties WHERE namespace_id = ?1 AND name = ?2");
        self.one(&sql, rusqlite::params![id, name], property)
    }

    /// Names of the objects and properties of namespace number `id` whose definitions nobody here can read.
    pub(super) fn unreadable(&self, id: i64) -> Result<Vec<String>> {
        let sql = "SELECT name, json_schema FROM metadef_objects WHERE namespace_id = ?1 \
                   UNION ALL SELECT name, json_schema FROM metadef_properties WHERE namespace_id = ?1";
        let all: Vec<(String, String)> =
            self.all(sql, [id], |row| Ok((row.get(0).map_err(failed)?, row.get(1).map_err(failed)?)))?;
        Ok(all.into_iter().filter(|(_, text)| is_unreadable(text)).map(|(name, _)| name).collect())
    }

    /// Tags of namespace number `id`.
    pub fn metadef_tags(&self, id: i64, query: &TagQuery) -> Result<Vec<Tag>> {
        let order = query.order;
        let (after, by) = page("metadef_tags", order.column.as_str(), order.ascending, 1);
        let sql = format!(
            "SELECT {TAG_COLUMNS} FROM metadef_tags WHERE {after} AND namespace_id = ?2 ORDER BY {by} LIMIT ?3"
        );
        let limit = query.limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        self.all(&sql, rusqlite::params![order.marker, id, limit], tag)
    }

    /// One tag of namespace number `id`.
    pub fn metadef_tag(&self, id: i64, name: &str) -> Result<Option<Tag>> {
        let sql = format!("SELECT {TAG_COLUMNS} FROM metadef_tags WHERE namespace_id = ?1 AND name = ?2");
        self.one(&sql, rusqlite::params![id, name], tag)
    }
}

impl Changes<'_> {
    /// Makes an object. 409 when its name is taken.
    pub fn create_object(&self, namespace: &Namespace, new: &ObjectFields) -> Result<()> {
        let required = required_column(&new.required);
        let schema = json_column(&new.properties)?;
        self.insert_item(
            Kind::Object,
            namespace,
            &new.name,
            &[("description", &new.description), ("required", &required), ("json_schema", &schema)],
        )
    }

    /// Gives an object these values, all of them; `false` when it is not there. 409 when its new name is taken.
    pub fn update_object(&self, namespace: &Namespace, name: &str, fields: &ObjectFields) -> Result<bool> {
        let required = required_column(&fields.required);
        let schema = json_column(&fields.properties)?;
        self.update_item(
            Kind::Object,
            namespace,
            name,
            &fields.name,
            &[("description", &fields.description), ("required", &required), ("json_schema", &schema)],
        )
    }

    /// Makes a property. 409 when its name is taken.
    pub fn create_property(&self, namespace: &Namespace, new: &Property) -> Result<()> {
        let schema = json_column(&new.definition)?;
        self.insert_item(Kind::Property, namespace, &new.name, &[("json_schema", &schema)])
    }

    /// Gives a property these values, all of them; `false` when it is not there. 409 when its new name is taken.
    pub fn update_property(&self, namespace: &Namespace, name: &str, fields: &Property) -> Result<bool> {
        let schema = json_column(&fields.definition)?;
        self.update_item(Kind::Property, namespace, name, &fields.name, &[("json_schema", &schema)])
    }

    /// Makes a tag. 409 when it is there.
    pub fn create_tag(&self, namespace: &Namespace, name: &str) -> Result<()> {
        self.insert_item(Kind::Tag, namespace, name, &[])
    }

    /// Renames a tag; `false` when it is not there. 409 when its new name is taken.
    pub fn rename_tag(&self, namespace: &Namespace, name: &str, renamed: &str) -> Result<bool> {
        self.update_item(Kind::Tag, namespace, name, renamed, &[])
    }

    fn insert_item(&self, kind: Kind, namespace: &Namespace, name: &str, columns: &[(&str, &dyn ToSql)]) -> Result<()> {
        let now = Timestamp::now().to_sql();
        let names: String = columns.iter().map(|(column, _)| format!(", {column}")).collect();
        let marks: String = (4..).take(columns.len()).map(|number| format!(", ?{number}")).collect();
        let sql = format!(
            "INSERT INTO {} (namespace_id, name, created_at, updated_at{names}) VALUES (?1, ?2, ?3, ?3{marks})",
            table(kind)
        );
        let mut values: Vec<&dyn ToSql> = vec![&namespace.id, &name, &now];
        values.extend(columns.iter().map(|(_, value)| *value));
        let inserted =
            self.connection.prepare_cached(&sql).and_then(|mut statement| statement.execute(values.as_slice()));
        unless_taken(inserted, || taken(kind, &namespace.name, name)).map(drop)
    }

    fn update_item(
        &self,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
        renamed: &str,
        columns: &[(&str, &dyn ToSql)],
    ) -> Result<bool> {
        let now = Timestamp::now().to_sql();
        let numbered = (5..).zip(columns);
        let sets: String = numbered.map(|(number, (column, _))| format!(", {column} = ?{number}")).collect();
        let sql = format!(
            "UPDATE {} SET name = ?3, updated_at = ?4{sets} WHERE namespace_id = ?1 AND name = ?2",
            table(kind)
        );
        let mut values: Vec<&dyn ToSql> = vec![&namespace.id, &name, &renamed, &now];
        values.extend(columns.iter().map(|(_, value)| *value));
        let updated =
            self.connection.prepare_cached(&sql).and_then(|mut statement| statement.execute(values.as_slice()));
        unless_taken(updated, || taken_anew(kind, &namespace.name, renamed)).map(|changed| changed > 0)
    }

    /// Removes an item of namespace number `id`; `false` when it is not there.
    pub fn delete_item(&self, kind: Kind, id: i64, name: &str) -> Result<bool> {
        let sql = format!("DELETE FROM {} WHERE namespace_id = ?1 AND name = ?2", table(kind));
        Ok(self.execute(&sql, &[&id, &name])? > 0)
    }

    /// Removes all items of a kind that namespace number `id` has.
    pub fn delete_items(&self, kind: Kind, id: i64) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE namespace_id = ?1", table(kind));
        self.execute(&sql, &[&id]).map(drop)
    }
}

/// Names joined by commas; NULL for none.
pub(super) fn required_column(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(","))
}

fn object(row: &Row<'_>) -> Result<Object> {
    let required: Option<String> = row.get(2).map_err(failed)?;
    let required = required.filter(|names| !names.is_empty());
    Ok(Object {
        name: row.get(0).map_err(failed)?,
        description: row.get(1).map_err(failed)?,
        required: required.map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        properties: schema(row, 3)?,
        created_at: timestamp(row, 4)?.ok_or_else(|| corrupt("metadef_objects.created_at", "NULL"))?,
        updated_at: timestamp(row, 5)?,
    })
}

fn property(row: &Row<'_>) -> Result<Property> {
    Ok(Property { name: row.get(0).map_err(failed)?, definition: schema(row, 1)? })
}

fn tag(row: &Row<'_>) -> Result<Tag> {
    Ok(Tag {
        id: row.get(0).map_err(failed)?,
        name: row.get(1).map_err(failed)?,
        created_at: timestamp(row, 2)?.ok_or_else(|| corrupt("metadef_tags.created_at", "NULL"))?,
        updated_at: timestamp(row, 3)?,
    })
}

/// A JSON column with an object; anything else reads as an empty one (a file without properties leaves `null`).
fn schema(row: &Row<'_>, index: usize) -> Result<Map<String, Value>> {
    let text: String = row.get(index).map_err(failed)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// Whether such a column has more in it than [`schema`] reads: Python takes for JSON what is none.
fn is_unreadable(text: &str) -> bool {
    !matches!(text.trim(), "" | "null") && serde_json::from_str::<Map<String, Value>>(text).is_err()
}
