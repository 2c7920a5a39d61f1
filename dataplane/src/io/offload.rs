//! Blocking calls, off the cores: a bounded pool of plain threads that all cores share.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::core::current;
use super::local::{OneshotReceiver, OneshotSender, Semaphore, oneshot};
use super::mailbox::{MailSender, Mailbox, mailbox};

/// Calls that one core may have outstanding; the next one waits. Bounds the queue of the pool: cores x this.
const OUTSTANDING_PER_CORE: usize = 256;

/// How many threads the pool has.
#[derive(Debug, Clone, Copy)]
pub struct OffloadConfig {
    /// Threads for short calls: open, fsync, rename, unlink, statvfs.
    pub calls: usize,
    /// Threads for filling the page cache from a cold file. They are apart, so that many cold downloads cannot hold up the
    /// commit of an upload.
    pub fills: usize,
}

impl Default for OffloadConfig {
    fn default() -> Self {
        Self { calls: 4, fills: 4 }
    }
}

/// Which threads of the pool run a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Call,
    Fill,
}

type Job = Box<dyn FnOnce() + Send>;
type Outcome = Result<Box<dyn Any + Send>, Box<dyn Any + Send>>;

/// The pool of threads for blocking calls; clones share it. Its threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Offload(Arc<Lanes>);

struct Lanes {
    calls: Sender<Job>,
    fills: Sender<Job>,
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
        Ok(Self(Arc::new(Lanes { calls, fills })))
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
        home.outstanding.acquire().await.forget();
        let (ticket, receiver) = home.expect();
        let post = home.sender.clone();
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(call)).map(|value| Box::new(value) as Box<dyn Any + Send>);
            // Never full: its capacity is the number of calls that may be outstanding.
            let _ = post.post((ticket, outcome));
        });
        let queue = match lane {
            Lane::Call => &self.0.calls,
            Lane::Fill => &self.0.fills,
        };
        // The threads live as long as this sender, and a panic does not end them.
        let _ = queue.send(job);
        Running { receiver, result: std::marker::PhantomData }
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

/// Where the results of this core's calls come home.
pub(super) struct Home {
    mailbox: Mailbox<(u64, Outcome)>,
    sender: MailSender<(u64, Outcome)>,
    waiting: RefCell<HashMap<u64, OneshotSender<Outcome>>>,
    next_ticket: Cell<u64>,
    outstanding: Semaphore,
}

impl Home {
    pub(super) fn new() -> io::Result<Self> {
        let (sender, seed) = mailbox(OUTSTANDING_PER_CORE)?;
        Ok(Self {
            mailbox: seed.attach()?,
            sender,
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
            outstanding: Semaphore::new(OUTSTANDING_PER_CORE),
        })
    }

    fn expect(&self) -> (u64, OneshotReceiver<Outcome>) {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket.wrapping_add(1));
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().insert(ticket, sender);
        (ticket, receiver)
    }

    /// Hands each result to the task that waits for it.
    pub(super) async fn dispatch(&self) {
        loop {
            let (ticket, outcome) = self.mailbox.recv().await;
            self.outstanding.release();
            let waiting = self.waiting.borrow_mut().remove(&ticket);
            if let Some(waiting) = waiting {
                waiting.send(outcome);
            }
        }
    }
}
