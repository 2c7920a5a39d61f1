//! The server's handshake: with a client that has connected to us.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{HandshakeKind, ServerConfig};

use super::handshake::{HandshakeError, Incoming, Machine, RECEIVE_BYTES, shake};
use super::record::Fault;
use super::{Keys, Session};
use crate::io::conn::Conn;
use crate::io::time::timeout;

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

impl Conn {
    /// Does the TLS handshake as the server, in at most `limit` of time. The connection that comes back encrypts what it sends and
    /// decrypts what it receives. Dropping the future loses the connection.
    ///
    /// # Errors
    /// [`HandshakeError`]; the client has been told as far as it could be.
    pub async fn accept_tls(mut self, settings: &TlsSettings, limit: Duration) -> Result<Conn, HandshakeError> {
        match timeout(limit, serve(&self, settings)).await {
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

async fn serve(conn: &Conn, settings: &TlsSettings) -> Result<Session, HandshakeError> {
    let mut incoming = Incoming::default();
    // Nothing is spent on a client that says nothing.
    conn.wait_readable().await?;
    incoming.receive(conn).await?;
    let mut tls = UnbufferedServerConnection::new(Arc::clone(&settings.config))?;
    shake(conn, &mut tls, &mut incoming).await?;
    let refused = judge_again(settings, &tls);
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let (secrets, keys) = tls.dangerous_into_kernel_connection()?;
    let session =
        Session::new(conn.as_fd(), secrets, Keys::Server(keys), resumed, incoming.into_rest(), settings.kernel)?;
    if let Err(error) = refused {
        session
            .refuse(conn.as_fd(), Fault::new(CERTIFICATE_UNKNOWN, "the certificate of a resumed session is not good"));
        return Err(error.into());
    }
    Ok(session)
}

impl Machine for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_shaking(&self) -> bool {
        self.is_handshaking()
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
