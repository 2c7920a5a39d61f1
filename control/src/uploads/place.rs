//! Where the data of a new image goes.

use std::path::{Path, PathBuf};

use common::config::{FileStore, StoreConfig, StoreKind, Stores};
use common::model::Image;
use common::{Error, Kind, Result};

use super::room::Room;

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

/// The directory of a store that takes the data of an image of so many bytes, if known. Asks the file systems, so this is
/// nothing for the catalog's thread.
///
/// # Errors
/// 413 when no directory has room, 410 for a store that cannot be written to.
pub(super) async fn directory(store: &StoreConfig, size: Option<u64>, room: &Room) -> Result<PathBuf> {
    let StoreKind::File(file) = &store.kind else {
        let text = "Error in store configuration. Adding images to store is disabled.";
        return Err(Error::new(Kind::Gone, text));
    };
    if let [only] = file.dirs.as_slice() {
        // Nothing to choose: whether it has room shows when the data comes.
        return Ok(only.path.clone());
    }
    let paths: Vec<&Path> = file.dirs.iter().map(|dir| dir.path.as_path()).collect();
    let free = room.of(&paths).await;
    best(file, &free, size.unwrap_or(0)).map(Path::to_path_buf).ok_or_else(full)
}

/// The directory of highest priority with room; of several such, the one with most room. `free`: bytes of each.
fn best<'s>(store: &'s FileStore, free: &[Option<u64>], needed: u64) -> Option<&'s Path> {
    let known = store.dirs.iter().zip(free).filter_map(|(dir, free)| Some((dir.priority, (*free)?, dir)));
    known
        .filter(|(_, free, _)| *free >= needed)
        // The first of equals, as configured.
        .reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best })
        .map(|(_, _, dir)| dir.path.as_path())
}

/// The store URI under which the data of `image_id` will lie in `directory`.
///
/// # Errors
/// 400 for an id that cannot be a file's name.
pub(crate) fn url(directory: &Path, image_id: &str) -> Result<String> {
    // Ids that we made are UUIDs; a database that others wrote may hold anything.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if image_id.is_empty() || image_id.starts_with('.') || !image_id.bytes().all(plain) {
        return Err(Error::bad_request(format!("The image ID '{image_id}' cannot name stored data.")));
    }
    let path = directory.join(image_id);
    let path = path.to_str().ok_or_else(|| Error::internal(format_args!("{} is not UTF-8", path.display())))?;
    Ok(format!("file://{path}"))
}

/// Whether data of the image lies at `url`, in whatever spelling.
pub(crate) fn is_of(image: &Image, url: &str) -> bool {
    let place = path_of(url);
    place.is_some() && image.locations.iter().any(|location| path_of(&location.url) == place)
}

/// The path in a file store's URI.
fn path_of(url: &str) -> Option<&Path> {
    ["file://", "filesystem://"].iter().find_map(|scheme| url.strip_prefix(scheme)).map(Path::new)
}

fn full() -> Error {
    let text = "There is not enough disk space on the image storage media.";
    Error::new(Kind::TooLarge, format!("Image storage media is full: {text}"))
}

#[cfg(test)]
mod tests {
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
        let staging = file("os_glance_staging_store", &[(Path::new("/s"), 0)]);
        let stores = Stores { multi: true, default: "a".to_owned(), list, staging };
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
        let at = |id: &str| url(Path::new("/var/lib/images"), id);
        assert_eq!(at("3050cc3d-ED3A").as_deref(), Ok("file:///var/lib/images/3050cc3d-ED3A"));
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a\0", "ä", "a b"] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn priority_then_room_decides_between_directories() {
        let (one, two) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let gone = PathBuf::from("/no/such/directory");
        let store = file("a", &[(one.path(), 1), (two.path(), 2), (&gone, 3)]);
        let room = Room::default();
        assert_eq!(directory(&store, Some(5), &room).await.as_deref(), Ok(two.path()));
        let error = directory(&store, Some(u64::MAX), &room).await.expect_err("no room for so much");
        assert_eq!(error.kind, Kind::TooLarge);
        let only = file("a", &[(&gone, 0)]);
        assert_eq!(directory(&only, Some(5), &room).await, Ok(gone), "not asked about");
    }

    #[test]
    fn of_equal_priority_the_emptier_one_is_taken() {
        let paths = ["/a", "/b", "/c", "/d"].map(Path::new);
        let store = file("a", &[(paths[0], 7), (paths[1], 7), (paths[2], 7), (paths[3], 1)]);
        let StoreKind::File(store) = &store.kind else { panic!("not a file store") };
        let best = |free: [Option<u64>; 4], needed| best(store, &free, needed);
        assert_eq!(best([Some(5), Some(9), Some(9), Some(99)], 5), Some(paths[1]));
        assert_eq!(best([Some(5), None, Some(4), Some(99)], 5), Some(paths[0]));
        assert_eq!(best([Some(5), None, Some(4), Some(99)], 6), Some(paths[3]));
        assert_eq!(best([None; 4], 0), None);
    }
}
