//! The kinds of stores: the only place of this plane that knows them all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::time::Instant;

use common::config::{Dataplane, STAGING_STORE, StoreConfig, StoreKind};
use common::http::range::ByteRange;

use super::contract::{Capabilities, Contract, Pending, Placement, Writing};
use super::file::{FileStore, FileWriter};
use super::http::HttpStore;
use super::rbd::{RbdPending, RbdStore, RbdWriter};
use super::{Source, StoreError};
use crate::io::{self, Frozen};
use crate::metrics;
use crate::shard::Shard;

/// How long the start waits for a store that does not answer.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A driver of whatever kind.
#[derive(Debug)]
pub(super) enum Driver {
    File(FileStore),
    Http(HttpStore),
    Rbd(RbdStore),
}

/// What it is asked, whatever its kind.
macro_rules! each {
    ($driver:expr, $one:ident => $asked:expr) => {
        match $driver {
            Driver::File($one) => $asked,
            Driver::Http($one) => $asked,
            Driver::Rbd($one) => $asked,
        }
    };
}

impl Driver {
    /// The driver of the store that `config` describes.
    pub(super) fn new(config: &StoreConfig, dataplane: &Dataplane) -> Self {
        match &config.kind {
            StoreKind::File(file) => Driver::File(FileStore::new(file)),
            StoreKind::Http => Driver::Http(HttpStore),
            StoreKind::Rbd(rbd) => Driver::Rbd(RbdStore::new(rbd, dataplane)),
        }
    }
}

/// Makes what drivers need before they serve, and looks whether they can. One line for the operator where one cannot.
pub(super) fn prepare<'s>(stores: impl Iterator<Item = (&'s str, &'s Driver)> + Clone) -> Result<(), String> {
    for (id, driver) in stores.clone() {
        match driver {
            Driver::File(file) => {
                let option = match id {
                    STAGING_STORE => {
                        "the staging directory (node_staging_uri, or filesystem_store_datadir of its group)"
                    }
                    _ => "filesystem_store_datadir",
                };
                file.prepare(option).map_err(|problem| format!("store {id}: {problem}"))?;
            }
            Driver::Http(_) => {}
            Driver::Rbd(rbd) => rbd.prepare(START_PATIENCE).map_err(|problem| format!("store {id}: {problem}"))?,
        }
    }
    no_shared_directories(stores.clone())?;
    no_shared_pools(stores)
}

/// Refuses two stores that share a directory under different names: one would remove the other's data.
fn no_shared_directories<'s>(stores: impl Iterator<Item = (&'s str, &'s Driver)>) -> Result<(), String> {
    let mut known: HashMap<(u64, u64), &str> = HashMap::new();
    for (id, driver) in stores {
        let Driver::File(file) = driver else { continue };
        for identity in file.identities().map_err(|problem| format!("store {id}: {problem}"))? {
            if let Some(other) = known.insert(identity, id)
                && other != id
            {
                return Err(format!("stores {other} and {id} have the same directory: give each its own"));
            }
        }
    }
    Ok(())
}

/// Refuses two stores that are the same pool of a cluster, for the same reason.
fn no_shared_pools<'s>(stores: impl Iterator<Item = (&'s str, &'s Driver)>) -> Result<(), String> {
    let mut known: HashMap<(String, &str), &str> = HashMap::new();
    for (id, driver) in stores {
        if let Driver::Rbd(rbd) = driver
            && let Some(other) = known.insert(rbd.cluster_and_pool(), id)
        {
            return Err(format!(
                "stores {other} and {id} have the same rbd_store_pool of one cluster: give each its own"
            ));
        }
    }
    Ok(())
}

impl Contract for Driver {
    type Writer = AnyWriter;

    fn capabilities(&self) -> Capabilities {
        each!(self, driver => driver.capabilities())
    }

    fn has_place(&self, url: &str) -> bool {
        each!(self, driver => driver.has_place(url))
    }

