//! From an accepted connection to a session: rustls's state machine, fed record by record.
//!
//! One record at a time, because what follows the client's last handshake record is data, which is for [`Session`] to open.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::UnbufferedServerConnection;
use rustls::server::danger::ClientCertVerifier;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{HandshakeKind, ServerConfig};

use super::Session;
use super::record::{Content, Fault, RECORD_BYTES_MAX, record_bytes};
use crate::io::conn::Conn;
use crate::io::time::timeout;

/// Bytes received at a time.
const RECEIVE_BYTES: usize = 4 * 1024;

/// Most bytes of a handshake that wait for the rest of their message: the longest message that rustls takes, and a record.
const WAITING_BYTES_MAX: usize = 64 * 1024 + RECORD_BYTES_MAX;

/// What a client hears that speaks HTTP to this port.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 56\r\n\
    Connection: close\r\n\r\nPlain HTTP was sent to a TLS port: use https:// instead.";

/// How long, and how much, such a client may go on sending before it is cut off.
const PLAIN_LINGER: Duration = Duration::from_secs(1);
const PLAIN_LINGER_BYTES: usize = 64 * 1024;

/// Alert `certificate_unknown` (RFC 8446 §6.2).
const CERTIFICATE_UNKNOWN: u8 = 46;

/// What handshakes are done with.
#[derive(Clone)]
pub struct TlsSettings {
    /// Certificate, key, versions. Secret extraction must be enabled in it.
    pub config: Arc<ServerConfig>,
    /// Who judges clients' certificates, where they are asked for. rustls asks it in full handshakes; sessions that are taken up
    /// again are asked about here, so that a certificate which has expired meanwhile is refused.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether the kernel may encrypt: [`has_kernel_tls`](super::has_kernel_tls), and the operator does not mind.
    pub kernel: bool,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings").field("kernel", &self.kernel).finish_non_exhaustive()
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client spoke HTTP; it was told.
    #[error("the client speaks plain HTTP")]
    PlainHttp,
    /// The client was too slow.
    #[error("the handshake took too long")]
    TimedOut,
    /// The client went away.
    #[error("the client went away: {0}")]
    Gone(#[from] io::Error),
    /// One of us does not want the other.
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

impl Conn {
    /// Does the TLS handshake as the server, in at most `limit` of time. The connection that comes back encrypts what it sends and
    /// decrypts what it receives. Dropping the future loses the connection.
    ///
    /// # Errors
    /// [`HandshakeError`]; the client has been told as far as it could be.
    pub async fn accept_tls(mut self, settings: &TlsSettings, limit: Duration) -> Result<Conn, HandshakeError> {
        match timeout(limit, shake(&self, settings)).await {
            Ok(Ok(session)) => {
                self.set_session(session);
                Ok(self)
            }
            Ok(Err(HandshakeError::PlainHttp)) => {
                answer_plain(&self).await;
                Err(HandshakeError::PlainHttp)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(HandshakeError::TimedOut),
        }
    }
}

/// What the state machine wants next.
enum Next {
    Again,
    Send,
    Receive,
    Established,
    Failed(rustls::Error),
}

async fn shake(conn: &Conn, settings: &TlsSettings) -> Result<Session, HandshakeError> {
    let mut incoming = Incoming { bytes: Vec::new(), offered: 0, begun: false };
    // Nothing is spent on a client that says nothing.
    conn.wait_readable().await?;
    incoming.receive(conn).await?;
    let mut tls = UnbufferedServerConnection::new(Arc::clone(&settings.config))?;
    let mut outgoing = Vec::new();
    loop {
        let UnbufferedStatus { discard, state } = tls.process_tls_records(&mut incoming.bytes[..incoming.offered]);
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
            Next::Established if !tls.is_handshaking() => break,
            Next::Receive | Next::Established => incoming.receive(conn).await?,
            Next::Failed(error) => {
                say_why(conn, &mut tls, &mut incoming, outgoing);
                return Err(error.into());
            }
        }
    }
    if incoming.offered > 0 {
        return Err(rustls::Error::General("bytes of a handshake message were left over".into()).into());
    }
    let refused = judge_again(settings, &tls);
    let session = Session::new(conn.as_fd(), tls, incoming.bytes, settings.kernel)?;
    if let Err(error) = refused {
        session
            .refuse(conn.as_fd(), Fault::new(CERTIFICATE_UNKNOWN, "the certificate of a resumed session is not good"));
        return Err(error.into());
    }
    Ok(session)
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

/// Sends the alert that rustls has for the client, if the socket takes it at once.
fn say_why(conn: &Conn, tls: &mut UnbufferedServerConnection, incoming: &mut Incoming, mut outgoing: Vec<u8>) {
    // It still counts on the bytes that it was given: with others, or none, it would panic. And behind its alert it would go on with
    // the very bytes that it has refused.
    let mut is_told = false;
    while !is_told {
        let before = outgoing.len();
        let UnbufferedStatus { discard, state } = tls.process_tls_records(&mut incoming.bytes[..incoming.offered]);
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

/// Asks the verifier about the certificate of a session that was taken up again.
fn judge_again(settings: &TlsSettings, tls: &UnbufferedServerConnection) -> Result<(), rustls::Error> {
    let (Some(verifier), Some(HandshakeKind::Resumed)) = (&settings.verifier, tls.handshake_kind()) else {
        return Ok(());
    };
    let certificates: &[CertificateDer<'_>] = tls.peer_certificates().unwrap_or_default();
    match certificates.split_first() {
        Some((own, others)) => verifier.verify_client_cert(own, others, UnixTime::now()).map(drop),
        None if verifier.client_auth_mandatory() => Err(rustls::Error::NoCertificatesPresented),
        None => Ok(()),
    }
}

/// What was received of the handshake, and how much of it rustls has seen.
struct Incoming {
    bytes: Vec<u8>,
    offered: usize,
    /// Whether there was a record.
    begun: bool,
}

impl Incoming {
    fn discard(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.offered = self.offered.saturating_sub(count);
    }

    /// Offers one more record.
    async fn receive(&mut self, conn: &Conn) -> Result<(), HandshakeError> {
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

/// Tells a client that speaks HTTP what it did, and lets it read that.
async fn answer_plain(conn: &Conn) {
    conn.send_now(SPEAK_TLS.as_bytes());
    if conn.shutdown_write().is_err() {
        return;
    }
    let drain = async {
        let mut dropped = 0;
        while dropped < PLAIN_LINGER_BYTES {
            match conn.recv(Vec::with_capacity(RECEIVE_BYTES)).await.0 {
                Ok(count) if count > 0 => dropped += count,
                _ => return,
            }
        }
    };
    let _ = timeout(PLAIN_LINGER, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_tells_its_length() {
        let (head, body) = SPEAK_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
