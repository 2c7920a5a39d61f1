//! A core: one thread, one local executor, its tasks.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::buffer::{Arena, BufferLimits};
use super::driver::{Driver, ring_builder};
use super::offload::{Home, Offload};
use super::ring::StorageRing;
use super::send::Pipes;
use super::turns::{Turns, yield_now};

/// How a core is run.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// Ring or epoll.
    pub driver: Driver,
    /// The processor this thread is pinned to, or `None` to let it float.
    pub cpu: Option<usize>,
    /// Submission queue entries of the ring (at least 256), or events per epoll round.
    pub entries: u32,
    /// Where this core's blocking calls go.
    pub offload: Offload,
    /// Buffer memory of this core.
    pub buffers: BufferLimits,
    /// Pipes of 1 MiB that downloads of this core may have at a time.
    pub pipes: usize,
}

/// What belongs to the core that runs on this thread.
pub(super) struct Core {
    pub(super) offload: Offload,
    /// For direct I/O and zero-copy sends; none on epoll.
    pub(super) ring: Option<Rc<StorageRing>>,
    pub(super) arena: Rc<Arena>,
    pub(super) pipes: Rc<Pipes>,
    pub(super) home: Rc<Home>,
    pub(super) turns: Turns,
}

thread_local! {
    static CORE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The core of this thread.
///
/// # Panics
/// Outside [`run_core`]: a mistake of the caller, met at the first use.
pub(super) fn current() -> Rc<Core> {
    CORE.with_borrow(Clone::clone).expect("this is called from a task of a core")
}

/// The processors this process may run on, in ascending order: one core is run on each.
pub fn available_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Pins this thread and runs `future` and all that it spawns on a local executor until `future` ends.
///
/// Tasks that are still running then are abandoned together with their ring: it is never torn down while the kernel may still
/// write into a buffer of theirs, so their memory and descriptors live until the process ends. A core is run once per process
/// lifetime, so this costs nothing.
///
/// # Errors
/// When the thread cannot be pinned, the ring or epoll cannot be made (see [`preflight`](super::preflight)), or `future` panics.
pub fn run_core<F>(config: CoreConfig, future: F) -> io::Result<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    if let Some(cpu) = config.cpu {
        pin_to(cpu)?;
    }
    match config.driver {
        Driver::Uring => {
            let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(config.entries)
                .uring_builder(ring_builder(config.entries.max(256)))
                .enable_timer()
                .build()?;
            let output = runtime.block_on(root(config, future));
            std::mem::forget(runtime);
            output
        }
        Driver::Epoll => {
            let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
                .with_entries(config.entries)
                .enable_timer()
                .build()?;
            let output = runtime.block_on(root(config, future));
            std::mem::forget(runtime);
            output
        }
    }
}

fn pin_to(cpu: usize) -> io::Result<()> {
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("no processor {cpu}")));
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).map_err(|errno| {
        io::Error::new(io::Error::from(errno).kind(), format!("cannot pin to processor {cpu}: {errno}"))
    })
}

/// The runtime polls its root future in a loop of its own before any task, so the root only waits for a task.
async fn root<F>(config: CoreConfig, future: F) -> io::Result<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let home = Rc::new(Home::new()?);
    let ring = match config.driver {
        Driver::Uring => Some(StorageRing::new(config.buffers.pinned_max)?),
        Driver::Epoll => None,
    };
    let core = Rc::new(Core {
        offload: config.offload,
        arena: Rc::new(Arena::new(config.buffers, ring.clone())),
        pipes: Pipes::new(config.pipes),
        ring: ring.clone(),
        home: Rc::clone(&home),
        turns: Turns::new()?,
    });
    CORE.set(Some(Rc::clone(&core)));
    drop(spawn(async move { home.dispatch().await }));
    if let Some(ring) = ring {
        drop(spawn(async move { ring.dispatch().await }));
    }
    drop(spawn(async move { core.turns.run().await }));
    let output = spawn(future).await;
    // The ring closes descriptors as operations: one more round sends those on their way.
    spawn(yield_now()).await;
    CORE.set(None);
    output.ok_or_else(|| io::Error::other("the main task of the core panicked"))
}

/// A spawned task: a future of its output, `None` if it panicked. Dropping it lets the task run on.
pub struct Task<T>(monoio::task::JoinHandle<Option<T>>);

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Runs `future` on this core beside the other tasks. A panic ends this task alone and is logged: the runtime itself would let
/// it take the core, and every connection on it, down.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // A block that a future is moved into has room for it twice; so it is moved to the heap, once.
    let mut future = Box::pin(future);
    Task(monoio::spawn(poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => {
            tracing::error!("a task of the data plane panicked; its connection is lost");
            Poll::Ready(None)
        }
    })))
}
