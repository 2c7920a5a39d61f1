//! One value against the shape that its field must have.

use std::fmt::Write as _;

use common::{Error, Result};
use serde_json::{Map, Value, json};

/// Pattern of an image's id, as the schema shows it.
pub(super) const UUID_PATTERN: &str =
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$";

/// Lengths of the groups of hexadecimal digits in [`UUID_PATTERN`].
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// Characters of a bad value that an error message repeats.
const SHOWN_CHARS_MAX: usize = 300;

/// What values a field takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A UUID in its usual form, any case.
    Uuid,
    /// A string; `max` is its longest length in characters.
    Text {
        /// Whether null will do as well.
        nullable: bool,
        /// Longest length.
        max: Option<usize>,
    },
    /// One of these strings.
    OneOf {
        /// Whether null will do as well.
        nullable: bool,
        /// The strings.
        values: Vec<String>,
    },
    /// `true` or `false`.
    Boolean,
    /// A whole number; `1.0` is one.
    Integer {
        /// Whether null will do as well.
        nullable: bool,
    },
    /// A list of strings of at most so many characters each.
    Texts {
        /// Longest length of one.
        max: usize,
    },
    /// A list of places where the data lies.
    Locations,
}

/// Why a value does not fit: the part of the schema, the place in the value, and the sentence.
#[derive(Debug)]
pub(super) struct Misfit {
    keyword: &'static str,
    schema_path: String,
    value_path: String,
    sentence: String,
    shown: String,
}

impl Misfit {
    fn new(keyword: &'static str, value: &Value, sentence: impl FnOnce(&str) -> String) -> Self {
        let shown = python(value);
        let sentence = sentence(&shown);
        Misfit { keyword, schema_path: String::new(), value_path: String::new(), sentence, shown }
    }

    /// The same misfit seen from one level above.
    fn below(mut self, schema: &str, value: &str) -> Self {
        self.schema_path.insert_str(0, schema);
        self.value_path.insert_str(0, value);
        self
    }

    /// The client's error, in the words of the original.
    pub(super) fn into_error(self, schema_name: &str, field: &str, known: bool) -> Error {
        let schema = if known { format!("['properties']['{field}']") } else { "['additionalProperties']".to_owned() };
        Error::bad_request(format!(
            "Provided object does not match schema '{schema_name}': {}\n\nFailed validating '{}' in schema{schema}{}\n\nOn instance['{}']{}:\n    {}",
            self.sentence,
            self.keyword,
            self.schema_path,
            shorten(field),
            self.value_path,
            self.shown,
        ))
    }
}

