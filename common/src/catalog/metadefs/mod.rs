//! Metadata definitions: Glance's tables `metadef_*`. Nothing in them is marked as deleted: what is removed is gone.
//!
//! `namespaces` has the namespaces and their lists, `items` what hangs on one under names of its own, `associations` the
//! resource types, `files` what is loaded from files and written to them, `page` the order of lists.

mod associations;
mod files;
mod items;
mod namespaces;
mod page;

use rusqlite::ErrorCode;

use super::fault::failed;
use crate::model::metadef::{Association, Namespace};
use crate::{Error, Result};

pub use files::{LoadMode, Loaded};
pub use items::{TagColumn, TagQuery};
pub use namespaces::{NamespaceColumn, NamespaceQuery};
pub use page::Order;

/// A namespace with its resource types, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedNamespace {
    /// The namespace.
    pub namespace: Namespace,
    /// Its resource types.
    pub associations: Vec<Association>,
}

/// What came of a statement that may break a rule of the tables, which is that a name is taken.
fn unless_taken(outcome: rusqlite::Result<usize>, taken: impl FnOnce() -> String) -> Result<usize> {
    outcome.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Error::conflict(taken()).caused_by(error),
        _ => failed(error),
    })
}
