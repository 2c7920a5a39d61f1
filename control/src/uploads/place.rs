//! Where the data of a new image goes.

use std::path::Path;

use common::config::{FileStore, StoreConfig, Stores};
use common::model::Image;
use common::rpc::{Described, ToDataplane};
use common::{Error, Kind, Result};

use super::room::Room;
use crate::dataplane_client::DataplaneClient;
use crate::kinds::{self, Base, is_same_place};

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

/// Where in a store the data of an image of so many bytes goes, if known. May ask file systems and the data plane, so this is nothing
/// for the catalog's thread.
///
/// # Errors
/// 413 when no directory has room, 410 for a store that cannot be written to, 503 while nobody knows.
pub(super) async fn base(
    store: &StoreConfig,
    size: Option<u64>,
    room: &Room,
    dataplane: &DataplaneClient,
) -> Result<Base> {
    // Where there is nothing to choose, whether there is room shows when the data comes.
    if let Some(only) = Base::only(store)? {
        return Ok(only);
    }
    let Some(file) = kinds::directories(&store.kind) else {
        meet(store, dataplane).await?;
        return Base::only(store)?.ok_or_else(|| Error::internal(format!("store {} has no place for data", store.id)));
    };
    let paths: Vec<&Path> = file.dirs.iter().map(|dir| dir.path.as_path()).collect();
    let free = room.of(&paths).await;
    let best = best(file, &free, size.unwrap_or(0)).map(Path::to_path_buf);
    best.map(Base::Directory).ok_or_else(full)
}

/// Learns what belongs to the places of a store and is not configured, if there is such a thing and it is not known yet.
///
/// # Errors
/// 503 while the store, or the data plane, does not answer.
pub(super) async fn meet(store: &StoreConfig, dataplane: &DataplaneClient) -> Result<()> {
    let Some(identity) = kinds::identity(&store.kind).filter(|identity| identity.get().is_none()) else {
        return Ok(());
    };
    let described: Described = dataplane.call(ToDataplane::Describe { store: store.id.clone() }).await?;
    let told =
        described.identity.ok_or_else(|| Error::internal(format!("store {} does not say what it is", store.id)))?;
    identity.learn(told);
    Ok(())
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

/// Whether data of the image lies at `url`, in whatever spelling.
pub(crate) fn is_of(image: &Image, url: &str) -> bool {
    image.locations.iter().any(|location| is_same_place(&location.url, url))
}

fn full() -> Error {
    let text = "There is not enough disk space on the image storage media.";
    Error::new(Kind::TooLarge, format!("Image storage media is full: {text}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use common::config::{DataDir, StoreKind};

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

    #[tokio::test]
    async fn priority_then_room_decides_between_directories() {
        let (one, two) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let gone = PathBuf::from("/no/such/directory");
        let store = file("a", &[(one.path(), 1), (two.path(), 2), (&gone, 3)]);
        let room = Room::default();
        let dataplane = DataplaneClient::new(one.path(), Duration::from_millis(1), 1);
        let at = async |store: &StoreConfig, size| base(store, Some(size), &room, &dataplane).await;
        assert_eq!(at(&store, 5).await, Ok(Base::Directory(two.path().to_path_buf())));
        let error = at(&store, u64::MAX).await.expect_err("no room for so much");
        assert_eq!(error.kind, Kind::TooLarge);
        let only = file("a", &[(&gone, 0)]);
        assert_eq!(at(&only, 5).await, Ok(Base::Directory(gone)), "not asked about");
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
