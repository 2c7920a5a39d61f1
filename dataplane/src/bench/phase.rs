//! The phases: who works, on which objects, and what is counted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::http::range::ByteRange;
use uuid::Uuid;

use super::ledger::{Ledger, Object};
use super::objects::{self, Data, Random};
use super::{Operation, Phase, Plan, Watch, Work};
use crate::io::{BUFFER_BYTES, BufferPool, FileReader, spawn};
use crate::shard::Shard;
use crate::store::{Piece, Placement, Source, Store};
use crate::transfer::receive::Interrupted;
use crate::transfer::writes::Writes;

/// Ranges, or objects that are opened, for each object that a phase would read whole.
const SMALL_PER_OBJECT: usize = 64;

/// Failures after which a phase begins nothing more.
const FAILURES_MAX: usize = 10;

/// A measurement.
pub(super) struct Session {
    pub(super) plan: Plan,
    shard: Rc<Shard>,
    watch: Arc<Watch>,
    data: Data,
    ledger: RefCell<Ledger>,
    /// The number of the next object.
    next: Cell<u64>,
}

/// What the workers of a phase share.
struct Running {
    store: String,
    work: Work,
    begun: Instant,
    /// Operations that may still begin.
    left: Cell<usize>,
    /// What is read or removed, in turn.
    objects: Vec<Object>,
    random: RefCell<Random>,
    operations: RefCell<Vec<Operation>>,
    failures: RefCell<Vec<String>>,
}

/// What an operation did.
#[derive(Default)]
struct Done {
    bytes: u64,
    /// When the first of them were there.
    first: Option<Instant>,
    commit: Option<Duration>,
}

impl Session {
    pub(super) fn new(shard: Rc<Shard>, plan: Plan, watch: Arc<Watch>, ledger: Ledger) -> Self {
        let data = Data::new(plan.seed);
        Session { plan, shard, watch, data, ledger: RefCell::new(ledger), next: Cell::new(0) }
    }

    /// All phases of a store. Nothing of it is left, unless it cannot be removed.
    pub(super) async fn measure(self: &Rc<Self>, store: &str, phases: &mut Vec<Phase>, cpu_seconds: &dyn Fn() -> f64) {
        let wants = |work: Work| self.plan.works.contains(&work);
        for work in Work::ALL {
            if !wants(work) || self.watch.is_over() {
                continue;
            }
            if work != Work::Write && !self.objects_of(store).iter().any(|object| object.finished) {
                // For what is measured there must be something; that is no part of it, unless it fails.
                let made = self.run(store, Work::Write, self.plan.parallel, cpu_seconds).await;
                if !made.failures.is_empty() {
                    phases.push(made);
                    break;
                }
            }
            let several = Some(self.plan.parallel).filter(|parallel| work.is_parallel() && *parallel > 1);
            for workers in [Some(1), several].into_iter().flatten() {
                if work == Work::Write {
                    self.remove_all(store).await;
                }
                if !self.watch.is_over() {
                    phases.push(self.run(store, work, workers, cpu_seconds).await);
                }
            }
        }
        self.remove_all(store).await;
    }

    /// Removes whatever is left, and ends the record of it: what could not be removed, with the reason.
    pub(super) async fn finish(&self) -> Vec<String> {
        let stores: Vec<String> = self.plan.stores.clone();
        let mut left = Vec::new();
        for store in stores {
            left.extend(self.remove_all(&store).await);
        }
        self.ledger.borrow_mut().close();
        left
    }

    fn objects_of(&self, store: &str) -> Vec<Object> {
        self.ledger.borrow().objects.iter().filter(|object| object.store == store).cloned().collect()
    }

    async fn remove_all(&self, store: &str) -> Vec<String> {
        let mut left = Vec::new();
        for object in self.objects_of(store) {
            match objects::remove(&self.shard, &object).await {
                Ok(()) => self.forget(&object),
                Err(why) => left.push(format!("{} in store {store}: {why}", object.url)),
            }
        }
        left
    }

    fn forget(&self, object: &Object) {
        self.ledger.borrow_mut().objects.retain(|known| known.url != object.url);
    }

