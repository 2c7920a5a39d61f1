//! A value against a schema document: the keywords of JSON schema that our documents use, and the fault that the original
//! would name.

use std::collections::HashSet;
use std::fmt;

use common::{Error, Result};
use serde_json::{Map, Value};

use super::check::{is_integer, python, shorten};

/// Unknown members that a message names.
const NAMES_SHOWN_MAX: usize = 20;

/// A schema document, as clients read it and as it is asked of what they send.
#[derive(Debug)]
pub(crate) struct Rules {
    document: Value,
}

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

/// What is wrong with a value.
struct Fault<'v> {
    /// Where in the value.
    path: Vec<Step<'v>>,
    /// Whether the value has not even the type that this part of the schema asks for.
    is_of_other_type: bool,
    keyword: &'static str,
    schema_path: String,
    sentence: String,
    shown: String,
}

/// A look at a value and all that it holds.
struct Walk<'r, 'v> {
    root: &'r Value,
    path: Vec<Step<'v>>,
    schema_path: Vec<String>,
    /// The fault to be named: of those highest up in the value the one under the last name, and the first of the schema there.
    worst: Option<Fault<'v>>,
}

impl Rules {
    /// The rules of a document.
    pub(crate) fn new(document: Value) -> Self {
        Rules { document }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// 400 in the words of the original.
    pub(crate) fn validate(&self, value: &Value) -> Result<()> {
        let mut walk = Walk { root: &self.document, path: Vec::new(), schema_path: Vec::new(), worst: None };
        walk.look(&self.document, value);
        match walk.worst {
            None => Ok(()),
            Some(fault) => Err(self.refusal(&fault)),
        }
    }

    fn refusal(&self, fault: &Fault<'_>) -> Error {
        let place: String = fault
            .path
            .iter()
            .map(|step| match step {
                Step::Key(key) => format!("['{}']", shorten(key)),
                Step::Index(index) => format!("[{index}]"),
            })
            .collect();
        let name = self.document["name"].as_str().unwrap_or_default();
        let Fault { sentence, keyword, schema_path, shown, .. } = fault;
        Error::bad_request(format!(
            "Provided object does not match schema '{name}': {sentence}\n\nFailed validating '{keyword}' in \
             schema{schema_path}\n\nOn instance{place}:\n    {shown}"
        ))
    }
}

impl fmt::Display for Rules {
    /// The document as it is served.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.document.fmt(f)
    }
}

