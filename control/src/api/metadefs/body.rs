//! What clients send: checked by the schema, then taken apart.

use common::model::metadef::{
    AssociationFields, NAME_CHARS_MAX, NamespaceFields, NewNamespace, ObjectFields, PRIVATE, Property, definition,
};
use common::{Error, Result};
use serde_json::{Map, Value};

use crate::api::call::Call;
use crate::api::schema::{Rules, shorten};
use crate::app::fields;
use crate::app::metadefs::Parts;

/// Members that only the server sets, of what has links.
pub(super) const READ_ONLY: &[&str] = &["self", "schema", "created_at", "updated_at"];

/// Members that only the server sets, of what has none.
pub(super) const READ_ONLY_TIMES: &[&str] = &["created_at", "updated_at"];

/// The object in a request, if it is as `rules` say.
///
/// # Errors
/// 400 for what is no object or breaks the rules, 403 for members of `read_only`.
pub(super) fn object(call: &Call<'_>, rules: &Rules, read_only: &[&str]) -> Result<Map<String, Value>> {
    let Value::Object(object) = call.json()? else {
        return Err(Error::bad_request("Unexpected body type. Expected an object."));
    };
    if let Some(name) = read_only.iter().find(|name| object.contains_key(**name)) {
        return Err(fields::read_only(name));
    }
    let value = Value::Object(object);
    rules.validate(&value)?;
    match value {
        Value::Object(object) => Ok(object),
        // It was one before.
        _ => Ok(Map::new()),
    }
}

/// A namespace's own fields; what is not given is what it is by default, and the owner is `project`.
pub(super) fn namespace(object: &Map<String, Value>, owner: String) -> NamespaceFields {
    NamespaceFields {
        name: text(object, "namespace").unwrap_or_default(),
        display_name: text(object, "display_name"),
        description: text(object, "description"),
        visibility: text(object, "visibility").unwrap_or_else(|| PRIVATE.to_owned()),
        protected: object.get("protected").and_then(Value::as_bool).unwrap_or(false),
        owner,
    }
}

/// A new namespace with all that hangs on it, and these parts as they are told to the client, in their order.
///
/// # Errors
/// 400 for parts that the schema lets pass and that are none.
pub(super) fn new_namespace(
    object: &Map<String, Value>,
    owner: String,
) -> Result<(NewNamespace, Parts, Map<String, Value>)> {
    let mut told = Map::new();
    let associations = nested(object, "resource_type_associations", &mut told, |one| {
        only_members(one, &["name", "prefix", "properties_target"], READ_ONLY_TIMES)?;
        Ok((association(one)?, Value::Object(one.clone())))
    })?;
    let properties = definitions(object, "properties")?;
    told.extend(
        object.contains_key("properties").then(|| ("properties".to_owned(), Value::Object(properties.clone()))),
    );
    let objects = nested(object, "objects", &mut told, |one| {
        only_members(one, &["name", "description", "required", "properties"], READ_ONLY)?;
        let fields = object_fields(one)?;
        let mut told = one.clone();
        if let Some(properties) = told.get_mut("properties") {
            *properties = Value::Object(fields.properties.clone());
        }
        Ok((fields, Value::Object(told)))
    })?;
    let tags = nested(object, "tags", &mut told, |one| {
        only_members(one, &["name"], READ_ONLY_TIMES)?;
        Ok((name(one)?, Value::Object(one.clone())))
    })?;
    let properties: Vec<Property> = properties
        .into_iter()
        .map(|(name, definition)| match definition {
            Value::Object(definition) => Property { name, definition },
            _ => Property { name, definition: Map::new() },
        })
        .collect();
    properties.iter().try_for_each(|property| fits("name", &property.name))?;
    let parts = Parts {
        associations: !associations.is_empty(),
        objects: !objects.is_empty(),
        properties: !properties.is_empty(),
        tags: !tags.is_empty(),
    };
    let new = NewNamespace { fields: namespace(object, owner), associations, objects, tags, properties };
    Ok((new, parts, told))
}

