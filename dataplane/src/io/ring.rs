//! A core's storage ring: direct reads and writes, syncs and zero-copy sends, with buffers that the kernel has pinned.
//!
//! The runtime's ring knows no registered buffers and no `SEND_ZC`, so these operations have a small ring of their own. Its
//! eventfd is watched by the core like any other descriptor. An operation goes to the kernel when it is started and runs to
//! its end whether anybody waits or not; until then the ring keeps the memory that the kernel may touch. The kernel holds the
//! file itself: a descriptor is looked up when the operation is submitted, so it may be closed afterwards.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::{EventfdFlags, eventfd};
use storage_uring::types::{Fd, FsyncFlags};
use storage_uring::{IoUring, cqueue, opcode, squeue};

use super::buffer::{BUFFER_BYTES, Buffer, Frozen};
use super::conn::PollFd;
use super::local::Semaphore;
use super::raw::Memory;

/// Operations in flight at a time; further ones wait for their turn.
const ENTRIES: u32 = 256;

/// What the kernel reads or writes while an operation runs.
enum Keep {
    Nothing,
    Filling(Buffer),
    Shared(Frozen),
}

/// An operation from its submission until its result was taken and the kernel is done with its memory.
struct Operation {
    keep: Keep,
    /// Bytes that it moves if nothing comes in between.
    whole: usize,
    result: Option<i32>,
    /// The kernel will still tell when it has let go of the memory (`SEND_ZC`).
    lent: bool,
    waker: Option<Waker>,
    /// Nobody waits for the result any more.
    abandoned: bool,
}

/// Operations by the number under which the kernel knows them.
#[derive(Default)]
struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<usize>,
}

impl Operations {
    fn insert(&mut self, operation: Operation) -> usize {
        match self.free.pop() {
            Some(key) => {
                self.slots[key] = Some(operation);
                key
            }
            None => {
                self.slots.push(Some(operation));
                self.slots.len() - 1
            }
        }
    }

    fn get(&mut self, key: usize) -> Option<&mut Operation> {
        self.slots.get_mut(key)?.as_mut()
    }

    fn remove(&mut self, key: usize) -> Option<Operation> {
        let operation = self.slots.get_mut(key)?.take();
        if operation.is_some() {
            self.free.push(key);
        }
        operation
    }
}

/// See the module.
pub(super) struct StorageRing {
    ring: RefCell<IoUring>,
    operations: RefCell<Operations>,
    /// One permit for each operation that the queues have room for.
    turns: Semaphore,
    bell: PollFd,
    /// Places in the kernel's table of pinned buffers that are free.
    places: RefCell<Vec<u16>>,
}

impl StorageRing {
    /// A ring whose table has room for `pinned_max` buffers; without a table if the kernel refuses it.
    ///
    /// # Errors
    /// When the ring cannot be made.
    pub(super) fn new(pinned_max: u16) -> io::Result<Rc<Self>> {
        let ring: IoUring = IoUring::builder().setup_coop_taskrun().setup_single_issuer().dontfork().build(ENTRIES)?;
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        ring.submitter().register_eventfd(bell.as_raw_fd())?;
        let table = pinned_max > 0 && ring.submitter().register_buffers_sparse(pinned_max.into()).is_ok();
        let places = if table { (0..pinned_max).rev().collect() } else { Vec::new() };
        Ok(Rc::new(Self {
            ring: RefCell::new(ring),
            operations: RefCell::default(),
            turns: Semaphore::new(ENTRIES as usize),
            bell: PollFd::new(bell)?,
            places: RefCell::new(places),
        }))
    }

    /// Pins `memory`, if there is a place for it and the limit on locked memory allows; its place in the table. It must be
    /// given to [`StorageRing::unpin`] before it is freed.
    pub(super) fn pin(&self, memory: &mut Memory) -> Option<u16> {
        let place = self.places.borrow_mut().pop()?;
        let bytes = memory.bytes_mut();
        let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: the memory is on the heap and of this length; its owner unpins it before it is freed, and the ring itself is
        // never torn down.
        let pinned =
            unsafe { self.ring.borrow().submitter().register_buffers_update(place.into(), &[vector], None) }.is_ok();
        if !pinned {
            // The limit will not rise: no further attempts, which would each cost a system call.
            self.places.borrow_mut().clear();
        }
        pinned.then_some(place)
    }

    /// Lets go of a pinned buffer. Operations in flight keep their own hold on its pages.
    pub(super) fn unpin(&self, place: u16) {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: an empty vector clears the place and names no memory.
        let freed = unsafe { self.ring.borrow().submitter().register_buffers_update(place.into(), &[empty], None) };
        if freed.is_ok() {
            self.places.borrow_mut().push(place);
        }
    }

