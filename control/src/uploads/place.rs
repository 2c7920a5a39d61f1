//! Where the data of a new image goes.

use std::path::Path;

use common::config::{FileStore, StoreConfig, StoreKind, Stores};
use common::{Error, Kind, Result};

/// The store that an upload goes to. `named`: the header `x-image-meta-store`, which counts only with several stores.
///
/// # Errors
/// 400 for a store that is not configured.
pub(super) fn store<'c>(stores: &'c Stores, named: Option<&str>) -> Result<&'c StoreConfig> {
    let id = named.filter(|_| stores.multi).unwrap_or(&stores.default);
    stores
        .list
        .iter()
        .find(|store| store.id == id)
        .ok_or_else(|| Error::bad_request(format!("Store for identifier {id} not found")))
}

/// The store URI under which the data of `image_id`, of so many bytes if known, will lie in `store`.
///
/// # Errors
/// 413 when no directory has room, 400 for an id that cannot be a file's name.
pub(super) fn url(store: &StoreConfig, image_id: &str, size: Option<u64>) -> Result<String> {
    let StoreKind::File(file) = &store.kind;
    // Ids that we made are UUIDs; a database that others wrote may hold anything.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if image_id.is_empty() || image_id.starts_with('.') || !image_id.bytes().all(plain) {
        return Err(Error::bad_request(format!("The image ID '{image_id}' cannot name stored data.")));
    }
    let path = directory(file, size)?.join(image_id);
    let path = path.to_str().ok_or_else(|| Error::internal(format_args!("{} is not UTF-8", path.display())))?;
    Ok(format!("file://{path}"))
}

/// The directory of highest priority with room; of several such, the one with most room.
fn directory(store: &FileStore, size: Option<u64>) -> Result<&Path> {
    if let [only] = store.dirs.as_slice() {
        // Nothing to choose: whether it has room shows when the data comes.
        return Ok(&only.path);
    }
    let needed = size.unwrap_or(0);
    store
        .dirs
        .iter()
        .filter_map(|dir| Some((dir.priority, free_bytes(&dir.path)?, dir)))
        .filter(|(_, free, _)| *free >= needed)
        // The first of equals, as configured.
        .reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best })
        .map(|(_, _, dir)| dir.path.as_path())
        .ok_or_else(full)
}

fn full() -> Error {
    let text = "There is not enough disk space on the image storage media.";
    Error::new(Kind::TooLarge, format!("Image storage media is full: {text}"))
}

/// Bytes that may still be written below `path`; `None` when nobody can tell.
fn free_bytes(path: &Path) -> Option<u64> {
    match rustix::fs::statvfs(path) {
        Ok(figures) => Some(figures.f_bavail.saturating_mul(figures.f_frsize)),
        Err(error) => {
            tracing::warn!("the store directory {} cannot be used: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use common::config::DataDir;

    use super::*;

    fn file(id: &str, dirs: &[(&Path, i64)]) -> StoreConfig {
        let dirs = dirs.iter().map(|(path, priority)| DataDir { path: path.to_path_buf(), priority: *priority });
        let file = FileStore { dirs: dirs.collect(), file_mode: None, thin_provisioning: false, chunk_bytes: 65536 };
        StoreConfig { id: id.to_owned(), kind: StoreKind::File(file), weight: 0, description: None }
    }

    #[test]
    fn only_several_stores_can_be_named() {
        let list = vec![file("a", &[(Path::new("/a"), 0)]), file("b", &[(Path::new("/b"), 0)])];
        let stores = Stores { multi: true, default: "a".to_owned(), list };
        let id = |stores: &Stores, named| store(stores, named).map(|store| store.id.clone()).map_err(|e| e.message);
        assert_eq!(id(&stores, None).as_deref(), Ok("a"));
        assert_eq!(id(&stores, Some("b")).as_deref(), Ok("b"));
        let unknown = "os_glance_staging_store";
        assert_eq!(id(&stores, Some(unknown)), Err(format!("Store for identifier {unknown} not found")));
        let single = Stores { multi: false, ..stores };
        assert_eq!(id(&single, Some("nonsense")).as_deref(), Ok("a"));
    }

    #[test]
    fn the_uri_is_the_path_and_stays_in_the_directory() {
        let store = file("a", &[(Path::new("/var/lib/images"), 0)]);
        let at = |id: &str| url(&store, id, None);
        assert_eq!(at("3050cc3d-ED3A").as_deref(), Ok("file:///var/lib/images/3050cc3d-ED3A"));
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a\0", "ä", "a b"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn priority_then_room_decides_between_directories() {
        let (one, two) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let gone = PathBuf::from("/no/such/directory");
        let store = file("a", &[(one.path(), 1), (two.path(), 2), (&gone, 3)]);
        let at = url(&store, "x", Some(5)).expect("room for five bytes");
        assert_eq!(at, format!("file://{}/x", two.path().display()));
        let error = url(&store, "x", Some(u64::MAX)).expect_err("no room for so much");
        assert_eq!(error.kind, Kind::TooLarge);
    }
}
