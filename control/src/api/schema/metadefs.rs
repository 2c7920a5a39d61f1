//! The schemas of metadata definitions.

use common::model::metadef::NAME_CHARS_MAX;
use serde_json::{Map, Value, json};

use super::Rules;

/// Types that a property may have. The null of the original is in its schema, and taken by none of its values.
const TYPES: [Option<&str>; 7] =
    [Some("array"), Some("boolean"), Some("integer"), Some("number"), Some("object"), Some("string"), None];

/// Every schema of metadata definitions.
pub(crate) struct MetadefSchemas {
    /// Of a namespace.
    pub(crate) namespace: Rules,
    /// Of an object.
    pub(crate) object: Rules,
    /// Of a property by itself, which has a name.
    pub(crate) property: Rules,
    /// Of a property of an object, whose name stands before it.
    pub(crate) inner_property: Rules,
    /// Of a tag.
    pub(crate) tag: Rules,
    /// Of a request for several tags.
    pub(crate) new_tags: Rules,
    /// Of an association with a resource type.
    pub(crate) association: Rules,
    /// The documents of lists, as they are served.
    pub(crate) namespaces: String,
    /// Likewise.
    pub(crate) objects: String,
    /// Likewise.
    pub(crate) properties: String,
    /// Likewise.
    pub(crate) tags: String,
    /// Likewise.
    pub(crate) associations: String,
}

impl MetadefSchemas {
    /// They are the same everywhere.
    pub(crate) fn new() -> Self {
        let shared = definitions();
        let alone = definitions_of_a_property();
        let namespace = item("namespace", namespace_properties(), Some(&shared), &["namespace"]);
        let object = item("object", object_properties(), Some(&shared), &["name"]);
        let property = item("property", property_members(), Some(&alone), &["type", "title", "name"]);
        let inner_property = item("property", property_members(), Some(&alone), &["type", "title"]);
        let tag = item("tag", tag_properties(), None, &["name"]);
        let association = item("resource_type_association", association_properties(), None, &["name"]);
        MetadefSchemas {
            namespaces: list("namespaces", &namespace).to_string(),
            objects: list("objects", &object).to_string(),
            properties: collection("properties", &inner_property, "object", "additionalProperties").to_string(),
            tags: list("tags", &tag).to_string(),
            associations: list("resource_type_associations", &association).to_string(),
            namespace: Rules::new(namespace),
            object: Rules::new(object),
            property: Rules::new(property),
            inner_property: Rules::new(inner_property),
            tag: Rules::new(tag),
            new_tags: Rules::new(new_tags()),
            association: Rules::new(association),
        }
    }
}

fn item(name: &str, properties: Value, definitions: Option<&Value>, required: &[&str]) -> Value {
    let mut document = json!({"name": name, "properties": properties, "additionalProperties": false});
    if let Some(definitions) = definitions {
        document["definitions"] = definitions.clone();
    }
    document["required"] = json!(required);
    document
}

fn list(name: &str, item: &Value) -> Value {
    collection(name, item, "array", "items")
}

/// Several items, with links to further pages; the definitions that an item refers to stand at the top.
fn collection(name: &str, item: &Value, kind: &str, keyword: &str) -> Value {
    let mut item = item.clone();
    let definitions = item.as_object_mut().and_then(|item| item.shift_remove("definitions"));
    let mut document = json!({
        "name": name,
        "properties": {
            name: {"type": kind, keyword: item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    });
    if let Some(definitions) = definitions {
        document["definitions"] = definitions;
    }
    document
}

fn text(chars_max: usize, description: &str) -> Value {
    json!({"type": "string", "description": description, "maxLength": chars_max})
}

fn time(description: &str) -> Value {
    json!({"type": "string", "readOnly": true, "description": description, "format": "date-time"})
}

fn link() -> Value {
    json!({"readOnly": true, "type": "string"})
}

fn plain(kind: &str) -> Value {
    json!({"type": kind})
}

fn defined(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

fn namespace_properties() -> Value {
    json!({
        "namespace": text(NAME_CHARS_MAX, "Name of the namespace, the only one in the cloud."),
        "display_name": text(NAME_CHARS_MAX, "Name for people."),
        "description": text(500, "Words for people."),
        "visibility": {
            "type": "string",
            "description": "Who sees the namespace: everybody, or its owner's project.",
            "enum": ["public", "private"],
        },
        "protected": {"type": "boolean", "description": "Whether removing it, or anything of it, is refused."},
        "owner": text(255, "Project that the namespace belongs to."),
        "created_at": time("When the namespace was made."),
        "updated_at": time("When the namespace last changed."),
        "schema": link(),
        "self": link(),
        "resource_type_associations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": plain("string"),
                    "prefix": plain("string"),
                    "properties_target": plain("string"),
                },
            },
        },
        "properties": defined("property"),
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": plain("string"),
                    "description": plain("string"),
                    "required": defined("stringArray"),
                    "properties": defined("property"),
                },
            },
        },
        "tags": {"type": "array", "items": {"type": "object", "properties": {"name": plain("string")}}},
    })
}

