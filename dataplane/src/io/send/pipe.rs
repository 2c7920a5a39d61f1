//! Pipes through which pages of the page cache go to sockets.
//!
//! A pipe of 1 MiB takes more at a time than the kernel's own one inside `sendfile(2)`. Pipes are few, because the kernel counts
//! their sizes per user (`fs.pipe-user-pages-soft`), so a core keeps some and lends them to transfers.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::io::descriptors::refuse_reserved;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Size of a pipe in bytes: the largest that an ordinary user may have.
pub(super) const PIPE_BYTES: usize = 1024 * 1024;

/// The least size of use. The kernel refuses to enlarge pipes of a user who has too many.
const PIPE_BYTES_MIN: usize = 256 * 1024;

/// The pipes of one core.
#[derive(Debug)]
pub(in crate::io) struct Pipes {
    free: RefCell<Vec<Ends>>,
    /// Pipes that may still be made.
    left: Cell<usize>,
}

#[derive(Debug)]
struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

/// A pipe that a transfer has. It returns when dropped, empty or replaced.
pub(super) struct Pipe {
    ends: Option<Ends>,
    /// Bytes in it.
    pub(super) filled: usize,
    home: Rc<Pipes>,
}

impl Pipes {
    /// A core's share of at most `max` pipes, made when they are needed.
    pub(in crate::io) fn new(max: usize) -> Rc<Self> {
        Rc::new(Self { free: RefCell::default(), left: Cell::new(max) })
    }

    /// An empty pipe, if one is free or can be made.
    pub(super) fn take(self: &Rc<Self>) -> Option<Pipe> {
        let free = self.free.borrow_mut().pop();
        let ends = free.or_else(|| self.make())?;
        Some(Pipe { ends: Some(ends), filled: 0, home: Rc::clone(self) })
    }

    fn make(&self) -> Option<Ends> {
        self.left.set(self.left.get().checked_sub(1)?);
        let made = || {
            let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            refuse_reserved(&reader).and_then(|()| refuse_reserved(&writer)).ok()?;
            let bytes = fcntl_setpipe_size(&writer, PIPE_BYTES).ok()?;
            (bytes >= PIPE_BYTES_MIN).then_some(Ends { reader, writer, bytes })
        };
        let made = made();
        if made.is_none() {
            // No descriptor, or too many pipes of this user: perhaps later.
            self.left.set(self.left.get() + 1);
        }
        made
    }
}

impl Pipe {
    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("present until the drop")
    }

    pub(super) fn reader(&self) -> &OwnedFd {
        &self.ends().reader
    }

    pub(super) fn writer(&self) -> &OwnedFd {
        &self.ends().writer
    }

    /// Bytes that it holds at most.
    pub(super) fn capacity(&self) -> usize {
        self.ends().bytes
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        if self.filled == 0 {
            self.home.free.borrow_mut().push(ends);
        } else {
            // Closing it lets go of the pages that are left in it; the next transfer makes another.
            self.home.left.set(self.home.left.get() + 1);
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("filled", &self.filled).finish_non_exhaustive()
    }
}
