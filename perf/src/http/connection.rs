//! One connection to a server, kept alive for as long as the server keeps it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::RecvFlags;

use super::chunked;
use super::head::{HEAD_MAX, Head};
use crate::error::{During, Error, Result};

/// How long a server may neither take nor send a byte before a measurement is given up. A durable upload is answered
/// only when the disk has it all.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Largest body that is read into memory; image data never is.
const BODY_MAX: usize = 64 << 20;
/// How much one call may discard or hand over.
const PIECE: usize = 1 << 20;
/// Piece by which small answers are read.
const READ_STEP: usize = 16 * 1024;

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A connected socket.
#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            Self::Unix(socket) => socket.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A client connection to one server.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    /// Absent before the first request, and after the server has closed until the next.
    stream: Option<Socket>,
    /// Bytes received and not yet used: the head of an answer and what came with it.
    pending: Vec<u8>,
    /// Where discarded bytes would go, if the kernel copied them.
    piece: Vec<u8>,
}

impl Connection {
    /// A connection to `address`, made with the first request: a server that gives each connection a process of few
    /// would otherwise wait on idle ones.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self::over(Endpoint::Tcp(address))
    }

    /// A connection to the unix socket at `path`, made with the first request.
    #[must_use]
    pub fn through(path: &Path) -> Self {
        Self::over(Endpoint::Unix(path.to_owned()))
    }

    fn over(endpoint: Endpoint) -> Self {
        Self { endpoint, stream: None, pending: Vec::new(), piece: vec![0; PIECE] }
    }

    /// Sends a request with the body `body` of type `kind`, or none, and reads the head of the answer. Connects
    /// first, or anew if the server has closed.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not HTTP.
    pub fn request(&mut self, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Result<Head> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host()).into_bytes();
        if let Some((kind, body)) = body {
            text.extend_from_slice(
                format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            );
            text.extend_from_slice(body);
        } else {
            text.extend_from_slice(b"\r\n");
        }
        self.write(&text)?;
        self.read_head()
    }

    /// Sends bytes as they are: a head, or a part of a body.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream()?.write_all(bytes).during(|| "sending a request")
    }

    /// The socket, connected if it was not.
    ///
    /// # Errors
    /// The server does not accept.
    pub fn socket(&mut self) -> Result<BorrowedFd<'_>> {
        self.stream().map(|socket| (*socket).as_fd())
    }

    fn stream(&mut self) -> Result<&mut Socket> {
        match &mut self.stream {
            Some(stream) => Ok(stream),
            empty => Ok(empty.insert(connect(&self.endpoint)?)),
        }
    }

    /// What stands in the field `Host` of requests.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp(address) => address.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Where this connection leads.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads the head of the next final answer; interim ones (1xx) are skipped.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not HTTP.
    pub fn read_head(&mut self) -> Result<Head> {
        loop {
            if let Some(head) = Head::parse(&self.pending)? {
                self.pending.drain(..head.size);
                if head.status >= 200 {
                    return Ok(head);
                }
            } else if self.fill(HEAD_MAX)? == 0 {
                return Err(Error::Http("the server closed before the end of a head".into()));
            }
        }
    }

    /// Reads the body of an answer into memory.
    ///
    /// # Errors
    /// The connection breaks, the body is malformed or larger than 64 MiB.
    pub fn read_body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let body = if head.is_bodiless() {
            Vec::new()
        } else if head.chunked {
            self.read_chunked()?
        } else if let Some(length) = head.length {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            while self.pending.len() < length {
                if self.fill(BODY_MAX)? == 0 {
                    return Err(short(length as u64 - self.pending.len() as u64));
                }
            }
            self.pending.drain(..length).collect()
        } else {
            while self.fill(BODY_MAX)? > 0 {}
            self.stream = None;
            std::mem::take(&mut self.pending)
        };
        self.end(head);
        Ok(body)
    }

    /// Receives the body of an answer and throws it away in the kernel, without a copy. Returns its size in bytes.
    ///
    /// # Errors
    /// The connection breaks or ends early, or the answer does not state its length.
    pub fn discard_body(&mut self, head: &Head) -> Result<u64> {
        let length = stated(head)?;
        let mut left = length - self.take_pending(length, |_| ())?;
        while left > 0 {
            let want = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let stream = self.stream.as_ref().ok_or_else(|| short(left))?;
            // With MSG_TRUNC, TCP drops the bytes instead of copying them (tcp(7)).
            let (_, count) = match rustix::net::recv(stream, &mut self.piece[..want], RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.during(|| "receiving a body")?,
            };
            if count == 0 {
                return Err(short(left));
            }
            left = left.saturating_sub(count as u64);
        }
        self.end(head);
        Ok(length)
    }

    /// Receives the body of an answer and hands it over in pieces. Returns its size in bytes.
    ///
    /// # Errors
    /// As of [`Self::discard_body`].
    pub fn inspect_body(&mut self, head: &Head, mut inspect: impl FnMut(&[u8])) -> Result<u64> {
        let length = stated(head)?;
        let mut left = length - self.take_pending(length, &mut inspect)?;
        while left > 0 {
            let want = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let stream = self.stream.as_mut().ok_or_else(|| short(left))?;
            let count = match stream.read(&mut self.piece[..want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.during(|| "receiving a body")?,
            };
            if count == 0 {
                return Err(short(left));
            }
            inspect(&self.piece[..count]);
            left -= count as u64;
        }
        self.end(head);
        Ok(length)
    }

    /// Hands over what of a body of `length` bytes has come with its head; returns how much that was.
    fn take_pending(&mut self, length: u64, mut inspect: impl FnMut(&[u8])) -> Result<u64> {
        let here = self.pending.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        inspect(&self.pending[..here]);
        self.pending.drain(..here);
        if self.pending.is_empty() { Ok(here as u64) } else { Err(Error::Http("bytes after the end of a body".into())) }
    }

    fn read_chunked(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some((body, used)) = chunked::decode(&self.pending)? {
                self.pending.drain(..used);
                return Ok(body);
            }
            if self.fill(BODY_MAX)? == 0 {
                return Err(Error::Http("the server closed before the last chunk".into()));
            }
        }
    }

    /// Receives a little more, as long as no more than `most` bytes wait; returns how much, 0 at the end.
    fn fill(&mut self, most: usize) -> Result<usize> {
        if self.pending.len() >= most {
            return Err(Error::Http(format!("an answer of more than {most} bytes")));
        }
        let stream = self.stream.as_mut().ok_or_else(|| Error::Http("no connection".into()))?;
        let want = &mut self.piece[..READ_STEP];
        loop {
            match stream.read(want) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    let count = other.during(|| "receiving an answer")?;
                    self.pending.extend_from_slice(&want[..count]);
                    return Ok(count);
                }
            }
        }
    }

    fn end(&mut self, head: &Head) {
        if head.close {
            self.stream = None;
            self.pending.clear();
        }
    }
}

