//! Downloads over TLS. The client must be leaner than the server, so it shakes hands, reads the head, and then drops the records of the
//! body unread: the server closes after each answer, and what has come until then must be at least the body. Bytes are verified in a
//! pass of their own, which decrypts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Done, together};
use crate::error::{During, Error, Result};
use crate::http::Head;
use crate::payload::{Comparer, Payload};

/// How much one call may drop.
const PIECE: usize = 4 << 20;
/// Piece by which heads, and bodies that are verified, are read.
const STEP: usize = 16 * 1024;

/// Downloads of the same data over TLS.
#[derive(Debug, Clone)]
pub struct PullTls {
    address: SocketAddr,
    target: String,
    size: u64,
    config: Arc<ClientConfig>,
}

/// Counts what a socket has given.
struct Counted {
    socket: TcpStream,
    received: u64,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.socket.read(bytes)?;
        self.received += count as u64;
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

impl PullTls {
    /// Downloads of the `size` bytes at `target` from a server with the certificate in the PEM file `certificate`. All servers get the same
    /// cipher, the first choice of most: TLS 1.3 with AES-256-GCM.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn new(address: SocketAddr, target: &str, size: u64, certificate: &Path) -> Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| Error::Setup(format!("{}: {error}", certificate.display()));
        let certificate = CertificateDer::from_pem_file(certificate).map_err(|error| wrong(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(|error| wrong(&error))?;
        let provider = CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
            ..ring::default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, target: target.to_owned(), size, config: Arc::new(config) })
    }

    /// Downloads on `connections` connections at a time, `passes` times each, every time on a new one.
    ///
    /// # Errors
    /// A handshake fails, or fewer bytes come than the body has.
    pub fn run(&self, connections: usize, passes: usize) -> Result<Done> {
        let (counts, wall) = together(0..connections, |_| {
            let mut piece = vec![0; PIECE];
            (0..passes).map(|_| self.drop_once(&mut piece)).sum::<Result<u64>>()
        })?;
        Ok(Done { bytes: counts.iter().sum(), requests: (connections * passes) as u64, wall })
    }

    fn drop_once(&self, piece: &mut [u8]) -> Result<u64> {
        let (mut stream, before) = self.ask()?;
        self.read_head(&mut stream)?;
        let Counted { socket, received } = &mut stream.sock;
        loop {
            // With MSG_TRUNC, TCP drops the bytes instead of copying them (tcp(7)).
            match rustix::net::recv(&*socket, &mut *piece, RecvFlags::TRUNC) {
                Ok((_, 0)) => break,
                Ok((_, count)) => *received += count as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).during(|| "receiving a body"),
            }
        }
        let came = *received - before;
        if came < self.size {
            return Err(Error::Bytes(format!("only {came} bytes of records for a body of {}", self.size)));
        }
        Ok(self.size)
    }

    /// Downloads once, decrypts, and compares every byte with `truth`.
    ///
    /// # Errors
    /// The download fails, or what comes is something else.
    pub fn verify(&self, truth: &Payload) -> Result<()> {
        let (mut stream, _) = self.ask()?;
        let rest = self.read_head(&mut stream)?;
        let mut comparer = Comparer::new(truth);
        comparer.compare(&rest);
        let mut count = rest.len() as u64;
        let mut piece = vec![0; STEP];
        while count < self.size {
            let got = stream.read(&mut piece).during(|| "receiving a body")?;
            if got == 0 {
                break;
            }
            comparer.compare(&piece[..got]);
            count += got as u64;
        }
        comparer.finish(count)
    }

    /// Connects, shakes hands and sends the request. Also returns what had been received by then.
    fn ask(&self) -> Result<(StreamOwned<ClientConnection, Counted>, u64)> {
        let name = ServerName::IpAddress(self.address.ip().into());
        let session = ClientConnection::new(self.config.clone(), name).map_err(std::io::Error::other);
        let session = session.during(|| "a TLS session")?;
        let socket = TcpStream::connect(self.address).during(|| format!("connecting to {}", self.address))?;
        socket.set_nodelay(true).during(|| "TCP_NODELAY")?;
        let mut stream = StreamOwned::new(session, Counted { socket, received: 0 });
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.target, self.address);
        stream.conn.complete_io(&mut stream.sock).during(|| "a TLS handshake")?;
        let before = stream.sock.received;
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).during(|| "sending a request")?;
        Ok((stream, before))
    }

    /// Reads the head of the answer, and returns what of the body came with it.
    fn read_head(&self, stream: &mut StreamOwned<ClientConnection, Counted>) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut piece = [0; 2048];
        loop {
            if let Some(head) = Head::parse(&text)? {
                if head.status != 200 || head.length != Some(self.size) {
                    return Err(Error::Answer(format!("{} with {:?} bytes", head.status, head.length)));
                }
                return Ok(text.split_off(head.size));
            }
            let count = stream.read(&mut piece).during(|| "receiving a head")?;
            if count == 0 {
                return Err(Error::Http("the server closed before the end of a head".into()));
            }
            text.extend_from_slice(&piece[..count]);
        }
    }
}
