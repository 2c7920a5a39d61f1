//! A namespace in a file, as Glance ships them and `vitrine metadefs export` writes them.

use serde_json::{Map, Value, json};

use super::{AssociationFields, NAME_CHARS_MAX};

/// The project that owns a namespace whose file names none.
const OWNER: &str = "admin";

/// Longest owner, in characters: the width of the column.
const OWNER_CHARS_MAX: usize = 255;

/// A namespace as its file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Defined {
    /// See [`super::Namespace`].
    pub name: String,
    /// See [`super::Namespace`].
    pub display_name: Option<String>,
    /// See [`super::Namespace`].
    pub description: Option<String>,
    /// See [`super::Namespace`].
    pub visibility: Option<String>,
    /// See [`super::Namespace`].
    pub protected: Option<bool>,
    /// See [`super::Namespace`].
    pub owner: String,
    /// Its resource types.
    pub associations: Vec<AssociationFields>,
    /// Its properties' definitions by name, as they stand.
    pub properties: Map<String, Value>,
    /// Its objects.
    pub objects: Vec<DefinedObject>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// An object as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinedObject {
    /// See [`super::Object`].
    pub name: String,
    /// See [`super::Object`].
    pub description: Option<String>,
    /// See [`super::Object`].
    pub required: Vec<String>,
    /// Its properties' definitions by name, as they stand; `None` where the file has none.
    pub properties: Option<Map<String, Value>>,
}

/// Why a file is no namespace: what, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct FileError {
    place: String,
    reason: String,
}

impl FileError {
    fn new(place: &str, reason: impl Into<String>) -> Self {
        FileError { place: place.to_owned(), reason: reason.into() }
    }
}

type Result<T> = std::result::Result<T, FileError>;

impl Defined {
    /// Reads a file. Members that it does not know are passed over.
    ///
    /// # Errors
    /// What is no JSON, has another form, or does not fit the catalog.
    pub fn parse(text: &str) -> Result<Defined> {
        let document: Value =
            serde_json::from_str(text).map_err(|error| FileError::new("the file", error.to_string()))?;
        let file = Members::of(&document, "the file")?;
        let associations = file.list("resource_type_associations", |one| {
            Ok(AssociationFields {
                name: one.name("name")?,
                prefix: one.text("prefix", NAME_CHARS_MAX)?,
                properties_target: one.text("properties_target", NAME_CHARS_MAX)?,
            })
        })?;
        let objects = file.list("objects", |one| {
            Ok(DefinedObject {
                name: one.name("name")?,
                description: one.text("description", usize::MAX)?,
                required: one.texts("required")?,
                properties: one.definitions("properties")?,
            })
        })?;
        let defined = Defined {
            name: file.name("namespace")?,
            display_name: file.text("display_name", NAME_CHARS_MAX)?,
            description: file.text("description", usize::MAX)?,
            visibility: file.text("visibility", 32)?,
            protected: file.flag("protected")?,
            owner: file.text("owner", OWNER_CHARS_MAX)?.unwrap_or_else(|| OWNER.to_owned()),
            associations,
            properties: file.definitions("properties")?.unwrap_or_default(),
            objects,
            tags: file.list("tags", |one| one.name("name"))?,
        };
        if let Some(name) = defined.properties.keys().find(|name| is_longer(name, NAME_CHARS_MAX)) {
            return Err(FileError::new("properties", too_long(name, NAME_CHARS_MAX)));
        }
        Ok(defined)
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let associations: Vec<Value> = self
            .associations
            .iter()
            .map(|one| json!({"name": one.name, "prefix": one.prefix, "properties_target": one.properties_target}))
            .collect();
        let objects: Vec<Value> = self.objects.iter().map(DefinedObject::document).collect();
        let tags: Vec<Value> = self.tags.iter().map(|name| json!({"name": name})).collect();
        let document = json!({
            "namespace": self.name,
            "display_name": self.display_name,
            "description": self.description,
            "visibility": self.visibility,
            "protected": self.protected,
            "owner": self.owner,
            "resource_type_associations": associations,
            "properties": self.properties,
            "objects": objects,
            "tags": tags,
        });
        // Fails only for maps whose keys are no texts, which there are none of.
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl DefinedObject {
    fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "description": self.description});
        if !self.required.is_empty() {
            document["required"] = json!(self.required);
        }
        document["properties"] = json!(self.properties);
        document
    }
}

