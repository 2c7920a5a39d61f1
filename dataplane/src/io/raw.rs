//! The only unsafe code of this room: memory the kernel reads and writes on its own, and descriptors the runtime owns.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, CancelHandle, CancelableAsyncReadRent, OwnedReadHalf};
use monoio::net::UnixStream;

use super::buffer::{BUFFER_BYTES, Buffer, PAGE_BYTES};

/// The memory of a pooled buffer.
#[repr(C, align(4096))]
pub(super) struct Memory([u8; BUFFER_BYTES]);

const _: () = assert!(align_of::<Memory>() == PAGE_BYTES && size_of::<Memory>() == BUFFER_BYTES);

impl Memory {
    /// Zeroes, made on the heap: they are too many for the stack.
    pub(super) fn zeroed() -> Box<Self> {
        // SAFETY: `Memory` is an array of `u8`, and all zeroes is a valid one.
        unsafe { Box::new_zeroed().assume_init() }
    }

    pub(super) fn bytes(&self) -> &[u8; BUFFER_BYTES] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; BUFFER_BYTES] {
        &mut self.0
    }
}

mod sealed {
    /// # Safety
    /// The pointer stays valid and where it is while the value is moved, for writes of the length returned.
    pub unsafe trait Spare: Unpin + 'static {
        /// The unfilled rest.
        fn spare(&mut self) -> (*mut u8, usize);

        /// # Safety
        /// `count` bytes of the rest have been written.
        unsafe fn filled(&mut self, count: usize);
    }
}

/// What a connection can receive into: the bytes are added behind those that are there, up to the capacity.
pub trait RecvBuf: sealed::Spare {}

/// A buffer of which only so much may be filled.
pub(super) struct AtMost<B> {
    inner: B,
    left: usize,
}

impl<B: RecvBuf> AtMost<B> {
    pub(super) fn new(inner: B, left: usize) -> Self {
        AtMost { inner, left }
    }

    pub(super) fn into_inner(self) -> B {
        self.inner
    }
}

impl<B: RecvBuf> RecvBuf for AtMost<B> {}

// SAFETY: the pointer is that of the inner buffer, for no more than its length.
unsafe impl<B: RecvBuf> sealed::Spare for AtMost<B> {
    fn spare(&mut self) -> (*mut u8, usize) {
        let (pointer, length) = self.inner.spare();
        (pointer, length.min(self.left))
    }

    unsafe fn filled(&mut self, count: usize) {
        self.left -= count.min(self.left);
        // SAFETY: the caller vouches that this many bytes are written, and they are the inner buffer's.
        unsafe { self.inner.filled(count) }
    }
}

impl RecvBuf for Vec<u8> {}
impl RecvBuf for Buffer {}

// SAFETY: the memory of a vector is on the heap, and nothing here lets it grow.
unsafe impl sealed::Spare for Vec<u8> {
    fn spare(&mut self) -> (*mut u8, usize) {
        let spare = self.spare_capacity_mut();
        (spare.as_mut_ptr().cast(), spare.len())
    }

    unsafe fn filled(&mut self, count: usize) {
        // SAFETY: the caller vouches that this many bytes of the spare capacity are written.
        unsafe { self.set_len(self.len() + count) }
    }
}

// SAFETY: the memory of a buffer is on the heap and of fixed size.
unsafe impl sealed::Spare for Buffer {
    fn spare(&mut self) -> (*mut u8, usize) {
        let spare = self.spare_mut();
        (spare.as_mut_ptr(), spare.len())
    }

    unsafe fn filled(&mut self, count: usize) {
        self.advance(count);
    }
}

/// A receive buffer as the runtime wants it: all of it is the unfilled rest.
pub(super) struct Rest<B>(pub(super) B);

// SAFETY: pointer and length are those of `Spare`, whose contract is the same.
unsafe impl<B: RecvBuf> IoBufMut for Rest<B> {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.spare().0
    }

    fn bytes_total(&mut self) -> usize {
        self.0.spare().1
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: the runtime calls this once, with the count that the kernel has written from `write_ptr` on.
        unsafe { self.0.filled(count) }
    }
}

/// A pollable descriptor registered with the driver of this core. The runtime's Unix stream is its thinnest wrapper: its receive
/// and its polls are those of any descriptor.
pub(super) struct Socket(Rc<UnsafeCell<UnixStream>>);

impl Socket {
    /// Registers `fd`, which must be non-blocking.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Rc::new(UnsafeCell::new(UnixStream::from_std(fd.into())?))))
    }

    fn stream(&self) -> &UnixStream {
        // SAFETY: nothing ever writes to the stream: the runtime's read half asks for `&mut`, and only clones the counted
        // descriptor inside. The runtime itself shares a stream between its read and write halves in this way. All of it is on one
        // thread, `Rc` keeps it so.
        unsafe { &*self.0.get() }
    }

    /// One receive into the rest of `buf`.
    pub(super) async fn recv<B: RecvBuf>(&self, buf: B) -> (io::Result<usize>, B) {
        let (result, rest) = OwnedReadHalf(Rc::clone(&self.0)).read(Rest(buf)).await;
        (result, rest.0)
    }

    /// The same; `cancel` ends it with ECANCELED unless it was quicker.
    pub(super) async fn recv_cancelable<B: RecvBuf>(&self, buf: B, cancel: CancelHandle) -> (io::Result<usize>, B) {
        let (result, rest) = OwnedReadHalf(Rc::clone(&self.0)).cancelable_read(Rest(buf), cancel).await;
        (result, rest.0)
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream().readable(false).await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream().writable(false).await
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and lives as long as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.stream().as_raw_fd()) }
    }
}
