//! One connection to a service, over TCP or TLS, kept alive for as long as the service keeps it. It blocks, but looks
//! up now and then, so that a run that is stopped stops at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::net::RecvFlags;

use super::fault::{Fault, Outcome};
use super::pattern::Writer;
use super::target::{Stream, Target, is_wait};
use crate::http::{HEAD_MAX, Head};

/// Largest body that is read into memory; image data never is.
const BODY_MAX: usize = 64 << 20;
/// What one call receives at most: small enough to stay in a core's cache while it is compared.
pub(super) const PIECE: usize = 256 * 1024;
/// Piece by which heads and small answers are read.
const READ_STEP: usize = 16 * 1024;
/// What one call discards at most.
const DISCARD: usize = 1 << 20;

/// Bytes of image data that one worker has moved. A line of the cache for each, so that counting costs nothing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Moved {
    /// Received.
    pub down: AtomicU64,
    /// Sent.
    pub up: AtomicU64,
}

/// A client connection.
#[derive(Debug)]
pub struct Wire {
    target: Arc<Target>,
    stop: Arc<AtomicBool>,
    moved: Arc<Moved>,
    stream: Option<Stream>,
    /// Whether the stream has carried an answer before.
    used: bool,
    /// Received and not yet used.
    pending: Vec<u8>,
    /// The last head, as it came.
    text: Vec<u8>,
    piece: Vec<u8>,
}

impl Wire {
    /// A connection that is made with the first request, and whose blocked calls end once `stop` is set.
    #[must_use]
    pub fn new(target: Arc<Target>, stop: Arc<AtomicBool>, moved: Arc<Moved>) -> Self {
        Self {
            target,
            stop,
            moved,
            stream: None,
            used: false,
            pending: Vec::new(),
            text: Vec::new(),
            piece: Vec::new(),
        }
    }

