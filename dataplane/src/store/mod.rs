//! Where image bytes lie: one small contract, one driver per kind of store.
//!
//! A driver gives a [`Source`] for reading and a [`Writer`] for writing. What a writer was given becomes visible at its
//! commit and not before; a writer that is dropped without one leaves at most an unfinished object under its
//! temporary name, which [`Store::remove`] finds by the upload's id.
//!
//! Whatever is the same for all drivers is added here: turns, the longest time, further tries, counters, injected faults.

mod contract;
mod driver;
mod error;
mod faults;
mod file;
mod http;
mod rbd;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::config::{self, STAGING_STORE};
use common::http::range::ByteRange;

pub(crate) use contract::{Capabilities, Placement};
use contract::{Contract, Pending as _, Writing as _};
use driver::{AnyPending, AnyWriter, Driver};
pub(crate) use error::{StoreError, exhausted};
use faults::Faults;
use rbd::ReadAhead;
pub(crate) use rbd::{Blocks, Piece};

use crate::fetch::Answer;
use crate::io::{BufferPool, File, Frozen, Semaphore, sleep, timeout};
use crate::metrics::{Path, StoreWork};
use crate::shard::Shard;

/// The pause before the first further try; doubles with each.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

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
    capabilities: Capabilities,
    faults: Faults,
    driver: Driver,
}

/// Calls of one core that a store takes at a time. Removals may take as long as they want, and so hold up nothing else.
#[derive(Debug)]
pub(crate) struct Turns {
    calls: Semaphore,
    removals: Semaphore,
}

/// An image that is open for reading, by how its bytes are had.
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
    /// What is read in pieces, from wherever, several at a time.
    Blocks(Box<Blocks>),
}

impl Source {
    /// Bytes of the whole image, where they are known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Source::File { size, .. } => Some(*size),
            Source::Blocks(blocks) => Some(blocks.size()),
            Source::Web(answer) => answer.length().map(|length| answer.start().saturating_add(length)),
        }
    }
}

impl Stores {
    /// The stores of `config`; nothing is asked of them yet.
    ///
    /// # Errors
    /// One line that names what is wrong with the faults to inject.
    pub(crate) fn new(config: &config::Config) -> Result<Self, String> {
        let stores = config.stores.list.iter().chain([&config.stores.staging]).enumerate();
        let list = stores.map(|(index, one)| {
            let driver = Driver::new(one, &config.dataplane);
            let faults = Faults::of(&config.dataplane.store_faults, &one.id)?;
            Ok(Store { id: one.id.clone(), index, capabilities: driver.capabilities(), faults, driver })
        });
        Ok(Stores { list: list.collect::<Result<_, String>>()? })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// The ids, in the order of the metrics' indexes.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.list.iter().map(|store| store.id.clone()).collect()
    }

    /// The turns of one core, by the stores' indexes.
    pub(crate) fn turns(&self) -> Vec<Turns> {
        let of = |store: &Store| Semaphore::new(store.capabilities.calls_max);
        self.list.iter().map(|store| Turns { calls: of(store), removals: of(store) }).collect()
    }

    /// The store named `id`.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Store> {
        self.list.iter().find(|store| store.id == id)
    }

    /// The store that holds `url`: the one that the location names, if it has that place, else the one whose places look like it:
    /// locations of a single-store time name none, and metadata may be what a client wrote. No location leads into the staging
    /// area unless it is named.
    pub(crate) fn holding(&self, named: Option<&str>, url: &str) -> Option<&Store> {
        let named = named.and_then(|id| self.by_id(id)).filter(|store| store.driver.has_place(url));
        let others = || self.list.iter().filter(|store| store.id != STAGING_STORE && store.driver.has_place(url));
        named.or_else(|| others().find(|store| store.driver.is_met())).or_else(|| others().next())
    }

    /// Makes what the stores need, and looks whether they can be used.
    ///
    /// # Errors
    /// One line with the cause and the option to change.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        driver::prepare(self.list.iter().map(|store| (store.id.as_str(), &store.driver)))
    }
}

impl Store {
    /// One call of the driver: in its turn, within its time, counted, and failing where a test wants it.
    async fn call<T>(
        &self,
        shard: &Shard,
        work: StoreWork,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.call_within(shard, work, self.capabilities.patience, call).await
    }

