//! TLS for the tests: certificates made on the spot, and rustls as the client.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};

use super::client::{Stream, socket};

/// A TLS client's end.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

impl Stream for TlsStream {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// An authority, with which certificates are made.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) cert_pem: String,
    pub(crate) key_pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Authority { issuer: Issuer::new(params, key), certificate: der, pem }
    }

    /// A server's certificate for `localhost`.
    pub(crate) fn server(&self) -> Identity {
        self.identity("localhost", ExtendedKeyUsagePurpose::ServerAuth, Duration::from_secs(86_400))
    }

    /// A client's certificate that ends `left` from now.
    pub(crate) fn client(&self, left: Duration) -> Identity {
        self.identity("a client", ExtendedKeyUsagePurpose::ClientAuth, left)
    }

    fn identity(&self, name: &str, usage: ExtendedKeyUsagePurpose, left: Duration) -> Identity {
        let names = if name == "localhost" { vec![name.to_owned()] } else { Vec::new() };
        let mut params = CertificateParams::new(names).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.not_before = (SystemTime::now() - Duration::from_secs(86_400)).into();
        params.not_after = (SystemTime::now() + left).into();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }

    /// A client that trusts this authority, speaks `versions` and shows `identity`.
    pub(crate) fn trusting(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match identity {
            Some(identity) => {
                use rustls::pki_types::pem::PemObject;
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![identity.certificate.clone()], key).expect("an identity")
            }
            None => builder.with_no_client_auth(),
        })
    }

    /// The same with both versions and no certificate.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        self.trusting(&[&version::TLS13, &version::TLS12], None)
    }
}

/// A finished handshake with the server at `address`, whose certificate must be for `localhost`.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut sock = socket(address)?;
    let mut conn = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while conn.is_handshaking() {
        conn.complete_io(&mut sock)?;
    }
    Ok(StreamOwned::new(conn, sock))
}
