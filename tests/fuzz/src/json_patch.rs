//! Patches of an image: a refusal is the client's fault, and both dialects say the same.

use std::sync::LazyLock;

use common::config::{Config, Overrides};
use control::parsers::PatchReader;
use serde_json::{Map, Value};

const NEW: &str = "application/openstack-images-v2.1-json-patch";
const OLD: &str = "application/openstack-images-v2.0-json-patch";

static READER: LazyLock<PatchReader> = LazyLock::new(|| {
    let (config, _) = Config::load(&[], &Overrides::default()).expect("the built-in configuration");
    PatchReader::new(&config.api)
});

/// The body of a request.
pub fn run(body: &[u8]) {
    let new = READER.read(Some(NEW), body);
    let old = READER.read(Some(OLD), body);
    for error in [&new, &old].into_iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(error.status().is_client_error(), "{error:?}");
    }
    let Ok(Value::Array(operations)) = serde_json::from_slice(body) else {
        return assert!(new.is_err() && old.is_err(), "what is no list was taken");
    };
    let Some(translated) = operations.iter().map(in_old_dialect).collect::<Option<Vec<Value>>>() else { return };
    let translated = READER.read(Some(OLD), Value::Array(translated).to_string().as_bytes());
    match (new, translated) {
        (Ok(new), Ok(old)) => assert_eq!(new, old),
        (Err(_), Err(_)) => {}
        (new, old) => panic!("{old:?} instead of {new:?}"),
    }
}

/// `{"op": "add", "path": "/a", …}` is `{"add": "/a", …}`. `None` where the translation would say something else.
fn in_old_dialect(operation: &Value) -> Option<Value> {
    let operation = operation.as_object()?;
    let op = operation.get("op")?.as_str()?;
    if !["add", "remove", "replace"].contains(&op)
        || ["add", "remove", "replace"].iter().any(|op| operation.contains_key(*op))
    {
        return None;
    }
    let mut old = Map::new();
    old.insert(op.to_owned(), operation.get("path")?.clone());
    if let Some(value) = operation.get("value") {
        old.insert("value".to_owned(), value.clone());
    }
    Some(Value::Object(old))
}
