//! Listeners, connections, and foreign descriptors that a core waits for.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use monoio::io::Canceller;
use rustix::event::{PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    sockopt,
};

use super::buffer::Frozen;
use super::core::current;
use super::descriptors::is_reserved;
use super::raw::{self, AtMost, RecvBuf, Socket};
use super::time::{sleep, timeout};
use super::tls::{Session, TlsFacts};
use super::turns::yield_now;

/// Connections accepted in a row before other tasks have their turn.
const ACCEPTS_PER_TURN: u32 = 32;

/// Round trip from which on a peer is not near.
const FAR: Duration = Duration::from_micros(250);

/// How much dearer a byte is that we encrypt or decrypt than one that the kernel copies.
const TLS_WEIGHT: u64 = 4;

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
///
/// After [`Conn::accept_tls`] or [`Conn::connect_tls`] all of it goes through TLS, and means the same.
pub struct Conn {
    socket: Socket,
    peer: Option<SocketAddr>,
    tls: Option<Box<Session>>,
    patience: Cell<Option<SendPatience>>,
    /// For how long the peer has been waited for, and what it has been sent, since it was last found quick enough.
    waited: Cell<Duration>,
    taken: Cell<u64>,
}

/// How long a peer that is sent something may take.
#[derive(Debug, Clone, Copy)]
pub struct SendPatience {
    /// For how long it may take nothing.
    pub stall: Duration,
    /// Bytes that it must take for each `stall` that it was waited for. What we need ourselves, for a disk or for memory, is not
    /// held against it. 0: any.
    pub bytes_min: u64,
}

impl Conn {
    /// Takes over a connected stream socket.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    #[cfg(test)]
    pub fn from_fd(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        let fd = fd.into();
        rustix::io::ioctl_fionbio(&fd, true)?;
        let peer = rustix::net::getpeername(&fd)?.and_then(|peer| SocketAddr::try_from(peer).ok());
        Self::registered(fd, peer)
    }

    fn registered(fd: OwnedFd, peer: Option<SocketAddr>) -> io::Result<Self> {
        let socket = Socket::new(fd)?;
        let (waited, taken) = (Cell::new(Duration::ZERO), Cell::new(0));
        Ok(Self { socket, peer, tls: None, patience: Cell::new(None), waited, taken })
    }

    pub(super) fn set_session(&mut self, session: Session) {
        self.tls = Some(Box::new(session));
    }

    /// What was agreed with the peer; `None` without TLS.
    pub fn tls(&self) -> Option<TlsFacts> {
        self.tls.as_ref().map(|session| session.facts())
    }

    /// Whether the kernel may be given a file to send from: it may where nobody encrypts, or the kernel does.
    pub fn sends_files(&self) -> bool {
        self.tls.as_ref().is_none_or(|session| session.facts().by_kernel)
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

    /// Connects to `address`, in at most `limit` of time.
    ///
    /// # Errors
    /// As `connect(2)`; `TimedOut` beyond the limit.
    pub async fn connect_tcp(address: SocketAddr, limit: Duration) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        let begun = rustix::net::connect(&fd, &address);
        let conn = Self::registered(fd, Some(address))?;
        match begun {
            Ok(()) => return Ok(conn),
            Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        timeout(limit, conn.socket.writable()).await??;
        sockopt::socket_error(&conn.socket)??;
        Ok(conn)
    }

    /// Takes the connection off this core, TLS and what was received of it included. No operation may be in flight.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn detach(mut self) -> io::Result<Detached> {
        let fd = self.socket.as_fd().try_clone_to_owned()?;
        Ok(Detached { fd, peer: self.peer, tls: self.tls.take(), patience: self.patience.get() })
    }

    /// Moves the connection to one of the numbers that are not kept back ([`is_reserved`](super::is_reserved)), if one is free;
    /// whether it was. No operation may be in flight.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn renumber(&mut self) -> io::Result<bool> {
        match self.socket.as_fd().try_clone_to_owned() {
            Ok(fd) if !is_reserved(&fd) => self.socket = Socket::new(fd)?,
            _ => return Ok(false),
        }
        Ok(true)
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
        if let Some(tls) = &self.tls {
            return self.recv_tls(tls, buf).await;
        }
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
        let started = Instant::now();
        if let Some(tls) = &self.tls {
            return self.recv_tls_timeout(tls, buf, started, limit).await;
        }
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

    /// Receives by plain calls between waits for the socket: bytes are taken from it and opened in one go, and stay with the session
    /// until they are handed out. So nothing is lost with a future that is dropped.
    async fn recv_tls<B: RecvBuf>(&self, tls: &Session, mut buf: B) -> (io::Result<usize>, B) {
        self.turn().await;
        loop {
            if let Some(result) = tls.receive(self.as_fd(), &mut buf) {
                self.count(*result.as_ref().unwrap_or(&0));
                return (result, buf);
            }
            if let Err(error) = self.socket.readable().await {
                return (Err(error), buf);
            }
        }
    }

