//! The only unsafe code of this room: memory the kernel reads and writes on its own, and descriptors the runtime owns.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use std::{mem, ptr};

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

/// Bytes that `buf` still takes.
pub(super) fn room<B: RecvBuf>(buf: &mut B) -> usize {
    buf.spare().1
}

/// Adds as much of `bytes` as `buf` takes and returns how much that was.
pub(super) fn append<B: RecvBuf>(buf: &mut B, bytes: &[u8]) -> usize {
    let (pointer, room) = buf.spare();
    let count = bytes.len().min(room);
    // SAFETY: the pointer is valid for writes of `room` bytes, `count` is no more, and memory that `buf` lends for writing is not
    // that of `bytes`, which is borrowed. All `count` bytes are written before they are counted.
    unsafe {
        ptr::copy_nonoverlapping(bytes.as_ptr(), pointer, count);
        buf.filled(count);
    }
    count
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

/// Makes a TCP connection one of kernel TLS; it stays plain until it gets a key (`TCP_ULP`, tcp(7)).
pub(super) fn set_ulp_tls(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

/// Gives kernel TLS the key to send with: a `struct tls12_crypto_info_…` of `linux/tls.h`.
pub(super) fn set_tls_tx(fd: BorrowedFd<'_>, crypto_info: &[u8]) -> io::Result<()> {
    set_option(fd, libc::SOL_TLS, libc::TLS_TX, crypto_info)
}

fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: pointer and length are those of `value`, which the kernel only reads.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The shortest round trip of a TCP connection so far: `tcpi_min_rtt` of `struct tcp_info` (`linux/tcp.h`), in microseconds, where the
/// kernel has it (4.6 and newer) and has measured one.
pub(super) fn round_trip(fd: BorrowedFd<'_>) -> Option<Duration> {
    const AT: usize = 148;
    let mut info = [0u8; AT + 4];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    let pointer = info.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than the `length` bytes that `info` has, and leaves in `length` how many it wrote.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, pointer, &raw mut length) };
    if result != 0 || (length as usize) < info.len() {
        return None;
    }
    let microseconds = u32::from_ne_bytes([info[AT], info[AT + 1], info[AT + 2], info[AT + 3]]);
    (microseconds != u32::MAX).then(|| Duration::from_micros(microseconds.into()))
}

/// Sends a small record of another type than data through kernel TLS, which is told the type beside the bytes. `false`: the socket
/// is full.
pub(super) fn send_tls_record(fd: BorrowedFd<'_>, content: u8, bytes: &[u8]) -> io::Result<bool> {
    #[repr(C, align(8))]
    struct Control([u8; 32]);
    let mut control = Control([0; 32]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is a struct of integers and pointers, for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: computes sizes only.
    let (space, length) = unsafe { (libc::CMSG_SPACE(1), libc::CMSG_LEN(1)) };
    message.msg_controllen = space as usize;
    // SAFETY: the control memory is aligned for a header, and larger than `CMSG_SPACE(1)` (24 bytes), so there is a first header
    // and a byte behind it. The kernel only reads what the message points to, all of which outlives the call.
    let result = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_TLS;
        (*header).cmsg_type = libc::TLS_SET_RECORD_TYPE;
        (*header).cmsg_len = length as usize;
        libc::CMSG_DATA(header).write(content);
        libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    match result {
        0.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        },
    }
}
