//! Resource types, and the namespaces whose properties may be set on them.

use rusqlite::{OptionalExtension, Row};

use super::unless_taken;
use crate::Result;
use crate::catalog::fault::{corrupt, failed};
use crate::catalog::rows::{json_column, timestamp};
use crate::catalog::{Changes, Queries};
use crate::model::metadef::{Association, AssociationFields, Namespace, ResourceType};
use crate::time::Timestamp;

/// The columns that [`association`] reads, from the second one on.
const COLUMNS: &str = "nrt.namespace_id, rt.name, nrt.prefix, nrt.properties_target, nrt.created_at, nrt.updated_at";
const FROM: &str =
    "FROM metadef_namespace_resource_types AS nrt JOIN metadef_resource_types AS rt ON rt.id = nrt.resource_type_id";

impl Queries<'_> {
    /// All resource types, in the order of their making.
    pub fn resource_types(&self) -> Result<Vec<ResourceType>> {
        let sql = "SELECT name, created_at, updated_at FROM metadef_resource_types ORDER BY id";
        self.all(sql, [], |row| {
            Ok(ResourceType {
                name: row.get(0).map_err(failed)?,
                created_at: timestamp(row, 1)?.ok_or_else(|| corrupt("metadef_resource_types.created_at", "NULL"))?,
                updated_at: timestamp(row, 2)?,
            })
        })
    }

    /// Whether there is a resource type of this name.
    pub fn has_resource_type(&self, name: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM metadef_resource_types WHERE name = ?1";
        Ok(self.one(sql, [name], |_| Ok(()))?.is_some())
    }

    /// The resource types of namespace number `id`, in the order in which they were associated.
    pub fn associations(&self, id: i64) -> Result<Vec<Association>> {
        let found = self.associations_of(&[id])?;
        Ok(found.into_iter().map(|(_, association)| association).collect())
    }

    /// The resource types of namespaces, each with the number of its namespace.
    pub(super) fn associations_of(&self, ids: &[i64]) -> Result<Vec<(i64, Association)>> {
        let sql = format!(
            "SELECT {COLUMNS} {FROM} WHERE nrt.namespace_id IN (SELECT value FROM json_each(?1)) ORDER BY nrt.rowid"
        );
        self.all(&sql, [json_column(&ids)?], |row| Ok((row.get(0).map_err(failed)?, association(row)?)))
    }

    /// One resource type of namespace number `id`.
    pub fn association(&self, id: i64, name: &str) -> Result<Option<Association>> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE nrt.namespace_id = ?1 AND rt.name = ?2");
        self.one(&sql, rusqlite::params![id, name], association)
    }
}

impl Changes<'_> {
    /// Associates a namespace with a resource type, which is made where nobody has named it yet. 409 when it is already.
    pub fn create_association(&self, namespace: &Namespace, new: &AssociationFields) -> Result<()> {
        let now = Timestamp::now().to_sql();
        let resource_type = match self.resource_type_id(&new.name)? {
            Some(id) => id,
            None => {
                self.execute(
                    "INSERT INTO metadef_resource_types (name, protected, created_at, updated_at) VALUES (?1, 0, ?2, ?2)",
                    &[&new.name, &now],
                )?;
                self.connection.last_insert_rowid()
            }
        };
        let sql = "INSERT INTO metadef_namespace_resource_types (resource_type_id, namespace_id, prefix, \
             properties_target, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
        let inserted = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.execute(rusqlite::params![resource_type, namespace.id, new.prefix, new.properties_target, now,])
        });
        let taken = || {
            format!(
                "The metadata definition resource-type association of resource-type={} to namespace={} already exists.",
                new.name, namespace.name
            )
        };
        unless_taken(inserted, taken).map(drop)
    }

    /// The number of a resource type's row.
    pub(super) fn resource_type_id(&self, name: &str) -> Result<Option<i64>> {
        let sql = "SELECT id FROM metadef_resource_types WHERE name = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row([name], |row| row.get(0)).optional().map_err(failed)
    }

    /// Ends the association of namespace number `id` with a resource type, which stays; `false` when there is none.
    pub fn delete_association(&self, id: i64, name: &str) -> Result<bool> {
        let changed = self.execute(
            "DELETE FROM metadef_namespace_resource_types WHERE namespace_id = ?1 \
             AND resource_type_id = (SELECT id FROM metadef_resource_types WHERE name = ?2)",
            &[&id, &name],
        )?;
        Ok(changed > 0)
    }
}

fn association(row: &Row<'_>) -> Result<Association> {
    Ok(Association {
        name: row.get(1).map_err(failed)?,
        prefix: row.get(2).map_err(failed)?,
        properties_target: row.get(3).map_err(failed)?,
        created_at: timestamp(row, 4)?.ok_or_else(|| corrupt("metadef_namespace_resource_types.created_at", "NULL"))?,
        updated_at: timestamp(row, 5)?,
    })
}