    async fn recv_tls_timeout<B: RecvBuf>(
        &self,
        tls: &Session,
        mut buf: B,
        started: Instant,
        limit: Duration,
    ) -> (io::Result<usize>, B) {
        self.turn().await;
        loop {
            if let Some(result) = tls.receive(self.as_fd(), &mut buf) {
                self.count(*result.as_ref().unwrap_or(&0));
                return (result, buf);
            }
            match timeout(limit.saturating_sub(started.elapsed()), self.socket.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return (Err(error), buf),
                Err(elapsed) => return (Err(elapsed.into()), buf),
            }
        }
    }

    /// Waits until something can be received, the end of the stream included. May be dropped at any time.
    ///
    /// # Errors
    /// When the socket cannot be polled.
    pub async fn wait_readable(&self) -> io::Result<()> {
        let Some(tls) = &self.tls else { return self.socket.readable().await };
        while !tls.is_readable(self.as_fd()) {
            self.socket.readable().await?;
        }
        Ok(())
    }

    /// Whether the peer has closed its half, or the connection is broken; what is unread stays unread.
    pub fn is_closed_by_peer(&self) -> bool {
        if let Some(tls) = &self.tls {
            return tls.is_over(self.as_fd());
        }
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
    /// to share a segment with what follows. Not for bytes that may fill the send buffer: if nothing is on its way then, the kernel
    /// waits for 200 ms before it sends what is less than a segment.
    ///
    /// # Errors
    /// As `send(2)`.
    pub async fn send_with_more_to_come(&self, bytes: &[u8]) -> io::Result<()> {
        self.send_flagged(bytes, SendFlags::MORE).await
    }

    async fn send_flagged(&self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        if let Some(tls) = self.sealing().await? {
            return tls.send(self, &[bytes], flags).await;
        }
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    self.sent(count);
                }
                Err(Errno::AGAIN) => self.wait_writable().await?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Sends `bytes` until the peer has taken nothing for `limit`, and returns how much it took. Not for connections that are
    /// encrypted here.
    ///
    /// # Errors
    /// As `send(2)`; `TimedOut` as [`Conn::wait_writable`].
    pub(super) async fn send_until_slow(&self, bytes: &[u8], limit: Duration) -> io::Result<usize> {
        self.settle_keys().await?;
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => {
                    sent += count;
                    self.sent(count);
                }
                Err(Errno::AGAIN) => {
                    if !self.writable_within(limit).await? {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(sent)
    }

    /// Sends all `parts` in order, as one segment where they fit: a head and a small body, a chunk with its frame.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub async fn send_parts(&self, parts: &[&[u8]]) -> io::Result<()> {
        if let Some(tls) = self.sealing().await? {
            return tls.send(self, parts, SendFlags::empty()).await;
        }
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = &rest[..rest.len().min(PARTS_PER_CALL)];
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::sendmsg(&self.socket, now, &mut SendAncillaryBuffer::default(), flags) {
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    self.sent(count);
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
                    self.sent(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The session, if it is us who encrypts what is sent.
    async fn sealing(&self) -> io::Result<Option<&Session>> {
        match &self.tls {
            Some(tls) if tls.seals_here(self).await? => Ok(Some(tls)),
            _ => Ok(None),
        }
    }

    /// Before the kernel is given something to encrypt: a new key, if the peer has asked for one.
    pub(super) async fn settle_keys(&self) -> io::Result<()> {
        self.sealing().await.map(drop)
    }

    /// Sends `bytes`, or what the socket takes of them at once, as they are.
    pub(super) fn send_now(&self, bytes: &[u8]) {
        let _ = rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Sends what `read` puts into the memory that it is given, `count` bytes at most, and returns how much that was. For connections
    /// that do not [send files](Conn::sends_files): the memory is that in which the bytes are encrypted, so that a file is read
    /// where it is needed and not copied. `more`: more follows at once. One call sends 256 KiB at most. `read` must not block. The
    /// caller has waited until the socket takes bytes, and for its turn: what it knows of the page cache may be old after that.
    ///
    /// # Errors
    /// As `read`, and as `send(2)`; `Unsupported` on a connection that sends files. The connection cannot be used after an error.
    pub async fn send_read(
        &self,
        count: usize,
        more: bool,
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self.sealing().await? {
            Some(tls) => tls.send_read(self, count, more, read).await,
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Counts what was sent.
    pub(super) fn sent(&self, count: usize) {
        self.taken.set(self.taken.get().saturating_add(count as u64));
        self.count(count);
    }

    fn count(&self, bytes: usize) {
        let weight = if self.sends_files() { 1 } else { TLS_WEIGHT };
        current().turns.moved(self.as_raw_fd(), (bytes as u64).saturating_mul(weight));
    }

    /// Before bulk data: lets the others have their turn if enough was moved. Returns how many bytes may be moved now.
    pub(super) async fn turn(&self) -> usize {
        current().turns.turn().await
    }

    /// Waits until the socket takes bytes, if it does not now.
    pub(super) async fn until_writable(&self) -> io::Result<()> {
        let mut asked = [rustix::event::PollFd::new(&self.socket, PollFlags::OUT)];
        match poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(0) => self.wait_writable().await,
            _ => Ok(()),
        }
    }

    /// From now on sends fail with `TimedOut` where `patience` is at its end.
    pub fn set_send_patience(&self, patience: SendPatience) {
        self.patience.set(Some(patience));
    }

    /// Waits until the socket takes more bytes, or is broken. May be dropped at any time.
    ///
    /// # Errors
    /// When the socket cannot be polled; `TimedOut` beyond the [patience](Conn::set_send_patience).
    pub async fn wait_writable(&self) -> io::Result<()> {
        let core = current();
        core.turns.leave();
        let (done, woken) = self.wait_for_peer(woken(self.socket.writable())).await?;
        done?;
        core.turns.again(self.as_raw_fd(), woken).await;
        Ok(())
    }

    /// Waits for something that the peer has to do.
    ///
    /// # Errors
    /// `TimedOut` beyond the [patience](Conn::set_send_patience).
    pub(super) async fn wait_for_peer<F: Future>(&self, wait: F) -> io::Result<F::Output> {
        let Some(patience) = self.patience.get() else { return Ok(wait.await) };
        let since = Instant::now();
        let done = timeout(patience.stall, wait).await?;
        self.waited_for_peer(since.elapsed())?;
        Ok(done)
    }

    /// Waits for at most `limit` until the socket takes more bytes; false when it took none until then.
    ///
    /// # Errors
    /// When the socket cannot be polled; `TimedOut` as [`Conn::wait_writable`].
    pub(super) async fn writable_within(&self, limit: Duration) -> io::Result<bool> {
        let core = current();
        core.turns.leave();
        let since = Instant::now();
        let done = timeout(limit, woken(self.socket.writable())).await;
        self.waited_for_peer(since.elapsed())?;
        let Ok((done, woken)) = done else { return Ok(false) };
        done?;
        core.turns.again(self.as_raw_fd(), woken).await;
        Ok(true)
    }

    fn waited_for_peer(&self, time: Duration) -> io::Result<()> {
        let Some(patience) = self.patience.get() else { return Ok(()) };
        let waited = self.waited.get().saturating_add(time);
        if waited < patience.stall {
            self.waited.set(waited);
            return Ok(());
        }
        self.waited.set(Duration::ZERO);
        let (taken, least) = (self.taken.replace(0), patience.bytes_min);
        if taken < least {
            let message = format!("the peer took {taken} bytes in {waited:?}, least is {least}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        Ok(())
    }

    /// The processor that the last packet of a TCP connection came in on.
    pub fn incoming_cpu(&self) -> Option<usize> {
        self.peer?;
        usize::try_from(sockopt::socket_incoming_cpu(&self.socket).ok()?).ok()
    }

    /// Whether both ends are on this machine: the kernel then copies what it would send from our memory.
    pub fn is_local(&self) -> bool {
        let Some(peer) = self.peer else { return true };
        let ours = rustix::net::getsockname(&self.socket).ok().and_then(|ours| SocketAddr::try_from(ours).ok());
        peer.ip().to_canonical().is_loopback() || ours.is_some_and(|ours| ours.ip() == peer.ip())
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

    /// Holds segments back that are not full, until it is taken off (`TCP_CORK`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    pub(super) fn set_cork(&self, cork: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_cork(&self.socket, cork)?)
    }

    /// Whether the peer is so near that little can be on its way to it.
    pub fn is_near(&self) -> bool {
        self.is_local() || raw::round_trip(self.as_fd()).is_some_and(|time| time < FAR)
    }

    /// Ends the stream towards the peer; receiving goes on.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    pub fn shutdown_write(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            tls.close(self.as_fd());
        }
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }

    /// Breaks the connection in both directions at once: whatever waits on it, in whichever task, ends.
    pub fn abort(&self) {
        if let Some(tls) = &self.tls {
            tls.abort();
        }
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

/// A connection on its way from one core to another.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
    peer: Option<SocketAddr>,
    tls: Option<Box<Session>>,
    patience: Option<SendPatience>,
}

impl Detached {
    /// The connection, now of this core.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn attach(self) -> io::Result<Conn> {
        let mut conn = Conn::registered(self.fd, self.peer)?;
        conn.tls = self.tls;
        conn.patience.set(self.patience);
        Ok(conn)
    }
}

impl Drop for Conn {
    /// A stream of TLS ends with a word; one that was cut does not.
    fn drop(&mut self) {
        if let Some(tls) = &self.tls {
            tls.close(self.as_fd());
        }
    }
}

impl AsRawFd for Conn {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("fd", &self.as_fd()).field("peer", &self.peer).field("tls", &self.tls()).finish()
    }
}

/// What `wait` comes to, and whether the driver had to be asked for it.
async fn woken<F: Future>(wait: F) -> (F::Output, bool) {
    let mut wait = pin!(wait);
    match poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await {
        Poll::Ready(done) => (done, false),
        Poll::Pending => (wait.await, true),
    }
}

fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no room in the receive buffer")
}

/// Older kernels answer EAGAIN on a non-blocking socket instead of arming the poll themselves.
fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
