//! What can be wrong with a configuration, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of a file; lines count from 1.
    Line(Arc<Path>, usize),
    /// An environment variable, by its name.
    Environment(String),
    /// The built-in default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Place::Environment(name) => write!(f, "environment variable {name}"),
            Place::Default => f.write_str("built-in default"),
        }
    }
}

/// A reason not to start. Values of secret options are never part of the text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The file cannot be read, or is not UTF-8.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The line is not of the file format.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong with the line.
        reason: String,
    },
    /// The value is not of the option's type, or names something that does not exist.
    #[error("{place}: [{group}] {option} = {value}: accepted is {accepted}")]
    BadValue {
        /// Where the value stands.
        place: Place,
        /// Group of the option.
        group: String,
        /// Name of the option.
        option: String,
        /// The value as written; `***` for secrets.
        value: String,
        /// What the option accepts.
        accepted: String,
    },
    /// `$name` names no option, or names itself.
    #[error("{place}: [{group}] {option}: ${{{name}}} {reason}")]
    Substitution {
        /// Where the value stands.
        place: Place,
        /// Group of the option.
        group: String,
        /// Name of the option.
        option: String,
        /// The name after the `$`.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Glance knows it, Vitrine does not do it, and to ignore it would be dangerous.
    #[error("{place}: [{group}] {option} = {value}: not supported yet: {reason}")]
    Unsupported {
        /// Where the value stands.
        place: Place,
        /// Group of the option.
        group: String,
        /// Name of the option.
        option: String,
        /// The value as written; `***` for secrets.
        value: String,
        /// What is not there, and what to do instead.
        reason: String,
    },
    /// An option that must be set is not.
    #[error("[{group}] {option} must be set: {reason}")]
    Missing {
        /// Group of the option.
        group: String,
        /// Name of the option.
        option: String,
        /// Why it is needed.
        reason: String,
    },
    /// Options that are right each for itself do not fit together.
    #[error("{0}")]
    Conflict(String),
}

/// Something the operator should know; the service starts nevertheless.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// Neither Glance's nor ours.
    #[error("{place}: unknown option [{group}] {option} is ignored{hint}")]
    UnknownOption {
        /// Where.
        place: Place,
        /// Group as written.
        group: String,
        /// Option as written.
        option: String,
        /// `; did you mean …?`, or empty.
        hint: String,
    },
    /// No group of this name is read.
    #[error("{place}: unknown group [{group}] is ignored{hint}")]
    UnknownGroup {
        /// Where its first header stands.
        place: Place,
        /// Group as written.
        group: String,
        /// `; did you mean …?`, or empty.
        hint: String,
    },
    /// A Glance option that has no effect here.
    #[error("{place}: [{group}] {option} has no effect: {reason}")]
    NoEffect {
        /// Where.
        place: Place,
        /// Group of the option.
        group: String,
        /// Name of the option.
        option: String,
        /// Why.
        reason: String,
    },
    /// Anything else.
    #[error("{0}")]
    Note(String),
}
