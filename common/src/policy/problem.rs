//! What can be wrong with policy files: reasons not to take them, and what an operator should know of rules that are taken.

use std::path::PathBuf;

use thiserror::Error;

/// A reason not to take the files.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The file or directory cannot be read, or is not UTF-8.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file or directory.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file is not a policy file, or a text in it is not a rule.
    #[error("{}:{line}: {reason}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1; of a rule, that of its name.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl PolicyError {
    /// All of `errors` in one line.
    pub fn in_one_line(errors: &[PolicyError]) -> String {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// What the operator should know of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyWarning {
    /// The rule is right, but uses what is not there yet; it denies.
    #[error("{}:{line}: rule {name} denies everything: {reason}", file.display())]
    NotSupported {
        /// The file.
        file: PathBuf,
        /// The line of its name, from 1.
        line: usize,
        /// The rule.
        name: String,
        /// What is not there yet, with its place in the text.
        reason: String,
    },
    /// The rule refers to one that does not exist.
    #[error("rule {name} refers to rule {missing}, which does not exist: {instead}")]
    Undefined {
        /// The rule.
        name: String,
        /// The one that is missing.
        missing: String,
        /// What is asked instead.
        instead: String,
    },
    /// The rule leads back to itself, or through too many others; it denies.
    #[error("rule {0} leads to itself or through too many other rules, and denies everything")]
    Circle(String),
    /// The rule negates one that denies because it is broken; it denies too.
    #[error("rule {0} negates a rule that cannot be used, and denies everything")]
    NegatesBroken(String),
}
