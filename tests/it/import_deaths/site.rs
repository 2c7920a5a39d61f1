//! A server with several stores, and a server of somebody else's that has data for it.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::OpenFlags;
use tempfile::TempDir;

use super::PATIENCE;
use crate::harness::data::bytes;
use crate::harness::origin::{Origin, Wire, redirect, whole};
use crate::harness::server::Options;
use crate::harness::steps::{Steps, Victims};
use crate::harness::{Server, eventually};

/// All stores; `fast` is the default.
pub(super) const STORES: [&str; 3] = ["far", "fast", "slow"];

/// The server, and what every image here is made of.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) data: Arc<Vec<u8>>,
    home: TempDir,
    origin: Origin,
    held: Arc<Held>,
    steps: Steps,
    /// Who dies at the step that is armed.
    victims: Option<Victims>,
}

/// Answers that stop in the middle.
#[derive(Default)]
struct Held {
    /// What was asked for before: only the first answer stops.
    known: Mutex<HashSet<String>>,
    /// An answer is in its middle.
    is_met: AtomicBool,
    /// It may end.
    is_released: AtomicBool,
}

impl Site {
    /// One whose images have `length` bytes; `more`: the rest of the configuration.
    pub(super) fn new(length: usize, more: &str) -> Site {
        let home = tempfile::tempdir().expect("a directory");
        let root = home.path().display();
        let backends = STORES.map(|store| format!("{store}:file")).join(",");
        let stores = STORES.map(|store| format!("[{store}]\nfilesystem_store_datadir = {root}/{store}\n")).concat();
        let config = format!(
            "[DEFAULT]\nenabled_backends = {backends}\n[glance_store]\ndefault_backend = fast\n{stores}\
             [import_filtering_opts]\nallowed_hosts = [127.0.0.1]\nallowed_ports = []\n{more}"
        );
        let steps = Steps::new(home.path());
        let server = Server::ours(Options { config: Some(config), under: steps.under(), ..Options::default() });
        let (data, held) = (Arc::new(bytes(length as u64, length)), Arc::<Held>::default());
        let (sent, holds) = (Arc::clone(&data), Arc::clone(&held));
        let origin = Origin::start(move |head, wire| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let is_first = || holds.known.lock().expect("no panic inside").insert(path.to_owned());
            match path.split('/').nth(1) {
                Some("held") if is_first() => holds.answer(wire, &sent),
                Some("sent-on") if is_first() => holds.send_on(wire),
                _ => whole(wire, &sent),
            }
        });
        Site { server, steps, data, home, origin, held, victims: None }
    }

    /// Where the data can be had.
    pub(super) fn url(&self) -> String {
        self.origin.url("/data")
    }

    /// Where it can be had, but for the first time only to its middle, until [`Site::release`]. One at a time.
    pub(super) fn held_url(&self, name: &str) -> String {
        self.hold(&format!("/held/{name}"))
    }

    /// A URL that leads to it by a redirect, which is held for the first time until [`Site::release`].
    pub(super) fn held_redirect(&self, name: &str) -> String {
        self.hold(&format!("/sent-on/{name}"))
    }

    fn hold(&self, path: &str) -> String {
        self.held.is_met.store(false, Relaxed);
        self.held.is_released.store(false, Relaxed);
        self.origin.url(path)
    }

    /// Waits until the data has come to its middle.
    #[track_caller]
    pub(super) fn wait_for_middle(&self) {
        let met = eventually(PATIENCE, || self.held.is_met.load(Relaxed).then_some(()));
        assert!(met.is_some(), "nobody asks for the data\n{}", self.server.log());
    }

    /// Lets the data that is held end.
    pub(super) fn release(&self) {
        self.held.is_released.store(true, Relaxed);
    }

    /// The file of an image in a store.
    pub(super) fn file(&self, store: &str, id: &str) -> PathBuf {
        self.home.path().join(store).join(id)
    }

    /// The file that has an image not come into a store.
    pub(super) fn mark(&self, store: &str, id: &str) -> PathBuf {
        self.file(store, id).with_extension("full")
    }

    /// What lies in the stores and in the staging area and has to do with an image: the directory and the name of each.
    pub(super) fn files_of(&self, id: &str) -> Vec<String> {
        let stores = STORES.map(|store| (store, self.home.path().join(store)));
        let staging = ("staging", self.server.data_dir().join("staging"));
        let mut files = Vec::new();
        for (name, directory) in stores.into_iter().chain([staging]) {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            files.extend(
                names.filter(|file| file.contains(id) && !file.ends_with(".full")).map(|file| format!("{name}/{file}")),
            );
        }
        files.sort();
        files
    }

    /// What the catalog still has to do for an image, and locks: none of it is to stay.
    pub(super) fn unfinished(&self, id: &str) -> Result<Vec<String>, rusqlite::Error> {
        let path = self.server.data_dir().join("catalog.sqlite");
        let catalog = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        catalog.busy_timeout(Duration::from_secs(1))?;
        let mut statement = catalog.prepare(
            "SELECT 'lock of ' || value FROM image_properties \
                 WHERE image_id = ?1 AND name = 'os_glance_import_task' AND deleted = 0 \
             UNION ALL SELECT 'job ' || job_id FROM vitrine_jobs WHERE image_id = ?1 \
             UNION ALL SELECT 'upload to ' || url FROM vitrine_uploads WHERE image_id = ?1 AND committed_at IS NULL \
             UNION ALL SELECT 'removal of ' || url FROM vitrine_removals WHERE image_id = ?1",
        )?;
        statement.query_map([id], |row| row.get(0))?.collect()
    }

    /// Has `victims` die before step number `step` from now on.
    pub(super) fn arm(&mut self, step: u32, victims: Victims) {
        self.victims = Some(victims);
        self.steps.arm(&self.server, step, victims);
    }

    /// Nobody dies any more. The step that was met, if one was.
    pub(super) fn disarm(&mut self) -> Option<String> {
        self.victims = None;
        self.steps.disarm();
        self.steps.met()
    }

    /// Starts the server again if a step was the end of all of it: nobody else does.
    pub(super) fn revive(&mut self) {
        if self.victims == Some(Victims::All) && self.steps.met().is_some() {
            self.victims = None;
            self.server.kill_all();
            self.server.launch();
        }
    }
}

impl Held {
    fn answer(&self, wire: &mut dyn Wire, data: &[u8]) {
        let (first, rest) = data.split_at(data.len() / 2);
        let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", data.len());
        let _ = wire.write_all(first).and_then(|()| wire.flush());
        self.wait();
        let _ = wire.write_all(rest);
    }

    fn send_on(&self, wire: &mut dyn Wire) {
        self.wait();
        redirect(wire, 302, "/data");
    }

    fn wait(&self) {
        self.is_met.store(true, Relaxed);
        eventually(PATIENCE, || self.is_released.load(Relaxed).then_some(()));
    }
}
