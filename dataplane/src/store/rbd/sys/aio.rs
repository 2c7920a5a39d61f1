//! Reads and writes that go on by themselves, straight into and out of the transfer's buffers.
//!
//! The library rings the image's eventfd when operations are done, and is then asked which: none of its threads ever runs code of
//! ours. What it reads and writes is kept here until it has said so, whoever else has given up.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use libc::iovec;

use super::handles::{Failed, Image};
use super::table::Completion;
use crate::io::{BUFFER_BYTES, Buffer, Frozen};

/// Buffers of one operation: 4 MiB, half an object of the usual size.
pub(in super::super) const PIECES: usize = 16;

/// Completions that are fetched at a time.
const FETCHED: usize = 16;

/// The same for the library.
const FETCHED_MAX: i32 = 16;

const _: () = assert!(FETCHED_MAX.unsigned_abs() as usize == FETCHED);

/// What an operation has of ours.
enum Lent {
    Nothing,
    Written(Vec<Frozen>),
    Filled(Vec<Buffer>),
}

/// One operation: pieces that wait for more of them, that are on their way, or that are done.
pub(in super::super) struct Operation {
    lent: RefCell<Lent>,
    /// `Some` once the library has it.
    started: Cell<Option<Instant>>,
    /// `Some` once it is over: 0, or `errno`.
    outcome: Cell<Option<i32>>,
    waker: RefCell<Option<Waker>>,
}

impl Operation {
    fn new(lent: Lent) -> Rc<Self> {
        let (lent, started, outcome) = (RefCell::new(lent), Cell::new(None), Cell::new(None));
        Rc::new(Operation { lent, started, outcome, waker: RefCell::new(None) })
    }

    /// When it began; `None`: it has not.
    pub(in super::super) fn started(&self) -> Option<Instant> {
        self.started.get()
    }

    /// Whether it is over.
    pub(in super::super) fn is_over(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// A write that has no pieces yet.
    pub(in super::super) fn gathering() -> Rc<Self> {
        Self::new(Lent::Written(Vec::with_capacity(PIECES)))
    }

    /// A read into these, each of which has to be empty.
    pub(in super::super) fn reading(buffers: Vec<Buffer>) -> Rc<Self> {
        Self::new(Lent::Filled(buffers))
    }

    /// Adds a piece to a write that has not begun; how many it has now.
    pub(in super::super) fn add(&self, piece: Frozen) -> usize {
        match &mut *self.lent.borrow_mut() {
            Lent::Written(pieces) => {
                pieces.push(piece);
                pieces.len()
            }
            _ => 0,
        }
    }

    /// What was read; once, and nothing before the operation is over.
    pub(in super::super) fn take_filled(&self) -> Vec<Buffer> {
        if self.outcome.get().is_none() {
            return Vec::new();
        }
        match self.lent.replace(Lent::Nothing) {
            Lent::Filled(buffers) => buffers,
            _ => Vec::new(),
        }
    }

    /// Waits until it is over. One task at a time may wait.
    pub(in super::super) fn done(&self) -> impl Future<Output = Result<(), Failed>> + use<'_> {
        Done(self)
    }

