//! Requests to the control plane over its unix socket: RPC messages and forwarded API requests.
//!
//! Each core keeps a few idle connections. A connection that control closed meanwhile is seen before it is used; once a
//! request was sent, nothing is ever sent twice.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use common::error::Kind;
use common::rpc::{self, Envelope, ToControl};
use common::{Error, Result};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::http::response::{self, Fields, malformed};
use crate::io::{Conn, timeout};

/// Bytes of a response that are received before any of it is passed on: a client that reads slowly then holds no
/// connection to control. Only the longest lists are larger.
const WHOLE_RESPONSE_BYTES: u64 = 1024 * 1024;

/// Bytes received at first: a head and an ordinary body. A larger piece of memory costs the allocator more than the rest of
/// the exchange.
const FIRST_BYTES: usize = 8 * 1024;

/// Bytes received at a time from then on.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Bytes of the largest head of a response of control.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the largest reply to an RPC message; metrics are the largest.
const REPLY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A core's way to control.
#[derive(Debug)]
pub(crate) struct ControlClient {
    socket: PathBuf,
    idle: RefCell<Vec<Conn>>,
    /// How many of them are kept.
    idle_max: usize,
    /// Longest wait for an answer.
    timeout: Duration,
    /// What clients are told in `Retry-After` while control is away, seconds.
    retry_after_seconds: u64,
}

/// What follows the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A body of the announced length.
    WithBody,
    /// Nothing, whatever length is announced: the answer to `HEAD`.
    HeadOnly,
}

/// The head of control's response, and what arrived of its body with it.
#[derive(Debug)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its header fields, names in lower case, without those of the connection.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Bytes of the body that were not received yet.
    left: u64,
    /// Bytes of the body that were.
    pub(crate) begun: Vec<u8>,
    /// Until it is released.
    conn: Option<Conn>,
    reusable: bool,
}

impl ControlClient {
    /// A way to the socket of control. `idle_max`: connections to keep; those of all cores together must leave control
    /// some for others.
    pub(crate) fn new(socket: PathBuf, idle_max: usize, timeout: Duration, retry_after_seconds: u64) -> Self {
        ControlClient { socket, idle: RefCell::new(Vec::new()), idle_max, timeout, retry_after_seconds }
    }

    /// Sends an RPC message and reads its reply.
    ///
    /// # Errors
    /// Control's own error, or 503 when it is away.
    pub(crate) async fn call<R: DeserializeOwned>(&self, message: ToControl) -> Result<R> {
        let body = serde_json::to_vec(&Envelope::new(message)).map_err(Error::internal)?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: vitrine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            rpc::PATH,
            body.len()
        );
        let mut response = self.exchange(head.as_bytes(), &body, Answer::WithBody).await?;
        let reply = timeout(self.timeout, response.collect(REPLY_BYTES_MAX)).await;
        let reply = reply.unwrap_or_else(|elapsed| Err(elapsed.into())).map_err(|error| self.away(&error))?;
        let status = response.status;
        self.release(&mut response);
        if status == StatusCode::OK {
            serde_json::from_slice(&reply).map_err(|error| Error::internal(format!("reply of control: {error}")))
        } else {
            Err(serde_json::from_slice(&reply)
                .unwrap_or_else(|_| Error::internal(format!("control answered {status}"))))
        }
    }

    /// Sends a request and reads the head of its response.
    ///
    /// # Errors
    /// 503 when control is away or does not answer in time.
    pub(crate) async fn exchange(&self, head: &[u8], body: &[u8], answer: Answer) -> Result<Response> {
        let work = async {
            let conn = match self.take_idle() {
                Some(conn) => conn,
                None => Conn::connect_unix(&self.socket).await?,
            };
            conn.send_parts(&[head, body]).await?;
            let mut response = read_response(conn, answer).await?;
            if response.length() <= WHOLE_RESPONSE_BYTES {
                while response.receive_more().await? {}
            }
            Ok(response)
        };
        match timeout(self.timeout, work).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.away(&error)),
            Err(elapsed) => Err(self.away(&elapsed.into())),
        }
    }

    /// Keeps the connection of a response whose body was received whole for the next request.
    pub(crate) fn release(&self, response: &mut Response) {
        let mut idle = self.idle.borrow_mut();
        if response.reusable
            && response.left == 0
            && idle.len() < self.idle_max
            && let Some(conn) = response.conn.take()
        {
            idle.push(conn);
        }
    }

    fn take_idle(&self) -> Option<Conn> {
        loop {
            let conn = self.idle.borrow_mut().pop()?;
            if !conn.is_closed_by_peer() {
                return Some(conn);
            }
        }
    }

    fn away(&self, error: &io::Error) -> Error {
        Error::unavailable("The control plane is restarting. Try again.", self.retry_after_seconds).caused_by(error)
    }
}

/// Whether `error` says that control is away, so that the same message may succeed a little later.
pub(crate) fn is_away(error: &Error) -> bool {
    error.kind == Kind::Unavailable
}

impl Response {
    /// Receives more of the body; `None` at its end.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.begun.is_empty() && !self.receive_more().await? {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.begun)))
    }

    /// Adds more of the body to what has begun; `false` at its end.
    async fn receive_more(&mut self) -> io::Result<bool> {
        let Some(conn) = self.conn.as_ref().filter(|_| self.left > 0) else { return Ok(false) };
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.reserve(RECEIVE_BYTES);
        let result;
        (result, self.begun) = conn.recv(bytes).await;
        let count = result? as u64;
        if count == 0 || count > self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count;
        Ok(true)
    }

    /// Bytes of the whole body, as announced.
    pub(crate) fn length(&self) -> u64 {
        self.begun.len() as u64 + self.left
    }

    async fn collect(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        if self.length() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is too large"));
        }
        let mut collected = Vec::new();
        while let Some(bytes) = self.receive().await? {
            collected.extend_from_slice(&bytes);
        }
        Ok(collected)
    }
}

async fn read_response(conn: Conn, answer: Answer) -> io::Result<Response> {
    let mut bytes = Vec::with_capacity(FIRST_BYTES);
    loop {
        let result;
        (result, bytes) = conn.recv(bytes).await;
        if result? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some((status, headers, used)) = response::parse(&bytes)? {
            return assemble(conn, status, headers, bytes.split_off(used), answer);
        }
        if bytes.len() > RESPONSE_HEAD_BYTES_MAX {
            return Err(malformed("the head is too long"));
        }
        bytes.reserve(RECEIVE_BYTES);
    }
}

fn assemble(
    conn: Conn,
    status: StatusCode,
    mut headers: Fields,
    begun: Vec<u8>,
    answer: Answer,
) -> io::Result<Response> {
    let reusable = !response::value(&headers, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let length = match response::value(&headers, "content-length") {
        _ if answer == Answer::HeadOnly => Some(0),
        Some(value) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok()),
        None if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED => Some(0),
        None => None,
    };
    let length = length.ok_or_else(|| malformed("no length"))?;
    let left = length.checked_sub(begun.len() as u64).ok_or_else(|| malformed("more than its length"))?;
    headers.retain(|(name, _)| !["connection", "content-length", "date", "transfer-encoding"].contains(&name.as_str()));
    Ok(Response { status, headers, left, begun, conn: Some(conn), reusable })
}
