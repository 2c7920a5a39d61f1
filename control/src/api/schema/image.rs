//! The fields of an image: one table for the schema that clients read and for the checks of what they send.

use common::Result;
use common::config::Api;
use common::model::{Status, Visibility};
use serde_json::{Map, Value, json};

use super::check::Shape;
use crate::app::fields::TEXT_CHARS_MAX;

/// Name of the schema in documents and messages.
const NAME: &str = "image";

/// One field of an image.
struct Field {
    name: &'static str,
    shape: Shape,
    read_only: bool,
    description: &'static str,
}

/// The schema of an image, with the formats of this site.
pub(crate) struct ImageSchema {
    fields: Vec<Field>,
}

impl ImageSchema {
    /// The schema with the formats that `api` allows.
    pub(crate) fn new(api: &Api) -> Self {
        ImageSchema { fields: fields(api) }
    }

    /// Checks every value of `object`, known fields and extra properties alike.
    ///
    /// # Errors
    /// 400 that names the first value which does not fit.
    pub(crate) fn validate(&self, object: &Map<String, Value>) -> Result<()> {
        object.iter().try_for_each(|(name, value)| self.validate_field(name, value))
    }

    /// Checks one value.
    ///
    /// # Errors
    /// 400 if it does not fit.
    pub(crate) fn validate_field(&self, name: &str, value: &Value) -> Result<()> {
        let extra = Shape::Text { nullable: false, max: None };
        let field = self.fields.iter().find(|field| field.name == name);
        let shape = field.map_or(&extra, |field| &field.shape);
        shape.check(value).map_err(|misfit| misfit.into_error(NAME, name, field.is_some()))
    }

    /// Checks the elements that a patch adds to a list.
    ///
    /// # Errors
    /// 400 if one does not fit.
    pub(crate) fn validate_element(&self, name: &str, value: &Value) -> Result<()> {
        self.validate_field(name, &json!([value]))
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        let properties: Map<String, Value> = self.fields.iter().map(document_of).collect();
        json!({
            "name": NAME,
            "properties": properties,
            "additionalProperties": {"type": "string"},
            "links": [
                {"rel": "self", "href": "{self}"},
                {"rel": "enclosure", "href": "{file}"},
                {"rel": "describedby", "href": "{schema}"},
            ],
        })
    }
}

fn document_of(field: &Field) -> (String, Value) {
    let mut document = field.shape.document();
    if field.read_only {
        document.insert("readOnly".to_owned(), json!(true));
    }
    document.insert("description".to_owned(), json!(field.description));
    (field.name.to_owned(), Value::Object(document))
}

const TEXT: Shape = Shape::Text { nullable: false, max: None };

fn text_or_null(max: usize) -> Shape {
    Shape::Text { nullable: true, max: Some(max) }
}

fn settable(name: &'static str, shape: Shape, description: &'static str) -> Field {
    Field { name, shape, read_only: false, description }
}

fn read_only(name: &'static str, shape: Shape, description: &'static str) -> Field {
    Field { name, shape, read_only: true, description }
}

