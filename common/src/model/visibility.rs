//! Who may see an image: pure functions, called by both planes.

use std::fmt;
use std::str::FromStr;

use super::image::Image;
use crate::identity::Identity;

/// How widely an image may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everybody, and listed for everybody.
    Public,
    /// Its owner only.
    Private,
    /// Its owner and its members.
    Shared,
    /// Everybody by id, listed for its owner only.
    Community,
}

impl Visibility {
    /// All four, in the order in which Glance lists them.
    pub const ALL: [Visibility; 4] =
        [Visibility::Community, Visibility::Public, Visibility::Private, Visibility::Shared];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Public => "public",
            Visibility::Private => "private",
            Visibility::Shared => "shared",
            Visibility::Community => "community",
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Visibility {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Visibility::ALL.into_iter().find(|visibility| visibility.as_str() == text).ok_or(())
    }
}

/// Whether `caller` can see `image` by its id. `is_member`: the caller's project has a live membership, of any status.
pub fn is_visible(image: &Image, caller: &Identity, is_member: bool) -> bool {
    if caller.is_admin || image.owner.is_none() || caller.is_project(image.owner.as_deref()) {
        return true;
    }
    match image.visibility {
        Visibility::Public | Visibility::Community => true,
        Visibility::Shared => is_member,
        Visibility::Private => false,
    }
}