fn object_properties() -> Value {
    json!({
        "name": {"type": "string", "maxLength": NAME_CHARS_MAX},
        "description": plain("string"),
        "required": defined("stringArray"),
        "properties": defined("property"),
        "schema": link(),
        "self": link(),
        "created_at": time("When the object was made."),
        "updated_at": time("When the object last changed."),
    })
}

fn tag_properties() -> Value {
    json!({
        "name": {"type": "string", "maxLength": NAME_CHARS_MAX},
        "created_at": time("When the tag was made."),
        "updated_at": time("When the tag last changed."),
    })
}

fn new_tags() -> Value {
    json!({
        "name": "tags",
        "properties": {
            "tags": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": plain("string")},
                    "required": ["name"],
                    "additionalProperties": false,
                },
            },
        },
        "additionalProperties": false,
    })
}

fn association_properties() -> Value {
    json!({
        "name": text(NAME_CHARS_MAX, "Name of the resource type, where there is one as Heat has it."),
        "prefix": text(
            NAME_CHARS_MAX,
            "What stands before the names of the namespace's properties on things of this type, with its separator.",
        ),
        "properties_target": text(
            NAME_CHARS_MAX,
            "Which properties of a thing of this type are meant, where it has several sets of them.",
        ),
        "created_at": time("When the namespace was associated with the type."),
        "updated_at": time("When the association last changed."),
    })
}

/// The members of a property's definition.
fn property_members() -> Value {
    json!({
        "name": {"type": "string", "maxLength": NAME_CHARS_MAX},
        "title": plain("string"),
        "description": plain("string"),
        "operators": {"type": "array", "items": {"type": "string"}},
        "type": {"type": "string", "enum": TYPES},
        "required": defined("stringArray"),
        "minimum": plain("number"),
        "maximum": plain("number"),
        "maxLength": defined("positiveInteger"),
        "minLength": defined("positiveIntegerDefault0"),
        "pattern": {"type": "string", "format": "regex"},
        "enum": plain("array"),
        "readonly": plain("boolean"),
        "default": {},
        "items": {
            "type": "object",
            "properties": {"type": {"type": "string", "enum": TYPES}, "enum": plain("array")},
        },
        "maxItems": defined("positiveInteger"),
        "minItems": defined("positiveIntegerDefault0"),
        "uniqueItems": {"type": "boolean", "default": false},
        "additionalItems": plain("boolean"),
    })
}

/// What the schemas of a namespace and of an object refer to.
fn definitions() -> Value {
    let mut all = numbers();
    all.insert("stringArray".to_owned(), json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}));
    let property = json!({"type": "object", "required": ["title", "type"], "properties": property_members()});
    all.insert("property".to_owned(), json!({"type": "object", "additionalProperties": property}));
    Value::Object(all)
}

/// What the schema of a property refers to: there a list of texts is not empty.
fn definitions_of_a_property() -> Value {
    let mut all = numbers();
    let texts = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": true});
    all.insert("stringArray".to_owned(), texts);
    Value::Object(all)
}

fn numbers() -> Map<String, Value> {
    let positive = json!({"type": "integer", "minimum": 0});
    let or_none = json!({"allOf": [defined("positiveInteger"), {"default": 0}]});
    [("positiveInteger".to_owned(), positive), ("positiveIntegerDefault0".to_owned(), or_none)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_the_rules() {
        let schemas = MetadefSchemas::new();
        let good = json!({"namespace": "n", "properties": {"p": {"type": "string", "title": "t", "minLength": 0}}});
        assert_eq!(schemas.namespace.validate(&good), Ok(()));
        let bad = json!({"namespace": "n", "properties": {"p": {"type": "string", "title": "t", "minLength": -1}}});
        assert!(schemas.namespace.validate(&bad).is_err());
        let null = json!({"name": "n", "title": "t", "type": null});
        assert!(schemas.property.validate(&null).is_err());
        let list: Value = serde_json::from_str(&schemas.objects).expect("JSON");
        assert!(list["definitions"]["property"].is_object() && list["properties"]["objects"]["items"].is_object());
    }
}
