//! Images in a pool of a Ceph cluster, where the original's own driver puts them.
//!
//! Source of the layout: glance_store's rbd driver: an image of format 2 named by the image's id, with the features that the
//! cluster's configuration says, in objects of `rbd_store_chunk_size`; a protected snapshot `snap`, which is what is read and what
//! others clone; the URI `rbd://fsid/pool/id/snap`. Unlike it, an image is written as `.<image id>.<upload id>.part` and renamed when
//! it is whole; a note on it tells by which upload, so that nothing is ever removed that somebody else has put there.
//!
//! Data moves by asynchronous operations on the core ([`queue`]); everything else blocks, on the threads of the cluster ([`cluster`]).

mod claims;
mod clones;
mod cluster;
mod queue;
mod read;
mod remove;
mod sys;
mod write;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::config;
use common::http::range::ByteRange;
use common::rbd::{self, Place};

use self::claims::Claims;
use self::cluster::{Cluster, Connection, Held, Opened, Tie};
use self::queue::{Bell, Open};
pub(crate) use self::read::{Blocks, Piece, ReadAhead};
use self::sys::{FEATURE_EXCLUSIVE_LOCK, FEATURE_FAST_DIFF, Failed, Image, PIECES};
pub(crate) use self::write::{RbdPending, RbdWriter};
use super::contract::{Capabilities, Contract, Placement};
use super::{Source, StoreError};
use crate::io::{BUFFER_BYTES, Length};
use crate::shard::Shard;

/// The note that says which upload has written an image.
const NOTE: &str = "vitrine.upload";

/// How much longer than the library's own time a call may take: it has several operations.
const GRACE: Duration = Duration::from_secs(5);

/// Calls of one core at a time.
const CALLS_MAX: usize = 32;

/// Further tries while the cluster is away.
const RETRIES: u32 = 2;

/// Bytes from which on it is asked where an image has data: below that it is as quick to read.
const SPARSE_BYTES_MIN: u64 = 64 << 20;

/// Extents that are remembered of one image.
const EXTENTS_MAX: usize = 1 << 16;

/// The driver.
#[derive(Debug)]
pub(crate) struct RbdStore {
    cluster: Arc<Cluster>,
    config: config::RbdStore,
    /// Operations of one image at a time.
    depth: usize,
    patience: Duration,
    claims: Arc<Claims>,
}

impl RbdStore {
    pub(super) fn new(config: &config::RbdStore, dataplane: &config::Dataplane) -> Self {
        let operations = dataplane.rbd_in_flight_bytes / (PIECES * BUFFER_BYTES) as u64;
        RbdStore {
            cluster: Cluster::of(config, dataplane.rbd_timeout),
            config: config.clone(),
            depth: usize::try_from(operations).unwrap_or(usize::MAX).max(1),
            patience: config.timeout.unwrap_or(dataplane.rbd_timeout) + GRACE,
            claims: Arc::default(),
        }
    }

    /// Looks whether the cluster can be used, for at most `limit`: one that does not answer by then may later. Not for a core's
    /// thread.
    ///
    /// # Errors
    /// One line that names the option that is wrong, its value, and why.
    pub(super) fn prepare(&self, limit: Duration) -> Result<(), String> {
        let threads = self.cluster.threads().map_err(|error| error.to_string())?;
        let (sender, told) = crossbeam_channel::bounded(1);
        let (cluster, config) = (Arc::clone(&self.cluster), self.config.clone());
        threads.detach(move || {
            let problem = cluster.problem(&config.pool);
            if problem.is_none()
                && let Ok(connection) = cluster.connect()
            {
                config.fsid.learn(connection.fsid().to_owned());
            }
            // Nobody waits any more: it comes too late.
            let _ = sender.send(problem);
        });
        match told.recv_timeout(limit) {
            Ok(None) => Ok(()),
            Ok(Some(problem)) => Err(problem),
            Err(_) => {
                tracing::warn!("a Ceph cluster does not answer; it is tried again when it is needed");
                Ok(())
            }
        }
    }

    /// What tells its images from those of others: the id of the cluster, or as long as nobody knows that its configuration; and the pool.
    pub(super) fn cluster_and_pool(&self) -> (String, &str) {
        let conf = || self.config.conf.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        (self.config.fsid.get().map_or_else(conf, str::to_owned), &self.config.pool)
    }

    /// Where `url` leads, if it is in our pool.
    fn place(&self, url: &str) -> Result<Place, StoreError> {
        let place = Place::parse(url).filter(|place| place.is_in(self.config.fsid.get(), &self.config.pool));
        place.ok_or_else(|| StoreError::Foreign(url.to_owned()))
    }

    /// Runs `call` on the cluster's threads with the connection, if it leads to the cluster of `place`.
    async fn connected<T: Send + 'static>(
        &self,
        length: Length,
        place: Place,
        call: impl FnOnce(&Connection, &Place) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        let learnt = self.config.fsid.clone();
        let work = move |cluster: &Arc<Cluster>| {
            let connection = cluster.reach()?;
            learnt.learn(connection.fsid().to_owned());
            if place.within.as_ref().is_some_and(|within| within.fsid != connection.fsid()) {
                return Err(StoreError::Foreign("an image of another cluster".to_owned()));
            }
            call(&connection, &place).map_err(|failed| cluster.lost(failed, connection.rados()))
        };
        self.cluster.run(length, work).await
    }
}

/// The name of an image while it is being written: the original has none that begins with a dot.
fn unfinished_name(image: &str, upload_id: &str) -> String {
    format!(".{image}.{upload_id}.part")
}

