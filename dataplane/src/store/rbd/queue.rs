//! The operations of one open image on one core: begun by a transfer, ended by the library, which rings an eventfd that the core's
//! own loop waits for.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::cluster::{Held, Opened};
use super::sys::{Failed, Operation, Operations, close};
use crate::futures::race;
use crate::io::{Notify, PollFd, is_reserved, sleep, spawn, timeout, yield_now};
use crate::store::StoreError;

/// An image, shared between its operations and calls that block.
pub(super) type Shared = Arc<Held<Opened>>;

/// The eventfd of an image that is about to be opened: one end for the core, one for the library.
pub(super) struct Bell {
    here: OwnedFd,
}

impl Bell {
    /// A new one.
    pub(super) fn new() -> Result<Self, StoreError> {
        let here = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        if is_reserved(&here) {
            return Err(StoreError::Exhausted(rustix::io::Errno::MFILE.into()));
        }
        Ok(Bell { here })
    }

    /// The library's end.
    pub(super) fn end(&self) -> Result<OwnedFd, StoreError> {
        Ok(self.here.try_clone()?)
    }
}

struct Queue {
    operations: RefCell<Operations<Held<Opened>>>,
    bell: PollFd,
    /// Nobody begins operations any more.
    closed: Cell<bool>,
    changed: Notify,
    silence_max: Duration,
}

/// An open image on its core. When it is dropped, the image is closed as soon as the library has no memory of ours any more.
pub(super) struct Open(Rc<Queue>);

impl Open {
    /// Takes an image into use whose library end of `bell` was given to it. When nobody uses it any more and nothing is heard of its
    /// operations for `silence_max`, longer than any of them may take, they are taken for forgotten.
    pub(super) fn new(image: Shared, bell: Bell, silence_max: Duration) -> Result<Self, StoreError> {
        let queue = Rc::new(Queue {
            operations: RefCell::new(Operations::new(image)),
            bell: PollFd::new(bell.here)?,
            closed: Cell::new(false),
            changed: Notify::new(),
            silence_max,
        });
        drop(spawn(dispatch(Rc::clone(&queue))));
        Ok(Open(queue))
    }

    /// The image, for calls that block.
    ///
    /// # Errors
    /// When it was given up.
    pub(super) fn image(&self) -> Result<Shared, StoreError> {
        let operations = self.0.operations.borrow();
        operations.image().cloned().ok_or_else(|| StoreError::Away("the image was given up".to_owned()))
    }

    /// Begins an operation; see [`Operations::start`].
    pub(super) fn start(&self, operation: &Rc<Operation>, offset: u64, length: usize) -> Result<(), Failed> {
        self.0.operations.borrow_mut().start(operation, offset, length)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.changed.notify();
    }
}

/// Closes an image that still has operations: that ends them.
async fn break_off(queue: &Queue) {
    let Some(mut image) = queue.operations.borrow_mut().give_up() else { return };
    let threads = image.threads().clone();
    let count = queue.operations.borrow().in_flight();
    tracing::warn!("{count} operations of a Ceph cluster are not heard of any more: their image is closed");
    loop {
        // Never refused: their memory comes back in no other way.
        match threads.run_alone(move || close::<_, Opened>(image)).await {
            Ok(closed) => return queue.operations.borrow_mut().closed(closed),
            // A call that blocks has it still.
            Err(kept) => image = kept,
        }
        sleep(queue.silence_max).await;
    }
}

/// Hands out what is done, until nothing is left that could be.
async fn dispatch(queue: Rc<Queue>) {
    while !(queue.closed.get() && queue.operations.borrow().in_flight() == 0) {
        let news = race(queue.changed.wait(), async {
            if queue.bell.readable().await.is_err() {
                yield_now().await;
            }
        });
        if timeout(queue.silence_max, news).await.is_err() && queue.closed.get() {
            break_off(&queue).await;
            return;
        }
        let _ = rustix::io::read(&queue.bell, &mut [0; 8]);
        while queue.operations.borrow_mut().reap() {}
    }
}