fn connect(endpoint: &Endpoint) -> Result<Socket> {
    let connected = (|| match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            io::Result::Ok(Socket::Tcp(stream))
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            Ok(Socket::Unix(stream))
        }
    })();
    connected.during(|| format!("connecting to {endpoint}"))
}

fn stated(head: &Head) -> Result<u64> {
    if head.is_bodiless() {
        return Ok(0);
    }
    head.length.filter(|_| !head.chunked).ok_or_else(|| Error::Http("image data without a Content-Length".into()))
}

fn short(missing: u64) -> Error {
    Error::Bytes(format!("the connection ended {missing} bytes before the end of a body"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Serves each of `answers` on a connection of its own, after a request has come.
    fn server(answers: Vec<Vec<u8>>) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut request = [0; 1024];
                if stream.read(&mut request).is_ok() {
                    // The client may have gone on purpose.
                    let _ = stream.write_all(&answer);
                }
            }
        });
        Ok(address)
    }

    fn open(answers: &[&[u8]]) -> Result<Connection> {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        Ok(Connection::to(server(answers).during(|| "test server")?))
    }

    #[test]
    fn a_closed_connection_is_opened_anew() -> Result<()> {
        let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let mut connection = open(&[answer, answer])?;
        for _ in 0..2 {
            let head = connection.request("GET", "/", None)?;
            assert_eq!(connection.read_body(&head)?, b"ok");
        }
        Ok(())
    }

    #[test]
    fn interim_answers_are_skipped() -> Result<()> {
        let mut connection = open(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"])?;
        assert_eq!(connection.request("PUT", "/", None)?.status, 204);
        Ok(())
    }

    #[test]
    fn reads_every_kind_of_body() -> Result<()> {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n3\r\nody\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody",
        ] {
            let mut connection = open(&[answer])?;
            let head = connection.request("GET", "/", None)?;
            assert_eq!(connection.read_body(&head)?, b"body");
        }
        Ok(())
    }

    #[test]
    fn discarding_counts_and_inspecting_sees_the_same() -> Result<()> {
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(&body);
        let mut connection = open(&[&answer])?;
        let head = connection.request("GET", "/", None)?;
        assert_eq!(connection.discard_body(&head)?, body.len() as u64);

        let mut connection = open(&[&answer])?;
        let head = connection.request("GET", "/", None)?;
        let mut seen = Vec::new();
        connection.inspect_body(&head, |piece| seen.extend_from_slice(piece))?;
        assert!(seen == body);
        Ok(())
    }

    #[test]
    fn a_body_cut_short_is_an_error() -> Result<()> {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody";
        for discard in [true, false] {
            let mut connection = open(&[answer])?;
            let head = connection.request("GET", "/", None)?;
            let outcome = if discard { connection.discard_body(&head) } else { connection.inspect_body(&head, |_| ()) };
            assert!(matches!(outcome, Err(Error::Bytes(_))), "{outcome:?}");
        }
        Ok(())
    }

    #[test]
    fn bytes_after_a_body_are_an_error() -> Result<()> {
        let mut connection = open(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nbody"])?;
        let head = connection.request("GET", "/", None)?;
        assert!(connection.discard_body(&head).is_err());
        Ok(())
    }
}
