//! Changes of an image, one after the other, on the image in memory.

use std::fmt;

use common::catalog::ImageChange;
use common::model::{Image, Status, Visibility};
use common::{Error, Result};
use serde_json::Value;

use super::fields;

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Set it, present or not.
    Add,
    /// Set it; it must be there.
    Replace,
    /// Take it away.
    Remove,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Add => "add",
            Op::Replace => "replace",
            Op::Remove => "remove",
        })
    }
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A field of the image or an extra property.
    Field(String),
    /// The locations, or the one at a position (`-`: behind the last).
    Locations {
        /// Index or `-`; `None`: all of them.
        position: Option<String>,
    },
}

/// One change, checked for itself: the field may be changed by clients and the value fits the schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// What is done.
    pub(crate) op: Op,
    /// To what.
    pub(crate) target: Target,
    /// The new value; null for a removal.
    pub(crate) value: Value,
    /// Whether adding a field that is there is refused.
    pub(crate) refuse_present: bool,
}

/// Fields that every image has: they can be set and never removed.
const BASE: [&str; 10] = [
    "name",
    "visibility",
    "os_hidden",
    "min_disk",
    "min_ram",
    "protected",
    "owner",
    "disk_format",
    "container_format",
    "tags",
];

/// Whether `name` is a field that every image has, not a property.
pub(crate) fn is_base(name: &str) -> bool {
    BASE.contains(&name)
}

/// The error for a property that is not there.
pub(crate) fn absent(name: &str) -> Error {
    Error::conflict(format!("Property {name} does not exist."))
}

/// Applies the change of `name` to `image`.
///
/// # Errors
/// 409 when presence is not as `op` needs it, 403 for what may not be changed in the image's state or never, 400 for
/// values that no column holds.
pub(crate) fn apply_field(image: &mut Image, name: &str, change: &Change) -> Result<()> {
    let is_base = is_base(name);
    let is_present = is_base || image.property(name).is_some();
    match change.op {
        Op::Add if change.refuse_present && is_present => {
            return Err(Error::conflict(format!("Property {name} already present.")));
        }
        Op::Remove if is_base => return Err(Error::forbidden(format!("Property {name} may not be removed."))),
        Op::Replace | Op::Remove if !is_present => {
            return Err(absent(name));
        }
        Op::Remove => {
            image.properties.retain(|(key, _)| key != name);
            return Ok(());
        }
        Op::Add | Op::Replace => {}
    }
    if is_base { set_base(image, name, &change.value) } else { set_property(image, name, &change.value) }
}

fn set_base(image: &mut Image, name: &str, value: &Value) -> Result<()> {
    match name {
        "name" => image.name = fields::text(name, value)?,
        "owner" => image.owner = fields::text(name, value)?.filter(|owner| !owner.is_empty()),
        "visibility" => image.visibility = visibility(value)?,
        "os_hidden" => image.hidden = value.as_bool().unwrap_or_default(),
        "protected" => image.protected = value.as_bool().unwrap_or_default(),
        "min_disk" => image.min_disk = fields::minimum(name, value)?,
        "min_ram" => image.min_ram = fields::minimum(name, value)?,
        "tags" => image.tags = fields::tags(value)?,
        "disk_format" => {
            require_no_data(image, name)?;
            image.disk_format = fields::text(name, value)?;
        }
        "container_format" => {
            require_no_data(image, name)?;
            image.container_format = fields::text(name, value)?;
        }
        _ => return Err(Error::internal(format!("field {name} is in BASE and nowhere else"))),
    }
    Ok(())
}

/// The visibility of a value that fits the schema.
///
/// # Errors
/// 400 for others.
pub(crate) fn visibility(value: &Value) -> Result<Visibility> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::bad_request(format!("Invalid visibility value: {value}")))
}

fn set_property(image: &mut Image, name: &str, value: &Value) -> Result<()> {
    let value = fields::property(name, value)?;
    match image.properties.iter_mut().find(|(key, _)| key == name) {
        Some((_, old)) => *old = value,
        None => image.properties.push((name.to_owned(), value)),
    }
    Ok(())
}

/// The formats say what the data is: they stay once there is some.
fn require_no_data(image: &Image, name: &str) -> Result<()> {
    match image.status {
        Status::Queued | Status::Importing => Ok(()),
        _ => Err(Error::forbidden(format!("Attribute {name} can be only replaced for a queued image."))),
    }
}

