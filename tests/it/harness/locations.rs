//! A server with two file stores, and locations that somebody else wrote into its catalog.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Server, eventually};

/// A server with the file stores `one` (the default) and `two` (which weighs more), which shows locations.
pub(crate) struct Sites {
    pub(crate) server: Server,
    stores: TempDir,
}

impl Sites {
    /// A new one; `more`: further groups of the configuration.
    pub(crate) fn new(more: &str) -> Sites {
        let stores = tempfile::tempdir().expect("a directory");
        let root = stores.path().display();
        let server = Server::with_config(&format!(
            "[DEFAULT]\nenabled_backends = one:file,two:file\nshow_multiple_locations = true\n\
             [glance_store]\ndefault_backend = one\n\
             [one]\nfilesystem_store_datadir = {root}/one\n\
             [two]\nfilesystem_store_datadir = {root}/two\nweight = 5\n{more}"
        ));
        Sites { server, stores }
    }

    /// The directory of a store.
    pub(crate) fn directory(&self, store: &str) -> PathBuf {
        self.stores.path().join(store)
    }

    /// The file of an image in a store.
    pub(crate) fn file(&self, store: &str, id: &str) -> PathBuf {
        self.directory(store).join(id)
    }

    /// The URL of that file.
    pub(crate) fn url(&self, store: &str, id: &str) -> String {
        format!("file://{}", self.file(store, id).display())
    }

    /// Copies the data of image `id` from store `one` to `store`, as an import does; the server is started again.
    pub(crate) fn copy(&mut self, id: &str, store: &str) {
        self.server.kill_all();
        fs::copy(self.file("one", id), self.file(store, id)).expect("copied");
        add_location(self.server.data_dir(), id, &self.url(store, id), &json!({"store": store}));
        self.server.launch();
    }

    /// Asserts that the data of image `id` goes from `store`.
    #[track_caller]
    pub(crate) fn assert_gone(&self, store: &str, id: &str) {
        let file = self.file(store, id);
        let gone = eventually(Duration::from_secs(10), || (!file.exists()).then_some(()));
        assert!(gone.is_some(), "{} is still there\n{}", file.display(), self.server.log());
    }
}

/// Writes a location into the catalog of a server that is stopped, as Glance would.
pub(crate) fn add_location(data: &Path, id: &str, url: &str, metadata: &Value) {
    let catalog = rusqlite::Connection::open(data.join("catalog.sqlite")).expect("the catalog");
    let sql = "INSERT INTO image_locations (image_id, value, meta_data, status, created_at, updated_at, deleted) \
               SELECT id, ?2, ?3, 'active', created_at, updated_at, 0 FROM images WHERE id = ?1";
    let added = catalog.execute(sql, (id, url, metadata.to_string())).expect("inserted");
    assert_eq!(added, 1, "image {id}");
}