impl<'v> Walk<'_, 'v> {
    /// Looks at `value` by `schema`. Ends: documents nest only so deep, and their references lead to parts without any.
    fn look(&mut self, schema: &Value, value: &'v Value) {
        let Some(schema) = schema.as_object() else { return };
        for (keyword, argument) in schema {
            match keyword.as_str() {
                "$ref" => self.follow(argument, value),
                "allOf" => {
                    for (index, part) in argument.as_array().into_iter().flatten().enumerate() {
                        self.below(["allOf".to_owned(), index.to_string()], |walk| walk.look(part, value));
                    }
                }
                "items" => {
                    // From the end: the last fault of many is told, and telling costs more than finding.
                    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                    for (index, item) in items.iter().enumerate().rev() {
                        self.within(Step::Index(index), ["items".to_owned()], |walk| walk.look(argument, item));
                    }
                }
                "properties" => {
                    let Some((parts, object)) = argument.as_object().zip(value.as_object()) else { continue };
                    for (name, part) in parts {
                        let Some((name, member)) = object.get_key_value(name) else { continue };
                        let place = ["properties".to_owned(), name.clone()];
                        self.within(Step::Key(name), place, |walk| walk.look(part, member));
                    }
                }
                "additionalProperties" => self.look_at_others(schema, argument, value),
                "required" => {
                    let Some(object) = value.as_object() else { continue };
                    for name in argument.as_array().into_iter().flatten().filter_map(Value::as_str) {
                        if !object.contains_key(name) {
                            self.find("required", schema, value, || format!("'{name}' is a required property"));
                        }
                    }
                }
                _ => {
                    if let Some(keyword) = broken(keyword, argument, value) {
                        self.find(keyword, schema, value, || sentence(keyword, argument, value));
                    }
                }
            }
        }
    }

    /// The members that `properties` does not name.
    fn look_at_others(&mut self, schema: &Map<String, Value>, argument: &Value, value: &'v Value) {
        let Some(object) = value.as_object() else { return };
        let known = schema.get("properties").and_then(Value::as_object);
        let mut others: Vec<(&String, &Value)> =
            object.iter().filter(|(name, _)| !known.is_some_and(|known| known.contains_key(*name))).collect();
        others.sort_unstable_by_key(|(name, _)| *name);
        if argument.is_object() {
            for (name, member) in others.into_iter().rev() {
                let place = ["additionalProperties".to_owned()];
                self.within(Step::Key(name), place, |walk| walk.look(argument, member));
            }
        } else if *argument == false && !others.is_empty() {
            self.find("additionalProperties", schema, value, || {
                let names: Vec<String> =
                    others.iter().take(NAMES_SHOWN_MAX).map(|(name, _)| format!("'{}'", shorten(name))).collect();
                let verb = if others.len() == 1 { "was" } else { "were" };
                format!("Additional properties are not allowed ({} {verb} unexpected)", names.join(", "))
            });
        }
    }

    /// `#/definitions/NAME`, which leaves no trace in the place of a fault.
    fn follow(&mut self, reference: &Value, value: &'v Value) {
        let root = self.root;
        let target =
            reference.as_str().and_then(|reference| reference.strip_prefix('#')).and_then(|at| root.pointer(at));
        if let Some(target) = target {
            self.look(target, value);
        }
    }

    /// Looks further down in the schema.
    fn below<const N: usize>(&mut self, place: [String; N], look: impl FnOnce(&mut Self)) {
        let before = self.schema_path.len();
        self.schema_path.extend(place);
        look(self);
        self.schema_path.truncate(before);
    }

    /// Looks further down in the schema and in the value.
    fn within<const N: usize>(&mut self, step: Step<'v>, place: [String; N], look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        self.below(place, look);
        self.path.pop();
    }

    /// Notes a fault, unless there is one that says more.
    fn find(
        &mut self,
        keyword: &'static str,
        schema: &Map<String, Value>,
        value: &Value,
        sentence: impl FnOnce() -> String,
    ) {
        let wanted = schema.get("type").and_then(Value::as_str);
        let is_of_other_type = wanted.is_none_or(|wanted| !is_of_type(value, wanted));
        let says_more = self.worst.as_ref().is_none_or(|worst| {
            let depth = worst.path.len().cmp(&self.path.len());
            let order = depth.then_with(|| self.path.cmp(&worst.path));
            order.then_with(|| is_of_other_type.cmp(&worst.is_of_other_type)).is_gt()
        });
        if !says_more {
            return;
        }
        let place = |part: &String| match part.parse::<usize>() {
            Ok(index) => format!("[{index}]"),
            Err(_) => format!("['{part}']"),
        };
        self.worst = Some(Fault {
            path: self.path.clone(),
            is_of_other_type,
            keyword,
            schema_path: self.schema_path.iter().map(place).collect(),
            sentence: sentence(),
            shown: python(value),
        });
    }
}

/// The keyword, if it is about the value itself and the value is not as it says. Those that are none are words for clients: names,
/// descriptions, defaults, formats, links, definitions.
fn broken(keyword: &str, argument: &Value, value: &Value) -> Option<&'static str> {
    let (keyword, is_kept) = match keyword {
        "type" => ("type", argument.as_str().is_some_and(|wanted| is_of_type(value, wanted))),
        "enum" => ("enum", argument.as_array().is_some_and(|all| all.contains(value))),
        "minimum" => ("minimum", value.as_f64().zip(argument.as_f64()).is_none_or(|(number, least)| number >= least)),
        "maxLength" => {
            let max = argument.as_u64().and_then(|max| usize::try_from(max).ok());
            ("maxLength", value.as_str().zip(max).is_none_or(|(text, max)| text.chars().nth(max).is_none()))
        }
        // Nothing asks for more than one.
        "minItems" => ("minItems", value.as_array().is_none_or(|items| !items.is_empty())),
        "uniqueItems" => ("uniqueItems", value.as_array().is_none_or(|items| !has_repeated(items))),
        _ => return None,
    };
    (!is_kept).then_some(keyword)
}

