//! Methods and paths: what is found is in the table, its variables are the decoded segments, and encoding them again leads
//! to the same endpoint.

use common::http::query::{decode_segment, parse_query, write_query};
use common::http::routes::{Offered, Resolution, Route, resolve};

/// Method, path and `Accept` on three lines. The first character chooses which versions there are.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (method, path, accept) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next());
    let (offered, method) = match (method.strip_prefix('+'), method) {
        (Some(method), _) => (Offered { multi_store: true, cache: true }, method),
        (None, method) => (Offered { multi_store: false, cache: false }, method),
    };
    decoding(path);
    queries(path);
    match resolve(method, path, accept, offered) {
        Resolution::Found(route, params) => found(route, params, method, path, offered),
        Resolution::WrongMethod { allow, route } => {
            assert!(!allow.split(", ").any(|allowed| allowed == method || allowed == "*"));
            for allowed in allow.split(", ") {
                let other = resolve(allowed, path, accept, offered);
                assert!(matches!(other, Resolution::Found(found, _) if found.label() == route.label()), "{allowed}");
            }
        }
        Resolution::NotFound => {}
        Resolution::Undecodable => assert!(path.split('/').any(|segment| model(segment).is_none())),
    }
}

fn found(route: Route, params: Vec<String>, method: &str, path: &str, offered: Offered) {
    let row = route.row();
    assert!(row.method == "*" || row.method == method);
    let variables = row.path.split('/').filter(|segment| segment.starts_with('{')).count();
    assert_eq!(params.len(), variables);
    let decoded: Vec<Option<String>> = path.split('/').map(model).collect();
    for param in &params {
        assert!(!param.is_empty() && decoded.contains(&Some(param.clone())));
    }
    let mut values = params.iter();
    let again: Vec<String> = row
        .path
        .split('/')
        .map(|segment| match segment.starts_with('{') {
            true => values.next().map(|value| encode(value)).unwrap_or_default(),
            false => segment.to_owned(),
        })
        .collect();
    assert_eq!(resolve(method, &again.join("/"), None, offered), Resolution::Found(route, params));
}

fn decoding(path: &str) {
    for segment in path.split('/') {
        let decoded = decode_segment(segment);
        assert_eq!(decoded, model(segment), "{segment:?}");
        if let Some(decoded) = decoded {
            assert_eq!(decode_segment(&encode(&decoded)), Some(decoded));
        }
    }
}

fn queries(text: &str) {
    let Some(pairs) = parse_query(text) else { return };
    let written = write_query(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    assert!(written.is_ascii() && !written.contains([' ', '#', '?']));
    // A pair of two empty texts is written as `=`, which is read as just that.
    assert_eq!(parse_query(&written), Some(pairs));
}

/// Percent-decoding by splitting at the percent signs.
fn model(segment: &str) -> Option<String> {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(&part.as_bytes()[2..]);
            }
            None => {
                bytes.push(b'%');
                bytes.extend(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
