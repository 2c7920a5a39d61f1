//! Where image bytes lie: one small contract, one driver per kind of store.
//!
//! A driver gives a [`Source`] for reading and a [`Writer`] for writing. What a writer was given becomes visible at its
//! commit and not before; a writer that is dropped without one leaves at most an unfinished object under its
//! temporary name, which [`Store::remove`] finds by the upload's id.

mod error;
mod file;
mod http;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use common::config::{self, STAGING_STORE, StoreKind};
use common::http::range::ByteRange;

pub(crate) use error::{StoreError, exhausted};
use file::{FileStore, FileWriter};

use crate::fetch::Answer;
use crate::io::{File, Frozen, Writing};
use crate::metrics::{CoreMetrics, Path, StoreWork};
use crate::shard::Shard;

/// All stores of this server, the staging area among them.
#[derive(Debug)]
pub(crate) struct Stores {
    list: Vec<Store>,
}

/// One store.
#[derive(Debug)]
pub(crate) struct Store {
    id: String,
    /// Its place in the metrics.
    pub(crate) index: usize,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    File(FileStore),
    Http,
}

/// An image that is open for reading.
#[derive(Debug)]
pub(crate) enum Source {
    /// A local file, whose ranges the kernel sends by itself.
    File {
        /// The open file.
        file: File,
        /// Its length in bytes.
        size: u64,
    },
    /// What another server sends, of all that it has or of the range that was asked for.
    Web(Box<Answer>),
}

/// A place that is being written.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    store: &'a Store,
    metrics: &'a CoreMetrics,
    file: FileWriter,
}

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement<'a> {
    /// The store URI under which it will be found.
    pub(crate) url: &'a str,
    /// The upload, which names the unfinished object.
    pub(crate) upload_id: &'a str,
    /// Bytes that will come, where known.
    pub(crate) size: Option<u64>,
    /// Whether to write past the page cache.
    pub(crate) direct: bool,
}

impl Stores {
    pub(crate) fn new(config: &config::Stores) -> Self {
        let list = config
            .list
            .iter()
            .chain([&config.staging])
            .enumerate()
            .map(|(index, config)| {
                let driver = match &config.kind {
                    StoreKind::File(file) => Driver::File(FileStore::new(file)),
                    StoreKind::Http => Driver::Http,
                };
                Store { id: config.id.clone(), index, driver }
            })
            .collect();
        Stores { list }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The ids, in the order of the metrics' indexes.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.list.iter().map(|store| store.id.clone()).collect()
    }

