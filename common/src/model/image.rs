//! An image and what belongs to it.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{Status, Visibility};
use crate::time::Timestamp;

/// One image, whole: its row and all that hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// UUID text, case as the client gave it.
    pub id: String,
    /// At most 255 characters.
    pub name: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// Who may see it.
    pub visibility: Visibility,
    /// Refuses deletion.
    pub protected: bool,
    /// Left out of lists unless asked for.
    pub hidden: bool,
    /// Owning project.
    pub owner: Option<String>,
    /// MD5 of the data, hexadecimal.
    pub checksum: Option<String>,
    /// Name of the second digest.
    pub os_hash_algo: Option<String>,
    /// The second digest, hexadecimal.
    pub os_hash_value: Option<String>,
    /// Bytes of data.
    pub size: Option<u64>,
    /// Bytes of the disk that the data describes.
    pub virtual_size: Option<u64>,
    /// `raw`, `qcow2`, …
    pub disk_format: Option<String>,
    /// `bare`, `ovf`, …
    pub container_format: Option<String>,
    /// GB a disk must have to boot it.
    pub min_disk: i64,
    /// MB of memory needed to boot it.
    pub min_ram: i64,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Extra properties in the catalog's order, internal ones (`os_glance_…`) included.
    pub properties: Vec<(String, String)>,
    /// Tags in the order of their making.
    pub tags: Vec<String>,
    /// Where the data lies, in the order of the making; not yet sorted by store weight.
    pub locations: Vec<Location>,
}

impl Image {
    /// The value of the extra property `name`.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One place where an image's data lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Location {
    /// The catalog's row; [`Location::UNSAVED`] for one that has none yet.
    pub id: i64,
    /// Store URI, such as `file:///var/lib/glance/images/ID`.
    pub url: String,
    /// `{"store": "fast"}` in multi-store mode, and what drivers add.
    pub metadata: Map<String, Value>,
    /// `active`, `pending_delete` or `deleted`.
    pub status: String,
}

impl Location {
    /// The id of a location that is not in the catalog yet.
    pub const UNSAVED: i64 = 0;

    /// The status of a location that holds data.
    pub const LIVE: &str = "active";

    /// Whether it holds data: what a scrubber is about to remove does not count.
    pub fn is_live(&self) -> bool {
        self.status == Self::LIVE
    }

    /// The store that this location names, in multi-store mode.
    pub fn store(&self) -> Option<&str> {
        self.metadata.get("store").and_then(Value::as_str)
    }
}

/// A project with which a `shared` image is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The image.
    pub image_id: String,
    /// The project.
    pub member: String,
    /// What the project made of the offer.
    pub status: MemberStatus,
    /// When it was offered.
    pub created_at: Timestamp,
    /// When the status last changed.
    pub updated_at: Timestamp,
}

/// What a member made of an offered image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberStatus {
    /// Not answered yet: the image may be used by id, but is not listed.
    Pending,
    /// Listed for the member.
    Accepted,
    /// Not wanted: may still be used by id.
    Rejected,
}

impl MemberStatus {
    /// All three.
    pub const ALL: [MemberStatus; 3] = [MemberStatus::Pending, MemberStatus::Accepted, MemberStatus::Rejected];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberStatus::Pending => "pending",
            MemberStatus::Accepted => "accepted",
            MemberStatus::Rejected => "rejected",
        }
    }
}

impl fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MemberStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        MemberStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}
