//! What every driver does, and what it says of itself. `docs/adding-a-store.md` leads through a new one.
//!
//! A driver moves bytes and nothing else. Its turns, its time, further tries, counters and injected faults are added around it by
//! [`Store`](super::Store), the same for all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::http::range::ByteRange;

use super::{Source, StoreError};
use crate::io::Frozen;
use crate::metrics;
use crate::shard::Shard;

/// What a driver is like: data, so that nobody has to ask which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Images can be put there.
    pub(crate) writable: bool,
    /// Images are files of this machine, for who reads and writes them by their paths.
    pub(crate) local_files: bool,
    /// Longest time of one call; `None`: as long as it takes.
    pub(crate) patience: Option<Duration>,
    /// Calls of one core at a time; further ones wait for their turn.
    pub(crate) calls_max: usize,
    /// Further tries of what may be tried again, where the store is away for the moment.
    pub(crate) retries: u32,
}

impl Capabilities {
    /// Of a store on this machine, which answers or never will.
    pub(super) const LOCAL: Self =
        Capabilities { writable: true, local_files: true, patience: None, calls_max: usize::MAX, retries: 0 };

    /// Of what can only be read, and has its own way to wait.
    pub(super) const READ_ONLY: Self =
        Capabilities { writable: false, local_files: false, patience: None, calls_max: usize::MAX, retries: 0 };
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

/// A driver.
pub(super) trait Contract {
    /// An image that is being written.
    type Writer: Writing;

    /// What it is like.
    fn capabilities(&self) -> Capabilities;

    /// Whether `url` can be a place of this store. Nothing is asked: it is called for every download.
    fn has_place(&self, url: &str) -> bool;

    /// Whether that is sure: all is known that tells its places from those of others of its kind.
    fn is_met(&self) -> bool {
        true
    }

    /// The file at `url`, where images are files of this machine.
    fn local_path(&self, url: &str) -> Result<PathBuf, StoreError> {
        Err(StoreError::Foreign(url.to_owned()))
    }

    /// Opens the image at `url` for reading. `range`: what will be read of it, if not all.
    async fn open(&self, shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError>;

    /// The URI of a new image of that name.
    async fn new_place(&self, name: &str) -> Result<String, StoreError>;

    /// Begins to write an image, under a name that only this upload has: nothing lies at the place before the commit.
    async fn create(&self, placement: Placement<'_>) -> Result<Self::Writer, StoreError>;

    /// Removes what the upload `upload_id` left unfinished, and nothing else. Nothing there is fine.
    async fn discard(&self, url: &str, upload_id: &str) -> Result<(), StoreError>;

    /// Removes what lies at `url`, and what the upload `upload_id` left unfinished there. Nothing there is fine; what others put there
    /// while the upload was unfinished stays theirs.
    async fn remove(&self, url: &str, upload_id: Option<&str>) -> Result<(), StoreError>;

    /// Fails with [`StoreError::InUse`] where [`Contract::remove`] would.
    async fn check_removable(&self, _url: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// What tells the store from others of its kind and is part of its places, but not configured; `None`: there is no such thing.
    async fn identity(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Bytes that still fit in, as far as the store can tell.
    async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

/// An image that is being written. Dropped without a commit, it leaves at most what [`Contract::discard`] finds.
pub(super) trait Writing {
    /// A piece that is being written.
    type Pending: Pending;

    /// The way the bytes take, for metrics and the log.
    fn path(&self) -> metrics::Path;

    /// The unfinished file, where images are files of this machine.
    fn local_path(&self) -> Option<&Path> {
        None
    }

    /// Buffers that should be on their way at once; fewer are slower.
    fn depth(&self) -> usize {
        1
    }

    /// Takes `bytes` for `offset`, where the last ones ended. They may wait for the next ones until [`Writing::flush`]. `None`: there is
    /// nothing to wait for. All pieces but the last are whole buffers.
    async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Option<Self::Pending>, StoreError>;

    /// Starts to write what waits for more.
    async fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes the `size` bytes that were written durable and visible, if nothing lies at the place. They stay invisible on an error.
    async fn commit(&self, size: u64) -> Result<(), StoreError>;
}

/// A piece that is being written. Dropping it lets the write run on.
pub(super) trait Pending {
    /// When the store was given it; `None` while it waits for more.
    fn started(&self) -> Option<Instant>;

    /// Waits until it is written. May be dropped at any time and called again.
    async fn done(&mut self) -> Result<(), StoreError>;
}
