//! Metadata definitions: namespaces, and what hangs on them. They tell users and tools which properties mean something to
//! which part of the cloud.
//!
//! A namespace is known by its name in the whole cloud, everything else by its name within its namespace. The numbers of rows
//! never leave the program.

pub mod definition;
mod file;

use serde_json::{Map, Value};

pub use file::{Defined, DefinedObject, FileError};

use crate::time::Timestamp;

/// Longest name of anything, in characters: the width of the columns.
pub const NAME_CHARS_MAX: usize = 80;

/// Who sees a namespace beside its owner's project: what `visibility` says for everybody.
pub const PUBLIC: &str = "public";

/// What a namespace is that says nothing else.
pub const PRIVATE: &str = "private";

/// A namespace, without what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Number of its row.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display_name: Option<String>,
    /// Words for people.
    pub description: Option<String>,
    /// `public` or `private`; Glance's tools load other words too, which are like `private`.
    pub visibility: String,
    /// Whether removing it, or anything of it, is refused.
    pub protected: bool,
    /// The project that it belongs to. Glance's tools write whatever a file says.
    pub owner: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; absent where it was loaded from a file.
    pub updated_at: Option<Timestamp>,
}

/// What of a namespace clients set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFields {
    /// See [`Namespace`].
    pub name: String,
    /// See [`Namespace`].
    pub display_name: Option<String>,
    /// See [`Namespace`].
    pub description: Option<String>,
    /// See [`Namespace`].
    pub visibility: String,
    /// See [`Namespace`].
    pub protected: bool,
    /// See [`Namespace`].
    pub owner: String,
}

/// An object: properties that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Words for people.
    pub description: Option<String>,
    /// Names of properties that must be given.
    pub required: Vec<String>,
    /// Its properties' definitions by name, as the catalog has them.
    pub properties: Map<String, Value>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; absent where it was loaded from a file.
    pub updated_at: Option<Timestamp>,
}

/// What of an object clients set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectFields {
    /// See [`Object`].
    pub name: String,
    /// See [`Object`].
    pub description: Option<String>,
    /// See [`Object`].
    pub required: Vec<String>,
    /// See [`Object`].
    pub properties: Map<String, Value>,
}

/// A property of a namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: String,
    /// What values it takes, as the catalog has it.
    pub definition: Map<String, Value>,
}

/// A word for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Number of its row.
    pub id: i64,
    /// The word.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; absent where it was loaded from a file.
    pub updated_at: Option<Timestamp>,
}

/// A kind of thing that properties are set on, as `OS::Glance::Image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceType {
    /// Its name, the only one in the cloud.
    pub name: String,
    /// When it was first named.
    pub created_at: Timestamp,
    /// When it last changed; absent where it was loaded from a file.
    pub updated_at: Option<Timestamp>,
}

/// A namespace's properties may be set on things of this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Association {
    /// Name of the resource type.
    pub name: String,
    /// What stands before the names of properties there, with its separator.
    pub prefix: Option<String>,
    /// Which properties of the thing are meant, where it has several sets.
    pub properties_target: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed; absent where it was loaded from a file.
    pub updated_at: Option<Timestamp>,
}

/// What of an association clients set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssociationFields {
    /// See [`Association`].
    pub name: String,
    /// See [`Association`].
    pub prefix: Option<String>,
    /// See [`Association`].
    pub properties_target: Option<String>,
}

/// A namespace with everything that is made together with it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNamespace {
    /// The namespace.
    pub fields: NamespaceFields,
    /// Its resource types.
    pub associations: Vec<AssociationFields>,
    /// Its objects.
    pub objects: Vec<ObjectFields>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its properties.
    pub properties: Vec<Property>,
}

/// What hangs on a namespace under names of its own, each in a table of one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An [`Object`].
    Object,
    /// A [`Property`].
    Property,
    /// A [`Tag`].
    Tag,
}

impl Kind {
    /// The word for one.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Property => "property",
            Kind::Tag => "tag",
        }
    }
}
