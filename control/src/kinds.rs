//! The kinds of stores: the only place of this plane that knows them all.

use std::path::{Path, PathBuf};

use common::config::{FileStore, Learnt, StoreConfig, StoreKind};
use common::rbd;
use common::{Error, Kind, Result};
use serde_json::{Value, json};

/// Schemes of URLs of files.
const FILE_SCHEMES: [&str; 2] = ["file", "filesystem"];

/// Schemes of URLs of data that others have.
const HTTP_SCHEMES: [&str; 2] = ["http", "https"];

/// Schemes of URLs of images in clusters.
const RBD_SCHEMES: [&str; 1] = ["rbd"];

/// Schemes of URLs in stores of this kind.
pub(crate) fn schemes(kind: &StoreKind) -> &'static [&'static str] {
    match kind {
        StoreKind::File(_) => &FILE_SCHEMES,
        StoreKind::Http => &HTTP_SCHEMES,
        StoreKind::Rbd(_) => &RBD_SCHEMES,
    }
}

/// The scheme of `url`, in lower case.
pub(crate) fn scheme(url: &str) -> Option<String> {
    url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase())
}

/// Whether `url` leads to somebody else's server.
pub(crate) fn is_web(url: &str) -> bool {
    scheme(url).is_some_and(|scheme| HTTP_SCHEMES.contains(&scheme.as_str()))
}

/// Whether `url` looks like a place of a store of this kind.
pub(crate) fn holds(kind: &StoreKind, url: &str) -> bool {
    match kind {
        StoreKind::File(file) => {
            let parent = path_of(url).and_then(Path::parent);
            parent.is_some_and(|parent| file.dirs.iter().any(|dir| dir.path == parent))
        }
        StoreKind::Http => is_web(url),
        StoreKind::Rbd(store) => rbd::Place::parse(url).is_some_and(|place| place.is_in(store.fsid.get(), &store.pool)),
    }
}

/// Whether `url` is the only spelling of its place, where there are several.
pub(crate) fn is_canonical(url: &str) -> bool {
    !scheme(url).is_some_and(|scheme| RBD_SCHEMES.contains(&scheme.as_str())) || rbd::is_canonical(url)
}

/// As [`holds`], of a store of which everything is known that belongs to its places.
pub(crate) fn surely_holds(kind: &StoreKind, url: &str) -> bool {
    identity(kind).is_none_or(|identity| identity.get().is_some()) && holds(kind, url)
}

/// The path in a file store's URI.
fn path_of(url: &str) -> Option<&Path> {
    let after = |scheme: &&str| url.strip_prefix(*scheme).and_then(|rest| rest.strip_prefix("://"));
    FILE_SCHEMES.iter().find_map(after).map(Path::new)
}

/// Whether both URIs are of one place, in whatever spelling.
pub(crate) fn is_same_place(one: &str, other: &str) -> bool {
    match (path_of(one), path_of(other)) {
        (Some(one), Some(other)) => return one == other,
        (None, None) => {}
        _ => return false,
    }
    match (rbd::Place::parse(one), rbd::Place::parse(other)) {
        // The snapshot is the image's.
        (Some(one), Some(other)) => {
            let pool =
                |place: &rbd::Place| place.within.as_ref().map(|within| (within.fsid.clone(), within.pool.clone()));
            one.image == other.image && (pool(&one) == pool(&other) || one.within.is_none() || other.within.is_none())
        }
        _ => one == other,
    }
}

/// The name of a kind of store in the API, and what its operator set.
pub(crate) fn describe(kind: &StoreKind) -> (&'static str, Value) {
    match kind {
        StoreKind::File(file) => (
            "file",
            json!({
                "data_dir": file.dirs.first().map(|dir| dir.path.to_string_lossy()),
                "chunk_size": file.chunk_bytes,
                "thin_provisioning": file.thin_provisioning,
            }),
        ),
        StoreKind::Http => ("http", json!({})),
        StoreKind::Rbd(store) => (
            "rbd",
            json!({
                "chunk_size": store.chunk_bytes,
                "pool": store.pool,
                "thin_provisioning": store.thin_provisioning,
                "fsid": store.fsid.get(),
            }),
        ),
    }
}