/// What the catalog has to save so that `before` becomes `after`.
pub(crate) fn difference(before: &Image, after: &Image) -> ImageChange {
    fn changed<T: PartialEq + Clone>(before: &T, after: &T) -> Option<T> {
        (before != after).then(|| after.clone())
    }
    ImageChange {
        name: changed(&before.name, &after.name),
        visibility: changed(&before.visibility, &after.visibility),
        protected: changed(&before.protected, &after.protected),
        hidden: changed(&before.hidden, &after.hidden),
        owner: changed(&before.owner, &after.owner),
        disk_format: changed(&before.disk_format, &after.disk_format),
        container_format: changed(&before.container_format, &after.container_format),
        min_disk: changed(&before.min_disk, &after.min_disk),
        min_ram: changed(&before.min_ram, &after.min_ram),
        properties: changed(&before.properties, &after.properties),
        tags: changed(&before.tags, &after.tags),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use common::time::Timestamp;
    use serde_json::json;

    /// A queued image of project `p1`.
    pub(crate) fn image() -> Image {
        Image {
            id: "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8".into(),
            name: None,
            status: Status::Queued,
            visibility: Visibility::Shared,
            protected: false,
            hidden: false,
            owner: Some("p1".into()),
            checksum: None,
            os_hash_algo: None,
            os_hash_value: None,
            size: None,
            virtual_size: None,
            disk_format: None,
            container_format: None,
            min_disk: 0,
            min_ram: 0,
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(1_000_000),
            properties: vec![("own".into(), "1".into())],
            tags: Vec::new(),
            locations: Vec::new(),
        }
    }

    fn change(op: Op, name: &str, value: Value) -> Change {
        Change { op, target: Target::Field(name.into()), value, refuse_present: false }
    }

    fn apply(image: &mut Image, op: Op, name: &str, value: Value) -> Result<()> {
        apply_field(image, name, &change(op, name, value))
    }

    #[test]
    fn every_base_field_can_be_set() {
        let before = image();
        let mut after = before.clone();
        let values = json!({
            "name": "n", "visibility": "public", "os_hidden": true, "min_disk": 1, "min_ram": 2.0, "protected": true,
            "owner": "p2", "disk_format": "raw", "container_format": "bare", "tags": ["a", "a"],
        });
        for (name, value) in values.as_object().expect("an object") {
            assert!(BASE.contains(&name.as_str()));
            apply(&mut after, Op::Replace, name, value.clone()).expect(name);
        }
        let change = difference(&before, &after);
        assert_eq!(change.name, Some(Some("n".into())));
        assert_eq!(change.min_ram, Some(2));
        assert_eq!(change.tags, Some(vec!["a".into()]));
        assert_eq!(change.properties, None);
        assert_eq!(difference(&before, &before), ImageChange::default());
    }

    #[test]
    fn presence_decides() {
        let mut image = image();
        assert!(apply(&mut image, Op::Add, "own", json!("2")).is_ok());
        assert_eq!(image.property("own"), Some("2"));
        let refusals = [
            (change(Op::Replace, "absent", json!("x")), 409, "Property absent does not exist."),
            (change(Op::Remove, "absent", json!(null)), 409, "Property absent does not exist."),
            (change(Op::Remove, "name", json!(null)), 403, "Property name may not be removed."),
            (
                Change { refuse_present: true, ..change(Op::Add, "own", json!("x")) },
                409,
                "Property own already present.",
            ),
            (
                Change { refuse_present: true, ..change(Op::Add, "tags", json!([])) },
                409,
                "Property tags already present.",
            ),
        ];
        for (change, status, text) in refusals {
            let Target::Field(name) = &change.target else { panic!("a field") };
            let error = apply_field(&mut image, name, &change).expect_err(text);
            assert_eq!((error.status().as_u16(), error.message.as_str()), (status, text));
        }
        assert!(apply(&mut image, Op::Remove, "own", json!(null)).is_ok());
        assert!(image.properties.is_empty());
    }

    #[test]
    fn formats_stay_once_there_is_data() {
        let mut image = image();
        for (status, allowed) in
            [(Status::Queued, true), (Status::Importing, true), (Status::Saving, false), (Status::Active, false)]
        {
            image.status = status;
            assert_eq!(apply(&mut image, Op::Replace, "disk_format", json!("raw")).is_ok(), allowed, "{status}");
        }
    }
}