    fn finish(&self, result: i64) {
        let mut lent = self.lent.borrow_mut();
        let errno = if result < 0 { i32::try_from(result.saturating_neg()).unwrap_or(libc::EIO) } else { 0 };
        match &mut *lent {
            // It returns to its pool now, also if nobody has asked for the result yet.
            written @ Lent::Written(_) => *written = Lent::Nothing,
            Lent::Filled(buffers) if errno == 0 => {
                let mut left = usize::try_from(result).unwrap_or(0);
                for buffer in buffers {
                    let count = left.min(BUFFER_BYTES);
                    buffer.advance(count);
                    left -= count;
                }
            }
            Lent::Filled(_) | Lent::Nothing => {}
        }
        drop(lent);
        self.outcome.set(Some(errno));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

struct Done<'a>(&'a Operation);

impl Future for Done<'_> {
    type Output = Result<(), Failed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match self.0.outcome.get() {
            Some(0) => Poll::Ready(Ok(())),
            Some(errno) => Poll::Ready(Err(Failed::new(errno))),
            None => {
                self.0.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Shows that an image is closed: its library call has returned.
pub(in super::super) struct Closed(());

/// Closes an image that nobody else has. Blocks, for as long as the cluster does.
///
/// # Errors
/// The image, when somebody else has it.
pub(in super::super) fn close<I: Into<Option<O>>, O>(image: Arc<I>) -> Result<Closed, Arc<I>> {
    let opened: Option<O> = Arc::try_unwrap(image)?.into();
    drop(opened);
    Ok(Closed(()))
}

/// Where an operation lies while the library has it.
struct Slot {
    /// The library reads it until the operation is over, so it stays where it is.
    vector: Box<[iovec; PIECES]>,
    operation: Option<Rc<Operation>>,
}

/// The operations of one image.
pub(in super::super) struct Operations<I: AsRef<Image>> {
    /// Present until it is given up.
    image: Option<Arc<I>>,
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl<I: AsRef<Image>> Operations<I> {
    /// None yet of `image`, which rings when they are done.
    pub(in super::super) fn new(image: Arc<I>) -> Self {
        Operations { image: Some(image), slots: Vec::new(), free: Vec::new() }
    }

    /// The image, unless it was given up.
    pub(in super::super) fn image(&self) -> Option<&Arc<I>> {
        self.image.as_ref()
    }

    /// The image, to be closed although there are operations: nothing is begun or heard of any more. Their memory is kept until
    /// [`Operations::closed`].
    pub(in super::super) fn give_up(&mut self) -> Option<Arc<I>> {
        self.image.take()
    }

    /// The image that [`Operations::give_up`] gave is closed, which `proof` shows, so the library has nothing of ours any more:
    /// whoever waits is told that there is no answer.
    pub(in super::super) fn closed(&mut self, _proof: Closed) {
        for slot in self.slots.drain(..) {
            if let Some(operation) = slot.operation {
                operation.finish(-i64::from(libc::ESHUTDOWN));
            }
        }
        self.free.clear();
    }

    /// How many the library has.
    pub(in super::super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives an operation to the library: from or to `offset` of the image, as many bytes as its pieces have, or `length` for a read.
    pub(in super::super) fn start(
        &mut self,
        operation: &Rc<Operation>,
        offset: u64,
        length: usize,
    ) -> Result<(), Failed> {
        let Some(shared) = self.image.as_ref() else { return Err(Failed::new(libc::ESHUTDOWN)) };
        // A second time its memory would be lent twice; more pieces than places would be lost.
        let pieces = match &*operation.lent.borrow() {
            Lent::Nothing => 0,
            Lent::Written(pieces) => pieces.len(),
            Lent::Filled(buffers) => buffers.len(),
        };
        if operation.started().is_some() || pieces > PIECES {
            return Err(Failed::new(libc::EINVAL));
        }
        operation.started.set(Some(Instant::now()));
        let image: &Image = (**shared).as_ref();
        let index = self.free.pop().unwrap_or_else(|| {
            let empty = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
            self.slots.push(Slot { vector: Box::new([empty; PIECES]), operation: None });
            self.slots.len() - 1
        });
        let rbd = &image.library().rbd;
        let slot = &mut self.slots[index];
        let (count, start) = match &mut *operation.lent.borrow_mut() {
            Lent::Nothing => (0, rbd.rbd_aio_readv),
            Lent::Written(pieces) => {
                for (place, piece) in slot.vector.iter_mut().zip(pieces.iter()) {
                    *place = iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
                }
                (pieces.len().min(PIECES), rbd.rbd_aio_writev)
            }
            Lent::Filled(buffers) => {
                let mut left = length;
                for (place, buffer) in slot.vector.iter_mut().zip(buffers.iter_mut()) {
                    let room = buffer.spare_mut();
                    let count = room.len().min(left);
                    left -= count;
                    *place = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: count };
                }
                (buffers.len().min(PIECES), rbd.rbd_aio_readv)
            }
        };
        let mut completion: Completion = ptr::null_mut();
        // SAFETY: the argument is a number that is only given back; there is no callback; the place for the handle is valid.
        let made =
            unsafe { (rbd.rbd_aio_create_completion)(ptr::without_provenance_mut(index), None, &raw mut completion) };
        let started = if made < 0 {
            made
        } else {
            // SAFETY: the image is open and stays so while there are operations. The vector, and the memory that its `count` entries
            // name, stay where they are until the library has told that the operation is over: the slot keeps both, nobody
            // changes frozen buffers, and those that are being filled cannot be had before. A write takes no more than the count
            // of entries that were set above, a read neither.
            let started = unsafe {
                start(image.handle(), slot.vector.as_ptr(), i32::try_from(count).unwrap_or(0), offset, completion)
            };
            if started < 0 {
                // SAFETY: the library did not take it.
                unsafe { (rbd.rbd_aio_release)(completion) };
            }
            started
        };
        if started < 0 {
            self.free.push(index);
            return Err(Failed::new(started.saturating_neg()));
        }
        slot.operation = Some(Rc::clone(operation));
        Ok(())
    }

    /// Hands out what the library has finished; whether there may be more.
    pub(in super::super) fn reap(&mut self) -> bool {
        let Some(shared) = self.image.as_ref() else { return false };
        let image: &Image = (**shared).as_ref();
        let rbd = &image.library().rbd;
        let mut fetched: [Completion; FETCHED] = [ptr::null_mut(); FETCHED];
        // SAFETY: the image is open, and there is room for as many as are told.
        let count = unsafe { (rbd.rbd_poll_io_events)(image.handle(), fetched.as_mut_ptr(), FETCHED_MAX) };
        let count = usize::try_from(count).unwrap_or(0).min(FETCHED);
        for completion in &fetched[..count] {
            // SAFETY: the library has just given it back; it is looked at before it is released, once.
            let (argument, result): (*mut c_void, _) = unsafe {
                let told = ((rbd.rbd_aio_get_arg)(*completion), (rbd.rbd_aio_get_return_value)(*completion));
                (rbd.rbd_aio_release)(*completion);
                told
            };
            let index = argument.addr();
            let operation = self.slots.get_mut(index).and_then(|slot| slot.operation.take());
            if let Some(operation) = operation {
                self.free.push(index);
                operation.finish(i64::try_from(result).unwrap_or(-i64::from(libc::EIO)));
            }
        }
        count == FETCHED
    }
}

impl<I: AsRef<Image>> Drop for Operations<I> {
    /// Memory that the library still has is never freed. It does not come to that: the queue waits for what is in flight.
    fn drop(&mut self) {
        for slot in self.slots.drain(..) {
            if let Some(operation) = slot.operation {
                std::mem::forget((slot.vector, operation, self.image.clone()));
            }
        }
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("outcome", &self.outcome.get()).finish_non_exhaustive()
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        io::Error::from_raw_os_error(failed.errno)
    }
}
