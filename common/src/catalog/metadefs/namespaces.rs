//! Namespaces.

use std::collections::HashMap;

use rusqlite::Row;

use super::page::{Order, page};
use super::{ListedNamespace, unless_taken};
use crate::catalog::fault::{corrupt, failed};
use crate::catalog::rows::{json_column, timestamp};
use crate::catalog::{Changes, Queries, Viewer};
use crate::model::metadef::{Kind, Namespace, NamespaceFields, NewNamespace, PRIVATE};
use crate::time::Timestamp;
use crate::{Error, Result};

/// Which namespaces a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceQuery {
    /// Who asks: others than administrators see those of their project, and public ones.
    pub viewer: Viewer,
    /// Only those with this visibility.
    pub visibility: Option<String>,
    /// Only those with any of these resource types.
    pub resource_types: Option<Vec<String>>,
    /// In which order, from where.
    pub order: Order<NamespaceColumn>,
    /// Namespaces at most.
    pub limit: usize,
}

/// A column that lists of namespaces are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceColumn {
    /// `namespace`
    Namespace,
    /// `display_name`
    DisplayName,
    /// `description`
    Description,
    /// `visibility`
    Visibility,
    /// `protected`
    Protected,
    /// `owner`
    Owner,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
}

impl NamespaceColumn {
    /// All of them.
    pub const ALL: [NamespaceColumn; 8] = [
        NamespaceColumn::Namespace,
        NamespaceColumn::DisplayName,
        NamespaceColumn::Description,
        NamespaceColumn::Visibility,
        NamespaceColumn::Protected,
        NamespaceColumn::Owner,
        NamespaceColumn::CreatedAt,
        NamespaceColumn::UpdatedAt,
    ];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            NamespaceColumn::Namespace => "namespace",
            NamespaceColumn::DisplayName => "display_name",
            NamespaceColumn::Description => "description",
            NamespaceColumn::Visibility => "visibility",
            NamespaceColumn::Protected => "protected",
            NamespaceColumn::Owner => "owner",
            NamespaceColumn::CreatedAt => "created_at",
            NamespaceColumn::UpdatedAt => "updated_at",
        }
    }
}

/// The columns that [`namespace`] reads, in its order.
const COLUMNS: &str = "id, namespace, display_name, description, visibility, protected, owner, created_at, updated_at";

impl Queries<'_> {
    /// The namespace of this name.
    pub fn namespace(&self, name: &str) -> Result<Option<Namespace>> {
        let sql = format!("SELECT {COLUMNS} FROM metadef_namespaces WHERE namespace = ?1");
        self.one(&sql, [name], namespace)
    }

    /// Every namespace, by name.
    pub fn all_namespaces(&self) -> Result<Vec<Namespace>> {
        let sql = format!("SELECT {COLUMNS} FROM metadef_namespaces ORDER BY namespace");
        self.all(&sql, [], namespace)
    }

    /// One page of namespaces with their resource types: two statements, however many there are.
    pub fn namespaces(&self, query: &NamespaceQuery) -> Result<Vec<ListedNamespace>> {
        let order = query.order;
        let (after, by) = page("metadef_namespaces", order.column.as_str(), order.ascending, 1);
        let sql = format!(
            "SELECT {COLUMNS} FROM metadef_namespaces WHERE {after} \
             AND (?2 OR owner = ?3 OR visibility = 'public') \
             AND (?4 IS NULL OR visibility = ?4) \
             AND (?5 IS NULL OR id IN (SELECT namespace_id FROM metadef_namespace_resource_types \
                 JOIN metadef_resource_types ON metadef_resource_types.id = resource_type_id \
                 WHERE name IN (SELECT value FROM json_each(?5)))) \
             ORDER BY {by} LIMIT ?6"
        );
        let types = query.resource_types.as_ref().map(json_column).transpose()?;
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let (is_admin, project) = (query.viewer.is_admin, &query.viewer.project);
        let found = self.all(
            &sql,
            rusqlite::params![order.marker, is_admin, project, query.visibility, types, limit],
            namespace,
        )?;
        let ids: Vec<i64> = found.iter().map(|namespace| namespace.id).collect();
        let mut associations: HashMap<i64, Vec<_>> = HashMap::new();
        for (id, association) in self.associations_of(&ids)? {
            associations.entry(id).or_default().push(association);
        }
        let listed = |namespace: Namespace| {
            let associations = associations.remove(&namespace.id).unwrap_or_default();
            ListedNamespace { namespace, associations }
        };
        Ok(found.into_iter().map(listed).collect())
    }
}

