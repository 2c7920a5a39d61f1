//! The client's handshake: with a server that we have connected to.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::UnbufferedStatus;
use rustls::{ClientConfig, HandshakeKind};

use super::handshake::{HandshakeError, Incoming, Machine, shake};
use super::{Keys, Session};
use crate::io::conn::Conn;
use crate::io::time::timeout;

impl Conn {
    /// Does the TLS handshake as the client of the server `name`, in at most `limit` of time. The connection that comes back
    /// encrypts what it sends and decrypts what it receives. Secret extraction must be enabled in `config`. Dropping the future
    /// loses the connection.
    ///
    /// # Errors
    /// [`HandshakeError`]; the server has been told as far as it could be.
    pub async fn connect_tls(
        mut self,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<Conn, HandshakeError> {
        let session = timeout(limit, ask(&self, config, name)).await.map_err(|_| HandshakeError::TimedOut)??;
        self.set_session(session);
        Ok(self)
    }
}

async fn ask(conn: &Conn, config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Session, HandshakeError> {
    let mut incoming = Incoming::default();
    let mut tls = UnbufferedClientConnection::new(Arc::clone(config), name)?;
    shake(conn, &mut tls, &mut incoming).await?;
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    let (secrets, keys) = tls.dangerous_into_kernel_connection()?;
    // Little is sent, so the kernel need not learn how.
    Ok(Session::new(conn.as_fd(), secrets, Keys::Client(keys), resumed, incoming.into_rest(), false)?)
}

impl Machine for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_shaking(&self) -> bool {
        self.is_handshaking()
    }
}