    /// Starts a read from `offset` of `file` into the unfilled rest of `buffer`.
    pub(super) async fn read(self: &Rc<Self>, file: &impl AsFd, mut buffer: Buffer, offset: u64) -> Started {
        let place = buffer.place();
        let room = buffer.spare_mut();
        let (fd, pointer, length) = (Fd(file.as_fd().as_raw_fd()), room.as_mut_ptr(), clamp(room.len()));
        let entry = match place {
            Some(place) => opcode::ReadFixed::new(fd, pointer, length, place).offset(offset).build(),
            None => opcode::Read::new(fd, pointer, length).offset(offset).build(),
        };
        // SAFETY: the buffer is kept until the kernel is done with it, and nobody else has it.
        unsafe { self.start(entry, Keep::Filling(buffer), length as usize) }.await
    }

    /// Starts a write of the bytes `from..to` of `frozen`, padding included, at `offset` of `file`.
    pub(super) async fn write(
        self: &Rc<Self>,
        file: &impl AsFd,
        frozen: Frozen,
        from: usize,
        to: usize,
        offset: u64,
    ) -> Started {
        let bytes = &frozen.padded()[from..to];
        let (fd, pointer, length) = (Fd(file.as_fd().as_raw_fd()), bytes.as_ptr(), clamp(bytes.len()));
        let entry = match frozen.place() {
            Some(place) => opcode::WriteFixed::new(fd, pointer, length, place).offset(offset).build(),
            None => opcode::Write::new(fd, pointer, length).offset(offset).build(),
        };
        // SAFETY: the frozen buffer does not change and is kept until the kernel is done with it.
        unsafe { self.start(entry, Keep::Shared(frozen), length as usize) }.await
    }

    /// Starts to make the data of `file` durable.
    pub(super) async fn sync_data(self: &Rc<Self>, file: &impl AsFd) -> Started {
        let entry = opcode::Fsync::new(Fd(file.as_fd().as_raw_fd())).flags(FsyncFlags::DATASYNC).build();
        // SAFETY: the operation touches no memory of ours.
        unsafe { self.start(entry, Keep::Nothing, 0) }.await
    }

    /// Starts to send the bytes `from..to` of `frozen` on a non-blocking socket without copying them: its result may be
    /// `WouldBlock`, and comes before the kernel has let go of the buffer, which then returns to its pool by itself.
    pub(super) async fn send(self: &Rc<Self>, socket: &impl AsFd, frozen: Frozen, from: usize, to: usize) -> Started {
        let bytes = &frozen[from..to];
        let (fd, pointer, length) = (Fd(socket.as_fd().as_raw_fd()), bytes.as_ptr(), clamp(bytes.len()));
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        let entry = opcode::SendZc::new(fd, pointer, length).buf_index(frozen.place()).flags(flags).build();
        // SAFETY: the frozen buffer does not change and is kept until the kernel says that it has let go of it.
        unsafe { self.start(entry, Keep::Shared(frozen), length as usize) }.await
    }

    /// # Safety
    /// `keep` holds all memory that `entry` names, and nobody writes to it (or reads it, if the kernel writes).
    async unsafe fn start(self: &Rc<Self>, entry: squeue::Entry, keep: Keep, whole: usize) -> Started {
        self.turns.acquire().await.forget();
        let operation = Operation { keep, whole, result: None, lent: false, waker: None, abandoned: false };
        let key = self.operations.borrow_mut().insert(operation);
        let started = Started { ring: Rc::clone(self), key };
        // SAFETY: the caller vouches for the memory.
        let pushed = unsafe { self.ring.borrow_mut().submission().push(&entry.user_data(key as u64)) };
        if pushed.is_err() {
            // There are as many permits as entries, and each entry is submitted at once, so there is room.
            self.finish(key, -libc::EAGAIN, false);
        }
        // A kernel that is short of memory may take the entry later: it stays in the queue, and its memory with us.
        loop {
            let submitted = submit(&self.ring.borrow());
            let Err(error) = submitted else { break };
            tracing::debug!("the storage ring takes nothing for the moment: {error}");
            super::turns::yield_now().await;
        }
        // Much is done by now: data that was in the page cache, bytes that the socket took.
        self.reap();
        started
    }

    /// Hands out what the kernel has finished.
    fn reap(&self) {
        loop {
            let next = self.ring.borrow_mut().completion().next();
            let Some(done) = next else { return };
            let key = usize::try_from(done.user_data()).unwrap_or(usize::MAX);
            if cqueue::notif(done.flags()) {
                self.returned(key);
            } else {
                self.finish(key, done.result(), cqueue::more(done.flags()));
            }
        }
    }

