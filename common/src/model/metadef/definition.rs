//! The definition of one property: which values it takes.
//!
//! It is JSON, in the catalog as in the API. The catalog has what a client sent, put in order by [`accept`], or what stood in
//! a file, as it stood; [`shown`] is what clients read of either.

use serde_json::{Map, Number, Value};

/// What a member of a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A number without fraction: the API cuts what others have.
    Integer,
    /// A list of texts.
    Texts,
    /// Any value, which the API turns into a text.
    Words,
    /// What the elements of a list are: a definition of its own, of [`ITEM_MEMBERS`].
    Items,
}

/// The members, in the order in which they are shown.
const MEMBERS: [(&str, Form); 19] = [
    ("name", Form::Text),
    ("type", Form::Text),
    ("title", Form::Text),
    ("description", Form::Text),
    ("operators", Form::Texts),
    ("default", Form::Words),
    ("readonly", Form::Boolean),
    ("minimum", Form::Integer),
    ("maximum", Form::Integer),
    ("enum", Form::Texts),
    ("pattern", Form::Text),
    ("minLength", Form::Integer),
    ("maxLength", Form::Integer),
    ("confidential", Form::Boolean),
    ("items", Form::Items),
    ("uniqueItems", Form::Boolean),
    ("minItems", Form::Integer),
    ("maxItems", Form::Integer),
    ("additionalItems", Form::Boolean),
];

/// The members of `items`.
const ITEM_MEMBERS: [(&str, Form); 2] = [("type", Form::Text), ("enum", Form::Texts)];

/// Texts of booleans that files have.
const TRUE_WORDS: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];

/// Why a definition that fits the schema is none all the same: what the client reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such member.
    #[error("The definition of a property has no member '{0}'.")]
    Unknown(String),
    /// The member must be there.
    #[error("The definition of a property needs the member '{0}'.")]
    Missing(&'static str),
    /// A default with characters beyond ASCII: Glance could not show the namespace any more.
    #[error(
        "Error decoding your request. Either the URL or the request body contained characters that could not be decoded \
         by Glance"
    )]
    Default,
    /// The member has a value of another form.
    #[error("The member '{0}' of a property's definition has a value that is not of its form.")]
    Form(&'static str),
}

/// Characters of a name that a refusal repeats.
const NAME_CHARS_SHOWN: usize = 80;

/// A client's definition as the catalog keeps it.
///
/// # Errors
/// What the schema lets pass and nobody could show again.
pub fn accept(sent: &Map<String, Value>) -> Result<Map<String, Value>, Refused> {
    accept_members(sent, &MEMBERS, &["type", "title"])
}