    async fn run(self: &Rc<Self>, store: &str, work: Work, workers: usize, cpu_seconds: &dyn Fn() -> f64) -> Phase {
        let mut objects = self.objects_of(store);
        objects.retain(|object| object.finished && work != Work::Write);
        let (count, bytes) = match work {
            Work::Write => (self.plan.objects, self.plan.size),
            Work::Read => (objects.len(), self.plan.size),
            Work::Range => (objects.len() * SMALL_PER_OBJECT, self.plan.range_bytes.min(self.plan.size)),
            Work::FirstByte => (objects.len() * SMALL_PER_OBJECT, 0),
            Work::Delete => (objects.len(), 0),
        };
        let all = bytes.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
        self.watch.begin(format!("{store}: {} x {workers}", work.name()), all);
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let running = Rc::new(Running {
            store: store.to_owned(),
            work,
            begun,
            left: Cell::new(count),
            objects,
            random: RefCell::new(Random::new(self.plan.seed)),
            operations: RefCell::default(),
            failures: RefCell::default(),
        });
        let tasks: Vec<_> = (0..workers.max(1))
            .map(|_| {
                let (session, running) = (Rc::clone(self), Rc::clone(&running));
                spawn(async move { session.worker(&running).await })
            })
            .collect();
        for task in tasks {
            if task.await.is_none() {
                running.failures.borrow_mut().push("a worker ended before its time".to_owned());
            }
        }
        Phase {
            store: store.to_owned(),
            work,
            workers,
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - cpu,
            operations: running.operations.take(),
            failures: running.failures.take(),
        }
    }

    async fn worker(&self, running: &Running) {
        let Some(store) = self.shard.shared.stores.by_id(&running.store) else { return };
        let mut first = true;
        loop {
            let late = running.begun.elapsed() >= self.plan.duration && !first;
            let given_up = running.failures.borrow().len() >= FAILURES_MAX;
            let Some(left) = running.left.get().checked_sub(1) else { return };
            if late || given_up || self.watch.is_over() {
                return;
            }
            running.left.set(left);
            first = false;
            let object = (!running.objects.is_empty()).then(|| &running.objects[left % running.objects.len()]);
            let begun = Instant::now();
            let done = match (running.work, object) {
                // On the heap: the rooms of all of them are not needed at once.
                (Work::Write, _) => Box::pin(self.write(store)).await,
                (_, None) => return,
                (Work::Read, Some(object)) => Box::pin(self.read(store, object, 0..self.plan.size)).await,
                (Work::Range, Some(object)) => {
                    let start = self.some_start(&mut running.random.borrow_mut());
                    let end = start.saturating_add(self.plan.range_bytes).min(self.plan.size);
                    Box::pin(self.read(store, object, start..end)).await
                }
                (Work::FirstByte, Some(object)) => {
                    Box::pin(self.read(store, object, 0..self.plan.size.min(BUFFER_BYTES as u64))).await
                }
                (Work::Delete, Some(object)) => {
                    let removed = store.remove(&self.shard, &object.url, None).await;
                    removed.map(|()| self.forget(object)).map(|()| Done::default()).map_err(|error| error.to_string())
                }
            };
            match done {
                Ok(done) => running.operations.borrow_mut().push(Operation {
                    ended: running.begun.elapsed(),
                    took: begun.elapsed(),
                    first_byte: done.first.map(|first| first - begun),
                    commit: done.commit,
                    bytes: done.bytes,
                }),
                Err(_) if self.watch.is_over() => {}
                Err(why) => running.failures.borrow_mut().push(why),
            }
        }
    }

    /// Where a range begins: at one of the places that are multiples of its length.
    fn some_start(&self, random: &mut Random) -> u64 {
        let places = (self.plan.size / self.plan.range_bytes.max(1)).max(1);
        random.next() % places * self.plan.range_bytes
    }

    async fn write(&self, store: &Store) -> Result<Done, String> {
        let number = self.next.replace(self.next.get() + 1);
        let upload_id = Uuid::new_v4().to_string();
        let url = store.new_place(&self.shard, &format!("vitrine-bench-{upload_id}")).await.map_err(text)?;
        let object = Object { store: store.id().to_owned(), upload_id, url, number, finished: false };
        self.ledger.borrow_mut().add(object.clone()).map_err(text)?;
        let commit = self.fill(store, &object).await.map_err(why)?;
        let mut ledger = self.ledger.borrow_mut();
        ledger.objects.iter_mut().filter(|known| known.url == object.url).for_each(|known| known.finished = true);
        Ok(Done { bytes: self.plan.size, first: None, commit: Some(commit) })
    }

