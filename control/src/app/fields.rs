//! Names of image fields that clients may not use, and values on their way from JSON into the model.

use common::{Error, Result};
use serde_json::Value;

/// Longest name, owner, tag, member and property name, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 255;

/// Fields that only the server sets.
const READ_ONLY: [&str; 14] = [
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
    "id",
    "os_hash_algo",
    "os_hash_value",
];

/// Names of columns that never were part of the API.
const RESERVED: [&str; 3] = ["location", "deleted", "deleted_at"];

/// Prefix of properties that the server keeps for itself.
pub(crate) const INTERNAL_PREFIX: &str = "os_glance";

/// Largest `min_disk` and `min_ram`.
const MINIMUM_MAX: i64 = 2_147_483_647;

/// Refuses a change of a field that only the server sets.
///
/// # Errors
/// 403 if `name` is one.
pub(crate) fn refuse_read_only(name: &str) -> Result<()> {
    if READ_ONLY.contains(&name) { Err(read_only(name)) } else { Ok(()) }
}

/// The error for a field that only the server sets.
pub(crate) fn read_only(name: &str) -> Error {
    Error::forbidden(format!("Attribute '{name}' is read-only."))
}

/// The error for a field that nobody may use.
pub(crate) fn reserved(name: &str) -> Error {
    Error::forbidden(format!("Attribute '{name}' is reserved."))
}

/// Refuses a property whose name is not for clients.
///
/// # Errors
/// 403 if `name` is reserved.
pub(crate) fn refuse_reserved(name: &str) -> Result<()> {
    if RESERVED.contains(&name) || name.starts_with(INTERNAL_PREFIX) { Err(reserved(name)) } else { Ok(()) }
}

/// Refuses a property name that no column holds.
///
/// # Errors
/// 400 if `name` is too long.
pub(crate) fn refuse_long_property(name: &str) -> Result<()> {
    if name.chars().nth(TEXT_CHARS_MAX).is_some() {
        return Err(Error::bad_request("Custom property should not be greater than 255 characters."));
    }
    Ok(())
}

/// `min_disk` or `min_ram` out of a value that fits the schema.
///
/// # Errors
/// 400 if it is negative or too large.
pub(crate) fn minimum(name: &str, value: &Value) -> Result<i64> {
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole)).unwrap_or(i64::MAX);
    if number < 0 {
        return Err(Error::bad_request(format!(
            "Invalid value '{value}' for parameter '{name}': Cannot be a negative value"
        )));
    }
    if number > MINIMUM_MAX {
        return Err(Error::bad_request(format!("'{name}' value out of range, must not exceed {MINIMUM_MAX}.")));
    }
    Ok(number)
}

/// A float as an integer, where it is one that can be held; what is out of range goes to the nearest end.
fn whole(number: f64) -> Option<i64> {
    if number < 0.0 {
        return Some(-1);
    }
    // `to_string` of a whole float has no fraction or exponent.
    number.to_string().parse().ok()
}

/// A text or null out of a value that fits the schema.
///
/// # Errors
/// 400 for characters that no column holds.
pub(crate) fn text(name: &str, value: &Value) -> Result<Option<String>> {
    let Some(text) = value.as_str() else { return Ok(None) };
    refuse_four_byte(name, text)?;
    Ok(Some(text.to_owned()))
}

/// An extra property's value.
///
/// # Errors
/// 400 for characters that no column holds.
pub(crate) fn property(name: &str, value: &Value) -> Result<String> {
    Ok(text(name, value)?.unwrap_or_default())
}

/// Tags without duplicates, in the order of their first mention.
///
/// # Errors
/// 400 for characters that no column holds.
pub(crate) fn tags(value: &Value) -> Result<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
        refuse_four_byte_value(tag)?;
        tags.push(tag.to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    Ok(tags)
}

/// Refuses characters outside the Basic Multilingual Plane, which the columns of existing databases cannot hold.
///
/// # Errors
/// 400 in the words of the original; `name` is the field.
pub(crate) fn refuse_four_byte(name: &str, text: &str) -> Result<()> {
    if has_four_byte(name) {
        return Err(Error::bad_request("Property names can't contain 4 byte unicode."));
    }
    if has_four_byte(text) {
        return Err(Error::bad_request(format!("{} can't contain 4 byte unicode characters.", title_case(name))));
    }
    Ok(())
}

/// As [`refuse_four_byte`], for a value without a name, such as a tag.
///
/// # Errors
/// 400 in the words of the original.
pub(crate) fn refuse_four_byte_value(text: &str) -> Result<()> {
    if has_four_byte(text) {
        return Err(Error::bad_request("Param values can't contain 4 byte unicode."));
    }
    Ok(())
}

fn has_four_byte(text: &str) -> bool {
    text.chars().any(|c| c.len_utf8() == 4)
}

/// `hw_disk` as `Hw_Disk`.
fn title_case(text: &str) -> String {
    let mut inside_word = false;
    text.chars()
        .map(|c| {
            let turned = if inside_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
            inside_word = c.is_alphabetic();
            turned
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn minimums_have_bounds() {
        assert_eq!(minimum("min_ram", &json!(5)), Ok(5));
        assert_eq!(minimum("min_ram", &json!(5.0)), Ok(5));
        assert_eq!(minimum("min_ram", &json!(2_147_483_647)), Ok(2_147_483_647));
        let negative = minimum("min_ram", &json!(-1)).expect_err("negative").message;
        assert_eq!(negative, "Invalid value '-1' for parameter 'min_ram': Cannot be a negative value");
        for large in [json!(2_147_483_648_u64), json!(u64::MAX), json!(1e300)] {
            let message = minimum("min_disk", &large).expect_err("too large").message;
            assert_eq!(message, "'min_disk' value out of range, must not exceed 2147483647.", "{large}");
        }
    }

    #[test]
    fn tags_are_a_set_in_order() {
        assert_eq!(tags(&json!(["b", "a", "b"])), Ok(vec!["b".to_owned(), "a".to_owned()]));
        assert!(tags(&json!(["\u{1f600}"])).is_err());
    }

    #[test]
    fn names_of_the_server_are_refused() {
        for name in ["location", "deleted", "deleted_at", "os_glance_stage_host", "os_glancex"] {
            assert!(refuse_reserved(name).is_err(), "{name}");
        }
        assert!(refuse_reserved("os_distro").is_ok());
        assert!(refuse_read_only("stores").is_err());
        assert!(refuse_read_only("name").is_ok());
    }

    #[test]
    fn four_byte_characters_are_refused_by_name() {
        let error = refuse_four_byte("hw_disk", "\u{1f600}").expect_err("four bytes");
        assert_eq!(error.message, "Hw_Disk can't contain 4 byte unicode characters.");
        assert!(refuse_four_byte("\u{1f600}", "x").is_err());
        assert!(refuse_four_byte("name", "Ünïcödé ☃").is_ok());
    }
}
