//! What can go wrong in a store, and what a client is told of it.

use std::io;

use common::Error;
use common::error::Kind;
use rustix::io::Errno;

/// When a client may try again that came while descriptors or memory had run out.
const RETRY_AFTER_SECONDS: u64 = 1;

/// A failed operation of a store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Nothing lies there.
    #[error("no object there")]
    NotFound,
    /// Something lies there already.
    #[error("an object is there already")]
    Exists,
    /// No space, or a quota of the file system.
    #[error("no space: {0}")]
    Full(io::Error),
    /// This process has no descriptor or no memory left for it.
    #[error("nothing left to work with: {0}")]
    Exhausted(io::Error),
    /// The store does not let us.
    #[error("not permitted: {0}")]
    Denied(io::Error),
    /// The URI is not one of this store.
    #[error("not a place of this store: {0}")]
    Foreign(String),
    /// Nothing can be written there.
    #[error("the store cannot be written to")]
    ReadOnly,
    /// The store does not answer, or does not give the data, for the moment.
    #[error("the data cannot be had: {0}")]
    Away(String),
    /// Something else needs the data, so that it cannot be removed.
    #[error("in use: {0}")]
    InUse(String),
    /// Anything else.
    #[error("{0}")]
    Broken(io::Error),
}

impl StoreError {
    /// Whether the same may succeed in a moment.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, StoreError::Away(_))
    }
}

/// What a client is told for whom there are no descriptors or no memory. It has no cause to be logged: clients ask as often as they
/// like, and `/readyz` tells operators.
pub(crate) fn exhausted() -> Error {
    Error::unavailable("The server has too many files open. Try again.", RETRY_AFTER_SECONDS)
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => StoreError::NotFound,
            Some(Errno::EXIST) => StoreError::Exists,
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => StoreError::Full(error),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => StoreError::Exhausted(error),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreError::Denied(error),
            _ => StoreError::Broken(error),
        }
    }
}

impl From<StoreError> for Error {
    /// As Glance answers an upload. Paths and the system's words go to the log only.
    fn from(error: StoreError) -> Self {
        let answer = match &error {
            StoreError::NotFound => Error::not_found("The image data could not be found in its store."),
            StoreError::Exists => Error::conflict("The store already holds data for this image."),
            StoreError::Full(_) => Error::new(Kind::TooLarge, "Image storage media is full."),
            StoreError::Exhausted(_) => return exhausted(),
            StoreError::Denied(_) => Error::new(Kind::Unavailable, "Insufficient permissions on image storage media."),
            StoreError::Foreign(_) => {
                Error::new(Kind::Unavailable, "The image data lies in a store that is not configured here.")
            }
            StoreError::ReadOnly => {
                Error::new(Kind::Gone, "Error in store configuration. Adding images to store is disabled.")
            }
            StoreError::Away(_) => Error::new(Kind::Unavailable, "The image data cannot be read from its store."),
            StoreError::InUse(_) => Error::conflict("The image data is in use in its store."),
            StoreError::Broken(_) => Error::new(Kind::Internal, common::error::INTERNAL_TEXT),
        };
        answer.caused_by(error)
    }
}
