//! What clients read. Members without a value are left out.

use common::model::metadef::{Association, Namespace, Object, Property, ResourceType, Tag, definition};
use common::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::app::metadefs::Whole;

/// Where namespaces lie.
pub(super) const NAMESPACES: &str = "/v2/metadefs/namespaces";

/// A document while it is written.
#[derive(Default)]
struct Document(Map<String, Value>);

impl Document {
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn with_times(self, created_at: Timestamp, updated_at: Option<Timestamp>) -> Self {
        let updated_at = updated_at.map(Timestamp::to_api);
        self.with("created_at", created_at.to_api()).with_some("updated_at", updated_at.as_deref())
    }

    fn end(self) -> Value {
        Value::Object(self.0)
    }
}

/// Path of a namespace.
pub(super) fn namespace_path(name: &str) -> String {
    format!("{NAMESPACES}/{name}")
}

/// A namespace with `parts` of it, in their order.
pub(super) fn namespace(namespace: &Namespace, parts: Map<String, Value>) -> Value {
    let mut document = Document::default()
        .with("namespace", namespace.name.as_str())
        .with_some("display_name", namespace.display_name.as_deref())
        .with_some("description", namespace.description.as_deref())
        .with("visibility", namespace.visibility.as_str())
        .with("protected", namespace.protected)
        .with("owner", namespace.owner.as_str())
        .with_times(namespace.created_at, namespace.updated_at);
    document.0.extend(parts);
    document.with("self", namespace_path(&namespace.name)).with("schema", "/v2/schemas/metadefs/namespace").end()
}

/// A namespace with everything that hangs on it. Its properties have the names that they have on things of `resource_type`,
/// where there is an association with one.
pub(super) fn whole_namespace(whole: &Whole, resource_type: Option<&str>) -> Value {
    let prefix = whole
        .associations
        .iter()
        .find(|association| Some(association.name.as_str()) == resource_type)
        .and_then(|association| association.prefix.as_deref())
        .unwrap_or_default();
    let name = &whole.namespace.name;
    let objects: Vec<Value> = whole.objects.iter().map(|one| object(name, one, prefix)).collect();
    let tags: Vec<Value> = whole.tags.iter().map(|tag| json!({"name": tag.name})).collect();
    let all = [
        ("resource_type_associations", associations(&whole.associations)),
        ("properties", properties(&whole.properties, prefix)),
        ("objects", Value::Array(objects)),
        ("tags", Value::Array(tags)),
    ];
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let parts = all.into_iter().filter(|(_, part)| !is_empty(part));
    namespace(&whole.namespace, parts.map(|(name, part)| (name.to_owned(), part)).collect())
}

/// A namespace as lists show it.
pub(super) fn listed_namespace(listed: &Namespace, types: &[Association]) -> Value {
    let parts = (!types.is_empty()).then(|| ("resource_type_associations".to_owned(), associations(types)));
    namespace(listed, parts.into_iter().collect())
}

/// Associations with resource types.
pub(super) fn associations(all: &[Association]) -> Value {
    all.iter().map(association).collect()
}

/// One association with a resource type.
pub(super) fn association(association: &Association) -> Value {
    Document::default()
        .with("name", association.name.as_str())
        .with_some("prefix", association.prefix.as_deref())
        .with_some("properties_target", association.properties_target.as_deref())
        .with_times(association.created_at, association.updated_at)
        .end()
}

/// A resource type.
pub(super) fn resource_type(resource_type: &ResourceType) -> Value {
    Document::default()
        .with("name", resource_type.name.as_str())
        .with_times(resource_type.created_at, resource_type.updated_at)
        .end()
}

/// Properties by name, with `prefix` before their names.
pub(super) fn properties(all: &[Property], prefix: &str) -> Value {
    let shown = |one: &Property| (format!("{prefix}{}", one.name), Value::Object(definition::shown(&one.definition)));
    Value::Object(all.iter().map(shown).collect())
}

/// A property by itself.
pub(super) fn property(property: &Property) -> Value {
    let mut named = property.definition.clone();
    named.insert("name".to_owned(), Value::from(property.name.as_str()));
    Value::Object(definition::shown(&named))
}

/// An object of the namespace `namespace`, with `prefix` before the names of its properties.
pub(super) fn object(namespace: &str, object: &Object, prefix: &str) -> Value {
    let required: Vec<Value> = object.required.iter().map(|name| Value::from(format!("{prefix}{name}"))).collect();
    let shown = object.properties.iter().map(|(name, one)| {
        let definition = one.as_object().map(definition::shown).unwrap_or_default();
        (format!("{prefix}{name}"), Value::Object(definition))
    });
    let properties = Value::Object(shown.collect());
    object_with(namespace, object, Some(Value::Array(required)), Some(properties))
}

/// An object that was written just now: with what was sent of `required` and of its properties.
pub(super) fn written_object(namespace: &str, object: &Object, sent: &Map<String, Value>) -> Value {
    let properties = sent.contains_key("properties").then(|| Value::Object(object.properties.clone()));
    object_with(namespace, object, sent.get("required").cloned(), properties)
}

fn object_with(namespace: &str, object: &Object, required: Option<Value>, properties: Option<Value>) -> Value {
    let mut document = Document::default().with("name", object.name.as_str());
    document.0.extend(required.map(|required| ("required".to_owned(), required)));
    document = document.with_some("description", object.description.as_deref());
    document.0.extend(properties.map(|properties| ("properties".to_owned(), properties)));
    document
        .with_times(object.created_at, object.updated_at)
        .with("self", format!("{}/objects/{}", namespace_path(namespace), object.name))
        .with("schema", "/v2/schemas/metadefs/object")
        .end()
}

/// A tag.
pub(super) fn tag(tag: &Tag) -> Value {
    Document::default().with("name", tag.name.as_str()).with_times(tag.created_at, tag.updated_at).end()
}
