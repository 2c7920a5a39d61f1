//! What hangs on a namespace under names of its own: objects, properties and tags.

use common::catalog::{Order, Queries, TagColumn, TagQuery};
use common::identity::Identity;
use common::model::metadef::{Kind, Namespace, Object, ObjectFields, Property, Tag};
use common::{Error, Result};
use serde_json::{Map, Value};

use super::{App, Find, check_text, find, find_for_objects, refuse_protected, told};
use crate::app::fields;

/// Which tags a caller wants.
#[derive(Debug, Clone)]
pub(crate) struct WantedTags {
    /// The column that decides the order first.
    pub(crate) column: TagColumn,
    /// Whether the smallest comes first.
    pub(crate) ascending: bool,
    /// The last tag of the page before.
    pub(crate) marker: Option<String>,
    /// Tags at most; `None`: all.
    pub(crate) limit: Option<usize>,
}

impl App {
    /// The objects of a namespace.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn list_objects(&self, caller: &Identity, namespace: String) -> Result<Vec<Object>> {
        let (authority, asking) = (self.authority.clone(), caller.clone());
        self.with_namespace(caller, namespace, find_for_objects, &["get_metadef_objects"], move |catalog, namespace| {
            // Asked of each in turn it would be the same question.
            if !authority.allows_namespace("get_metadef_object", &asking, Some(namespace)) {
                return Ok(Vec::new());
            }
            catalog.objects(namespace.id)
        })
        .await
    }

    /// One object.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn show_object(&self, caller: &Identity, namespace: String, name: String) -> Result<Object> {
        self.with_namespace(caller, namespace, find_for_objects, &["get_metadef_object"], move |catalog, namespace| {
            object(catalog, namespace, &name)
        })
        .await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its name is taken, 400 for bad values.
    pub(crate) async fn create_object(
        &self,
        caller: &Identity,
        namespace: String,
        new: ObjectFields,
    ) -> Result<Object> {
        self.change_namespace(
            caller,
            namespace,
            find_for_objects,
            &["add_metadef_object"],
            move |catalog, namespace| {
                told("create metadata object", check_object(&new))?;
                catalog.create_object(namespace, &new)?;
                object(catalog, namespace, &new.name)
            },
        )
        .await
    }

    /// Gives an object these values, all of them.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its new name is taken, 400 for bad values.
    pub(crate) async fn update_object(
        &self,
        caller: &Identity,
        namespace: String,
        name: String,
        new: ObjectFields,
    ) -> Result<Object> {
        let rules = &["modify_metadef_object"];
        self.change_namespace(caller, namespace, find_for_objects, rules, move |catalog, namespace| {
            object(catalog, namespace, &name)?;
            told("update metadata object", check_object(&new))?;
            catalog.update_object(namespace, &name, &new)?;
            object(catalog, namespace, &new.name)
        })
        .await
    }

    /// The properties of a namespace.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn list_properties(&self, caller: &Identity, namespace: String) -> Result<Vec<Property>> {
        self.with_namespace(caller, namespace, find, &["get_metadef_properties"], |catalog, namespace| {
            catalog.properties(namespace.id)
        })
        .await
    }

    /// One property; where a resource type is named, by the name that the property has there.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn show_property(
        &self,
        caller: &Identity,
        namespace: String,
        name: String,
        resource_type: Option<String>,
    ) -> Result<Property> {
        let rules: &[&str] = match resource_type {
            Some(_) => &["get_metadef_property", "get_metadef_resource_type"],
            None => &["get_metadef_property"],
        };
        self.with_namespace(caller, namespace, find, rules, move |catalog, namespace| {
            let name = match resource_type {
                Some(resource_type) => unprefixed(catalog, namespace, &name, &resource_type)?,
                None => name,
            };
            property(catalog, namespace, &name)
        })
        .await
    }

    /// Makes a property.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its name is taken, 400 for bad values.
    pub(crate) async fn create_property(
        &self,
        caller: &Identity,
        namespace: String,
        new: Property,
    ) -> Result<Property> {
        self.change_namespace(caller, namespace, find, &["add_metadef_property"], move |catalog, namespace| {
            told("create metadata property", check_property(&new))?;
            catalog.create_property(namespace, &new)?;
            Ok(new)
        })
        .await
    }

    /// Gives a property these values, all of them.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its new name is taken, 400 for bad values.
    pub(crate) async fn update_property(
        &self,
        caller: &Identity,
        namespace: String,
        name: String,
        new: Property,
    ) -> Result<Property> {
        self.change_namespace(caller, namespace, find, &["modify_metadef_property"], move |catalog, namespace| {
            property(catalog, namespace, &name)?;
            told("update metadata property", check_property(&new))?;
            catalog.update_property(namespace, &name, &new)?;
            Ok(new)
        })
        .await
    }

    /// Tags of a namespace.
    ///
    /// # Errors
    /// 404 also for an unknown marker, 403 by policy.
    pub(crate) async fn list_metadef_tags(
        &self,
        caller: &Identity,
        namespace: String,
        wanted: WantedTags,
    ) -> Result<Vec<Tag>> {
        self.with_namespace(caller, namespace, find, &["get_metadef_tags"], move |catalog, namespace| {
            let marker = wanted.marker.map(|marker| tag(catalog, namespace, &marker)).transpose()?;
            let order =
                Order { column: wanted.column, ascending: wanted.ascending, marker: marker.map(|marker| marker.id) };
            catalog.metadef_tags(namespace.id, &TagQuery { order, limit: wanted.limit })
        })
        .await
    }

    /// One tag.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn show_metadef_tag(&self, caller: &Identity, namespace: String, name: String) -> Result<Tag> {
        self.with_namespace(caller, namespace, find, &["get_metadef_tag"], move |catalog, namespace| {
            tag(catalog, namespace, &name)
        })
        .await
    }

    /// Makes a tag, if `check` has nothing against its name, which is asked once the namespace is known.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when it is there, 400 for bad names.
    pub(crate) async fn create_metadef_tag(
        &self,
        caller: &Identity,
        namespace: String,
        name: String,
        check: Result<()>,
    ) -> Result<Tag> {
        let (authority, asking) = (self.authority.clone(), caller.clone());
        self.change_namespace(caller, namespace, find, &[], move |catalog, namespace| {
            check?;
            authority.enforce_namespace("add_metadef_tag", &asking, Some(namespace))?;
            told("create metadata tag", fields::refuse_four_byte("name", &name))?;
            catalog.create_tag(namespace, &name)?;
            tag(catalog, namespace, &name)
        })
        .await
    }

    /// Makes tags: beside those that are there, or in place of them. Without any, nothing is done.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when one is there or given twice, 400 for bad names.
    pub(crate) async fn create_metadef_tags(
        &self,
        caller: &Identity,
        namespace: String,
        names: Vec<String>,
        appends: bool,
    ) -> Result<Vec<String>> {
        self.change_namespace(caller, namespace, find, &["add_metadef_tags"], move |catalog, namespace| {
            let check = names.iter().try_for_each(|name| fields::refuse_four_byte("name", name));
            told("create metadata tags", check)?;
            if !appends && !names.is_empty() {
                catalog.delete_items(Kind::Tag, namespace.id)?;
            }
            names.iter().try_for_each(|name| catalog.create_tag(namespace, name))?;
            Ok(names)
        })
        .await
    }

    /// Renames a tag.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its new name is taken, 400 for bad names.
    pub(crate) async fn rename_metadef_tag(
        &self,
        caller: &Identity,
        namespace: String,
        name: String,
        renamed: String,
    ) -> Result<Tag> {
        self.change_namespace(caller, namespace, find, &["modify_metadef_tag"], move |catalog, namespace| {
            tag(catalog, namespace, &name)?;
            told("update metadata tag", fields::refuse_four_byte("name", &renamed))?;
            catalog.rename_tag(namespace, &name, &renamed)?;
            tag(catalog, namespace, &renamed)
        })
        .await
    }

    /// Removes an object, a property or a tag.
    ///
    /// # Errors
    /// 404, 403 by policy and when the namespace is protected.
    pub(crate) async fn delete_metadef_item(
        &self,
        caller: &Identity,
        namespace: String,
        kind: Kind,
        name: String,
    ) -> Result<()> {
        let (find, rules): (Find, &[&str]) = match kind {
            Kind::Object => (find_for_objects, &["delete_metadef_object"]),
            Kind::Property => (find, &["remove_metadef_property"]),
            Kind::Tag => (find, &["delete_metadef_tag"]),
        };
        self.change_namespace(caller, namespace, find, rules, move |catalog, namespace| {
            // What is not there is told before what is protected; a refusal undoes the removal.
            if !catalog.delete_item(kind, namespace.id, &name)? {
                return Err(no_item(kind, &name));
            }
            refuse_protected(namespace, kind.as_str(), &name)
        })
        .await
    }
}

