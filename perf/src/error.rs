//! What can go wrong in a measurement. Each message stands alone: a run that fails says where and on what.

use std::io;

/// A failed measurement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, and to what.
        what: String,
        /// The refusal.
        source: io::Error,
    },
    /// The bytes of an answer are not HTTP/1.1 as this client reads it.
    #[error("unreadable answer: {0}")]
    Http(String),
    /// A well-formed answer that is not the one the measurement needs.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// The bytes or checksums that came back are not those that went in.
    #[error("wrong bytes: {0}")]
    Bytes(String),
    /// Something the run needs is missing, or the machine is not fit for it.
    #[error("{0}")]
    Setup(String),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds to an error of the system what was being done.
pub trait During<T> {
    /// Turns the error into [`Error::Io`]; `what` is only evaluated on failure.
    ///
    /// # Errors
    /// The same failure, with its context.
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|source| Error::Io { what: what().into(), source: source.into() })
    }
}
