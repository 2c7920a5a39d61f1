//! The receiving side of a connection: bytes that have arrived and were not used yet, and the next request among them.

use std::io;
use std::time::{Duration, Instant};

use common::Error;
use common::error::Kind;
use common::http::head::{self, Head, Limits, Scanner};

use crate::io::Conn;

/// Bytes received at a time outside of transfers.
const RECEIVE_BYTES: usize = 8 * 1024;

/// Most bytes of a body that are read and dropped so that the client can read our answer before the connection closes.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest time for that.
const LINGER: Duration = Duration::from_secs(2);

/// Deadlines of a request's arrival.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For the first byte of a request; `None`: for ever.
    pub(crate) idle: Option<Duration>,
    /// From its first byte to the end of its head.
    pub(crate) head: Duration,
}

/// Why there is no next request.
#[derive(Debug)]
pub(crate) enum NoRequest {
    /// The client closed the connection, broke it, or sent nothing for too long: nothing is to be answered.
    Ended,
    /// What arrived is not a request: the error is answered, then the connection is closed.
    Refused(Error),
}

/// What has arrived on a connection.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    conn: &'a Conn,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that were taken.
    taken: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(conn: &'a Conn) -> Self {
        Input { conn, buffer: Vec::new(), taken: 0 }
    }

    /// The same with bytes that were received already.
    pub(crate) fn with(conn: &'a Conn, buffer: Vec<u8>) -> Self {
        Input { conn, buffer, taken: 0 }
    }

    /// Bytes that have arrived and were not taken yet, for whoever reads on.
    pub(crate) fn into_rest(mut self) -> Vec<u8> {
        self.buffer.drain(..self.taken);
        self.buffer
    }

    /// The connection.
    pub(crate) fn conn(&self) -> &'a Conn {
        self.conn
    }

    /// Bytes that have arrived and were not taken yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Takes the first `count` of them.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.buffer.len());
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
    }

    /// Receives some more; 0 is the end of the stream.
    pub(crate) async fn receive(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.drain(..std::mem::take(&mut self.taken));
        buffer.reserve(RECEIVE_BYTES);
        let (result, buffer) = match limit {
            Some(limit) => self.conn.recv_timeout(buffer, limit).await,
            None => self.conn.recv(buffer).await,
        };
        self.buffer = buffer;
        result
    }

    /// Waits for the next request and takes its head.
    pub(crate) async fn next(&mut self, limits: &Limits, patience: Patience) -> Result<Head, NoRequest> {
        let mut scanner = Scanner::default();
        let mut begun: Option<Instant> = None;
        loop {
            if let Some((start, end)) = scanner.advance(self.bytes(), limits).map_err(NoRequest::Refused)? {
                let head = head::parse(&self.bytes()[start..end], limits).map_err(NoRequest::Refused)?;
                self.take(end);
                if self.buffer.is_empty() {
                    // An idle connection keeps no memory for what it may send one day.
                    self.buffer = Vec::new();
                }
                return Ok(head);
            }
            if scanner.has_begun() {
                begun.get_or_insert_with(Instant::now);
            }
            let limit = match begun {
                Some(begun) => Some(patience.head.saturating_sub(begun.elapsed())),
                None => patience.idle,
            };
            match self.receive(limit).await {
                Ok(0) => return Err(NoRequest::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && begun.is_some() => {
                    let message = format!("The request head took longer than {} s.", patience.head.as_secs());
                    return Err(NoRequest::Refused(Error::new(Kind::RequestTimeout, message)));
                }
                Err(_) => return Err(NoRequest::Ended),
            }
        }
    }

    /// Ends our half and drops what the client still sends, for a bounded time: closing at once would reset the
    /// connection, and the client could lose the answer that explains why.
    pub(crate) async fn linger(&mut self) {
        if self.conn.shutdown_write().is_err() {
            return;
        }
        let until = Instant::now() + LINGER;
        let mut dropped = 0;
        while dropped < LINGER_BYTES_MAX {
            self.take(usize::MAX);
            match self.receive(Some(until.saturating_duration_since(Instant::now()))).await {
                Ok(count) if count > 0 => dropped += count,
                _ => return,
            }
        }
    }
}
