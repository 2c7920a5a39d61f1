//! Messages from any thread to one core, without a waker that crosses threads and without an allocation per message.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};

use super::conn::PollFd;
use super::local::Semaphore;
use super::turns::yield_now;

struct Shared<T> {
    queue: ArrayQueue<T>,
    /// False while the receiver sleeps, or is about to: only then does a post write to the eventfd.
    awake: AtomicBool,
    bell: OwnedFd,
}

/// The sending side of a mailbox, for any thread.
pub struct MailSender<T>(Arc<Shared<T>>);

/// A mailbox that no core receives from yet; made anywhere, sent to its core, and attached there.
pub struct MailboxSeed<T>(Arc<Shared<T>>);

/// The receiving side of a mailbox, on its core.
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
    bell: PollFd,
    turn: Semaphore,
}

/// A mailbox for at most `capacity` messages that are not received yet (at least one).
///
/// # Errors
/// When no descriptor is left.
pub fn mailbox<T: Send>(capacity: usize) -> io::Result<(MailSender<T>, MailboxSeed<T>)> {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity.max(1)),
        awake: AtomicBool::new(true),
        bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
    });
    Ok((MailSender(Arc::clone(&shared)), MailboxSeed(shared)))
}

impl<T> Clone for MailSender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> MailSender<T> {
    /// Puts `message` into the mailbox; wakes the core only if it sleeps.
    ///
    /// # Errors
    /// Gives the message back when the mailbox is full. Senders that bound what they have outstanding by the capacity, as
    /// [`Offload`](super::Offload) does, never see that.
    pub fn post(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message)?;
        if !self.0.awake.swap(true, Ordering::SeqCst) {
            // The counter cannot overflow: it is written once per sleep of the receiver.
            let _ = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl<T> MailboxSeed<T> {
    /// Takes the mailbox into use on the core of this thread.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn attach(self) -> io::Result<Mailbox<T>> {
        let bell = PollFd::new(self.0.bell.try_clone()?)?;
        Ok(Mailbox { shared: self.0, bell, turn: Semaphore::new(1) })
    }
}

impl<T> Mailbox<T> {
    /// The oldest message, if one is there.
    pub fn try_recv(&self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Waits for a message. Several tasks of the core may wait; they are served in order. Dropping the future loses nothing.
    pub async fn recv(&self) -> T {
        let _turn = self.turn.acquire().await;
        loop {
            if let Some(message) = self.try_recv() {
                return message;
            }
            // A post that comes after this swap rings the bell; one that came before it is seen by the second look.
            self.shared.awake.swap(false, Ordering::SeqCst);
            if let Some(message) = self.try_recv() {
                return message;
            }
            if self.bell.readable().await.is_err() {
                yield_now().await;
            }
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
    }
}

impl<T> fmt::Debug for MailSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailSender").field("waiting", &self.0.queue.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for MailboxSeed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxSeed").field("waiting", &self.0.queue.len()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("waiting", &self.shared.queue.len()).finish_non_exhaustive()
    }
}