    /// Writes an object; the time of its commit.
    async fn fill(&self, store: &Store, object: &Object) -> Result<Duration, Interrupted> {
        let config = &self.shard.config.dataplane;
        let size = self.plan.size;
        let placement = Placement {
            url: &object.url,
            upload_id: &object.upload_id,
            size: Some(size),
            direct: config.upload_direct_io,
        };
        let writer = store.create(&self.shard, placement).await?;
        let depth = self.plan.depth.unwrap_or(config.upload_buffers_count).max(writer.depth());
        let pool = BufferPool::new(depth)?;
        let mut writes = Writes::new(&writer, depth);
        if let Err(error) = self.pour(object, &pool, &mut writes).await {
            // What is on its way must not come after the object is removed.
            drop(writes.finish().await);
            return Err(error);
        }
        let written = Instant::now();
        writer.commit(size).await?;
        Ok(written.elapsed())
    }

    /// All the data of an object.
    async fn pour(&self, object: &Object, pool: &BufferPool, writes: &mut Writes<'_>) -> Result<(), Interrupted> {
        let size = self.plan.size;
        let mut offset = 0;
        while offset < size {
            self.check_over()?;
            let mut buffer = writes.buffer(pool).await?;
            let wanted = usize::try_from(size - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            buffer.fill(&self.data.block(object.number, offset)[..wanted]);
            writes.start(buffer.freeze(), offset).await?;
            offset += wanted as u64;
            self.watch.add(wanted as u64);
        }
        Ok(writes.finish().await?)
    }

    async fn read(&self, store: &Store, object: &Object, span: std::ops::Range<u64>) -> Result<Done, String> {
        let whole = span.start == 0 && span.end == self.plan.size;
        let range = (!whole).then_some(ByteRange { start: span.start, end: span.end });
        let depth = self.plan.depth.unwrap_or(self.shard.config.dataplane.direct_read_buffers_count);
        let pool = BufferPool::new(depth).map_err(text)?;
        let mut first = None;
        let mut seen = |offset: u64, piece: &[u8]| {
            first.get_or_insert_with(Instant::now);
            self.watch.add(piece.len() as u64);
            if self.data.fits(object.number, offset, piece) {
                self.check_over().map_err(why)
            } else {
                Err(format!("what lies at byte {offset} of {} is not what was written", object.url))
            }
        };
        match store.open(&self.shard, &object.url, range).await.map_err(text)? {
            Source::File { file, .. } => {
                let file = file.direct_if_possible();
                let mut reader = FileReader::new(&file, span.clone(), depth);
                while reader.position() < span.end {
                    let offset = reader.position();
                    if !reader.begin(&pool).await {
                        reader.begin_with(pool.get().await).await;
                    }
                    let (bytes, part) = reader.next().await.map_err(text)?;
                    seen(offset, &bytes[part])?;
                }
            }
            Source::Blocks(blocks) => {
                let pool = BufferPool::new(blocks.buffers().max(depth)).map_err(text)?;
                let mut reader = store.read(&self.shard, &blocks, span.clone(), true);
                let mut offset = span.start;
                loop {
                    reader.ready(&pool).await.map_err(text)?;
                    match reader.next().await.map_err(text)? {
                        Some(Piece::Data(piece)) => {
                            seen(offset, &piece)?;
                            offset += piece.len() as u64;
                        }
                        Some(Piece::Zeros(_)) => return Err("zeros without a buffer".to_owned()),
                        None => break,
                    }
                }
            }
            Source::Web(_) => return Err("what lies with others is not measured".to_owned()),
        }
        Ok(Done { bytes: span.end - span.start, first, commit: None })
    }

    fn check_over(&self) -> Result<(), Interrupted> {
        if self.watch.is_over() {
            return Err(Interrupted::Broken(std::io::Error::from(std::io::ErrorKind::Interrupted)));
        }
        Ok(())
    }
}

fn why(error: Interrupted) -> String {
    match error {
        Interrupted::Store(error) => text(error),
        Interrupted::Broken(error) => text(error),
        other => format!("{other:?}"),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
