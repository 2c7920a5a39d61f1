//! The socket of the control plane: who may connect, and how many at a time.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::SocketAddr;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Only the user that we run as may connect.
const MODE: u32 = 0o600;

/// Wait after a failed accept, which mostly means that there are no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The listening socket.
pub(super) struct Listener {
    socket: UnixListener,
    places: Arc<Semaphore>,
    uid: u32,
}

/// A connection; its place is free again when it is dropped.
pub(super) struct Connection {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Listens at `path`, for at most `connections_max` connections at a time. A socket that is there and has no
    /// listener is what a dead process left: it is replaced.
    ///
    /// # Errors
    /// Somebody listens there, or the directory is not writable.
    pub(super) fn bind(path: &Path, connections_max: usize) -> io::Result<Self> {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another control plane listens there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
        // Made under another name, so that nobody can connect before the permissions are right.
        let unfinished = unfinished(path);
        let _ = std::fs::remove_file(&unfinished);
        let socket = UnixListener::bind(&unfinished)?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(MODE))?;
        std::fs::rename(&unfinished, path)?;
        let places = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Listener { socket, places, uid: rustix::process::geteuid().as_raw() })
    }

    async fn accept_peer(&self) -> io::Result<(UnixStream, SocketAddr)> {
        loop {
            let (stream, address) = self.socket.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == self.uid => return Ok((stream, address)),
                Ok(peer) => tracing::warn!("control socket: user {} is not ours, refused", peer.uid()),
                Err(error) => tracing::warn!("control socket: a peer without credentials, refused: {error}"),
            }
        }
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = self.places.clone().acquire_owned().await else { continue };
            match self.accept_peer().await {
                Ok((stream, address)) => return (Connection { stream, _place: place }, address),
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_has_one_listener() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control.sock");
        let first = Listener::bind(&path, 4).expect("bound");
        let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = Listener::bind(&path, 4).err().expect("one listens already");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        Listener::bind(&path, 4).expect("what a dead process left is replaced");
    }

    #[tokio::test]
    async fn places_are_limited_and_come_back() {
        use axum::serve::Listener as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control.sock");
        let mut listener = Listener::bind(&path, 1).expect("bound");
        let _clients = [UnixStream::connect(&path).await.expect("one"), UnixStream::connect(&path).await.expect("two")];
        let (first, _) = listener.accept().await;
        let second = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(second.is_err(), "the only place is taken");
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await;
        assert!(second.is_ok(), "the place is free again");
    }
}
