//! What goes wrong with the database, in the words of the program.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::{Error, Kind};

/// What a client reads while the database cannot be used.
const AWAY: &str = "The image catalog is temporarily unavailable.";

/// What clients are told in `Retry-After` while the database cannot be used, seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Why a catalog could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no file, and the one who opens must not make one.
    #[error("there is no catalog at {path} yet: start the control plane, which creates it")]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A database, but not in the one revision that we know.
    #[error(
        "the database {path} is at revision {found}, this program needs {needed}: \
         run `glance-manage db sync` of Glance 33 on it (a copy of it first), or name another file in \
         [database] connection"
    )]
    Revision {
        /// The file.
        path: PathBuf,
        /// What its `alembic_version` holds.
        found: String,
        /// The revision that we know.
        needed: &'static str,
    },
    /// The revision is right, the tables are not.
    #[error("the database {path} says it is at revision {revision}, but lacks {missing}: restore it from a backup")]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// The revision that it names.
        revision: &'static str,
        /// Tables and columns that are not there.
        missing: String,
    },
    /// Our own tables come from a newer release.
    #[error("the tables vitrine_* in {path} are of a newer release (migration {found}, known are {known}): upgrade")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Number of the newest migration in the file.
        found: i64,
        /// Number of migrations that we know.
        known: i64,
    },
    /// A thread for the catalog cannot be started.
    #[error("cannot start a thread for the catalog {path}: {source}")]
    Thread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database engine's own complaint.
    #[error("cannot open the catalog {path}: {source}")]
    Engine {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Error::unavailable(AWAY, RETRY_AFTER_SECONDS).caused_by(error)
    }
}

/// A failed statement: 503 where trying again may help, 500 otherwise.
pub(crate) fn failed(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => Kind::Unavailable,
        _ => Kind::Internal,
    };
    match kind {
        Kind::Unavailable => away(error),
        _ => Error::internal(format_args!("catalog: {error}")),
    }
}

/// 503: the database cannot be used now.
pub(crate) fn away(cause: impl std::fmt::Display) -> Error {
    Error::unavailable(AWAY, RETRY_AFTER_SECONDS).caused_by(format_args!("catalog: {cause}"))
}

/// A row holds what no writer of the schema writes.
pub(crate) fn corrupt(what: &str, value: &str) -> Error {
    Error::internal(format_args!("catalog: {what} has the impossible value '{value}'"))
}

/// 404 for an image, as Glance says it.
pub(crate) fn no_image(id: &str) -> Error {
    Error::not_found(format!("No image found with ID {id}"))
}