impl Changes<'_> {
    /// Makes a namespace with everything that is to hang on it. 409 when a name is taken.
    pub fn create_namespace(&self, new: &NewNamespace) -> Result<Namespace> {
        let namespace = self.insert_namespace(&new.fields)?;
        for association in &new.associations {
            self.create_association(&namespace, association)?;
        }
        for object in &new.objects {
            self.create_object(&namespace, object)?;
        }
        for tag in &new.tags {
            self.create_tag(&namespace, tag)?;
        }
        for property in &new.properties {
            self.create_property(&namespace, property)?;
        }
        Ok(namespace)
    }

    fn insert_namespace(&self, fields: &NamespaceFields) -> Result<Namespace> {
        let now = Timestamp::now().to_sql();
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO metadef_namespaces (namespace, display_name, description, visibility, protected, owner, \
                 created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
            )
            .and_then(|mut statement| {
                statement.execute(rusqlite::params![
                    fields.name,
                    fields.display_name,
                    fields.description,
                    fields.visibility,
                    fields.protected,
                    fields.owner,
                    now,
                ])
            });
        let name = &fields.name;
        unless_taken(inserted, || format!("The metadata definition namespace={name} already exists."))?;
        self.written_namespace(name)
    }

    /// Gives the namespace number `id` these values, all of them. 409 when its new name is taken.
    pub fn update_namespace(&self, id: i64, fields: &NamespaceFields) -> Result<Namespace> {
        let now = Timestamp::now().to_sql();
        let updated = self
            .connection
            .prepare_cached(
                "UPDATE metadef_namespaces SET namespace = ?2, display_name = ?3, description = ?4, visibility = ?5, \
                 protected = ?6, owner = ?7, updated_at = ?8 WHERE id = ?1",
            )
            .and_then(|mut statement| {
                statement.execute(rusqlite::params![
                    id,
                    fields.name,
                    fields.display_name,
                    fields.description,
                    fields.visibility,
                    fields.protected,
                    fields.owner,
                    now,
                ])
            });
        let name = &fields.name;
        unless_taken(updated, || {
            format!(
                "Invalid update. It would result in a duplicate metadata definition namespace with the same name of {name}"
            )
        })?;
        self.written_namespace(name)
    }

    /// A namespace that was written in this transaction.
    pub(super) fn written_namespace(&self, name: &str) -> Result<Namespace> {
        self.namespace(name)?.ok_or_else(|| Error::internal("catalog: a namespace that was written is not there"))
    }

    /// Removes a namespace with everything that hangs on it. Resource types stay.
    pub fn delete_namespace(&self, id: i64) -> Result<()> {
        for kind in [Kind::Tag, Kind::Object, Kind::Property] {
            self.delete_items(kind, id)?;
        }
        self.execute("DELETE FROM metadef_namespace_resource_types WHERE namespace_id = ?1", &[&id])?;
        self.execute("DELETE FROM metadef_namespaces WHERE id = ?1", &[&id]).map(drop)
    }
}

/// A namespace's row.
fn namespace(row: &Row<'_>) -> Result<Namespace> {
    let visibility: Option<String> = row.get(4).map_err(failed)?;
    let protected: Option<bool> = row.get(5).map_err(failed)?;
    Ok(Namespace {
        id: row.get(0).map_err(failed)?,
        name: row.get(1).map_err(failed)?,
        display_name: row.get(2).map_err(failed)?,
        description: row.get(3).map_err(failed)?,
        visibility: visibility.unwrap_or_else(|| PRIVATE.to_owned()),
        protected: protected.unwrap_or(false),
        owner: row.get(6).map_err(failed)?,
        created_at: timestamp(row, 7)?.ok_or_else(|| corrupt("metadef_namespaces.created_at", "NULL"))?,
        updated_at: timestamp(row, 8)?,
    })
}