/// How the original says it.
fn sentence(keyword: &str, argument: &Value, value: &Value) -> String {
    let shown = python(value);
    match keyword {
        "type" => format!("{shown} is not of type {}", python(argument)),
        "enum" => format!("{shown} is not one of {}", python(argument)),
        "minimum" => format!("{shown} is less than the minimum of {argument}"),
        "maxLength" => format!("{shown} is too long"),
        "minItems" => format!("{shown} should be non-empty"),
        _ => format!("{shown} has non-unique elements"),
    }
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn has_repeated(items: &[Value]) -> bool {
    let mut seen = HashSet::new();
    items.iter().any(|item| !seen.insert(item.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules::new(json!({
            "name": "thing",
            "properties": {
                "a": {"type": "string", "maxLength": 2},
                "b": {"type": "string", "enum": ["x", "y"]},
                "list": {"$ref": "#/definitions/list"},
                "count": {"allOf": [{"$ref": "#/definitions/count"}, {"default": 0}]},
                "map": {"type": "object", "additionalProperties": {"type": "object", "required": ["t"]}},
            },
            "additionalProperties": false,
            "required": ["a"],
            "definitions": {
                "list": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": true},
                "count": {"type": "integer", "minimum": 0},
            },
        }))
    }

    fn told(value: &Value) -> String {
        rules().validate(value).expect_err("a fault").message
    }

    #[test]
    fn faults_are_named_as_the_original_names_them() {
        for (value, start) in [
            (json!({"a": "abc"}), "'abc' is too long\n\nFailed validating 'maxLength' in schema['properties']['a']"),
            (
                json!({"a": "", "b": 5}),
                "5 is not of type 'string'\n\nFailed validating 'type' in schema['properties']['b']",
            ),
            (json!({"a": "", "b": "z"}), "'z' is not one of ['x', 'y']\n\nFailed validating 'enum'"),
            (json!({}), "'a' is a required property\n\nFailed validating 'required' in schema\n\nOn instance:\n    {}"),
            (json!({"d": 1, "c": 2}), "Additional properties are not allowed ('c', 'd' were unexpected)"),
            (
                json!({"a": "", "list": []}),
                "[] should be non-empty\n\nFailed validating 'minItems' in schema['properties']['list']",
            ),
            (json!({"a": "", "list": ["p", "p"]}), "['p', 'p'] has non-unique elements"),
            (
                json!({"a": "", "list": [1]}),
                "1 is not of type 'string'\n\nFailed validating 'type' in schema['properties']['list']['items']\n\nOn instance['list'][0]:",
            ),
            (
                json!({"a": "", "count": -1}),
                "-1 is less than the minimum of 0\n\nFailed validating 'minimum' in schema['properties']['count']['allOf'][0]",
            ),
            (
                json!({"a": "", "map": {"k": {}}}),
                "'t' is a required property\n\nFailed validating 'required' in schema['properties']['map']['additionalProperties']\n\nOn instance['map']['k']:",
            ),
            // The highest in the value is named, and there the one under the last name.
            (
                json!({"a": 1, "b": 1, "map": {"k": {}}}),
                "1 is not of type 'string'\n\nFailed validating 'type' in schema['properties']['b']",
            ),
        ] {
            let text = told(&value);
            let text = text.strip_prefix("Provided object does not match schema 'thing': ").expect(&text);
            assert!(text.starts_with(start), "{value}: {text}");
        }
        assert_eq!(rules().validate(&json!({"a": "ab", "count": 2.0, "list": ["p"], "map": {"k": {"t": 1}}})), Ok(()));
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in ".{0,40}") {
            let value = serde_json::from_str(&text).unwrap_or_else(|_| json!({ text.clone(): text }));
            let _ = rules().validate(&value);
        }
    }
}