    /// The same with what is left of the time.
    async fn call_within<T>(
        &self,
        shard: &Shard,
        work: StoreWork,
        patience: Option<Duration>,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let in_turn = async {
            let _turn = match (shard.store_turns.get(self.index), work) {
                (Some(turns), StoreWork::Remove) => Some(turns.removals.acquire().await),
                (Some(turns), _) => Some(turns.calls.acquire().await),
                (None, _) => None,
            };
            self.faults.strike(work).await?;
            call.await
        };
        // A large image goes slowly; whoever gave up on its removal would only ask for another one.
        let outcome = match work {
            StoreWork::Remove => in_turn.await,
            _ => within(patience, work, in_turn).await,
        };
        shard.metrics.store_work(self.index, work, begun.elapsed());
        outcome
    }

    /// The same for what may be done twice: tried again while the store is away for the moment, all within the time of one call.
    async fn call_again<T>(
        &self,
        shard: &Shard,
        work: StoreWork,
        call: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let patience = self.capabilities.patience;
        let left = || patience.map(|limit| limit.saturating_sub(begun.elapsed()));
        let mut pause = RETRY_PAUSE;
        for _ in 0..self.capabilities.retries {
            match self.call_within(shard, work, left(), call()).await {
                Err(error) if error.is_passing() && left().is_none_or(|left| pause < left) => {
                    tracing::debug!("store {}: {error}; trying again", self.id);
                    sleep(pause).await;
                    pause = pause.saturating_mul(2);
                }
                outcome => return outcome,
            }
        }
        self.call_within(shard, work, left(), call()).await
    }

    /// The file at `url`, for who reads it by its path.
    pub(crate) fn local_path(&self, url: &str) -> Result<PathBuf, StoreError> {
        self.driver.local_path(url)
    }

    /// Opens the image at `url` for reading. `range`: what will be read of it, if not all.
    pub(crate) async fn open(&self, shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
        self.call_again(shard, StoreWork::Open, || self.driver.open(shard, url, range)).await
    }

    /// The id in the API and in locations.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Whether images can be put there.
    pub(crate) fn is_writable(&self) -> bool {
        self.capabilities.writable
    }

    /// The URI of a new image of that name.
    pub(crate) async fn new_place(&self, shard: &Shard, name: &str) -> Result<String, StoreError> {
        self.call_again(shard, StoreWork::Ask, || self.driver.new_place(name)).await
    }

    /// Begins to read `span` of `blocks`, an image of this store. `fill_holes`: zeros are wanted in buffers too.
    pub(crate) fn read<'a>(
        &'a self,
        shard: &'a Shard,
        blocks: &'a Blocks,
        span: Range<u64>,
        fill_holes: bool,
    ) -> Reader<'a> {
        Reader { store: self, shard, blocks, ahead: blocks.read(span, fill_holes) }
    }

    /// Begins to write an image.
    pub(crate) async fn create<'a>(
        &'a self,
        shard: &'a Shard,
        placement: Placement<'_>,
    ) -> Result<Writer<'a>, StoreError> {
        if !self.capabilities.writable {
            return Err(StoreError::ReadOnly);
        }
        let writer = self.call(shard, StoreWork::Create, self.driver.create(placement)).await?;
        Ok(Writer { store: self, shard, writer })
    }

    /// Removes what the upload `upload_id` left unfinished, and nothing else. Nothing there is fine.
    pub(crate) async fn discard(&self, shard: &Shard, url: &str, upload_id: &str) -> Result<(), StoreError> {
        self.call_again(shard, StoreWork::Remove, || self.driver.discard(url, upload_id)).await
    }

    /// Fails with [`StoreError::InUse`] where a removal would.
    pub(crate) async fn check_removable(&self, shard: &Shard, url: &str) -> Result<(), StoreError> {
        self.call_again(shard, StoreWork::Ask, || self.driver.check_removable(url)).await
    }

    /// What tells the store from others of its kind and is part of its places, but not configured.
    pub(crate) async fn identity(&self, shard: &Shard) -> Result<Option<String>, StoreError> {
        self.call_again(shard, StoreWork::Ask, || self.driver.identity()).await
    }

    /// Bytes that still fit in, as far as the store can tell, and tells within `limit`.
    pub(crate) async fn free_bytes(&self, shard: &Shard, limit: Duration) -> Option<u64> {
        let asked = self.call(shard, StoreWork::Ask, self.driver.free_bytes());
        timeout(limit, asked).await.ok()?.ok()?
    }

    /// Removes what lies at `url`, and what the upload `upload_id` left unfinished there. Nothing there is fine; what others have stays
    /// theirs.
    pub(crate) async fn remove(&self, shard: &Shard, url: &str, upload_id: Option<&str>) -> Result<(), StoreError> {
        self.call_again(shard, StoreWork::Remove, || self.driver.remove(url, upload_id)).await
    }
}

/// A span of an image that is being read.
pub(crate) struct Reader<'a> {
    store: &'a Store,
    shard: &'a Shard,
    blocks: &'a Blocks,
    ahead: ReadAhead<'a>,
}