/// Where there is data in `span` of an image; `None`: that is not known, or not worth asking.
fn data_of(image: &Image, span: &Range<u64>) -> Option<Vec<Range<u64>>> {
    if span.end.saturating_sub(span.start) < SPARSE_BYTES_MIN || image.features().ok()? & FEATURE_FAST_DIFF == 0 {
        return None;
    }
    // From the beginning: librbd before 16.2.8 tells places that are wrong if the first one is not where an object begins.
    let extents = image.extents(span.end, EXTENTS_MAX).ok()??;
    Some(read::by_buffers(extents.into_iter().filter(|extent| extent.end > span.start).collect()))
}

impl Contract for RbdStore {
    type Writer = RbdWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            writable: true,
            local_files: false,
            patience: Some(self.patience),
            calls_max: CALLS_MAX,
            retries: RETRIES,
        }
    }

    fn has_place(&self, url: &str) -> bool {
        self.place(url).is_ok()
    }

    fn is_met(&self) -> bool {
        self.config.fsid.get().is_some()
    }

    async fn open(&self, _: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
        let place = self.place(url)?;
        let bell = Bell::new()?;
        let (pool_name, end) = (self.config.pool.clone(), bell.end()?);
        let threads = self.cluster.threads()?.clone();
        let opening = move |cluster: &Connection, place: &Place| {
            let pool = cluster.pool(&pool_name)?;
            let image = Image::open_read_only(&pool, &place.image, place.snapshot())?.ring(end)?;
            let (id, size) = (image.id()?, image.size()?);
            let span = range.map_or(0..size, |range| range.start..range.end.min(size));
            let data = data_of(&image, &span);
            // Wherever it is let go of, also by who does not wait for it any more.
            let image = Arc::new(Held::new(Opened { image, _claim: None }, threads.clone()));
            Ok((Arc::new(Held::new(pool, threads)), image, id, size, data))
        };
        let (pool, image, id, size, data) = self.connected(Length::Short, place.clone(), opening).await?;
        let tie = Tie::new(&self.cluster, pool);
        Ok(Source::Blocks(Box::new(Blocks {
            open: Open::new(image, bell, self.patience)?,
            tie,
            place,
            id,
            size,
            data,
            depth: self.depth,
        })))
    }

    async fn new_place(&self, name: &str) -> Result<String, StoreError> {
        let fsid = self.identity().await?.unwrap_or_default();
        Ok(rbd::url(&rbd::prefix(&fsid, &self.config.pool), name))
    }

    async fn create(&self, placement: Placement<'_>) -> Result<RbdWriter, StoreError> {
        let place = self.place(placement.url)?;
        let unfinished = unfinished_name(&place.image, placement.upload_id);
        let claim = self.claims.claim(&unfinished);
        let bell = Bell::new()?;
        let (pool_name, end) = (self.config.pool.clone(), bell.end()?);
        let threads = self.cluster.threads()?.clone();
        let size = placement.size.unwrap_or(0);
        // Rounded down, as the original does.
        let order = u8::try_from(self.config.chunk_bytes.max(1).ilog2()).unwrap_or(u8::MAX);
        let (name, upload_id) = (unfinished.clone(), placement.upload_id.to_owned());
        let making = move |connection: &Connection, place: &Place| {
            let pool = connection.pool(&pool_name)?;
            // Early, so that nobody sends all of it in vain; that nothing is replaced is for the end to see.
            match Image::open_read_only(&pool, &place.image, None) {
                Ok(_) => return Err(Failed::new(libc::EEXIST)),
                Err(failed) if failed.errno == libc::ENOENT => {}
                Err(failed) => return Err(failed),
            }
            pool.create_image(&name, size, connection.features(), order)?;
            let image = Image::open(&pool, &name)?.ring(end)?;
            if connection.features() & FEATURE_EXCLUSIVE_LOCK != 0 {
                image.lock()?;
            }
            image.set_note(NOTE, &upload_id)?;
            let image = Arc::new(Held::new(Opened { image, _claim: Some(claim) }, threads.clone()));
            Ok((Arc::new(Held::new(pool, threads)), image))
        };
        let finished = place.image.clone();
        let (pool, image) = self.connected(Length::Short, place, making).await?;
        Ok(RbdWriter {
            open: RefCell::new(Some(Open::new(image, bell, self.patience)?)),
            tie: Rc::new(Tie::new(&self.cluster, pool)),
            unfinished,
            finished,
            thin: self.config.thin_provisioning,
            depth: self.depth * PIECES,
            room: Cell::new(size),
            growth: Cell::new(self.config.chunk_bytes),
            gathered: RefCell::new(None),
        })
    }

    async fn discard(&self, url: &str, upload_id: &str) -> Result<(), StoreError> {
        self.remove_upload(url, upload_id).await
    }

    async fn remove(&self, url: &str, upload_id: Option<&str>) -> Result<(), StoreError> {
        match upload_id {
            Some(upload_id) => self.remove_upload(url, upload_id).await,
            None => self.remove_finished(url).await,
        }
    }

    async fn check_removable(&self, url: &str) -> Result<(), StoreError> {
        self.check_unused(url).await
    }

    async fn identity(&self) -> Result<Option<String>, StoreError> {
        let learnt = self.config.fsid.clone();
        let fsid = self.cluster.run(Length::Short, move |cluster| {
            let connection = cluster.reach()?;
            learnt.learn(connection.fsid().to_owned());
            Ok(connection.fsid().to_owned())
        });
        fsid.await.map(Some)
    }

    async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let free = self.cluster.run(Length::Short, |cluster| {
            let connection = cluster.reach()?;
            connection.free_bytes().map_err(|failed| cluster.lost(failed, connection.rados()))
        });
        free.await.map(Some)
    }
}
