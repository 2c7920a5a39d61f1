//! Signals between the tasks of one core. Nothing here is `Send`: other threads use a [`Mailbox`](super::Mailbox).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A hint that something changed: every waiter wakes, and if nobody waits, the next one to wait returns at once.
///
/// A wake may be stale, so the state it stands for is looked at again after [`Notify::wait`].
#[derive(Debug, Default)]
pub struct Notify {
    pending: Cell<bool>,
    epoch: Cell<u64>,
    /// Who waits, each under a number of its own: thousands may, and each comes and goes at the same small cost.
    wakers: RefCell<HashMap<u64, Waker>>,
    next: Cell<u64>,
}

impl Notify {
    /// A signal that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes every waiter, or lets the next one through.
    pub fn notify(&self) {
        self.pending.set(true);
        self.epoch.set(self.epoch.get().wrapping_add(1));
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_values().for_each(Waker::wake);
    }

    /// Waits for [`Notify::notify`]. Dropping the future loses nothing and leaves nothing behind.
    pub async fn wait(&self) {
        let key = self.next.get();
        self.next.set(key.wrapping_add(1));
        Waiting { notify: self, seen: self.epoch.get(), key }.await;
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.wakers.borrow().len()
    }
}

struct Waiting<'a> {
    notify: &'a Notify,
    seen: u64,
    key: u64,
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.notify.pending.get() || self.notify.epoch.get() != self.seen {
            self.notify.pending.set(false);
            return Poll::Ready(());
        }
        self.notify.wakers.borrow_mut().insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    /// A waker holds its whole task in memory.
    fn drop(&mut self) {
        self.notify.wakers.borrow_mut().remove(&self.key);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waiting,
    Granted,
    Gone,
}

#[derive(Debug)]
struct Waiter {
    turn: Cell<Turn>,
    waker: RefCell<Option<Waker>>,
}

/// A counted permission, given in order of arrival.
#[derive(Debug)]
pub struct Semaphore {
    permits: Cell<usize>,
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

impl Semaphore {
    /// A semaphore with `permits` free permits.
    pub fn new(permits: usize) -> Self {
        Self { permits: Cell::new(permits), queue: RefCell::new(VecDeque::new()) }
    }

    /// Waits for a permit; it returns when the guard is dropped. Dropping the future gives the turn to the next in line.
    pub async fn acquire(&self) -> Permit<'_> {
        if self.permits.get() > 0 {
            self.permits.set(self.permits.get() - 1);
            return Permit(self);
        }
        let waiter = Rc::new(Waiter { turn: Cell::new(Turn::Waiting), waker: RefCell::new(None) });
        self.queue.borrow_mut().push_back(Rc::clone(&waiter));
        Acquire { semaphore: self, waiter }.await
    }

    /// Permits that nobody holds.
    pub fn available(&self) -> usize {
        self.permits.get()
    }

    /// Gives a permit to the first in line, or keeps it. Also used to return a permit whose guard was forgotten.
    pub(super) fn release(&self) {
        while let Some(waiter) = self.queue.borrow_mut().pop_front() {
            if waiter.turn.get() != Turn::Waiting {
                continue;
            }
            waiter.turn.set(Turn::Granted);
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waker.wake();
            }
            return;
        }
        self.permits.set(self.permits.get() + 1);
    }
}

/// A held permit of a [`Semaphore`].
#[derive(Debug)]
#[must_use = "the permit returns as soon as the guard is dropped"]
pub struct Permit<'a>(&'a Semaphore);

impl Permit<'_> {
    /// Keeps the permit taken after the guard is gone; [`Semaphore::release`] returns it.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

struct Acquire<'a> {
    semaphore: &'a Semaphore,
    waiter: Rc<Waiter>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Permit<'a>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit<'a>> {
        if self.waiter.turn.get() == Turn::Granted {
            self.waiter.turn.set(Turn::Gone);
            return Poll::Ready(Permit(self.semaphore));
        }
        *self.waiter.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        if self.waiter.turn.replace(Turn::Gone) == Turn::Granted {
            self.semaphore.release();
        }
    }
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
}

/// The sending half of [`oneshot`].
#[derive(Debug)]
pub struct OneshotSender<T>(Rc<RefCell<Slot<T>>>);

/// The receiving half of [`oneshot`]: a future of the value, `None` if the sender was dropped without sending.
#[derive(Debug)]
pub struct OneshotReceiver<T>(Rc<RefCell<Slot<T>>>);

/// A channel for one value between two tasks of one core.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None, sender_gone: false }));
    (OneshotSender(Rc::clone(&slot)), OneshotReceiver(slot))
}

impl<T> OneshotSender<T> {
    /// Sends the value; it is dropped if nobody waits for it any more.
    pub fn send(self, value: T) {
        self.0.borrow_mut().value = Some(value);
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.sender_gone = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for OneshotReceiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.borrow_mut();
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Some(value));
        }
        if slot.sender_gone {
            return Poll::Ready(None);
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_is_dropped_leaves_nothing_behind() {
        let notify = Notify::new();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1000 {
            let mut wait = std::pin::pin!(notify.wait());
            assert!(wait.as_mut().poll(&mut cx).is_pending());
            assert_eq!(notify.waiting(), 1);
        }
        assert_eq!(notify.waiting(), 0);
    }
}
