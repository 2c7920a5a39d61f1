//! Turns of a core's tasks: nobody keeps the others waiting for longer than it takes to move [`BULK_BYTES`].
//!
//! A *pass* is one look of the core into its driver, at which requests that came in meanwhile get to run. Between two passes all
//! transfers of the core together move no more than so many bytes, in order of arrival; whoever has more waits for the next one.
//!
//! How much a transfer could move in a row depends on its client: more if that one takes bytes on another processor meanwhile, and less if it
//! comes in between. So each *visit* ends after [`VISIT_BYTES`] while others are in line: streams that are equal get equal shares.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::pin::pin;
use std::task::Poll;

use rustix::event::{EventfdFlags, eventfd};

use super::buffer::BUFFER_BYTES;
use super::conn::PollFd;
use super::core::current;
use super::local::{Notify, OneshotSender, oneshot};

/// Bytes of bulk data between two passes: a tenth of a millisecond or two.
const BULK_BYTES: u64 = 1024 * 1024;

/// Bytes that a transfer moves before the next one in line does: about what the socket of a client that is near has room for, so that more
/// would go only to clients that take bytes meanwhile.
pub(super) const VISIT_BYTES: u64 = 256 * 1024;

// What passes through our buffers goes one by one, and does not ask how much it may be.
const _: () = assert!(BUFFER_BYTES as u64 <= VISIT_BYTES);

/// Who waits for a pass, and what may still be moved before the next one.
pub(super) struct Turns {
    turnstile: PollFd,
    any: Notify,
    /// Tasks that every pass lets go on.
    yielded: RefCell<Vec<OneshotSender<()>>>,
    /// Transfers, which share what may be moved.
    bulk: RefCell<VecDeque<OneshotSender<()>>>,
    left: Cell<u64>,
    /// What may still be moved in this visit.
    visit: Cell<u64>,
    /// The connection that moved bytes last.
    last: Cell<Option<RawFd>>,
}

impl Turns {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            turnstile: PollFd::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)?,
            any: Notify::new(),
            yielded: RefCell::default(),
            bulk: RefCell::default(),
            left: Cell::new(BULK_BYTES),
            visit: Cell::new(VISIT_BYTES),
            last: Cell::new(None),
        })
    }

    /// Lets those who wait go on, after one round through the driver each time: an event that is armed first and fired second can
    /// only be seen by a driver that has been entered.
    pub(super) async fn run(&self) {
        loop {
            self.any.wait().await;
            let mut passed = pin!(self.turnstile.readable());
            let early = poll_fn(|cx| Poll::Ready(passed.as_mut().poll(cx).is_ready())).await;
            let _ = rustix::io::write(&self.turnstile, &1u64.to_ne_bytes());
            if !early {
                let _ = passed.await;
            }
            let _ = rustix::io::read(&self.turnstile, &mut [0; 8]);
            let yielded = std::mem::take(&mut *self.yielded.borrow_mut());
            yielded.into_iter().for_each(|turn| turn.send(()));
            self.left.set(BULK_BYTES);
            self.visit.set(VISIT_BYTES);
            self.next();
            if !self.bulk.borrow().is_empty() {
                self.any.notify();
            }
        }
    }

    fn next(&self) {
        let next = self.bulk.borrow_mut().pop_front();
        if let Some(turn) = next {
            turn.send(());
        }
    }

    async fn queue(&self) {
        let (turn, mut passed) = oneshot();
        self.bulk.borrow_mut().push_back(turn);
        self.any.notify();
        passed.await;
        while self.left.get() == 0 {
            // Those who were let go on before it have moved everything: it is the first one after the next pass.
            let turn;
            (turn, passed) = oneshot();
            self.bulk.borrow_mut().push_front(turn);
            self.any.notify();
            passed.await;
        }
        self.visit.set(VISIT_BYTES);
    }

    /// Counts `bytes` that connection `fd` moved.
    pub(super) fn moved(&self, fd: RawFd, bytes: u64) {
        self.left.set(self.left.get().saturating_sub(bytes));
        self.visit.set(self.visit.get().saturating_sub(bytes));
        self.last.set(Some(fd));
    }

    /// Before bulk data is moved: waits for a turn if the bytes of this pass are used up, or those of this visit and others are in
    /// line. Returns how many bytes may be moved.
    pub(super) async fn turn(&self) -> usize {
        if self.left.get() == 0 || self.visit.get() == 0 && !self.bulk.borrow().is_empty() {
            self.leave();
            self.queue().await;
        }
        if self.bulk.borrow().is_empty() { usize::MAX } else { usize::try_from(self.visit.get()).unwrap_or(usize::MAX) }
    }

    /// A transfer is about to wait for its peer: what is left of this pass goes to the next one in line.
    pub(super) fn leave(&self) {
        if self.left.get() > 0 {
            self.next();
        }
    }

    /// Connection `fd` has waited for its peer and goes on when it is its turn. `woken`: by the driver.
    pub(super) async fn again(&self, fd: RawFd, woken: bool) {
        if woken && self.last.get() == Some(fd) {
            // Nobody has moved anything since: that was a pass.
            self.left.set(BULK_BYTES);
        }
        if self.left.get() == 0 || !self.bulk.borrow().is_empty() {
            self.queue().await;
        }
    }
}

/// Lets every other ready task, every finished operation and every due timer of this core go first.
///
/// Waking oneself is not enough: the runtime puts a task that wakes itself at the *front* of its queue, and looks at timers
/// only when that queue is empty. So the task is parked until the core has been through its driver once.
pub async fn yield_now() {
    let core = current();
    let (turn, passed) = oneshot();
    core.turns.yielded.borrow_mut().push(turn);
    core.turns.any.notify();
    passed.await;
}
