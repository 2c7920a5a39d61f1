//! Namespaces from files, and back. Rows are as Glance's own tools write them: without a time of change, with definitions as
//! they stand in the file.

use rusqlite::ToSql;
use serde_json::Value;

use super::items::{TagQuery, required_column};
use crate::catalog::rows::json_column;
use crate::catalog::{Changes, Queries};
use crate::model::metadef::{AssociationFields, Defined, DefinedObject, Namespace};
use crate::time::Timestamp;
use crate::{Error, Result};

/// What becomes of a namespace that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// It stays as it is.
    Skip,
    /// What it lacks is added.
    Merge,
    /// What it lacks is added, and what it has becomes as the file says.
    PreferNew,
    /// It is removed with everything that hangs on it, and made anew.
    Overwrite,
}

/// What came of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// The namespace was not there.
    New,
    /// It was, and stays as it is.
    Skipped,
    /// It was, and the file was merged into it.
    Merged,
    /// It was, and was made anew.
    Overwritten,
}

/// Columns of one row with their values.
type Columns<'v> = Vec<(&'static str, &'v dyn ToSql)>;

impl Changes<'_> {
    /// Takes a namespace over from a file.
    pub fn load_namespace(&self, defined: &Defined, mode: LoadMode) -> Result<Loaded> {
        let present = self.namespace(&defined.name)?;
        let loaded = match (&present, mode) {
            (None, _) => Loaded::New,
            (Some(_), LoadMode::Skip) => return Ok(Loaded::Skipped),
            (Some(_), LoadMode::Merge | LoadMode::PreferNew) => Loaded::Merged,
            (Some(namespace), LoadMode::Overwrite) => {
                self.delete_namespace(namespace.id)?;
                Loaded::Overwritten
            }
        };
        let now = Timestamp::now().to_sql();
        let loader = Loader { changes: self, now, updates: mode == LoadMode::PreferNew };
        loader.namespace(defined)?;
        Ok(loaded)
    }

    /// Removes all metadata definitions, protected ones and resource types too.
    pub fn clear_namespaces(&self) -> Result<()> {
        for table in [
            "metadef_properties",
            "metadef_objects",
            "metadef_tags",
            "metadef_namespace_resource_types",
            "metadef_namespaces",
            "metadef_resource_types",
        ] {
            self.execute(&format!("DELETE FROM {table}"), &[])?;
        }
        Ok(())
    }
}

impl Queries<'_> {
    /// A namespace as a file has it. 500, with what it is, where a part of it would be lost.
    pub fn defined_namespace(&self, namespace: &Namespace) -> Result<Defined> {
        let unreadable = self.unreadable(namespace.id)?;
        if !unreadable.is_empty() {
            return Err(Error::internal(format!(
                "namespace {}: what the catalog has of {} is no JSON",
                namespace.name,
                unreadable.join(", ")
            )));
        }
        let associations = self.associations(namespace.id)?.into_iter().map(|one| AssociationFields {
            name: one.name,
            prefix: one.prefix,
            properties_target: one.properties_target,
        });
        let objects = self.objects(namespace.id)?.into_iter().map(|one| DefinedObject {
            name: one.name,
            description: one.description,
            required: one.required,
            properties: Some(one.properties),
        });
        let properties = self.properties(namespace.id)?.into_iter();
        let mut tags = self.metadef_tags(namespace.id, &TagQuery::default())?;
        // As they were made, so that loading them gives the same order again.
        tags.reverse();
        Ok(Defined {
            name: namespace.name.clone(),
            display_name: namespace.display_name.clone(),
            description: namespace.description.clone(),
            visibility: Some(namespace.visibility.clone()),
            protected: Some(namespace.protected),
            owner: namespace.owner.clone(),
            associations: associations.collect(),
            properties: properties.map(|one| (one.name, Value::Object(one.definition))).collect(),
            objects: objects.collect(),
            tags: tags.into_iter().map(|tag| tag.name).collect(),
        })
    }
}

/// Writes the rows of one file.
struct Loader<'c> {
    changes: &'c Changes<'c>,
    now: String,
    /// Whether rows that are there get the file's values.
    updates: bool,
}

impl Loader<'_> {
    fn namespace(&self, defined: &Defined) -> Result<()> {
        self.put(
            "metadef_namespaces",
            vec![("namespace", &defined.name)],
            vec![
                ("display_name", &defined.display_name),
                ("description", &defined.description),
                ("visibility", &defined.visibility),
                ("protected", &defined.protected),
                ("owner", &defined.owner),
            ],
        )?;
        let id = self.changes.written_namespace(&defined.name)?.id;
        for association in &defined.associations {
            self.put("metadef_resource_types", vec![("name", &association.name)], vec![("protected", &true)])?;
            let resource_type = self.changes.resource_type_id(&association.name)?;
            self.put(
                "metadef_namespace_resource_types",
                vec![("resource_type_id", &resource_type), ("namespace_id", &id)],
                vec![("properties_target", &association.properties_target), ("prefix", &association.prefix)],
            )?;
        }
        for (name, definition) in &defined.properties {
            let schema = json_column(definition)?;
            self.put(
                "metadef_properties",
                vec![("namespace_id", &id), ("name", name)],
                vec![("json_schema", &schema)],
            )?;
        }
        for object in &defined.objects {
            let schema = json_column(&object.properties)?;
            let required = required_column(&object.required);
            let mut values: Columns<'_> = vec![("description", &object.description), ("json_schema", &schema)];
            // The original's files do not say it: what clients have said stays.
            if required.is_some() {
                values.push(("required", &required));
            }
            self.put("metadef_objects", vec![("namespace_id", &id), ("name", &object.name)], values)?;
        }
        for tag in &defined.tags {
            self.put("metadef_tags", vec![("namespace_id", &id), ("name", tag)], Vec::new())?;
        }
        Ok(())
    }

    /// Makes the row that has `keys`. Where it is there it gets the values, or stays.
    fn put(&self, table: &str, keys: Columns<'_>, values: Columns<'_>) -> Result<()> {
        let names = |columns: &Columns<'_>| columns.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let (key_names, value_names) = (names(&keys), names(&values));
        let all = [key_names.as_slice(), &value_names].concat();
        let marks = vec!["?"; all.len()].join(", ");
        let conflict = if self.updates {
            let sets: String = match table {
                // What others named already stays theirs.
                "metadef_resource_types" => String::new(),
                _ => value_names.iter().map(|name| format!(", {name} = excluded.{name}")).collect(),
            };
            format!("UPDATE SET updated_at = excluded.created_at{sets}")
        } else {
            "NOTHING".to_owned()
        };
        let sql = format!(
            "INSERT INTO {table} ({}, created_at) VALUES ({marks}, ?) ON CONFLICT ({}) DO {conflict}",
            all.join(", "),
            key_names.join(", ")
        );
        let mut bound: Vec<&dyn ToSql> = keys.iter().chain(&values).map(|(_, value)| *value).collect();
        bound.push(&self.now);
        self.changes.execute(&sql, &bound).map(drop)
    }
}
