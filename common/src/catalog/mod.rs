//! The catalog: Glance's database and, beside it, our own tables. All SQL of the program stands in this module; nothing
//! else sees a row.
//!
//! Control owns the one [`Catalog`] (reads and writes). Whoever only reads holds a [`Reader`] per thread: its
//! connection is read-only and it never creates the file. What can be asked is [`Queries`], what can be changed is
//! [`Changes`], which can be asked too.
//!
//! The tables, their columns and how rows are used are Glance 33's, revision `2024_1_contract01` ([`schema`]), so that
//! Glance opens what we wrote and we open what Glance wrote. Our own tables begin with `vitrine_`.

mod changes;
mod connection;
mod fault;
mod id;
mod jobs;
mod list;
mod locations;
mod members;
mod memo;
mod metadefs;
mod queries;
mod quotas;
mod removals;
mod rows;
pub mod schema;
mod tasks;
mod uploads;

#[cfg(test)]
mod tests;

pub use changes::{Changes, IMPORT_LOCK, ImageChange, NewImage};
pub use connection::{Batch, Catalog, Reader};
pub use fault::OpenError;
pub use id::new_id;
pub use jobs::{ImportedData, JobRecord};
pub use list::{
    Compare, Dir, FILTERS_MAX, Filter, IntColumn, ListQuery, ListVisibility, MemberFilter, SortKey, TextColumn,
    TimeColumn, Viewer,
};
pub use locations::Located;
pub use metadefs::{ListedNamespace, LoadMode, Loaded, NamespaceColumn, NamespaceQuery, Order, TagColumn, TagQuery};
pub use queries::Queries;
pub use quotas::Awaited;
pub use removals::Removal;
pub use tasks::{NewTask, TaskColumn, TaskQuery};
pub use uploads::{Aborted, Commit, CommitFindings, Committed, Intent, NewUpload, Purpose};
