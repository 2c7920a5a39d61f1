//! Where connections go, and how they are made: over TCP, or TLS above it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::fault::{Fault, Outcome};
use super::url::Url;
use crate::error::{During, Error, Result};

/// How long a blocked call waits before it looks whether the run was stopped.
const LOOK_UP: Duration = Duration::from_millis(200);
/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Where connections go.
#[derive(Debug)]
pub struct Target {
    /// The service's root.
    pub url: Url,
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    /// How long the service may neither take nor send a byte.
    pub timeout: Duration,
}

impl Target {
    /// Looks the host's name up once, so that it is no part of any latency.
    ///
    /// # Errors
    /// There is no such host.
    pub fn new(url: Url, tls: Option<&Arc<ClientConfig>>, timeout: Duration) -> Result<Self> {
        let found = (url.host.as_str(), url.port).to_socket_addrs().during(|| format!("looking up {}", url.host))?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(Error::Setup(format!("{} has no address", url.host)));
        }
        let tls = if url.tls {
            let config = tls.ok_or_else(|| Error::Setup(format!("{url} needs TLS, which was not prepared")))?;
            Some(config.clone())
        } else {
            None
        };
        Ok(Self { url, addresses, tls, timeout })
    }

    /// The addresses of the host.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A new connection to the first address that takes one.
    pub(super) fn connect(&self) -> Outcome<Stream> {
        let mut last = None;
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_MAX) {
                Ok(stream) => return self.dress(stream),
                Err(error) => last = Some(error),
            }
        }
        let why = last.map_or_else(|| "no address".to_owned(), |error| error.to_string());
        Err(Fault::Connect(format!("connecting to {}: {why}", self.url)))
    }

    fn dress(&self, stream: TcpStream) -> Outcome<Stream> {
        let fail = |error: &dyn std::fmt::Display| Fault::Connect(format!("connecting to {}: {error}", self.url));
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(LOOK_UP)));
        set.and_then(|()| stream.set_write_timeout(Some(LOOK_UP))).map_err(|error| fail(&error))?;
        let Some(config) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let name = ServerName::try_from(self.url.host.clone()).map_err(|error| fail(&error))?;
        let session = ClientConnection::new(config.clone(), name).map_err(|error| fail(&error))?;
        let mut stream = StreamOwned::new(session, stream);
        let begin = Instant::now();
        while stream.conn.is_handshaking() {
            match stream.conn.complete_io(&mut stream.sock) {
                Ok(_) => {}
                Err(error) if is_wait(&error) && begin.elapsed() < CONNECT_MAX => {}
                Err(error) => return Err(fail(&error)),
            }
        }
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// A connection, whose blocked calls look up now and then ([`is_wait`]).
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Whether a call only had to wait, and may be made again.
pub(super) fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