/// The members of an object of the file, and where it stands.
struct Members<'v> {
    object: &'v Map<String, Value>,
    place: String,
}

impl<'v> Members<'v> {
    fn of(value: &'v Value, place: &str) -> Result<Self> {
        match value {
            Value::Object(object) => Ok(Members { object, place: place.to_owned() }),
            _ => Err(FileError::new(place, "expected an object")),
        }
    }

    /// A member; null is as good as none.
    fn get(&self, name: &str) -> Option<&'v Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn wrong<T>(&self, name: &str, reason: impl Into<String>) -> Result<T> {
        Err(FileError::new(&format!("{name} in {}", self.place), reason))
    }

    fn text(&self, name: &str, chars_max: usize) -> Result<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_longer(text, chars_max) => self.wrong(name, too_long(text, chars_max)),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => self.wrong(name, "expected a text"),
        }
    }

    fn name(&self, name: &str) -> Result<String> {
        self.text(name, NAME_CHARS_MAX)?.map_or_else(|| self.wrong(name, "it is missing"), Ok)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => self.wrong(name, "expected true or false"),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let texts =
            value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.map_or_else(|| self.wrong(name, "expected a list of texts"), Ok)
    }

    fn list<T>(&self, name: &str, read: impl Fn(&Members<'v>) -> Result<T>) -> Result<Vec<T>> {
        let items = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return self.wrong(name, "expected a list"),
        };
        let numbered = (1..).zip(items);
        numbered.map(|(number, item)| read(&Members::of(item, &format!("number {number} of {name}"))?)).collect()
    }

    fn definitions(&self, name: &str) -> Result<Option<Map<String, Value>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(definitions)) => match definitions.iter().find(|(_, value)| !value.is_object()) {
                Some((property, _)) => self.wrong(name, format!("expected an object as definition of '{property}'")),
                None => Ok(Some(definitions.clone())),
            },
            Some(_) => self.wrong(name, "expected an object"),
        }
    }
}

fn is_longer(text: &str, chars_max: usize) -> bool {
    text.chars().nth(chars_max).is_some()
}

fn too_long(text: &str, chars_max: usize) -> String {
    let start: String = text.chars().take(32).collect();
    format!("'{start}…' has more than {chars_max} characters")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_read_and_written() {
        let text = r#"{"namespace": "N", "display_name": "D", "protected": true, "more": 1, "tags": [{"name": "t"}],
            "resource_type_associations": [{"name": "R", "prefix": "r_"}],
            "properties": {"p": {"type": "integer", "title": "P", "default": 1}},
            "objects": [{"name": "o", "required": ["q"], "properties": {"q": {}}}, {"name": "empty"}]}"#;
        let defined = Defined::parse(text).expect("a namespace");
        assert_eq!(
            (defined.name.as_str(), defined.owner.as_str(), defined.visibility.as_deref()),
            ("N", "admin", None)
        );
        assert_eq!(defined.associations[0].prefix.as_deref(), Some("r_"));
        assert_eq!(defined.properties["p"]["default"], json!(1));
        assert_eq!(defined.objects[1].properties, None);
        assert_eq!(Defined::parse(&defined.to_text()), Ok(defined));
    }

    #[test]
    fn what_is_no_namespace_is_told_with_its_place() {
        let long = "n".repeat(81);
        for (text, told) in [
            ("[]".to_owned(), "the file: expected an object"),
            ("{}".to_owned(), "namespace in the file: it is missing"),
            (r#"{"namespace": 5}"#.to_owned(), "namespace in the file: expected a text"),
            (r#"{"namespace": "n", "protected": "yes"}"#.to_owned(), "protected in the file: expected true or false"),
            (
                r#"{"namespace": "n", "tags": [{"name": "a"}, {}]}"#.to_owned(),
                "name in number 2 of tags: it is missing",
            ),
            (r#"{"namespace": "n", "objects": {}}"#.to_owned(), "objects in the file: expected a list"),
            (
                r#"{"namespace": "n", "properties": {"p": 1}}"#.to_owned(),
                "properties in the file: expected an object as definition of 'p'",
            ),
            (
                format!(r#"{{"namespace": "{long}"}}"#),
                "namespace in the file: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…' has more than 80 characters",
            ),
        ] {
            assert_eq!(Defined::parse(&text).expect_err(told).to_string(), told);
        }
        assert!(Defined::parse("{").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,64}") {
            let _ = Defined::parse(&text);
        }
    }
}
