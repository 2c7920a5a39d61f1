//! Blocking calls, off the cores: a bounded pool of plain threads that all cores share. What may hang for long, such as calls of a
//! cluster, has a pool of its own, and so holds up nobody else.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::core::current;
use super::local::{OneshotReceiver, OneshotSender, Semaphore, oneshot};
use super::mailbox::{MailSender, Mailbox, mailbox};

/// Calls that one core may have outstanding, its own and those of other pools each; the next one waits. Bounds the queue of the pool: cores
/// x this.
const OUTSTANDING_PER_CORE: usize = 256;

/// How many threads the pool has.
#[derive(Debug, Clone, Copy)]
pub struct OffloadConfig {
    /// Threads for short calls: open, fsync, rename, unlink, statvfs.
    pub calls: usize,
    /// Threads for what takes long, such as filling the page cache from a cold file. They are apart, so that many cold downloads
    /// cannot hold up the commit of an upload.
    pub fills: usize,
    /// Threads for calls that nobody waits for, see [`Offload::detach`]; with none they run as short ones.
    pub detached: usize,
    /// Calls of each kind that may wait or run at a time, where somebody else's answer is waited for: see [`Offload::try_run`].
    pub outstanding_max: usize,
}

impl Default for OffloadConfig {
    fn default() -> Self {
        Self { calls: 4, fills: 4, detached: 0, outstanding_max: usize::MAX }
    }
}

/// Which threads of the pool run a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Call,
    Fill,
    /// On a thread of its own, which may never come back.
    Alone,
}

type Job = Box<dyn FnOnce() + Send>;
type Outcome = Result<Box<dyn Any + Send>, Box<dyn Any + Send>>;

/// The pool of threads for blocking calls; clones share it. Its threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Offload(Arc<Lanes>);

struct Lanes {
    calls: Sender<Job>,
    fills: Sender<Job>,
    detached: Sender<Job>,
    /// Of either length.
    outstanding: [AtomicUsize; 2],
    outstanding_max: usize,
}

/// A pool has as many calls as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// How long a call of a pool of its own takes, and so which threads run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// It is over in a moment, if nothing hangs.
    Short,
    /// It takes its time.
    Long,
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload")
            .field("calls_waiting", &self.0.calls.len())
            .field("fills_waiting", &self.0.fills.len())
            .finish()
    }
}

impl Offload {
    /// Starts the threads, at least one of each kind.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(config: OffloadConfig) -> io::Result<Self> {
        let calls = start_threads("call", config.calls)?;
        let fills = start_threads("fill", config.fills)?;
        let detached = if config.detached == 0 { calls.clone() } else { start_threads("detached", config.detached)? };
        let outstanding = Default::default();
        Ok(Self(Arc::new(Lanes { calls, fills, detached, outstanding, outstanding_max: config.outstanding_max })))
    }

    /// Runs `call` as [`Offload::run`] does, unless as many calls of its length as may are outstanding: then they hang, and one more would
    /// hang too. If the future is dropped before a thread has taken the call, it never runs: calls that were given up while others hung
    /// hold up nobody afterwards.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn try_run<T, F>(&self, length: Length, call: F) -> Result<T, Full>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let lane = match length {
            Length::Short => Lane::Call,
            Length::Long => Lane::Fill,
        };
        let ended = Ended(Arc::clone(&self.0), length);
        if self.0.outstanding[length as usize].fetch_add(1, Relaxed) >= self.0.outstanding_max {
            return Err(Full);
        }
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let counted = move || {
            let _ended = ended;
            (waited_for.strong_count() > 0).then(call)
        };
        let outcome = self.start(lane, counted).await.done().await;
        drop(waiting);
        Ok(outcome.expect("whoever is told has waited"))
    }

    /// Runs `call`, which may never come back, as [`Offload::run`] does but on a thread of its own.
    pub async fn run_alone<T, F>(&self, call: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.start(Lane::Alone, call).await.done().await
    }

    /// Runs `call` on a thread of the pool, from any thread; nobody waits for it.
    pub fn detach(&self, call: impl FnOnce() + Send + 'static) {
        // The threads live as long as this sender.
        let _ = self.0.detached.send(Box::new(move || drop(catch_unwind(AssertUnwindSafe(call)))));
    }

    /// The pool of the core this is called on.
    pub fn current() -> Self {
        current().offload.clone()
    }

    /// Runs `call` on a thread of the pool and waits for it on this core. If the future is dropped, the call still runs to its
    /// end and its result is dropped. A panic of `call` goes on in the task that waits.
    pub async fn run<T, F>(&self, call: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.start(Lane::Call, call).await.done().await
    }

    /// Queues `call` and returns while it runs.
    pub(super) async fn start<T, F>(&self, lane: Lane, call: F) -> Running<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let home = &current().home;
        let whose = match lane {
            Lane::Alone => Whose::Endless,
            _ if self.0.outstanding_max == usize::MAX => Whose::Core,
            _ => Whose::Others,
        };
        home.outstanding[whose as usize].acquire().await.forget();
        let (ticket, receiver) = home.expect(whose);
        let post = home.sender.clone();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(call)).map(|value| Box::new(value) as Box<dyn Any + Send>);
            // Never full: its capacity is the number of calls that may be outstanding.
            let _ = post.post((ticket, outcome));
        });
        let queue = match lane {
            Lane::Call => &self.0.calls,
            Lane::Fill => &self.0.fills,
            // It ends with its call, as nobody keeps the sender. Where no thread can be had, the call waits among others.
            Lane::Alone => &start_threads("alone", 1).unwrap_or_else(|_| self.0.detached.clone()),
        };
        // The threads live as long as this sender, and a panic does not end them.
        let _ = queue.send(job);
        Running { receiver, result: std::marker::PhantomData }
    }
}

