//! The one error of the service, and the only place that decides an HTTP status.
//!
//! An [`Error`] says what happened ([`Kind`]), what the client may read (`message`) and what only the log may see
//! (`cause`). Planes hand it to each other over the RPC as it stands; the front door turns it into a response.

use std::fmt;

use ::http::StatusCode;
use serde::{Deserialize, Serialize};

/// Shorthand for results that fail with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is: each kind has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request is malformed or breaks a schema.
    BadRequest,
    /// No valid token.
    Unauthenticated,
    /// Known caller, not allowed.
    Forbidden,
    /// Absent, or hidden from this caller.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The resource's state does not permit the operation.
    Conflict,
    /// The target went away while the operation ran, or a store takes no data.
    Gone,
    /// A quota, a size cap or a full store.
    TooLarge,
    /// The request line's target is too long.
    UriTooLong,
    /// Wrong content type, or content that is not what the image claims.
    UnsupportedMedia,
    /// The asked range does not lie in the image.
    RangeNotSatisfiable,
    /// What `If-Match` asks for is not so.
    PreconditionFailed,
    /// An `Expect` header that we do not know.
    ExpectationFailed,
    /// The client was too slow to send its request.
    RequestTimeout,
    /// Header section too large.
    HeadersTooLarge,
    /// A fault of ours.
    Internal,
    /// A method or transfer coding that nobody implements.
    NotImplemented,
    /// The HTTP version is not one we speak.
    VersionNotSupported,
    /// A plane or a store is away for the moment; the client should try again.
    Unavailable,
}

impl Kind {
    /// The HTTP status of this kind.
    pub fn status(self) -> StatusCode {
        match self {
            Kind::BadRequest => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Gone => StatusCode::GONE,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UriTooLong => StatusCode::URI_TOO_LONG,
            Kind::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A failed operation. See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Which kind, and so which status.
    pub kind: Kind,
    /// What the client reads. Never holds a path, a URL with credentials or a back end's own words.
    pub message: String,
    /// Further response headers, such as `Allow` or `Retry-After`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// What only the log may read. Never crosses the RPC, never reaches a client.
    #[serde(skip)]
    pub cause: Option<String>,
}

impl Error {
    /// An error of `kind` that tells the client `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), headers: Vec::new(), cause: None }
    }

    /// 400 with `message`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// 403 with `message`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, message)
    }

    /// 404 with `message`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// 409 with `message`.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// 500 whose client reads a generic text; `cause` goes to the log.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(Kind::Internal, INTERNAL_TEXT).caused_by(cause)
    }

    /// 503 with `message`; the client is told to come back after `retry_after_seconds`.
    pub fn unavailable(message: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(Kind::Unavailable, message).header("Retry-After", retry_after_seconds.to_string())
    }

    /// The same error with a cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same error with one more response header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

/// What a client reads of a fault of ours.
pub const INTERNAL_TEXT: &str = "The server has either erred or is incapable of performing the requested operation.";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status().as_u16(), self.message)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_never_leaves_the_process() {
        let error = Error::internal("disk /var/secret is broken");
        let wire = serde_json::to_string(&error).expect("an error serialises");
        assert!(!wire.contains("secret"), "{wire}");
        assert_eq!(error.message, INTERNAL_TEXT);
    }

    #[test]
    fn an_error_survives_the_rpc() {
        let error = Error::unavailable("store away", 3);
        let wire = serde_json::to_vec(&error).expect("an error serialises");
        let back: Error = serde_json::from_slice(&wire).expect("and back");
        assert_eq!(back, error);
        assert_eq!(back.status().as_u16(), 503);
        assert_eq!(back.headers, [("Retry-After".to_owned(), "3".to_owned())]);
    }
}
