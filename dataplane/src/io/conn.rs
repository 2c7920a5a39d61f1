//! Listeners, connections, and foreign descriptors that a core waits for.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use monoio::io::Canceller;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};

use super::buffer::Frozen;
use super::core::{current, yield_now};
use super::raw::{AtMost, RecvBuf, Socket};
use super::time::{sleep, timeout};

/// Connections accepted in a row before other tasks have their turn.
const ACCEPTS_PER_TURN: u32 = 32;

/// Bytes sent in a row, without ever waiting for the socket, before other tasks have their turn: eight slices of a file. Less costs
/// throughput, more costs the others latency (about 3 ms).
const BYTES_PER_TURN: u64 = 16 * 1024 * 1024;

/// How often, and how long apart, a Unix connect is tried while the listener's backlog is full.
const CONNECT_ATTEMPTS: u32 = 200;
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// Parts per call of [`Conn::send_parts`].
const PARTS_PER_CALL: usize = 64;

/// A descriptor of someone else's (an eventfd, a library's socket) that tasks of this core wait for. One task per direction.
pub struct PollFd(Socket);

impl PollFd {
    /// Registers `fd` with this core and makes it non-blocking.
    ///
    /// # Errors
    /// When the driver refuses the descriptor: epoll does for regular files.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self(Socket::new(fd)?))
    }

    /// Waits until a read would not block. May be dropped at any time.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Waits until a write would not block. May be dropped at any time.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await
    }
}

impl AsFd for PollFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for PollFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PollFd").field(&self.as_fd()).finish()
    }
}

/// A listening socket, TCP or Unix, of this core.
#[derive(Debug)]
pub struct Listener {
    fd: PollFd,
    accepted: Cell<u32>,
}

impl Listener {
    /// Takes a socket that already listens (`std` and `socket2` listeners convert into `OwnedFd`).
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn new(listener: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self { fd: PollFd::new(listener.into())?, accepted: Cell::new(0) })
    }

    /// The next connection.
    ///
    /// Waits for readiness and then accepts by a plain call: the runtime's own accept operation loses a connection when it is
    /// dropped in flight. Here a dropped future leaves the connection in the backlog for the next call.
    ///
    /// # Errors
    /// When descriptors or memory run out (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`): the connection waits in the backlog, and the caller
    /// pauses before it calls again.
    pub async fn accept(&self) -> io::Result<Conn> {
        if self.accepted.replace(self.accepted.get() + 1) >= ACCEPTS_PER_TURN {
            self.accepted.set(0);
            yield_now().await;
        }
        loop {
            match rustix::net::acceptfrom_with(&self.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    return Conn::registered(fd, peer);
                }
                Err(Errno::AGAIN) => {
                    self.accepted.set(0);
                    self.fd.readable().await?;
                }
                Err(
                    errno @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::BADF | Errno::INVAL),
                ) => {
                    return Err(errno.into());
                }
                // The connection was reset before it was accepted, or an error of its network is reported here.
                Err(_) => {}
            }
        }
    }
}

/// A stream connection, TCP or Unix, of this core.
///
/// One task may receive while another sends; two in the same direction are a mistake. Sends go out by plain non-blocking calls
/// and wait on the driver only when the socket is full; receives are operations of the ring.
pub struct Conn {
    socket: Socket,
    peer: Option<SocketAddr>,
    /// Bytes sent since this connection last waited.
    in_a_row: Cell<u64>,
    /// How long a send waits for the peer to take anything.
    send_stall: Cell<Option<Duration>>,
}