/// An object's fields.
///
/// # Errors
/// 400 for definitions that the schema lets pass and that are none, and for a name that no column holds.
pub(super) fn object_fields(object: &Map<String, Value>) -> Result<ObjectFields> {
    Ok(ObjectFields {
        name: name(object)?,
        description: text(object, "description"),
        required: texts(object, "required"),
        properties: definitions(object, "properties")?,
    })
}

/// A property by itself.
///
/// # Errors
/// 400 for a definition that the schema lets pass and that is none.
pub(super) fn property(object: &Map<String, Value>) -> Result<Property> {
    Ok(Property { name: name(object)?, definition: accept(object)? })
}

/// An association's fields.
///
/// # Errors
/// 400 for texts that no column holds.
pub(super) fn association(object: &Map<String, Value>) -> Result<AssociationFields> {
    let fields = AssociationFields {
        name: name(object)?,
        prefix: text(object, "prefix"),
        properties_target: text(object, "properties_target"),
    };
    fits("prefix", fields.prefix.as_deref().unwrap_or_default())?;
    fits("properties_target", fields.properties_target.as_deref().unwrap_or_default())?;
    Ok(fields)
}

/// The names of new tags.
///
/// # Errors
/// 400 where there is no list of them, and for names that no column holds.
pub(super) fn tags(object: &Map<String, Value>) -> Result<Vec<String>> {
    let Some(tags) = object.get("tags").and_then(Value::as_array) else {
        return Err(Error::bad_request("Tags to be made not specified"));
    };
    tags.iter().filter_map(Value::as_object).map(name).collect()
}

/// The member `name`.
///
/// # Errors
/// 400 where it is missing, and for one that no column holds.
pub(super) fn name(object: &Map<String, Value>) -> Result<String> {
    let name = text(object, "name").ok_or_else(|| Error::bad_request("'name' is a required property"))?;
    fits("name", &name)?;
    Ok(name)
}

/// A text; the schema has seen to it that it is one.
fn text(object: &Map<String, Value>, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(object: &Map<String, Value>, name: &str) -> Vec<String> {
    let items = object.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn accept(object: &Map<String, Value>) -> Result<Map<String, Value>> {
    definition::accept(object).map_err(|refused| Error::bad_request(refused.to_string()))
}

/// Definitions by name.
fn definitions(object: &Map<String, Value>, name: &str) -> Result<Map<String, Value>> {
    let Some(definitions) = object.get(name).and_then(Value::as_object) else { return Ok(Map::new()) };
    let accepted = definitions.iter().map(|(name, definition)| {
        let definition = definition.as_object().map(accept).transpose()?.unwrap_or_default();
        Ok((name.clone(), Value::Object(definition)))
    });
    accepted.collect()
}

/// A list of parts of a namespace. How they are told to the client is added to `told`, if they were sent at all.
fn nested<T>(
    object: &Map<String, Value>,
    name: &str,
    told: &mut Map<String, Value>,
    read: impl Fn(&Map<String, Value>) -> Result<(T, Value)>,
) -> Result<Vec<T>> {
    let Some(items) = object.get(name).and_then(Value::as_array) else { return Ok(Vec::new()) };
    let read: Vec<(T, Value)> = items.iter().filter_map(Value::as_object).map(read).collect::<Result<_>>()?;
    let (parts, views): (Vec<T>, Vec<Value>) = read.into_iter().unzip();
    told.insert(name.to_owned(), Value::Array(views));
    Ok(parts)
}

/// Refuses members that a part of a namespace does not have, which its schema lets pass. Clients send back what they have read,
/// so that texts in `read_only` members are as good as nothing.
fn only_members(object: &Map<String, Value>, known: &[&str], read_only: &[&str]) -> Result<()> {
    let is_known = |name: &str, value: &Value| {
        known.contains(&name) || (read_only.contains(&name) && (value.is_string() || value.is_null()))
    };
    match object.iter().find(|(name, value)| !is_known(name, value)) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("Additional properties are not allowed ('{}' was unexpected)", shorten(name));
            Err(Error::bad_request(text))
        }
    }
}

/// Refuses a text that no column holds.
fn fits(name: &str, text: &str) -> Result<()> {
    if text.chars().nth(NAME_CHARS_MAX).is_some() {
        return Err(Error::bad_request(format!("{name} can't be longer than {NAME_CHARS_MAX} characters")));
    }
    Ok(())
}
