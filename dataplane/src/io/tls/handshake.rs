//! A handshake of either side: rustls's state machine, fed record by record.
//!
//! One record at a time, because what follows the peer's last handshake record is data, which is for [`Session`](super::Session) to
//! open.

use std::io;

use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::record::{Content, RECORD_BYTES_MAX, record_bytes};
use crate::io::conn::Conn;

/// Bytes received at a time.
pub(super) const RECEIVE_BYTES: usize = 4 * 1024;

/// Most bytes of a handshake that wait for the rest of their message: the longest message that rustls takes, and a record.
const WAITING_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer spoke HTTP; a client was told.
    #[error("the peer speaks plain HTTP")]
    PlainHttp,
    /// The peer was too slow.
    #[error("the handshake took too long")]
    TimedOut,
    /// The peer went away.
    #[error("the peer went away: {0}")]
    Gone(#[from] io::Error),
    /// One of us does not want the other.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

/// The state machine of one side.
pub(super) trait Machine {
    /// What rustls keeps for that side.
    type Data;

    /// Takes in what was received.
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether the handshake goes on.
    fn is_shaking(&self) -> bool;
}

/// What the state machine wants next.
enum Next {
    Again,
    Send,
    Receive,
    Established,
    Failed(rustls::Error),
}

/// Brings the handshake to its end; what `incoming` has then is data.
///
/// # Errors
/// [`HandshakeError`]; the peer has been told as far as it could be.
pub(super) async fn shake(conn: &Conn, tls: &mut impl Machine, incoming: &mut Incoming) -> Result<(), HandshakeError> {
    let mut outgoing = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = tls.process(&mut incoming.bytes[..incoming.offered]);
        let next = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => match encode(&mut data, &mut outgoing) {
                Ok(()) => Next::Again,
                Err(error) => Next::Failed(rustls::Error::General(error.to_string())),
            },
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Next::Send
            }
            Ok(ConnectionState::BlockedHandshake) => Next::Receive,
            Ok(ConnectionState::WriteTraffic(_)) => Next::Established,
            Ok(_) => Next::Failed(rustls::Error::HandshakeNotComplete),
            Err(error) => Next::Failed(error),
        };
        incoming.discard(discard);
        match next {
            Next::Again => {}
            Next::Send => {
                conn.send_all(&outgoing).await?;
                outgoing.clear();
            }
            Next::Established if !tls.is_shaking() => break,
            Next::Receive | Next::Established => incoming.receive(conn).await?,
            Next::Failed(error) => {
                say_why(conn, tls, incoming, outgoing);
                return Err(error.into());
            }
        }
    }
    if incoming.offered > 0 {
        return Err(rustls::Error::General("bytes of a handshake message were left over".into()).into());
    }
    Ok(())
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = outgoing.len();
    match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => {
            outgoing.resize(start + needed.required_size, 0);
            data.encode(&mut outgoing[start..]).map(drop)
        }
        other => other.map(drop),
    }
}

/// Sends the alert that rustls has for the peer, if the socket takes it at once.
fn say_why(conn: &Conn, tls: &mut impl Machine, incoming: &mut Incoming, mut outgoing: Vec<u8>) {
    // It still counts on the bytes that it was given: with others, or none, it would panic. And behind its alert it would go on with
    // the very bytes that it has refused.
    let mut is_told = false;
    while !is_told {
        let before = outgoing.len();
        let UnbufferedStatus { discard, state } = tls.process(&mut incoming.bytes[..incoming.offered]);
        let encoded = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut outgoing).is_ok(),
            _ => false,
        };
        incoming.discard(discard);
        if !encoded {
            break;
        }
        is_told = is_alert(&outgoing[before..]);
    }
    conn.send_now(&outgoing);
}

/// Whether a record of ours is an alert; an encrypted one of TLS 1.3 is known by its length.
fn is_alert(record: &[u8]) -> bool {
    const SEALED_BYTES: usize = 5 + 2 + 1 + 16;
    match record.first().copied().and_then(Content::from_byte) {
        Some(Content::Alert) => true,
        Some(Content::Data) => record.len() == SEALED_BYTES,
        _ => false,
    }
}

/// What was received of the handshake, and how much of it rustls has seen.
#[derive(Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    offered: usize,
    /// Whether there was a record.
    begun: bool,
}

impl Incoming {
    /// What was received behind the handshake.
    pub(super) fn into_rest(self) -> Vec<u8> {
        self.bytes
    }

    fn discard(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.offered = self.offered.saturating_sub(count);
    }

    /// Offers one more record.
    pub(super) async fn receive(&mut self, conn: &Conn) -> Result<(), HandshakeError> {
        loop {
            let behind = self.bytes.get(self.offered..).unwrap_or_default();
            if let Some(first) = behind.first() {
                if first.is_ascii_uppercase() && !self.begun {
                    return Err(HandshakeError::PlainHttp);
                }
                if Content::from_byte(*first).is_none() {
                    return Err(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType).into());
                }
            }
            match record_bytes(behind) {
                Ok(Some(length)) if length <= behind.len() => {
                    self.offered += length;
                    self.begun = true;
                    return Ok(());
                }
                Ok(_) if self.bytes.len() <= WAITING_BYTES_MAX => {}
                _ => {
                    return Err(rustls::Error::InvalidMessage(rustls::InvalidMessage::MessageTooLarge).into());
                }
            }
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.reserve(RECEIVE_BYTES);
            let (result, bytes) = conn.recv(bytes).await;
            self.bytes = bytes;
            if result? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}