impl Shape {
    /// The shape as a JSON schema writes it.
    pub(super) fn document(&self) -> Map<String, Value> {
        let document = match self {
            Shape::Uuid => json!({"type": "string", "pattern": UUID_PATTERN}),
            Shape::Text { nullable, max: None } => json!({"type": kinds(*nullable, "string")}),
            Shape::Text { nullable, max: Some(max) } => {
                json!({"type": kinds(*nullable, "string"), "maxLength": max})
            }
            Shape::OneOf { nullable: true, values } => {
                let all: Vec<Value> =
                    std::iter::once(Value::Null).chain(values.iter().map(|value| json!(value))).collect();
                json!({"type": ["null", "string"], "enum": all})
            }
            Shape::OneOf { nullable: false, values } => json!({"type": "string", "enum": values}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::Integer { nullable } => json!({"type": kinds(*nullable, "integer")}),
            Shape::Texts { max } => json!({"type": "array", "items": {"type": "string", "maxLength": max}}),
            Shape::Locations => locations_document(),
        };
        match document {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Whether `value` fits.
    pub(super) fn check(&self, value: &Value) -> Result<(), Misfit> {
        match self {
            Shape::Uuid => {
                let text = as_text(value, false)?.unwrap_or_default();
                if is_uuid(text) {
                    return Ok(());
                }
                Err(Misfit::new("pattern", value, |shown| format!("{shown} does not match '{UUID_PATTERN}'")))
            }
            Shape::Text { nullable, max } => {
                let text = as_text(value, *nullable)?.unwrap_or_default();
                check_length(value, text, *max)
            }
            Shape::OneOf { nullable, values } => {
                let text = as_text(value, *nullable)?;
                if text.is_none_or(|text| values.iter().any(|one| one == text)) {
                    return Ok(());
                }
                Err(Misfit::new("enum", value, |shown| {
                    let mut all: Vec<String> = nullable.then(|| "None".to_owned()).into_iter().collect();
                    all.extend(values.iter().map(|value| format!("'{value}'")));
                    format!("{shown} is not one of [{}]", all.join(", "))
                }))
            }
            Shape::Boolean if value.is_boolean() => Ok(()),
            Shape::Boolean => Err(wrong_type(value, "'boolean'")),
            Shape::Integer { nullable: true } if value.is_null() => Ok(()),
            Shape::Integer { .. } if is_integer(value) => Ok(()),
            Shape::Integer { nullable: true } => Err(wrong_type(value, "'null', 'integer'")),
            Shape::Integer { nullable: false } => Err(wrong_type(value, "'integer'")),
            Shape::Texts { max } => {
                let item = Shape::Text { nullable: false, max: Some(*max) };
                check_items(value, |one| item.check(one))
            }
            Shape::Locations => check_items(value, check_location),
        }
    }
}

fn kinds(nullable: bool, kind: &str) -> Value {
    if nullable { json!(["null", kind]) } else { json!(kind) }
}

fn wrong_type(value: &Value, wanted: &str) -> Misfit {
    Misfit::new("type", value, |shown| format!("{shown} is not of type {wanted}"))
}

/// `None` for an allowed null.
fn as_text(value: &Value, nullable: bool) -> Result<Option<&str>, Misfit> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null if nullable => Ok(None),
        _ if nullable => Err(wrong_type(value, "'null', 'string'")),
        _ => Err(wrong_type(value, "'string'")),
    }
}

fn check_length(value: &Value, text: &str, max: Option<usize>) -> Result<(), Misfit> {
    match max {
        Some(max) if text.chars().nth(max).is_some() => {
            Err(Misfit::new("maxLength", value, |shown| format!("{shown} is too long")))
        }
        _ => Ok(()),
    }
}

fn check_items(value: &Value, check: impl Fn(&Value) -> Result<(), Misfit>) -> Result<(), Misfit> {
    let items = value.as_array().ok_or_else(|| wrong_type(value, "'array'"))?;
    for (index, item) in items.iter().enumerate() {
        check(item).map_err(|misfit| misfit.below("['items']", &format!("[{index}]")))?;
    }
    Ok(())
}

/// Characters of the longest URL that a location may have.
const LOCATION_URL_CHARS_MAX: usize = 255;

fn check_location(value: &Value) -> Result<(), Misfit> {
    let object = value.as_object().ok_or_else(|| wrong_type(value, "'object'"))?;
    for key in ["url", "metadata"] {
        if !object.contains_key(key) {
            return Err(Misfit::new("required", value, |_| format!("'{key}' is a required property")));
        }
    }
    let url = Shape::Text { nullable: false, max: Some(LOCATION_URL_CHARS_MAX) };
    url.check(&object["url"]).map_err(|misfit| misfit.below("['properties']['url']", "['url']"))?;
    if !object["metadata"].is_object() {
        return Err(wrong_type(&object["metadata"], "'object'").below("['properties']['metadata']", "['metadata']"));
    }
    match object.get("validation_data") {
        Some(data) => check_validation_data(data)
            .map_err(|misfit| misfit.below("['properties']['validation_data']", "['validation_data']")),
        None => Ok(()),
    }
}

/// Digests of the data at a location, with their longest lengths in characters.
const VALIDATION_DATA: [(&str, usize); 3] =
    [("checksum", CHECKSUM_CHARS), ("os_hash_algo", 64), ("os_hash_value", 128)];

/// Characters of an MD5.
const CHECKSUM_CHARS: usize = 32;

fn check_validation_data(value: &Value) -> Result<(), Misfit> {
    let object = value.as_object().ok_or_else(|| wrong_type(value, "'object'"))?;
    if let Some(extra) = object.keys().find(|key| !VALIDATION_DATA.iter().any(|(known, _)| known == key)) {
        let sentence = format!("Additional properties are not allowed ('{}' was unexpected)", shorten(extra));
        return Err(Misfit::new("additionalProperties", value, |_| sentence));
    }
    for key in ["os_hash_algo", "os_hash_value"] {
        if !object.contains_key(key) {
            return Err(Misfit::new("required", value, |_| format!("'{key}' is a required property")));
        }
    }
    for (key, max) in VALIDATION_DATA {
        let Some(part) = object.get(key) else { continue };
        let below = |misfit: Misfit| misfit.below(&format!("['properties']['{key}']"), &format!("['{key}']"));
        Shape::Text { nullable: false, max: Some(max) }.check(part).map_err(below)?;
        if key == "checksum" && part.as_str().is_some_and(|text| text.chars().count() < CHECKSUM_CHARS) {
            return Err(below(Misfit::new("minLength", part, |shown| format!("{shown} is too short"))));
        }
    }
    Ok(())
}

/// Digests that a client may name beside the URL of a new location.
const NEW_LOCATION_ALGORITHMS: [&str; 4] = ["sha1", "sha256", "sha512", "md5"];

/// Checks the body of a request that adds a location by its URL.
///
/// # Errors
/// 400 if it does not fit.
pub(crate) fn validate_new_location(body: &Value) -> Result<()> {
    check_new_location(body).map_err(|misfit| misfit.into_error("location", "add_location", true))
}

fn check_new_location(body: &Value) -> Result<(), Misfit> {
    let object = body.as_object().ok_or_else(|| wrong_type(body, "'object'"))?;
    let Some(url) = object.get("url") else {
        return Err(Misfit::new("required", body, |_| "'url' is a required property".to_owned()));
    };
    as_text(url, false).map_err(|misfit| misfit.below("['properties']['url']", "['url']"))?;
    match object.get("validation_data") {
        Some(data) => check_new_digest(data)
            .map_err(|misfit| misfit.below("['properties']['validation_data']", "['validation_data']")),
        None => Ok(()),
    }
}

fn check_new_digest(value: &Value) -> Result<(), Misfit> {
    let object = value.as_object().ok_or_else(|| wrong_type(value, "'object'"))?;
    let algorithms = NEW_LOCATION_ALGORITHMS.map(str::to_owned).to_vec();
    let shapes = [
        ("os_hash_algo", Shape::OneOf { nullable: false, values: algorithms }),
        ("os_hash_value", Shape::Text { nullable: false, max: Some(128) }),
    ];
    if let Some(extra) = object.keys().find(|key| !shapes.iter().any(|(known, _)| known == key)) {
        let sentence = format!("Additional properties are not allowed ('{}' was unexpected)", shorten(extra));
        return Err(Misfit::new("additionalProperties", value, |_| sentence));
    }
    for (key, shape) in &shapes {
        let Some(part) = object.get(*key) else { continue };
        let below = |misfit: Misfit| misfit.below(&format!("['properties']['{key}']"), &format!("['{key}']"));
        shape.check(part).map_err(below)?;
        if let Some((other, _)) = shapes.iter().find(|(other, _)| !object.contains_key(*other)) {
            let sentence = format!("'{other}' is a dependency of '{key}'");
            return Err(Misfit::new("dependentRequired", value, |_| sentence));
        }
    }
    Ok(())
}

fn locations_document() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "maxLength": LOCATION_URL_CHARS_MAX},
                "metadata": {"type": "object"},
                "validation_data": {
                    "description": "Digests of the data at this URL. They become the image's while it is queued; \
                                    later they must equal the image's.",
                    "type": "object",
                    "writeOnly": true,
                    "additionalProperties": false,
                    "properties": {
                        "checksum": {"type": "string", "minLength": CHECKSUM_CHARS, "maxLength": CHECKSUM_CHARS},
                        "os_hash_algo": {"type": "string", "maxLength": 64},
                        "os_hash_value": {"type": "string", "maxLength": 128},
                    },
                    "required": ["os_hash_algo", "os_hash_value"],
                },
            },
            "required": ["url", "metadata"],
        },
    })
}

fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    let fits = UUID_GROUPS.iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == *length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    fits && groups.next().is_none()
}

/// JSON schema counts `1.0` among the integers.
pub(super) fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        Value::Number(_) => true,
        _ => false,
    }
}

/// A text cut to the length that messages repeat.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `value` as the messages of the original show it, cut to a bounded length.
pub(super) fn python(value: &Value) -> String {
    let mut text = String::new();
    write_python(&mut text, value);
    shorten(&text)
}

fn write_python(text: &mut String, value: &Value) {
    // Enough to fill what is shown: the rest of a long value is never formatted.
    if text.len() > SHOWN_CHARS_MAX * 4 {
        return;
    }
    match value {
        Value::Null => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::Number(number) => {
            let _ = write!(text, "{number}");
        }
        Value::String(string) => {
            let _ = write!(text, "'{string}'");
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_python(text, item);
            }
            text.push(']');
        }
        Value::Object(object) => {
            text.push('{');
            for (index, (key, item)) in object.iter().enumerate() {
                let _ = write!(text, "{}'{key}': ", if index == 0 { "" } else { ", " });
                write_python(text, item);
            }
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_the_original_shows_them() {
        assert_eq!(python(&json!({"a": [1, null, true, "x"]})), "{'a': [1, None, True, 'x']}");
        assert_eq!(python(&json!("y".repeat(1000))).chars().count(), SHOWN_CHARS_MAX + 1);
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let shape = Shape::Integer { nullable: false };
        assert!(shape.check(&json!(1.0)).is_ok());
        assert!(shape.check(&json!(1e300)).is_ok());
        for bad in [json!(1.5), json!("1"), json!(true), json!(null)] {
            assert!(shape.check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        let shape = Shape::Text { nullable: true, max: Some(2) };
        assert!(shape.check(&json!("üü")).is_ok());
        assert!(shape.check(&json!("üüü")).is_err());
        assert!(shape.check(&json!(null)).is_ok());
    }

    #[test]
    fn a_new_location_has_a_url_and_both_parts_of_a_digest_or_none() {
        let with = |data: Value| json!({"url": "http://x/", "validation_data": data});
        for good in [
            json!({"url": "x".repeat(3000), "other": 5}),
            with(json!({})),
            with(json!({"os_hash_algo": "md5", "os_hash_value": ""})),
        ] {
            assert_eq!(validate_new_location(&good), Ok(()), "{good}");
        }
        let bad = [
            (json!([]), "[] is not of type 'object'"),
            (json!({}), "'url' is a required property"),
            (json!({"url": null}), "None is not of type 'string'"),
            (with(json!(null)), "None is not of type 'object'"),
            (with(json!({"os_hash_algo": "md5"})), "'os_hash_value' is a dependency of 'os_hash_algo'"),
            (with(json!({"os_hash_value": "x"})), "'os_hash_algo' is a dependency of 'os_hash_value'"),
            (
                with(json!({"os_hash_algo": "sha384", "os_hash_value": ""})),
                "'sha384' is not one of ['sha1', 'sha256', 'sha512', 'md5']",
            ),
            (with(json!({"checksum": ""})), "Additional properties are not allowed ('checksum' was unexpected)"),
            (with(json!({"os_hash_algo": "md5", "os_hash_value": "x".repeat(129)})), "is too long"),
        ];
        for (body, text) in bad {
            let error = validate_new_location(&body).expect_err(text);
            assert!(error.message.starts_with("Provided object does not match schema 'location': "), "{error}");
            assert!(error.message.contains(text), "{error}");
        }
    }

    #[test]
    fn ids_are_uuids_of_any_case() {
        assert!(is_uuid("AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeeee"));
        for bad in
            ["", "AAAAAAAA-bbbb-cccc-dddd-eeeeeeeeeee", "AAAAAAAAbbbbccccddddeeeeeeeeeeee", "x".repeat(36).as_str()]
        {
            assert!(!is_uuid(bad), "{bad}");
        }
    }
}
