//! The receiving half: records are received, opened in place, and handed out. All of it between two waits, so that a receive that
//! is dropped has lost nothing.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::record::{Content, Fault, Opener, RECORD_BYTES_MAX, TlsVersion, record_bytes};
use super::{CLOSE_NOTIFY, Keys, Session};
use crate::io::raw::{self, RecvBuf};

/// Bytes received with one call by whoever has room for many.
const BULK_BYTES: usize = 128 * 1024;

/// Room of a receive from which on it counts as one of many bytes.
const BULK_FROM_BYTES: usize = 64 * 1024;

/// Records without data that may follow each other: key updates, warnings, empty ones. More are a waste of our time.
const EMPTY_RECORDS_MAX: u32 = 32;

/// The alert that says that the user went away; more follows it (RFC 8446 §6.1).
const USER_CANCELED: u8 = 90;

/// What was received and not handed out.
pub(super) struct Receiving {
    opener: Opener,
    bytes: Vec<u8>,
    /// Opened data among them.
    plain: Range<usize>,
    /// Where the next record begins.
    next: usize,
    empty_in_a_row: u32,
    end: Option<End>,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The peer has ended its stream.
    Closed,
    /// The peer has broken the protocol, or off.
    Failed(io::ErrorKind, &'static str),
}

/// What opening a record came to.
enum Opened {
    /// One was; whether there is data is to be seen.
    Record,
    /// The next one is not whole yet.
    Partial,
    /// No further one comes.
    Ended,
}

impl Receiving {
    pub(super) fn new(opener: Opener, bytes: Vec<u8>) -> Self {
        Receiving { opener, bytes, plain: 0..0, next: 0, empty_in_a_row: 0, end: None }
    }

    /// Hands out opened data to `buf`; returns how much.
    fn give<B: RecvBuf>(&mut self, buf: &mut B) -> usize {
        let count = raw::append(buf, &self.bytes[self.plain.clone()]);
        self.plain.start += count;
        count
    }

    /// Opens the next record if all of it is here. Data that was opened before must have been handed out.
    fn open_next(&mut self, session: &Session, fd: BorrowedFd<'_>) -> io::Result<Opened> {
        match self.end {
            Some(End::Closed) => return Ok(Opened::Ended),
            Some(End::Failed(kind, what)) => return Err(io::Error::new(kind, what)),
            None => {}
        }
        let opened = self.try_open(session);
        opened.map_err(|fault| {
            session.refuse(fd, fault);
            self.end = Some(End::Failed(io::ErrorKind::InvalidData, fault.what));
            fault.into()
        })
    }

    fn try_open(&mut self, session: &Session) -> Result<Opened, Fault> {
        let here = &mut self.bytes[self.next..];
        let Some(length) = record_bytes(here)? else { return Ok(Opened::Partial) };
        let Some(record) = here.get_mut(..length) else { return Ok(Opened::Partial) };
        let (content, plain) = self.opener.open(record)?;
        let plain = self.next + plain.start..self.next + plain.end;
        self.next += length;
        if content == Content::Data && !plain.is_empty() {
            self.plain = plain;
            self.empty_in_a_row = 0;
            return Ok(Opened::Record);
        }
        self.empty_in_a_row += 1;
        if self.empty_in_a_row > EMPTY_RECORDS_MAX {
            return Err(Fault::new(Fault::UNEXPECTED_MESSAGE, "too many TLS records without data"));
        }
        match content {
            Content::Data => {}
            Content::Alert => self.on_alert(plain, session)?,
            Content::Handshake => self.on_handshake(plain, session)?,
            Content::ChangeCipherSpec => {
                return Err(Fault::new(Fault::UNEXPECTED_MESSAGE, "a change of cipher after the handshake"));
            }
        }
        Ok(Opened::Record)
    }

    fn on_alert(&mut self, alert: Range<usize>, session: &Session) -> Result<(), Fault> {
        match (&self.bytes[alert], session.facts.version) {
            ([_, CLOSE_NOTIFY], _) => self.end = Some(End::Closed),
            ([_, USER_CANCELED], _) | ([super::WARNING, _], TlsVersion::V1_2) => {}
            ([_, _], _) => {
                session.abort();
                self.end = Some(End::Failed(io::ErrorKind::ConnectionReset, "the peer broke TLS off with an alert"));
            }
            _ => return Err(Fault::new(Fault::UNEXPECTED_MESSAGE, "an alert of another length")),
        }
        Ok(())
    }