/// What belongs to every place of a store and is not configured: the data plane knows it. `None`: nothing does.
pub(crate) fn identity(kind: &StoreKind) -> Option<&Learnt> {
    match kind {
        StoreKind::File(_) | StoreKind::Http => None,
        StoreKind::Rbd(store) => Some(&store.fsid),
    }
}

/// Whether others may need the data of an image in such a store, so that the store must be asked before it is deleted.
pub(crate) fn may_be_in_use(kind: &StoreKind) -> bool {
    match kind {
        StoreKind::File(_) | StoreKind::Http => false,
        StoreKind::Rbd(_) => true,
    }
}

/// Where the data of new images goes: what the URIs of their places are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Into this directory.
    Directory(PathBuf),
    /// To what this begins the URI of.
    Cluster(String),
}

impl Base {
    /// The one base of a store that has only one and whose identity is known; `None` for a file store of several directories.
    ///
    /// # Errors
    /// 410 for a store that cannot be written to.
    pub(crate) fn only(store: &StoreConfig) -> Result<Option<Base>> {
        match &store.kind {
            StoreKind::File(FileStore { dirs, .. }) => match dirs.as_slice() {
                [only] => Ok(Some(Base::Directory(only.path.clone()))),
                _ => Ok(None),
            },
            StoreKind::Http => {
                let text = "Error in store configuration. Adding images to store is disabled.";
                Err(Error::new(Kind::Gone, text))
            }
            StoreKind::Rbd(store) => Ok(store.fsid.get().map(|fsid| Base::Cluster(rbd::prefix(fsid, &store.pool)))),
        }
    }

    /// The store URI under which the data of `image_id` will lie.
    ///
    /// # Errors
    /// 400 for an id that cannot name stored data.
    pub(crate) fn url(&self, image_id: &str) -> Result<String> {
        // Ids that we made are UUIDs; a database that others wrote may hold anything.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if image_id.is_empty() || image_id.starts_with('.') || !image_id.bytes().all(plain) {
            return Err(Error::bad_request(format!("The image ID '{image_id}' cannot name stored data.")));
        }
        match self {
            Base::Directory(directory) => {
                let path = directory.join(image_id);
                let path =
                    path.to_str().ok_or_else(|| Error::internal(format_args!("{} is not UTF-8", path.display())))?;
                Ok(format!("file://{path}"))
            }
            Base::Cluster(prefix) => Ok(rbd::url(prefix, image_id)),
        }
    }
}

/// The directories of a file store; of others none.
pub(crate) fn directories(kind: &StoreKind) -> Option<&FileStore> {
    match kind {
        StoreKind::File(file) => Some(file),
        StoreKind::Http | StoreKind::Rbd(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_is_the_path_and_stays_in_the_directory() {
        let at = |id: &str| Base::Directory(PathBuf::from("/var/lib/images")).url(id);
        assert_eq!(at("3050cc3d-ED3A").as_deref(), Ok("file:///var/lib/images/3050cc3d-ED3A"));
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a\0", "ä", "a b"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
        let at = |id: &str| Base::Cluster("rbd://f/p/".to_owned()).url(id);
        assert_eq!(at("3050cc3d-ED3A").as_deref(), Ok("rbd://f/p/3050cc3d-ED3A/snap"));
        assert!(at("../x").is_err());
    }

    #[test]
    fn one_place_has_several_spellings() {
        for (one, other, same) in [
            ("file:///a/x", "filesystem:///a/x", true),
            ("file:///a/x", "file:///b/x", false),
            ("file:///a/x", "rbd://x", false),
            ("rbd://f/p/x/snap", "rbd://f/p/x/snap", true),
            ("rbd://f/p/x/snap", "rbd://f/%70/x/snap", true),
            ("rbd://f/p/x/snap", "rbd://f/q/x/snap", false),
            ("rbd://f/p/x/snap", "rbd://x", true),
            ("http://h/x", "http://h/x", true),
            ("http://h/x", "http://h/y", false),
        ] {
            assert_eq!(is_same_place(one, other), same, "{one} {other}");
        }
    }
}