    fn is_met(&self) -> bool {
        each!(self, driver => driver.is_met())
    }

    fn local_path(&self, url: &str) -> Result<PathBuf, StoreError> {
        each!(self, driver => driver.local_path(url))
    }

    async fn open(&self, shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
        match self {
            Driver::File(driver) => driver.open(shard, url, range).await,
            // On the heap while it lasts: a download of a file would hold the room for its whole life.
            Driver::Http(driver) => Box::pin(driver.open(shard, url, range)).await,
            Driver::Rbd(driver) => Box::pin(driver.open(shard, url, range)).await,
        }
    }

    async fn new_place(&self, name: &str) -> Result<String, StoreError> {
        each!(self, driver => driver.new_place(name).await)
    }

    async fn create(&self, placement: Placement<'_>) -> Result<AnyWriter, StoreError> {
        match self {
            Driver::File(driver) => driver.create(placement).await.map(AnyWriter::File),
            Driver::Http(driver) => match driver.create(placement).await? {},
            Driver::Rbd(driver) => driver.create(placement).await.map(|writer| AnyWriter::Rbd(Box::new(writer))),
        }
    }

    async fn discard(&self, url: &str, upload_id: &str) -> Result<(), StoreError> {
        each!(self, driver => driver.discard(url, upload_id).await)
    }

    async fn remove(&self, url: &str, upload_id: Option<&str>) -> Result<(), StoreError> {
        each!(self, driver => driver.remove(url, upload_id).await)
    }

    async fn check_removable(&self, url: &str) -> Result<(), StoreError> {
        each!(self, driver => driver.check_removable(url).await)
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        each!(self, driver => driver.identity().await)
    }

    async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        each!(self, driver => driver.free_bytes().await)
    }
}

/// An image that is being written to a store of whatever kind.
#[derive(Debug)]
pub(super) enum AnyWriter {
    File(FileWriter),
    Rbd(Box<RbdWriter>),
}

/// A piece of it.
#[derive(Debug)]
pub(super) enum AnyPending {
    File(io::Writing),
    Rbd(RbdPending),
}

impl Writing for AnyWriter {
    type Pending = AnyPending;

    fn path(&self) -> metrics::Path {
        match self {
            AnyWriter::File(writer) => writer.path(),
            AnyWriter::Rbd(writer) => writer.path(),
        }
    }

    fn local_path(&self) -> Option<&Path> {
        match self {
            AnyWriter::File(writer) => writer.local_path(),
            AnyWriter::Rbd(writer) => writer.local_path(),
        }
    }

    fn depth(&self) -> usize {
        match self {
            AnyWriter::File(writer) => writer.depth(),
            AnyWriter::Rbd(writer) => writer.depth(),
        }
    }

    async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Option<AnyPending>, StoreError> {
        match self {
            AnyWriter::File(writer) => Ok(writer.start_write(bytes, offset).await?.map(AnyPending::File)),
            AnyWriter::Rbd(writer) => Ok(writer.start_write(bytes, offset).await?.map(AnyPending::Rbd)),
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        match self {
            AnyWriter::File(writer) => writer.flush().await,
            AnyWriter::Rbd(writer) => writer.flush().await,
        }
    }

    async fn commit(&self, size: u64) -> Result<(), StoreError> {
        match self {
            AnyWriter::File(writer) => writer.commit(size).await,
            AnyWriter::Rbd(writer) => writer.commit(size).await,
        }
    }
}

impl Pending for AnyPending {
    fn started(&self) -> Option<Instant> {
        match self {
            AnyPending::File(writing) => writing.started(),
            AnyPending::Rbd(writing) => writing.started(),
        }
    }

    async fn done(&mut self) -> Result<(), StoreError> {
        match self {
            AnyPending::File(writing) => Pending::done(writing).await,
            AnyPending::Rbd(writing) => writing.done().await,
        }
    }
}
