//! The body of `PATCH /v2/images/{id}`: operations in the two dialects that the original takes.
//!
//! `application/openstack-images-v2.1-json-patch` is RFC 6902 cut down to add, remove and replace;
//! `…-v2.0-json-patch` is an early draft of it, in which the operation is the key of the path.

use common::{Error, Kind, Result};
use serde_json::{Map, Value};

use super::schema::ImageSchema;
use crate::app::fields;
use crate::app::patch::{Change, Op, Target};

/// The media types, in the order of `Accept-Patch`.
const MEDIA_TYPES: [(&str, Dialect); 2] = [
    ("application/openstack-images-v2.0-json-patch", Dialect::Draft4),
    ("application/openstack-images-v2.1-json-patch", Dialect::Rfc6902),
];

const OPERATIONS: [(&str, Op); 3] = [("add", Op::Add), ("remove", Op::Remove), ("replace", Op::Replace)];

/// The operations as messages list them.
const OPERATIONS_TEXT: &str = "add, remove, replace";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"add": "/name", "value": …}`.
    Draft4,
    /// `{"op": "add", "path": "/name", "value": …}`.
    Rfc6902,
}

/// The dialect of a `Content-Type`.
///
/// # Errors
/// 415 with `Accept-Patch` for all others.
pub(crate) fn dialect(content_type: Option<&str>) -> Result<Dialect> {
    let content_type = content_type.unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if let Some((_, dialect)) = MEDIA_TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(media_type)) {
        return Ok(*dialect);
    }
    let allowed = MEDIA_TYPES.map(|(name, _)| name).join(", ");
    let message = format!(
        "The request media type {media_type} is not supported by this server.\n\nImage PATCH expects Content-Type one of: {allowed}"
    );
    Err(Error::new(Kind::UnsupportedMedia, message).header("Accept-Patch", allowed))
}

/// The changes that `body` asks for, each checked for itself.
///
/// # Errors
/// 400 for what is not a patch and for bad values, 403 for fields that are not for clients.
pub(crate) fn decode(body: &Value, dialect: Dialect, schema: &ImageSchema) -> Result<Vec<Change>> {
    let Some(operations) = body.as_array() else {
        return Err(Error::bad_request("Request body must be a JSON array of operation objects."));
    };
    operations
        .iter()
        .map(|operation| match operation.as_object() {
            Some(operation) => decode_operation(operation, dialect, schema),
            None => Err(Error::bad_request("Operations must be JSON objects.")),
        })
        .collect()
}

fn decode_operation(operation: &Map<String, Value>, dialect: Dialect, schema: &ImageSchema) -> Result<Change> {
    let (op, pointer) = match dialect {
        Dialect::Rfc6902 => (op_rfc6902(operation)?, operation.get("path")),
        Dialect::Draft4 => op_draft4(operation)?,
    };
    let Some(pointer) = pointer else {
        return Err(Error::bad_request("Unable to find 'path' in JSON Schema change"));
    };
    let Some(pointer) = pointer.as_str() else {
        return Err(Error::bad_request(format!("Pointer `{pointer}` is not a string.")));
    };
    let target = target(op, decode_pointer(pointer)?)?;
    let value = match (op, operation.get("value")) {
        (Op::Remove, _) => Value::Null,
        (_, Some(value)) => value.clone(),
        (_, None) => {
            return Err(Error::bad_request(format!("Operation \"{op}\" requires a member named \"value\".")));
        }
    };
    check_value(op, &target, &value, schema)?;
    Ok(Change { op, target, value, refuse_present: dialect == Dialect::Draft4 })
}

fn op_rfc6902(operation: &Map<String, Value>) -> Result<Op> {
    let Some(op) = operation.get("op").filter(|op| !op.is_null()) else {
        return Err(Error::bad_request(format!(
            "Unable to find `op` in JSON Schema change. It must be one of the following: {OPERATIONS_TEXT}."
        )));
    };
    let found = OPERATIONS.iter().find(|(name, _)| op.as_str() == Some(name));
    found.map(|(_, op)| *op).ok_or_else(|| {
        let shown = op.as_str().map_or_else(|| op.to_string(), str::to_owned);
        Error::bad_request(format!("Invalid operation: `{shown}`. It must be one of the following: {OPERATIONS_TEXT}."))
    })
}

fn op_draft4(operation: &Map<String, Value>) -> Result<(Op, Option<&Value>)> {
    let mut found = OPERATIONS.iter().filter_map(|(name, op)| operation.get(*name).map(|path| (*op, Some(path))));
    let quantity = match (found.next(), found.next()) {
        (Some(one), None) => return Ok(one),
        (Some(_), Some(_)) => "only",
        (None, _) => "exactly",
    };
    Err(Error::bad_request(format!(
        "Operation objects must contain {quantity} one member named \"add\", \"remove\", or \"replace\"."
    )))
}

/// The segments of a JSON pointer.
fn decode_pointer(pointer: &str) -> Result<Vec<String>> {
    let bad = |what: &str| Err(Error::bad_request(format!("Pointer `{pointer}` {what}.")));
    let Some(inner) = pointer.strip_prefix('/') else { return bad("does not start with \"/\"") };
    let segments: Vec<&str> = inner.split('/').collect();
    if let [first, middle @ .., last] = segments.as_slice() {
        let empty = |segment: &&str| segment.trim().is_empty();
        if middle.iter().any(empty) || (empty(first) && !empty(last)) {
            return bad("contains adjacent \"/\"");
        }
        if last.is_empty() {
            return bad("end with \"/\"");
        }
    }
    if inner.trim().is_empty() {
        return bad("does not contains valid token");
    }
    let escapes = || inner.split('~').skip(1);
    if escapes().any(|after| !after.starts_with(['0', '1'])) {
        return bad("contains \"~\" not part of a recognized escape sequence");
    }
    Ok(segments.into_iter().map(|part| part.replace("~1", "/").replace("~0", "~").trim().to_owned()).collect())
}

fn target(op: Op, mut path: Vec<String>) -> Result<Target> {
    let invalid = |path: &[String]| {
        Err(Error::bad_request(format!("Invalid JSON pointer for this resource: '/{}'", path.join("/"))))
    };
    let is_locations = path.first().is_some_and(|root| root == "locations");
    match (is_locations, op, path.len()) {
        (true, Op::Replace, 1) => Ok(Target::Locations { position: None }),
        (true, Op::Add | Op::Remove, 2) => Ok(Target::Locations { position: path.pop() }),
        (false, _, 1) => {
            let name = path.pop().unwrap_or_default();
            fields::refuse_read_only(&name)?;
            fields::refuse_reserved(&name)?;
            Ok(Target::Field(name))
        }
        _ => invalid(&path),
    }
}

fn check_value(op: Op, target: &Target, value: &Value, schema: &ImageSchema) -> Result<()> {
    match (op, target) {
        (Op::Remove, _) => Ok(()),
        (_, Target::Field(name)) => {
            schema.validate_field(name, value)?;
            fields::refuse_long_property(name)
        }
        (_, Target::Locations { position: None }) => schema.validate_field("locations", value),
        (_, Target::Locations { position: Some(_) }) => schema.validate_element("locations", value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::test_schema;
    use super::*;
    use serde_json::json;

    fn refusal(dialect: Dialect, body: &Value) -> (u16, String) {
        match decode(body, dialect, &test_schema()) {
            Err(error) => (error.status().as_u16(), error.message),
            Ok(changes) => panic!("{body} is taken: {changes:?}"),
        }
    }

    #[test]
    fn both_dialects_say_the_same() {
        let new = json!([{"op": "add", "path": "/a~1b~0", "value": "1"}, {"op": "remove", "path": "/c"}]);
        let old = json!([{"add": "/a~1b~0", "value": "1"}, {"remove": "/c"}]);
        let new = decode(&new, Dialect::Rfc6902, &test_schema()).expect("a patch");
        let old = decode(&old, Dialect::Draft4, &test_schema()).expect("a patch");
        assert_eq!(new[0].target, Target::Field("a/b~".into()));
        assert_eq!(new[1].target, old[1].target);
        assert_eq!((new[0].op, &new[0].value), (old[0].op, &old[0].value));
        assert!(!new[0].refuse_present && old[0].refuse_present);
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        let add = |path: &str| json!([{"op": "add", "path": path, "value": "1"}]);
        let cases = [
            (json!({}), "Request body must be a JSON array of operation objects."),
            (json!([5]), "Operations must be JSON objects."),
            (
                json!([{}]),
                "Unable to find `op` in JSON Schema change. It must be one of the following: add, remove, replace.",
            ),
            (
                json!([{"op": null, "path": "/x", "value": "1"}]),
                "Unable to find `op` in JSON Schema change. It must be one of the following: add, remove, replace.",
            ),
            (
                json!([{"op": "test"}]),
                "Invalid operation: `test`. It must be one of the following: add, remove, replace.",
            ),
            (json!([{"op": 5}]), "Invalid operation: `5`. It must be one of the following: add, remove, replace."),
            (json!([{"op": "add"}]), "Unable to find 'path' in JSON Schema change"),
            (json!([{"op": "add", "path": 5}]), "Pointer `5` is not a string."),
            (json!([{"op": "add", "path": "/x"}]), "Operation \"add\" requires a member named \"value\"."),
            (add("x"), "Pointer `x` does not start with \"/\"."),
            (add(""), "Pointer `` does not start with \"/\"."),
            (add("/"), "Pointer `/` does not contains valid token."),
            (add("//"), "Pointer `//` end with \"/\"."),
            (add("/a//b"), "Pointer `/a//b` contains adjacent \"/\"."),
            (add("/a/ /b"), "Pointer `/a/ /b` contains adjacent \"/\"."),
            (add("/a/"), "Pointer `/a/` end with \"/\"."),
            (add("/a~2"), "Pointer `/a~2` contains \"~\" not part of a recognized escape sequence."),
            (add("/a~"), "Pointer `/a~` contains \"~\" not part of a recognized escape sequence."),
            (add("/tags/-"), "Invalid JSON pointer for this resource: '/tags/-'"),
            (add("/locations"), "Invalid JSON pointer for this resource: '/locations'"),
            (add(&format!("/{}", "x".repeat(256))), "Custom property should not be greater than 255 characters."),
        ];
        for (body, text) in cases {
            assert_eq!(refusal(Dialect::Rfc6902, &body), (400, text.to_owned()), "{body}");
        }
        let only = "Operation objects must contain only one member named \"add\", \"remove\", or \"replace\".";
        assert_eq!(refusal(Dialect::Draft4, &json!([{"add": "/a", "remove": "/b"}])).1, only);
        assert!(refusal(Dialect::Draft4, &json!([{"op": "add"}])).1.contains("exactly one member"));
    }

    #[test]
    fn fields_that_are_not_for_clients_are_refused() {
        for (name, text) in
            [("id", "read-only"), ("stores", "read-only"), ("deleted", "reserved"), ("os_glance_x", "reserved")]
        {
            let body = json!([{"op": "remove", "path": format!("/{name}")}]);
            assert_eq!(refusal(Dialect::Rfc6902, &body), (403, format!("Attribute '{name}' is {text}.")));
        }
    }

    #[test]
    fn media_types_choose_the_dialect() {
        let v20 = dialect(Some("application/openstack-images-v2.0-json-patch; charset=utf-8"));
        assert_eq!(v20, Ok(Dialect::Draft4));
        for other in [None, Some("application/json"), Some("application/json-patch+json")] {
            let error = dialect(other).expect_err("not a patch");
            assert_eq!(error.status().as_u16(), 415);
            assert_eq!(error.headers[0].0, "Accept-Patch");
        }
    }

    #[test]
    fn locations_are_addressed_by_position() {
        let place = json!({"url": "http://x/", "metadata": {}});
        let body = json!([
            {"op": "add", "path": "/locations/-", "value": place},
            {"op": "remove", "path": "/locations/0"},
            {"op": "replace", "path": "/locations", "value": [place]},
        ]);
        let changes = decode(&body, Dialect::Rfc6902, &test_schema()).expect("a patch");
        assert_eq!(changes[0].target, Target::Locations { position: Some("-".into()) });
        assert_eq!(changes[2].target, Target::Locations { position: None });
        let (status, _) = refusal(Dialect::Rfc6902, &json!([{"op": "add", "path": "/locations/-", "value": 5}]));
        assert_eq!(status, 400);
    }
}