impl Conn {
    /// Takes over a connected stream socket, for example one that [`Conn::into_fd`] of another core gave up.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        let fd = fd.into();
        rustix::io::ioctl_fionbio(&fd, true)?;
        let peer = rustix::net::getpeername(&fd)?.and_then(|peer| SocketAddr::try_from(peer).ok());
        Self::registered(fd, peer)
    }

    fn registered(fd: OwnedFd, peer: Option<SocketAddr>) -> io::Result<Self> {
        Ok(Self { socket: Socket::new(fd)?, peer, in_a_row: Cell::new(0), send_stall: Cell::new(None) })
    }

    /// Connects to the Unix socket at `path`.
    ///
    /// # Errors
    /// As `connect(2)`: nobody listens, no such path, no permission; `TimedOut` when the backlog stays full for a second.
    pub async fn connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path.as_ref())?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        for _ in 0..CONNECT_ATTEMPTS {
            match rustix::net::connect(&fd, &address) {
                Ok(()) => return Self::registered(fd, None),
                Err(Errno::AGAIN | Errno::INTR) => sleep(CONNECT_PAUSE).await,
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("{}: the backlog stays full", path.as_ref().display())))
    }

    /// The socket itself, to be passed to another core. No operation of this connection may be in flight.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The address of a TCP peer; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The user id of the process at the other end of a Unix socket.
    ///
    /// # Errors
    /// On a TCP connection.
    pub fn peer_uid(&self) -> io::Result<u32> {
        Ok(sockopt::socket_peercred(&self.socket)?.uid.as_raw())
    }

    /// Receives into the unfilled rest of `buf` (spare capacity of a `Vec`, room of a [`Buffer`](super::Buffer)); 0 is the end of the stream.
    ///
    /// # Errors
    /// As `recv(2)`; `InvalidInput` when `buf` has no room. The buffer comes back in every case.
    pub async fn recv<B: RecvBuf>(&self, mut buf: B) -> (io::Result<usize>, B) {
        if buf.spare().1 == 0 {
            return (Err(no_room()), buf);
        }
        self.in_a_row.set(0);
        loop {
            let result;
            (result, buf) = self.socket.recv(buf).await;
            match result {
                Err(error) if transient(&error) => {
                    if let Err(error) = self.socket.readable().await {
                        return (Err(error), buf);
                    }
                }
                result => return (result, buf),
            }
        }
    }

    /// The same for at most `count` bytes: what follows them stays in the kernel for the next receive.
    ///
    /// # Errors
    /// As [`Conn::recv`].
    pub async fn recv_at_most<B: RecvBuf>(&self, buf: B, count: usize) -> (io::Result<usize>, B) {
        let (result, limited) = self.recv(AtMost::new(buf, count)).await;
        (result, limited.into_inner())
    }

    /// The same for at most `limit` of time. On a timeout the receive is cancelled and its completion awaited: bytes that arrive in that
    /// instant are returned, not lost.
    ///
    /// # Errors
    /// As [`Conn::recv`], and `TimedOut`.
    pub async fn recv_timeout<B: RecvBuf>(&self, mut buf: B, limit: Duration) -> (io::Result<usize>, B) {
        if buf.spare().1 == 0 {
            return (Err(no_room()), buf);
        }
        self.in_a_row.set(0);
        let started = std::time::Instant::now();
        loop {
            let canceller = Canceller::new();
            let result;
            {
                let mut receive = pin!(self.socket.recv_cancelable(buf, canceller.handle()));
                let left = limit.saturating_sub(started.elapsed());
                (result, buf) = match timeout(left, receive.as_mut()).await {
                    Ok(done) => done,
                    Err(_) => {
                        drop(canceller.cancel());
                        match receive.await {
                            (Err(error), buf) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {
                                return (Err(io::ErrorKind::TimedOut.into()), buf);
                            }
                            done => done,
                        }
                    }
                };
            }
            match result {
                Err(error) if transient(&error) => {
                    let left = limit.saturating_sub(started.elapsed());
                    match timeout(left, self.socket.readable()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return (Err(error), buf),
                        Err(elapsed) => return (Err(elapsed.into()), buf),
                    }
                }
                result => return (result, buf),
            }
        }
    }

    /// Waits until something can be received, the end of the stream included. May be dropped at any time.
    ///
    /// # Errors
    /// When the socket cannot be polled.
    pub async fn wait_readable(&self) -> io::Result<()> {
        self.in_a_row.set(0);
        self.socket.readable().await
    }

    /// Whether the peer has closed its half, or the connection is broken; what is unread stays unread.
    pub fn is_closed_by_peer(&self) -> bool {
        let mut byte = [0u8; 1];
        match rustix::net::recv(&self.socket, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, count)) => count == 0,
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Sends all of `bytes`. If the future is dropped, an unknown part has been sent.
    ///
    /// # Errors
    /// As `send(2)`.
    pub async fn send_all(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::empty()).await
    }

    /// The same for bytes that more will follow at once, such as a head before [`send_file`](super::send_file): they may wait in the kernel
    /// to share a segment with what follows.
    ///
    /// # Errors
    /// As `send(2)`.
    pub async fn send_with_more_to_come(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::MORE).await
    }

    async fn send_flagged(&self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.sent(count).await;
                }
                Err(Errno::AGAIN) => self.wait_writable().await?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Sends all `parts` in order, as one segment where they fit: a head and a small body, a chunk with its frame.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub async fn send_parts(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(PARTS_PER_CALL)];
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::sendmsg(&self.socket, now, &mut SendAncillaryBuffer::default(), flags) {
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    self.sent(count).await;
                }
                Err(Errno::AGAIN) => self.wait_writable().await?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Sends `part` of `bytes` without copying it (`SEND_ZC`); the buffer returns to its pool once the peer has what was sent.
    /// Where there is no ring to do so it is copied.
    ///
    /// # Errors
    /// As `send(2)`.
    pub(super) async fn send_frozen(&self, bytes: &Frozen, part: Range<usize>) -> io::Result<()> {
        let Some(ring) = current().ring.clone() else { return self.send_all(&bytes[part]).await };
        let mut from = part.start;
        while from < part.end {
            match ring.send(&self.socket, bytes.clone(), from, part.end).await.await.result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    from += count;
                    self.sent(count).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts what was sent without waiting, and lets the others have their turn when it is enough.
    pub(super) async fn sent(&self, count: usize) {
        let in_a_row = self.in_a_row.get().saturating_add(count as u64);
        self.in_a_row.set(in_a_row);
        if in_a_row >= BYTES_PER_TURN {
            self.in_a_row.set(0);
            yield_now().await;
        }
    }

    /// From now on every send fails with `TimedOut` once the peer has taken nothing for `limit`.
    pub fn set_send_stall(&self, limit: Duration) {
        self.send_stall.set(Some(limit));
    }

    /// Waits until the socket takes more bytes, or is broken. May be dropped at any time.
    ///
    /// # Errors
    /// When the socket cannot be polled; `TimedOut` beyond the limit of [`Conn::set_send_stall`].
    pub async fn wait_writable(&self) -> io::Result<()> {
        self.in_a_row.set(0);
        self.within_stall(self.socket.writable()).await?
    }

    /// Waits for something that the peer has to do, for no longer than a send does.
    ///
    /// # Errors
    /// `TimedOut` beyond the limit of [`Conn::set_send_stall`].
    pub(super) async fn within_stall<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        match self.send_stall.get() {
            Some(limit) => Ok(timeout(limit, wait).await?),
            None => Ok(wait.await),
        }
    }

    /// The same for at most `limit`; false when the peer has taken nothing until then.
    ///
    /// # Errors
    /// When the socket cannot be polled.
    pub(super) async fn writable_within(&self, limit: Duration) -> io::Result<bool> {
        self.in_a_row.set(0);
        match timeout(limit, self.socket.writable()).await {
            Ok(done) => done.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Whether the kernel may send from a file on this connection.
    pub fn sends_files(&self) -> bool {
        true
    }

    /// Whether both ends are on this machine: the kernel then copies what it would send from our memory.
    pub fn is_local(&self) -> bool {
        let Some(peer) = self.peer else { return true };
        let ours = rustix::net::getsockname(&self.socket).ok().and_then(|ours| SocketAddr::try_from(ours).ok());
        peer.ip().to_canonical().is_loopback() || ours.is_some_and(|ours| ours.ip() == peer.ip())
    }

    /// Sends small segments at once (`TCP_NODELAY`). Nothing on a Unix socket.
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.on_tcp(|| sockopt::set_tcp_nodelay(&self.socket, nodelay))
    }

    fn on_tcp(&self, set: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<()> {
        if self.peer.is_some() { Ok(set()?) } else { Ok(()) }
    }

    /// Fixes the send buffer at `bytes`, as far as `net.core.wmem_max` allows, and returns what is in force (the kernel
    /// doubles the value for its own bookkeeping).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub fn set_send_buffer(&self, bytes: usize) -> io::Result<usize> {
        sockopt::set_socket_send_buffer_size(&self.socket, bytes)?;
        Ok(sockopt::socket_send_buffer_size(&self.socket)?)
    }

    /// Ends the stream towards the peer; receiving goes on.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }

    /// Breaks the connection in both directions at once: whatever waits on it, in whichever task, ends.
    pub fn abort(&self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("fd", &self.as_fd()).field("peer", &self.peer).finish()
    }
}

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no room in the receive buffer")
}

/// Older kernels answer EAGAIN on a non-blocking socket instead of arming the poll themselves.
fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