fn accept_members(
    sent: &Map<String, Value>,
    members: &[(&'static str, Form)],
    needed: &[&'static str],
) -> Result<Map<String, Value>, Refused> {
    if let Some(name) = sent.keys().find(|name| !members.iter().any(|(member, _)| member == name)) {
        return Err(Refused::Unknown(name.chars().take(NAME_CHARS_SHOWN).collect()));
    }
    if let Some(name) = needed.iter().find(|name| !sent.contains_key(**name)) {
        return Err(Refused::Missing(name));
    }
    let mut kept = Map::new();
    for (name, form) in members {
        let Some(value) = sent.get(*name) else { continue };
        let value = match (form, value) {
            (_, Value::Null) => Value::Null,
            (Form::Words, Value::String(text)) if !text.is_ascii() => return Err(Refused::Default),
            (Form::Items, Value::Object(items)) => Value::Object(accept_members(items, &ITEM_MEMBERS, &["type"])?),
            (form, value) => plain(*form, value).ok_or(Refused::Form(name))?,
        };
        kept.insert((*name).to_owned(), value);
    }
    Ok(kept)
}

/// A value of its form; `None` where it is of another.
fn plain(form: Form, value: &Value) -> Option<Value> {
    match form {
        Form::Text => value.is_string().then(|| value.clone()),
        Form::Boolean => value.is_boolean().then(|| value.clone()),
        Form::Integer => integer(value),
        Form::Texts => {
            let all_texts = value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
            all_texts.then(|| value.clone())
        }
        Form::Words => Some(words(value)),
        Form::Items => None,
    }
}

/// What clients read of a definition in the catalog. Whoever wrote it: what can be understood is shown, the rest is not.
pub fn shown(kept: &Map<String, Value>) -> Map<String, Value> {
    show_members(kept, &MEMBERS)
}

fn show_members(kept: &Map<String, Value>, members: &[(&str, Form)]) -> Map<String, Value> {
    let mut shown = Map::new();
    for (name, form) in members {
        let Some(value) = kept.get(*name) else { continue };
        let value = match (form, value) {
            (_, Value::Null) => Value::Null,
            (Form::Items, Value::Object(items)) => Value::Object(show_members(items, &ITEM_MEMBERS)),
            (Form::Items, _) => continue,
            (Form::Text, value) => words(value),
            (Form::Texts, Value::Array(items)) => items.iter().map(words).collect(),
            (Form::Boolean, Value::String(word)) => Value::Bool(TRUE_WORDS.contains(&word.as_str())),
            (Form::Boolean, Value::Number(number)) => Value::Bool(number.as_f64() != Some(0.0)),
            (Form::Integer, Value::String(digits)) => match digits.trim().parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => continue,
            },
            // Glance keeps any number.
            (Form::Integer, Value::Number(_)) => integer(value).unwrap_or_else(|| value.clone()),
            (form, value) => match plain(*form, value) {
                Some(value) => value,
                None => continue,
            },
        };
        shown.insert((*name).to_owned(), value);
    }
    shown
}

/// A value as a text, in Python's way of writing; lists and objects have none.
fn words(value: &Value) -> Value {
    match value {
        Value::Bool(true) => Value::from("True"),
        Value::Bool(false) => Value::from("False"),
        Value::Number(number) => Value::from(number.to_string()),
        Value::String(_) => value.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

/// A number without its fraction; `None` for what is no number, and for numbers beyond 64 bits.
fn integer(value: &Value) -> Option<Value> {
    let number = value.as_number()?;
    if number.is_i64() || number.is_u64() {
        return Some(value.clone());
    }
    // Written without exponent and point, so that reading it back says whether it fits. What is read as the least number of all
    // is one beyond it: else it were no float.
    let whole = format!("{:.0}", number.as_f64()?.trunc());
    let signed = whole.parse::<i64>().ok().filter(|whole| *whole != i64::MIN).map(Number::from);
    signed.or_else(|| whole.parse::<u64>().ok().filter(|whole| *whole != u64::MAX).map(Number::from)).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    fn accepted(value: &Value) -> Result<Value, Refused> {
        accept(&object(value)).map(Value::Object)
    }

    #[test]
    fn members_are_put_in_order_and_values_in_their_form() {
        let sent = json!({
            "title": "T", "type": "integer", "default": 5, "minimum": 1.9, "maximum": -2.5, "readonly": true,
            "enum": ["a"], "items": {"enum": ["x"], "type": "string"}, "name": "n", "minLength": 3.0, "pattern": null,
        });
        let kept = json!({
            "name": "n", "type": "integer", "title": "T", "default": "5", "readonly": true, "minimum": 1, "maximum": -2,
            "enum": ["a"], "pattern": null, "minLength": 3, "items": {"type": "string", "enum": ["x"]},
        });
        let found = accepted(&sent).expect("a definition");
        assert_eq!(found.to_string(), kept.to_string());
        assert_eq!(Value::Object(shown(&object(&found))).to_string(), kept.to_string());
    }

    #[test]
    fn defaults_become_texts() {
        for (sent, kept) in [
            (json!(5), json!("5")),
            (json!(1.5), json!("1.5")),
            (json!(true), json!("True")),
            (json!([1]), json!(null)),
            (json!({"a": 1}), json!(null)),
            (json!(null), json!(null)),
            (json!("x"), json!("x")),
        ] {
            let found = accepted(&json!({"type": "string", "title": "t", "default": sent})).expect("a definition");
            assert_eq!(found["default"], kept, "{sent}");
        }
    }

    #[test]
    fn what_could_not_be_shown_again_is_refused() {
        let with = |name: &str, value: Value| {
            let mut sent = json!({"type": "string", "title": "t"});
            sent[name] = value;
            sent
        };
        for (sent, why) in [
            (with("required", json!(["a"])), Refused::Unknown("required".to_owned())),
            (with("enum", json!([1])), Refused::Form("enum")),
            (with("items", json!({"enum": []})), Refused::Missing("type")),
            (with("items", json!({"type": "string", "x": 1})), Refused::Unknown("x".to_owned())),
            (with("default", json!("ü")), Refused::Default),
            (with("minimum", json!(1e300)), Refused::Form("minimum")),
            (json!({"type": "string"}), Refused::Missing("title")),
        ] {
            assert_eq!(accepted(&sent), Err(why), "{sent}");
        }
    }

    #[test]
    fn files_are_read_with_good_will() {
        let kept = json!({
            "type": "integer", "default": 1, "readonly": "true", "minimum": "7", "maximum": "many", "enum": [1, "b"],
            "items": 5, "unknown": 1, "minItems": [],
        });
        let seen = Value::Object(shown(&object(&kept)));
        let wanted = json!({"type": "integer", "default": "1", "readonly": true, "minimum": 7, "enum": ["1", "b"]});
        assert_eq!(seen, wanted);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("type|enum|.{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What is kept is shown as it was kept, and kept again as it is.
        #[test]
        fn what_is_kept_is_shown(
            values in prop::collection::btree_map(prop::sample::select(MEMBERS.map(|(name, _)| name).to_vec()), any_value(), 0..8),
        ) {
            let sent: Map<String, Value> = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            // Never panics, whatever it is.
            let _ = shown(&sent);
            if let Ok(kept) = accept(&sent) {
                prop_assert_eq!(&shown(&kept), &kept);
                prop_assert_eq!(accept(&kept), Ok(kept));
            }
        }
    }
}