impl Reader<'_> {
    /// Begins as many reads as there is memory for in `pool`; whether a piece is there or on its way, or none is left.
    pub(crate) fn is_ready(&mut self, pool: &BufferPool) -> Result<bool, StoreError> {
        self.ahead.is_ready(pool)
    }

    /// Waits for the memory of the next piece. May be dropped at any time.
    pub(crate) async fn ready(&mut self, pool: &BufferPool) -> Result<(), StoreError> {
        self.ahead.ready(pool).await
    }

    /// The next piece, which has to be [ready](Reader::ready); `None` at the end. All but the last one and those around holes are whole
    /// buffers.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, StoreError> {
        let Reader { store, shard, ahead, .. } = self;
        let begun = Instant::now();
        let read = within(store.capabilities.patience, StoreWork::Read, async {
            store.faults.strike(StoreWork::Read).await?;
            ahead.next().await
        });
        let piece = read.await;
        shard.metrics.store_work(store.index, StoreWork::Read, begun.elapsed());
        piece
    }

    /// Makes sure, before the last piece is believed, that what was read was the image all the time.
    pub(crate) async fn confirm(&self) -> Result<(), StoreError> {
        self.store.call_again(self.shard, StoreWork::Read, || self.blocks.confirm()).await
    }
}

/// What `call` comes to, if it does so within the store's time.
async fn within<T>(
    patience: Option<Duration>,
    work: StoreWork,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match patience {
        Some(limit) => timeout(limit, call).await.unwrap_or_else(|_| Err(no_answer(work))),
        None => call.await,
    }
}

fn no_answer(work: StoreWork) -> StoreError {
    StoreError::Away(format!("no answer in time ({})", work.label()))
}

/// A place that is being written.
pub(crate) struct Writer<'a> {
    store: &'a Store,
    shard: &'a Shard,
    writer: AnyWriter,
}

impl Writer<'_> {
    /// The way the bytes take, for metrics and the log.
    pub(crate) fn path(&self) -> Path {
        self.writer.path()
    }

    /// The unfinished file, for who writes it by its path.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] where images are no files of this machine.
    pub(crate) fn local_path(&self) -> Result<&std::path::Path, StoreError> {
        self.writer.local_path().ok_or_else(|| StoreError::Foreign(self.store.id.clone()))
    }

    /// Buffers that should be on their way at once; fewer are slower.
    pub(crate) fn depth(&self) -> usize {
        self.writer.depth()
    }

    /// Takes `bytes` for `offset`, where the last ones ended; they are written by themselves, though maybe not before the next ones
    /// are there, or [`Writer::flush`] is called. All pieces but the last are whole buffers.
    pub(crate) async fn start_write(&self, bytes: Frozen, offset: u64) -> Result<Pending<'_>, StoreError> {
        let begun = Instant::now();
        let writing = within(self.store.capabilities.patience, StoreWork::Write, async {
            self.store.faults.strike(StoreWork::Write).await?;
            self.writer.start_write(bytes, offset).await
        });
        Ok(Pending { writer: self, writing: writing.await?, begun })
    }

    /// Starts to write what waits for more.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        within(self.store.capabilities.patience, StoreWork::Write, self.writer.flush()).await
    }

    /// Makes the `size` bytes that were written durable and visible. They stay invisible on an error.
    pub(crate) async fn commit(&self, size: u64) -> Result<(), StoreError> {
        self.store.call(self.shard, StoreWork::Commit, self.writer.commit(size)).await
    }
}

/// A piece that is being written.
pub(crate) struct Pending<'a> {
    writer: &'a Writer<'a>,
    /// `None`: nothing had to be written.
    writing: Option<AnyPending>,
    begun: Instant,
}

impl Pending<'_> {
    /// Waits until it is written. May be dropped at any time and called again.
    pub(crate) async fn done(&mut self) -> Result<(), StoreError> {
        let Writer { store, shard, .. } = self.writer;
        let written = match (&mut self.writing, store.capabilities.patience) {
            (None, _) => Ok(()),
            (Some(writing), None) => writing.done().await,
            (Some(writing), Some(limit)) => loop {
                // What only waits for more is no matter of the store yet.
                let left = writing.started().map_or(limit, |started| limit.saturating_sub(started.elapsed()));
                match timeout(left, writing.done()).await {
                    Ok(written) => break written,
                    Err(_) if writing.started().is_none_or(|started| started.elapsed() < limit) => {}
                    Err(_) => break Err(no_answer(StoreWork::Write)),
                }
            },
        };
        shard.metrics.store_work(store.index, StoreWork::Write, self.begun.elapsed());
        written
    }
}
