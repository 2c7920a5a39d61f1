//! A task: work that a request began and that goes on by itself.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::time::Timestamp;

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// UUID text.
    pub id: String,
    /// What it does.
    pub kind: TaskKind,
    /// How far it is.
    pub status: TaskStatus,
    /// The project that asked for it.
    pub owner: String,
    /// When it is forgotten; set once it is over.
    pub expires_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The image it is about.
    pub image_id: Option<String>,
    /// Id of the request that asked for it.
    pub request_id: Option<String>,
    /// The user who asked for it.
    pub user_id: Option<String>,
    /// What was asked for.
    pub input: Value,
    /// What came of it.
    pub result: Value,
    /// How it goes, or went, in words.
    pub message: String,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKind {
    /// An import by the tasks API.
    Import,
    /// An import by `POST /v2/images/{image}/import`.
    ApiImageImport,
    /// A location that is being attached and hashed.
    LocationImport,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [TaskKind; 3] = [TaskKind::Import, TaskKind::ApiImageImport, TaskKind::LocationImport];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskKind::Import => "import",
            TaskKind::ApiImageImport => "api_image_import",
            TaskKind::LocationImport => "location_import",
        }
    }
}

impl FromStr for TaskKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        TaskKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Not begun.
    Pending,
    /// Begun.
    Processing,
    /// Over, and well.
    Success,
    /// Over, and in vain.
    Failure,
}

impl TaskStatus {
    /// All of them.
    pub const ALL: [TaskStatus; 4] =
        [TaskStatus::Pending, TaskStatus::Processing, TaskStatus::Success, TaskStatus::Failure];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskStatus::Pending => "pending",
            TaskStatus::Processing => "processing",
            TaskStatus::Success => "success",
            TaskStatus::Failure => "failure",
        }
    }

    /// Whether nothing will happen any more.
    pub fn is_over(self) -> bool {
        matches!(self, TaskStatus::Success | TaskStatus::Failure)
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        TaskStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}