    /// Where this connection leads.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request with a small body and reads the head of the answer. A connection that the service has closed
    /// since its last answer is made anew.
    ///
    /// # Errors
    /// The connection breaks, or the answer is not HTTP.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Outcome<Head> {
        let mut text = self.head(method, path, headers, body.map(|body| body.len() as u64));
        text.extend_from_slice(body.unwrap_or_default());
        self.exchange(|wire| wire.write(&text))
    }

    /// Sends `length` bytes of image data as the body of a request, and reads the head of the answer.
    ///
    /// # Errors
    /// As of [`Self::request`].
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: u64,
        data: &mut Writer,
    ) -> Outcome<Head> {
        let text = self.head(method, path, headers, Some(length));
        self.exchange(|wire| {
            wire.write(&text)?;
            let mut offset = 0;
            while offset < length {
                let piece = data.piece(offset, length - offset);
                wire.write(piece)?;
                offset += piece.len() as u64;
                wire.moved.up.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    fn exchange(&mut self, mut send: impl FnMut(&mut Self) -> Outcome<()>) -> Outcome<Head> {
        loop {
            let reused = self.used && self.stream.is_some();
            let outcome = self.attempt(&mut send);
            match outcome {
                // What a service closes between two requests it closes without a word.
                Err(Fault::Closed(_)) if reused && self.pending.is_empty() && !self.is_stopped() => self.close(),
                Err(fault) => {
                    self.close();
                    return Err(fault);
                }
                Ok(head) => return Ok(head),
            }
        }
    }

    fn attempt(&mut self, send: &mut impl FnMut(&mut Self) -> Outcome<()>) -> Outcome<Head> {
        if self.stream.is_none() {
            self.stream = Some(self.target.connect()?);
        }
        match send(self) {
            Ok(()) => self.read_head(),
            // A service that refuses early says why before it closes.
            Err(fault @ Fault::Closed(_)) => self.read_head().ok().filter(Head::is_refusal).ok_or(fault),
            Err(fault) => Err(fault),
        }
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: Option<u64>) -> Vec<u8> {
        let url = &self.target.url;
        let root = if url.path.is_empty() && path.is_empty() { "/" } else { "" };
        let mut text = format!("{method} {}{path}{root} HTTP/1.1\r\nHost: {}\r\n", url.path, url.authority());
        text.push_str(concat!("User-Agent: vitrine-bench/", env!("CARGO_PKG_VERSION"), "\r\nAccept: */*\r\n"));
        for (name, value) in headers {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        if let Some(length) = length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// A header of the last answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut fields);
        answer.parse(&self.text).ok()?;
        let field = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(|value| value.trim().to_owned())
    }

    fn read_head(&mut self) -> Outcome<Head> {
        loop {
            if let Some(head) = Head::parse(&self.pending)? {
                self.text.clear();
                self.text.extend(self.pending.drain(..head.size));
                if head.status >= 200 {
                    return Ok(head);
                }
            } else if self.fill(HEAD_MAX)? == 0 {
                return Err(Fault::Closed("the service closed before the end of an answer's head".into()));
            }
        }
    }

    /// Reads the body of an answer into memory.
    ///
    /// # Errors
    /// The connection breaks, or the body is malformed or larger than 64 MiB.
    pub fn body(&mut self, head: &Head) -> Outcome<Vec<u8>> {
        let mut body = Vec::new();
        self.receive(head, false, |piece| {
            if body.len() + piece.len() > BODY_MAX {
                return Err(Fault::Protocol(format!("an answer of more than {BODY_MAX} bytes")));
            }
            body.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(body)
    }

    /// Receives image data and hands it over in pieces. Returns its size in bytes.
    ///
    /// # Errors
    /// The connection breaks or ends early, or `inspect` fails.
    pub fn data(&mut self, head: &Head, inspect: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<u64> {
        self.receive(head, true, inspect)
    }

    fn receive(&mut self, head: &Head, count: bool, inspect: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<u64> {
        let received = if head.is_bodiless() {
            Ok(0)
        } else if head.chunked {
            self.receive_chunks(count, inspect)
        } else {
            self.receive_plain(head.length, count, inspect)
        };
        self.end(head, received)
    }

    /// Receives image data and throws it away, in the kernel where that can be. Returns its size in bytes.
    ///
    /// # Errors
    /// The connection breaks or ends early.
    pub fn discard(&mut self, head: &Head) -> Outcome<u64> {
        let (Some(Stream::Plain(_)), Some(length), false) = (&self.stream, head.length, head.chunked) else {
            return self.data(head, |_| Ok(()));
        };
        let received = self.discard_plain(length);
        self.end(head, received)
    }

    fn end(&mut self, head: &Head, received: Outcome<u64>) -> Outcome<u64> {
        // After a fault nobody knows where the next answer would begin.
        if received.is_err() || head.close || (head.length.is_none() && !head.chunked && !head.is_bodiless()) {
            self.close();
        } else if !self.pending.is_empty() {
            self.close();
            return Err(Fault::Protocol("bytes after the end of a body".into()));
        } else {
            self.used = true;
        }
        received
    }

    fn discard_plain(&mut self, length: u64) -> Outcome<u64> {
        let here = self.pending.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.pending.drain(..here);
        let mut left = length - here as u64;
        self.moved.down.fetch_add(here as u64, Ordering::Relaxed);
        self.piece.resize(DISCARD, 0);
        let mut quiet = Instant::now();
        while left > 0 {
            let want = DISCARD.min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(Stream::Plain(stream)) = &self.stream else { return Err(Fault::Stopped) };
            // With MSG_TRUNC, TCP drops the bytes instead of copying them (tcp(7)).
            match rustix::net::recv(stream, &mut self.piece[..want], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(short(left)),
                Ok((_, count)) => {
                    left = left.saturating_sub(count as u64);
                    self.moved.down.fetch_add(count as u64, Ordering::Relaxed);
                    quiet = Instant::now();
                }
                Err(error) => self.patience(quiet, &error.into(), "receiving a body")?,
            }
            if self.is_stopped() {
                return Err(Fault::Stopped);
            }
        }
        Ok(length)
    }

    /// A body of `length` bytes, or one that goes on to the end of the connection.
    fn receive_plain(
        &mut self,
        length: Option<u64>,
        count: bool,
        mut inspect: impl FnMut(&[u8]) -> Outcome<()>,
    ) -> Outcome<u64> {
        let mut done = 0;
        while length.is_none_or(|length| done < length) {
            let left = length.map_or(u64::MAX, |length| length - done);
            let most = PIECE.min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = if self.pending.is_empty() {
                let mut piece = std::mem::take(&mut self.piece);
                piece.resize(PIECE.max(piece.len()), 0);
                let got = self.read(&mut piece[..most]);
                let outcome = got.and_then(|got| inspect(&piece[..got]).map(|()| got));
                self.piece = piece;
                outcome?
            } else {
                let got = self.pending.len().min(most);
                inspect(&self.pending[..got])?;
                self.pending.drain(..got);
                got
            };
            if got == 0 {
                return length.map_or(Ok(done), |length| Err(short(length - done)));
            }
            done += got as u64;
            if count {
                self.moved.down.fetch_add(got as u64, Ordering::Relaxed);
            }
        }
        Ok(done)
    }

    /// A body in chunks (RFC 9112, section 7.1), whatever its size.
    fn receive_chunks(&mut self, count: bool, mut inspect: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<u64> {
        let mut done = 0;
        loop {
            let size = loop {
                // The parser takes a line without any digit for a size of zero.
                if self.pending.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
                    return Err(Fault::Protocol("a chunk without a size".into()));
                }
                match httparse::parse_chunk_size(&self.pending) {
                    Ok(httparse::Status::Complete((used, size))) => {
                        self.pending.drain(..used);
                        break size;
                    }
                    Ok(httparse::Status::Partial) => self.need()?,
                    Err(_) => return Err(Fault::Protocol("a malformed chunk size".into())),
                }
            };
            if size == 0 {
                return self.trailer().map(|()| done);
            }
            self.receive_plain(Some(size), count, &mut inspect)?;
            done += size;
            while self.pending.len() < 2 {
                self.need()?;
            }
            if !self.pending.starts_with(b"\r\n") {
                return Err(Fault::Protocol("a chunk that does not end where it should".into()));
            }
            self.pending.drain(..2);
        }
    }

    /// Skips the trailer section with the empty line that ends it.
    fn trailer(&mut self) -> Outcome<()> {
        loop {
            if let Some(at) = self.pending.windows(2).position(|pair| pair == b"\r\n") {
                self.pending.drain(..at + 2);
                if at == 0 {
                    return Ok(());
                }
            } else {
                self.need()?;
            }
        }
    }

    /// Receives more of an answer, which must come.
    fn need(&mut self) -> Outcome<()> {
        match self.fill(HEAD_MAX)? {
            0 => Err(Fault::Closed("the service closed in the middle of a body".into())),
            _ => Ok(()),
        }
    }

    fn fill(&mut self, most: usize) -> Outcome<usize> {
        if self.pending.len() >= most {
            return Err(Fault::Protocol(format!("an answer's head of more than {most} bytes")));
        }
        let mut piece = [0; READ_STEP];
        let got = self.read(&mut piece)?;
        self.pending.extend_from_slice(&piece[..got]);
        Ok(got)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Outcome<usize> {
        let quiet = Instant::now();
        loop {
            if self.is_stopped() {
                return Err(Fault::Stopped);
            }
            let Some(stream) = &mut self.stream else { return Err(Fault::Closed("no connection".into())) };
            match stream.read(bytes) {
                // How TLS tells an end without a farewell.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => self.patience(quiet, &error, "receiving an answer")?,
                Ok(count) => return Ok(count),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Outcome<()> {
        let mut quiet = Instant::now();
        loop {
            if self.is_stopped() {
                return Err(Fault::Stopped);
            }
            let Some(stream) = &mut self.stream else { return Err(Fault::Closed("no connection".into())) };
            let outcome = if bytes.is_empty() { stream.flush().map(|()| 0) } else { stream.write(bytes) };
            match outcome {
                Ok(_) if bytes.is_empty() => return Ok(()),
                Ok(0) => return Err(Fault::Closed("sending: nothing more is taken".into())),
                Ok(count) => {
                    bytes = &bytes[count..];
                    quiet = Instant::now();
                }
                Err(error) => self.patience(quiet, &error, "sending")?,
            }
        }
    }

    /// Whether a call that gave `error` may be tried again, nothing having moved since `quiet`.
    fn patience(&self, quiet: Instant, error: &io::Error, what: &str) -> Outcome<()> {
        if self.is_stopped() {
            return Err(Fault::Stopped);
        }
        if !is_wait(error) {
            return Err(Fault::of(error, what));
        }
        if quiet.elapsed() >= self.target.timeout {
            return Err(Fault::Timeout(format!("{what}: no byte for {:?}", self.target.timeout)));
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the connection; the next request makes another.
    pub fn close(&mut self) {
        self.stream = None;
        self.used = false;
        self.pending.clear();
    }
}

fn short(missing: u64) -> Fault {
    Fault::Closed(format!("the connection ended {missing} bytes before the end of a body"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