    /// The result of an operation is here; `lent`: its memory is not yet.
    fn finish(&self, key: usize, result: i32, lent: bool) {
        let mut operations = self.operations.borrow_mut();
        let Some(operation) = operations.get(key) else { return };
        (operation.result, operation.lent) = (Some(result), lent);
        let waker = operation.waker.take();
        let whole = usize::try_from(result).is_ok_and(|count| count == operation.whole);
        // What was written returns to its pool now, also if nobody has asked for the result yet.
        let written = match &operation.keep {
            Keep::Shared(_) if whole && !lent => std::mem::replace(&mut operation.keep, Keep::Nothing),
            _ => Keep::Nothing,
        };
        let over = if operation.abandoned && !lent { operations.remove(key) } else { None };
        drop(operations);
        drop(written);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.end(over);
    }

    /// The kernel has let go of the memory of a send.
    fn returned(&self, key: usize) {
        let mut operations = self.operations.borrow_mut();
        let Some(operation) = operations.get(key) else { return };
        operation.lent = false;
        let memory = std::mem::replace(&mut operation.keep, Keep::Nothing);
        let over = if operation.abandoned { operations.remove(key) } else { None };
        drop(operations);
        drop(memory);
        self.end(over);
    }

    /// An operation is over in every respect: its turn goes to the next one.
    fn end(&self, over: Option<Operation>) {
        if over.is_some() {
            self.turns.release();
        }
    }

    /// Watches for completions for as long as the core runs.
    pub(super) async fn dispatch(&self) {
        loop {
            if self.bell.readable().await.is_err() {
                super::turns::yield_now().await;
            }
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
            self.reap();
        }
    }
}

/// Pins `count` buffers and lets them go again, to see whether the limit on locked memory allows it.
///
/// # Errors
/// As `io_uring_register(2)`: `ENOMEM` when it does not.
pub(super) fn try_pinning(count: usize) -> io::Result<()> {
    let ring: IoUring = IoUring::new(1)?;
    let mut memory: Vec<Box<Memory>> = (0..count).map(|_| Memory::zeroed()).collect();
    let vectors: Vec<libc::iovec> = memory
        .iter_mut()
        .map(|memory| libc::iovec { iov_base: memory.bytes_mut().as_mut_ptr().cast(), iov_len: BUFFER_BYTES })
        .collect();
    if vectors.is_empty() {
        return Ok(());
    }
    // SAFETY: the vectors name memory that lives until the ring, and with it the registration, is gone: `ring` is dropped by
    // `unregister_buffers` and its own end before `memory`.
    unsafe { ring.submitter().register_buffers(&vectors)? };
    ring.submitter().unregister_buffers()
}

fn submit(ring: &IoUring) -> io::Result<()> {
    loop {
        match ring.submit() {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn clamp(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl fmt::Debug for StorageRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageRing").field("turns", &self.turns.available()).finish_non_exhaustive()
    }
}

/// An operation that the kernel has: a future of its result and of the buffer that was being filled. Dropping it lets the
/// operation run on.
pub(super) struct Started {
    ring: Rc<StorageRing>,
    key: usize,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What came of an operation.
pub(super) struct Outcome {
    /// Bytes moved.
    pub(super) result: io::Result<usize>,
    /// The buffer of a read, with what was read counted as filled.
    pub(super) filled: Option<Buffer>,
    /// The buffer of a write that came to less than all of it.
    pub(super) unwritten: Option<Frozen>,
}

impl Future for Started {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut operations = self.ring.operations.borrow_mut();
        let operation = operations.get(self.key).expect("an operation stays until its result is taken");
        let Some(code) = operation.result else {
            operation.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let result = match usize::try_from(code) {
            Ok(count) => Ok(count),
            Err(_) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        };
        let mut outcome = Outcome { result, filled: None, unwritten: None };
        if !operation.lent {
            match std::mem::replace(&mut operation.keep, Keep::Nothing) {
                Keep::Filling(mut buffer) => {
                    buffer.advance(*outcome.result.as_ref().unwrap_or(&0));
                    outcome.filled = Some(buffer);
                }
                Keep::Shared(frozen) => outcome.unwritten = Some(frozen),
                Keep::Nothing => {}
            }
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let mut operations = self.ring.operations.borrow_mut();
        let Some(operation) = operations.get(self.key) else { return };
        operation.abandoned = true;
        let over = if operation.result.is_some() && !operation.lent { operations.remove(self.key) } else { None };
        drop(operations);
        self.ring.end(over);
    }
}
