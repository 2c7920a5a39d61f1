//! Why one request did not do what it should. The label is what faults are counted by, the text says the rest.

use std::fmt;
use std::io;

use crate::error::Error;

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No connection: name, route, refusal, certificate.
    Connect(String),
    /// Neither a byte in nor a byte out for as long as the client waits.
    Timeout(String),
    /// The connection broke, or ended before the answer did.
    Closed(String),
    /// The answer is not HTTP, or not what the API promises.
    Protocol(String),
    /// An answer with a status that is not the expected one.
    Status(u16, String),
    /// The bytes, or what the service says of them, are not what they must be.
    Wrong(String),
    /// There is no valid token to be had.
    Token(String),
    /// The run was stopped while the request was on its way: no fault of the service.
    Stopped,
}

/// Result of one request.
pub type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// What it is counted as: the status, or one word or two.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Connect(_) => "connect".into(),
            Self::Timeout(_) => "timeout".into(),
            Self::Closed(_) => "closed".into(),
            Self::Protocol(_) => "protocol".into(),
            Self::Status(status, _) => status.to_string(),
            Self::Wrong(_) => "wrong bytes".into(),
            Self::Token(_) => "token".into(),
            Self::Stopped => "stopped".into(),
        }
    }

    /// Of an error of the socket while `what` was done.
    pub(super) fn of(error: &io::Error, what: &str) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Protocol(format!("{what}: {error}")),
            _ => Self::Closed(format!("{what}: {error}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(text)
            | Self::Timeout(text)
            | Self::Closed(text)
            | Self::Protocol(text)
            | Self::Wrong(text)
            | Self::Token(text) => f.write_str(text),
            Self::Status(status, text) => write!(f, "{status}: {text}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Wrong(text) => Self::Bytes(text),
            Fault::Status(..) => Self::Answer(fault.to_string()),
            _ => Self::Setup(fault.to_string()),
        }
    }
}
