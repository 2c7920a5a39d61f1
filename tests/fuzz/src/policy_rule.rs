//! The rule language: a rule, its negation and its repetition decide as logic says, for every kind of caller.

use std::path::{Path, PathBuf};

use common::config::PolicyFiles;
use common::identity::Identity;
use common::policy::{Loaded, Policy, PolicyError, PolicyWarning, Target};
use serde_json::json;

/// The text of a rule.
pub fn run(data: &[u8]) {
    let Ok(rule) = std::str::from_utf8(data) else { return };
    // Blanks round it, so that a parenthesis or a word at its edge stays what it is.
    let file = json!({
        "f_rule": rule,
        "f_not": format!("not ( {rule} )"),
        "f_or": format!("( {rule} ) or ( {rule} )"),
        "f_and": format!("@ and ( {rule} )"),
        "f_reference": "rule:f_rule",
    });
    // Blanks alone are no rule; nothing at all is one, and none in parentheses.
    let (policy, warnings) = match load(&file.to_string()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in errors {
                let PolicyError::Syntax { line: 1, reason, .. } = error else { panic!("{error}") };
                assert!(reason.starts_with("rule f_") && !reason.starts_with("rule f_reference"), "{reason}");
            }
            return;
        }
    };
    let broken = |wanted: &str| {
        warnings.iter().any(|warning| match warning {
            PolicyWarning::NotSupported { name, .. }
            | PolicyWarning::Circle(name)
            | PolicyWarning::NegatesBroken(name) => name == wanted,
            PolicyWarning::Undefined { .. } => false,
        })
    };
    for caller in callers() {
        for target in targets() {
            let holds = |name| policy.enforce(name, &caller.credentials(), target);
            for name in ["f_rule", "f_not", "f_or", "f_and"] {
                assert!(!broken(name) || !holds(name), "{name} is broken and allows");
            }
            // What is broken alone, or too deep with a parenthesis more, says nothing of the others.
            if ["f_rule", "f_not", "f_or", "f_and"].into_iter().any(broken) {
                continue;
            }
            assert_eq!(holds("f_not"), !holds("f_rule"), "not");
            assert_eq!(holds("f_or"), holds("f_rule"), "or");
            assert_eq!(holds("f_and"), holds("f_rule"), "and");
            assert_eq!(holds("f_reference"), holds("f_rule"), "rule:");
        }
    }
}

/// The policy of one file.
pub(super) fn load(text: &str) -> Loaded {
    let options = PolicyFiles {
        file: vec![PathBuf::from("policy")],
        dirs: Vec::new(),
        default_rule: "default".to_owned(),
        enforce_new_defaults: true,
    };
    Policy::from_text(Path::new("policy"), text, &options)
}

/// Callers of every kind.
pub(super) fn callers() -> [Identity; 3] {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    [
        Identity::everybody(),
        Identity {
            user_id: "u".to_owned(),
            project_id: Some("p".to_owned()),
            user_domain_id: Some("d".to_owned()),
            roles: words(&["member", "reader"]),
            service_roles: words(&["service"]),
            ..Identity::default()
        },
        Identity::default(),
    ]
}

/// An image of the second caller's, one of nobody's, and nothing.
pub(super) fn targets() -> [&'static dyn Target; 3] {
    const OWN: [(&str, &str); 4] =
        [("owner", "p"), ("project_id", "p"), ("visibility", "private"), ("protected", "True")];
    const NOBODYS: [(&str, &str); 2] = [("owner", "None"), ("visibility", "public")];
    [&OWN, &NOBODYS, &()]
}
