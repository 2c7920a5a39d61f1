//! Policy files: any text is read or refused with a line that it has, and what a file says does not depend on whether it
//! says so in YAML or in JSON.

use std::path::Path;

use common::policy::{Policy, PolicyError};
use serde_json::{Map, Value, json};

use super::policy_rule::{callers, load, targets};

/// The first byte chooses: `=` makes the following lines names and texts, anything else belongs to the file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.strip_prefix('=') {
        Some(lines) => both_ways(lines),
        None => any_text(text),
    }
}

fn any_text(text: &str) {
    match load(text) {
        Ok(_) => {}
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let PolicyError::Syntax { file, line, reason } = error else { panic!("{error}") };
                assert_eq!(file, Path::new("policy"));
                // Behind the last line when the file ends too early.
                assert!(line >= 1 && line <= text.split('\n').count() + 1, "line {line}: {reason}");
                assert!(!reason.is_empty());
            }
        }
    }
}

/// Lines in turn are a name and a rule.
fn both_ways(lines: &str) {
    let lines: Vec<&str> = lines.split('\n').collect();
    let mut rules = Map::new();
    for pair in lines.chunks_exact(2) {
        rules.insert(format!("f_{}", pair[0]), json!(pair[1]));
    }
    let yaml: String = rules.iter().map(|(name, rule)| format!("{}: {}\n", quoted(name), single(rule))).collect();
    let (from_json, from_yaml) = (load(&Value::Object(rules.clone()).to_string()), load(&yaml));
    let (from_json, from_yaml) = match (from_json, from_yaml) {
        (Ok(from_json), Ok(from_yaml)) => (from_json, from_yaml),
        (Err(in_json), Err(in_yaml)) => return assert_eq!(reasons(&in_json), reasons(&in_yaml), "{yaml:?}"),
        (in_json, in_yaml) => panic!("{:?} and {:?}: {yaml:?}", in_json.err(), in_yaml.err()),
    };
    for name in rules.keys() {
        assert_eq!(decisions(&from_json.0, name), decisions(&from_yaml.0, name), "{name}");
    }
    assert_eq!(from_json.1.len(), from_yaml.1.len(), "warnings");
}

/// What is wrong, wherever it stands.
fn reasons(errors: &[PolicyError]) -> Vec<&str> {
    fn reason(error: &PolicyError) -> &str {
        match error {
            PolicyError::Syntax { reason, .. } => reason,
            PolicyError::Unreadable { .. } => panic!("{error}"),
        }
    }
    errors.iter().map(reason).collect()
}

fn decisions(policy: &Policy, rule: &str) -> Vec<bool> {
    let callers = callers();
    let all = callers.iter().flat_map(|caller| targets().map(|target| (caller, target)));
    all.map(|(caller, target)| policy.enforce(rule, &caller.credentials(), target)).collect()
}

/// In double quotes, with the escapes that the reader knows.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t"))
}

/// In single quotes.
fn single(text: &Value) -> String {
    format!("'{}'", text.as_str().unwrap_or_default().replace('\'', "''"))
}