/// Every field, in the order of the document.
fn fields(api: &Api) -> Vec<Field> {
    let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect();
    let statuses = names(&Status::ALL.map(Status::as_str));
    let visibilities = names(&Visibility::ALL.map(Visibility::as_str));
    let bytes = Shape::Integer { nullable: true };
    let number = Shape::Integer { nullable: false };
    let formats = |values: &[String]| Shape::OneOf { nullable: true, values: values.to_vec() };
    vec![
        settable("id", Shape::Uuid, "UUID of the image."),
        settable("name", text_or_null(TEXT_CHARS_MAX), "Name for people. Need not be unique."),
        read_only("status", Shape::OneOf { nullable: false, values: statuses }, "Where the image stands in its life."),
        settable("visibility", Shape::OneOf { nullable: false, values: visibilities }, "Who may see the image."),
        settable("protected", Shape::Boolean, "Whether deleting the image is refused."),
        settable("os_hidden", Shape::Boolean, "Whether the image is left out of lists unless they ask for it."),
        read_only("checksum", text_or_null(32), "MD5 of the data, hexadecimal."),
        read_only("os_hash_algo", text_or_null(64), "Algorithm of os_hash_value."),
        read_only("os_hash_value", text_or_null(128), "Digest of the data by os_hash_algo, hexadecimal."),
        settable("owner", text_or_null(TEXT_CHARS_MAX), "Project that owns the image."),
        read_only("size", bytes.clone(), "Bytes of data."),
        read_only("virtual_size", bytes, "Bytes of the disk that the data describes."),
        settable("container_format", formats(&api.container_formats), "What the disk image is wrapped in."),
        settable("disk_format", formats(&api.disk_formats), "Format of the disk image."),
        read_only("created_at", TEXT, "When the image was made, ISO 8601 in UTC."),
        read_only("updated_at", TEXT, "When the image last changed, ISO 8601 in UTC."),
        settable("tags", Shape::Texts { max: TEXT_CHARS_MAX }, "Words to find the image by."),
        read_only("direct_url", TEXT, "Where the data lies. Shown only where the operator allows it."),
        settable("min_ram", number.clone(), "MB of memory that booting the image needs."),
        settable("min_disk", number, "GB of disk that booting the image needs."),
        read_only("self", TEXT, "Path of the image."),
        read_only("file", TEXT, "Path of the image's data."),
        read_only("stores", TEXT, "Stores that hold the data, separated by commas. Shown where there are several."),
        read_only("schema", TEXT, "Path of this schema."),
        settable("locations", Shape::Locations, "Where the data lies. Shown only where the operator allows it."),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use common::config::{Config, Overrides};

    /// The schema of an untouched configuration.
    pub(crate) fn schema() -> ImageSchema {
        let (config, _) = Config::load(&[], &Overrides::default()).expect("the defaults are right");
        ImageSchema::new(&config.api)
    }

    #[test]
    fn messages_name_the_value_the_rule_and_the_place() {
        let error = schema().validate_field("tags", &json!(["a", 1])).expect_err("1 is no string");
        assert_eq!(
            error.message,
            "Provided object does not match schema 'image': 1 is not of type 'string'\n\nFailed validating 'type' in \
             schema['properties']['tags']['items']\n\nOn instance['tags'][1]:\n    1"
        );
        let error = schema().validate_field("disk_format", &json!("zip")).expect_err("not a format");
        assert!(error.message.contains("'zip' is not one of [None, 'ami', 'ari', "), "{}", error.message);
        let error = schema().validate_field("own", &json!(null)).expect_err("null is no string");
        assert!(error.message.contains("in schema['additionalProperties']"), "{}", error.message);
    }

    #[test]
    fn locations_need_a_url_and_metadata() {
        let schema = schema();
        assert!(schema.validate_element("locations", &json!({"url": "http://x", "metadata": {}})).is_ok());
        let digests = |data: Value| json!({"url": "x", "metadata": {}, "validation_data": data});
        let good = json!({"os_hash_algo": "md5", "os_hash_value": "0", "checksum": "c".repeat(32)});
        assert!(schema.validate_element("locations", &digests(good)).is_ok());
        for bad in [
            json!(5),
            json!({"url": "x"}),
            json!({"url": 5, "metadata": {}}),
            json!({"url": "x", "metadata": 1}),
            digests(json!(5)),
            digests(json!({})),
            digests(json!({"os_hash_algo": "md5"})),
            digests(json!({"os_hash_algo": "md5", "os_hash_value": 5})),
            digests(json!({"os_hash_algo": "md5", "os_hash_value": "x".repeat(129)})),
            digests(json!({"os_hash_algo": "md5", "os_hash_value": "0", "checksum": "short"})),
            digests(json!({"os_hash_algo": "md5", "os_hash_value": "0", "size": "1"})),
        ] {
            assert!(schema.validate_element("locations", &bad).is_err(), "{bad}");
        }
    }
}