    /// The store named `id`.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Store> {
        self.list.iter().find(|store| store.id == id)
    }

    /// The store that holds `url`: the one that the location names, if it has that place, else the one whose places look like it:
    /// locations of a single-store time name none, and metadata may be what a client wrote. No location leads into the staging
    /// area unless it is named.
    pub(crate) fn holding(&self, named: Option<&str>, url: &str) -> Option<&Store> {
        let named = named.and_then(|id| self.by_id(id)).filter(|store| store.has_place(url));
        named.or_else(|| self.list.iter().filter(|store| store.id != STAGING_STORE).find(|store| store.has_place(url)))
    }

    /// Makes the directories that drivers need.
    ///
    /// # Errors
    /// One line with the cause and the option to change; also where two stores share a directory under different names: one would
    /// remove the other's data.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        self.list.iter().try_for_each(|store| match &store.driver {
            Driver::File(file) => {
                let option = match store.id.as_str() {
                    STAGING_STORE => {
                        "the staging directory (node_staging_uri, or filesystem_store_datadir of its group)"
                    }
                    _ => "filesystem_store_datadir",
                };
                file.prepare(option).map_err(|problem| format!("store {}: {problem}", store.id))
            }
            Driver::Http => Ok(()),
        })?;
        let mut known: HashMap<(u64, u64), &str> = HashMap::new();
        for store in &self.list {
            let Driver::File(file) = &store.driver else { continue };
            for identity in file.identities().map_err(|problem| format!("store {}: {problem}", store.id))? {
                if let Some(other) = known.insert(identity, &store.id)
                    && other != store.id
                {
                    return Err(format!("stores {other} and {} have the same directory: give each its own", store.id));
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Whether `url` can be a place of this store.
    fn has_place(&self, url: &str) -> bool {
        match &self.driver {
            Driver::File(driver) => driver.holds(url),
            Driver::Http => http::holds(url),
        }
    }

    /// The file at `url`, for who reads it by its path.
    pub(crate) fn local_path(&self, url: &str) -> Result<PathBuf, StoreError> {
        match &self.driver {
            Driver::File(driver) => driver.path(url),
            Driver::Http => Err(StoreError::Foreign(url.to_owned())),
        }
    }

    /// Opens the image at `url` for reading. `range`: what will be read of it, if not all.
    pub(crate) async fn open(&self, shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
        let begun = Instant::now();
        let opened = match &self.driver {
            Driver::File(driver) => driver.open(url).await,
            Driver::Http => http::open(shard, url, range).await,
        };
        shard.metrics.store_work(self.index, StoreWork::Open, begun.elapsed());
        opened
    }

    /// Begins to write an image.
    pub(crate) async fn create<'a>(
        &'a self,
        placement: Placement<'_>,
        metrics: &'a CoreMetrics,
    ) -> Result<Writer<'a>, StoreError> {
        let Driver::File(driver) = &self.driver else { return Err(StoreError::ReadOnly) };
        let begun = Instant::now();
        let file = driver.create(placement).await;
        metrics.store_work(self.index, StoreWork::Create, begun.elapsed());
        Ok(Writer { store: self, metrics, file: file? })
    }

    /// Removes what the upload `upload_id` left unfinished, and nothing else. Nothing there is fine.
    pub(crate) async fn discard(&self, url: &str, upload_id: &str, metrics: &CoreMetrics) -> Result<(), StoreError> {
        let Driver::File(driver) = &self.driver else { return Ok(()) };
        let begun = Instant::now();
        let removed = driver.discard(url, upload_id).await;
        metrics.store_work(self.index, StoreWork::Remove, begun.elapsed());
        removed
    }

    /// Removes what lies at `url`, and what the upload `upload_id` left unfinished there. Nothing there is fine; what others have stays
    /// theirs.
    pub(crate) async fn remove(
        &self,
        url: &str,
        upload_id: Option<&str>,
        metrics: &CoreMetrics,
    ) -> Result<(), StoreError> {
        let Driver::File(driver) = &self.driver else { return Ok(()) };
        let begun = Instant::now();
        let removed = driver.remove(url, upload_id).await;
        metrics.store_work(self.index, StoreWork::Remove, begun.elapsed());
        removed
    }
}

impl Writer<'_> {
    /// The way the bytes take, for metrics and the log.
    pub(crate) fn path(&self) -> Path {
        if self.file.is_direct() { Path::Direct } else { Path::Buffered }
    }

    /// The unfinished file, for who writes it by its path.
    pub(crate) fn local_path(&self) -> &std::path::Path {
        self.file.unfinished()
    }

    /// Starts to write `bytes` at `offset`; it goes on by itself. All pieces but the last are whole buffers.
    pub(crate) async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Pending<'_>, StoreError> {
        let begun = Instant::now();
        let writing = self.file.start_write(bytes, offset).await?;
        Ok(Pending { writer: self, writing, begun })
    }

    /// Makes the `size` bytes that were written durable and visible. They stay invisible on an error.
    pub(crate) async fn commit(&self, size: u64) -> Result<(), StoreError> {
        let begun = Instant::now();
        let committed = self.file.commit(size).await;
        self.metrics.store_work(self.store.index, StoreWork::Commit, begun.elapsed());
        committed
    }
}

/// A piece that is being written.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    writer: &'a Writer<'a>,
    /// `None`: nothing had to be written.
    writing: Option<Writing>,
    begun: Instant,
}

impl Pending<'_> {
    /// Waits until it is written. May be dropped at any time and called again.
    pub(crate) async fn done(&mut self) -> Result<(), StoreError> {
        let written = match &mut self.writing {
            Some(writing) => writing.done().await,
            None => Ok(()),
        };
        let Writer { store, metrics, .. } = self.writer;
        metrics.store_work(store.index, StoreWork::Write, self.begun.elapsed());
        Ok(written?)
    }
}