fn object(catalog: &Queries<'_>, namespace: &Namespace, name: &str) -> Result<Object> {
    catalog.object(namespace.id, name)?.ok_or_else(|| no_item(Kind::Object, name))
}

fn property(catalog: &Queries<'_>, namespace: &Namespace, name: &str) -> Result<Property> {
    catalog.property(namespace.id, name)?.ok_or_else(|| no_item(Kind::Property, name))
}

fn tag(catalog: &Queries<'_>, namespace: &Namespace, name: &str) -> Result<Tag> {
    catalog.metadef_tag(namespace.id, name)?.ok_or_else(|| no_item(Kind::Tag, name))
}

fn no_item(kind: Kind, name: &str) -> Error {
    let what = match kind {
        Kind::Object => "metadata object",
        Kind::Property => "property",
        Kind::Tag => "metadata tag",
    };
    Error::not_found(format!("Could not find {what} {name}"))
}

/// The name in the namespace of a property that has `name` on things of a resource type.
fn unprefixed(catalog: &Queries<'_>, namespace: &Namespace, name: &str, resource_type: &str) -> Result<String> {
    let Some(association) = catalog.association(namespace.id, resource_type)? else {
        let text = if catalog.has_resource_type(resource_type)? {
            format!(
                "The metadata definition resource-type association of resource-type={resource_type} to namespace={}, was \
                 not found.",
                namespace.name
            )
        } else {
            format!("The metadata definition resource-type with name={resource_type}, was not found.")
        };
        return Err(Error::not_found(text));
    };
    let prefix = association.prefix.as_deref();
    let rest = prefix.filter(|prefix| !prefix.is_empty()).and_then(|prefix| name.strip_prefix(prefix));
    rest.map(str::to_owned).ok_or_else(|| {
        Error::not_found(format!(
            "Property {name} does not start with the expected resource type association prefix of '{}'.",
            prefix.unwrap_or("None")
        ))
    })
}

/// Refuses characters that no column of existing databases holds.
pub(super) fn check_object(new: &ObjectFields) -> Result<()> {
    check_text("name", Some(&new.name))?;
    check_text("required", Some(&new.required.concat()))?;
    check_text("description", new.description.as_deref())?;
    check_definitions(&new.properties)
}

/// Refuses characters that no column of existing databases holds.
pub(super) fn check_property(new: &Property) -> Result<()> {
    check_text("name", Some(&new.name))?;
    check_definitions(&new.definition)
}

/// As the original looks for them: in texts, not in lists.
fn check_definitions(object: &Map<String, Value>) -> Result<()> {
    object.iter().try_for_each(|(name, value)| match value {
        Value::Object(inner) => check_definitions(inner),
        Value::String(text) => fields::refuse_four_byte(name, text),
        _ => fields::refuse_four_byte(name, ""),
    })
}