/// Counts a call out when it is over, or will never run.
struct Ended(Arc<Lanes>, Length);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.outstanding[self.1 as usize].fetch_sub(1, Relaxed);
    }
}

fn start_threads(kind: &str, count: usize) -> io::Result<Sender<Job>> {
    let (sender, receiver): (Sender<Job>, Receiver<Job>) = unbounded();
    for index in 0..count.max(1) {
        let receiver = receiver.clone();
        std::thread::Builder::new().name(format!("{kind}-{index}")).spawn(move || {
            for job in receiver {
                job();
            }
        })?;
    }
    Ok(sender)
}

/// A call that is queued or running.
pub(super) struct Running<T> {
    receiver: OneshotReceiver<Outcome>,
    result: std::marker::PhantomData<T>,
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running")
    }
}

impl<T: 'static> Running<T> {
    /// Waits for the result, which comes once. May be dropped before it is there and called again.
    pub(super) async fn done(&mut self) -> T {
        match (&mut self.receiver).await {
            Some(Ok(value)) => *value.downcast().expect("the call of this ticket returns this type"),
            Some(Err(panic)) => resume_unwind(panic),
            None => unreachable!("a ticket is answered or kept"),
        }
    }
}

/// Whose calls hold up whose: those of pools that wait for somebody else's answer none of the core's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Core,
    Others,
    /// Those that may never come back hold up only one another.
    Endless,
}

/// Where the results of this core's calls come home.
pub(super) struct Home {
    mailbox: Mailbox<(u64, Outcome)>,
    sender: MailSender<(u64, Outcome)>,
    waiting: RefCell<HashMap<u64, (Whose, OneshotSender<Outcome>)>>,
    next_ticket: Cell<u64>,
    outstanding: [Semaphore; 3],
}

impl Home {
    pub(super) fn new() -> io::Result<Self> {
        let (sender, seed) = mailbox(3 * OUTSTANDING_PER_CORE)?;
        Ok(Self {
            mailbox: seed.attach()?,
            sender,
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
            outstanding: std::array::from_fn(|_| Semaphore::new(OUTSTANDING_PER_CORE)),
        })
    }

    fn expect(&self, whose: Whose) -> (u64, OneshotReceiver<Outcome>) {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket.wrapping_add(1));
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().insert(ticket, (whose, sender));
        (ticket, receiver)
    }

    /// Hands each result to the task that waits for it.
    pub(super) async fn dispatch(&self) {
        loop {
            let (ticket, outcome) = self.mailbox.recv().await;
            let waiting = self.waiting.borrow_mut().remove(&ticket);
            if let Some((whose, waiting)) = waiting {
                self.outstanding[whose as usize].release();
                waiting.send(outcome);
            }
        }
    }
}
