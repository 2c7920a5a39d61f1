//! Requests for imports, which become the input of tasks: any bytes are refused with 400 and words, or name a method that is enabled and
//! stores in one way; what is no known field changes nothing.

use serde_json::{Value, json};

/// The methods of the site.
const METHODS: [&str; 4] = ["glance-direct", "web-download", "copy-image", "glance-download"];

/// A body; before a line feed, if there is one, the header that names a store.
pub fn run(data: &[u8]) {
    let (header, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (std::str::from_utf8(&data[..end]).ok(), &data[end + 1..]),
        None => (None, data),
    };
    let enabled = METHODS.map(str::to_owned);
    let read = |body: &[u8]| control::parsers::import_request(body, header, &enabled);
    let outcome = read(body);
    let document = serde_json::from_slice::<Value>(body);
    let wanted = match &outcome {
        Ok(wanted) => wanted,
        Err(error) => {
            assert_eq!(error.status().as_u16(), 400);
            assert!(!error.message.is_empty());
            return;
        }
    };
    let document = document.expect("what was read is JSON");
    let method = document["method"]["name"].as_str().expect("a method");
    assert!(METHODS.contains(&method) && wanted.starts_with(method), "{wanted}");
    for flag in ["all_stores", "all_stores_must_succeed"] {
        assert!(document.get(flag).is_none_or(Value::is_boolean), "{flag}");
    }
    let mut longer = document.clone();
    longer["nobody knows"] = json!([1, {"method": null}]);
    assert_eq!(read(longer.to_string().as_bytes()).as_ref().ok(), Some(wanted));
    let mut without = document;
    without.as_object_mut().expect("an object").remove("method");
    assert!(read(without.to_string().as_bytes()).is_err());
}