    /// After its handshake a peer may say that its key changes, and perhaps that ours shall; a server may hand out tickets for
    /// later sessions, which we do not use.
    fn on_handshake(&mut self, message: Range<usize>, session: &Session) -> Result<(), Fault> {
        let Some(keys) = &session.keys else {
            return Err(Fault::new(Fault::NO_RENEGOTIATION, "renegotiation is refused"));
        };
        let keys = &mut *keys.borrow_mut();
        let mut message = &self.bytes[message];
        if let Keys::Client(_) = keys {
            message = behind_tickets(message);
            if message.is_empty() {
                return Ok(());
            }
        }
        let update_ours = match message {
            [24, 0, 0, 1, 0] => false,
            [24, 0, 0, 1, 1] => true,
            [24, 0, 0, 1, _] => return Err(Fault::new(Fault::ILLEGAL_PARAMETER, "a key update of an unknown kind")),
            _ => return Err(Fault::new(Fault::UNEXPECTED_MESSAGE, "a handshake message out of turn")),
        };
        const FAILED: Fault = Fault::new(Fault::UNEXPECTED_MESSAGE, "a key that cannot be updated");
        let (sequence, secrets) = keys.next_to_receive().map_err(|_| FAILED)?;
        self.opener = Opener::new(TlsVersion::V1_3, sequence, &secrets).map_err(|_| FAILED)?;
        if update_ours {
            // Answered before our next data, as often as we were asked meanwhile: once.
            session.update_due.set(true);
        }
        Ok(())
    }

    /// Receives more from the socket, for a caller with `room` bytes of room. `None`: there is nothing now.
    fn pull(&mut self, fd: BorrowedFd<'_>, room: usize) -> io::Result<Option<usize>> {
        self.bytes.drain(..self.next);
        (self.next, self.plain) = (0, 0..0);
        let wanted = if room >= BULK_FROM_BYTES { BULK_BYTES } else { RECORD_BYTES_MAX };
        self.bytes.reserve_exact(wanted.saturating_sub(self.bytes.len()));
        loop {
            match rustix::net::recv(fd, spare_capacity(&mut self.bytes), RecvFlags::DONTWAIT) {
                Ok((count, _)) => return Ok(Some(count)),
                Err(Errno::AGAIN) => {
                    if self.bytes.is_empty() {
                        // A connection that waits for its peer keeps no memory for what that may send one day.
                        self.bytes = Vec::new();
                    }
                    return Ok(None);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Goes on until there is data, or the end, or nothing more now (`false`).
    fn advance(&mut self, session: &Session, fd: BorrowedFd<'_>, room: usize) -> io::Result<bool> {
        while self.plain.is_empty() {
            match self.open_next(session, fd)? {
                Opened::Record => {}
                Opened::Ended => return Ok(true),
                Opened::Partial => match self.pull(fd, room)? {
                    None => return Ok(false),
                    // Without a word: what HTTP promised tells whether something is missing.
                    Some(0) => self.end = Some(End::Closed),
                    Some(_) => {}
                },
            }
        }
        Ok(true)
    }
}

/// What follows the session tickets (RFC 8446 §4.6.1) at the front of `messages`.
fn behind_tickets(mut messages: &[u8]) -> &[u8] {
    const NEW_SESSION_TICKET: u8 = 4;
    while let [NEW_SESSION_TICKET, high, middle, low, rest @ ..] = messages {
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        let Some(behind) = usize::try_from(length).ok().and_then(|length| rest.get(length..)) else { break };
        messages = behind;
    }
    messages
}

impl Session {
    /// Receives into the rest of `buf`: as much as is here, up to a bulk. 0 is the end of the stream, `None`: nothing is here yet.
    pub(in crate::io) fn receive<B: RecvBuf>(&self, fd: BorrowedFd<'_>, buf: &mut B) -> Option<io::Result<usize>> {
        let receiving = &mut *self.receiving.borrow_mut();
        match receiving.advance(self, fd, raw::room(buf)) {
            Err(error) => return Some(Err(error)),
            Ok(false) => return None,
            Ok(true) => {}
        }
        let mut count = receiving.give(buf);
        // What is here already goes along. An error among it is told by the next receive.
        while receiving.plain.is_empty() && raw::room(buf) > 0 && count > 0 {
            match receiving.open_next(self, fd) {
                Ok(Opened::Record) => count += receiving.give(buf),
                Ok(Opened::Partial | Opened::Ended) | Err(_) => break,
            }
        }
        Some(Ok(count))
    }

    /// Whether a receive would return at once.
    pub(in crate::io) fn is_readable(&self, fd: BorrowedFd<'_>) -> bool {
        self.receiving.borrow_mut().advance(self, fd, 0).unwrap_or(true)
    }

    /// Whether the peer has ended its stream or broken it, and nothing is left to be received.
    pub(in crate::io) fn is_over(&self, fd: BorrowedFd<'_>) -> bool {
        let receiving = &mut *self.receiving.borrow_mut();
        match receiving.advance(self, fd, 0) {
            Ok(is_readable) => is_readable && receiving.plain.is_empty(),
            Err(_) => true,
        }
    }
}
