//! TLS to Keystone and to the services beside it.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use common::config::KeystoneAccess;
use common::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whose certificates are believed, and ours.
pub(crate) struct Trust<'a> {
    /// The group of options that says so, for messages.
    pub(crate) group: &'a str,
    /// CA certificates; `None`: the system's.
    pub(crate) ca_file: Option<&'a Path>,
    /// Our certificate, and its key unless the same file holds both.
    pub(crate) identity: Option<(&'a Path, Option<&'a Path>)>,
    /// Whether certificates go unchecked.
    pub(crate) insecure: bool,
    /// Whether TLS may be spoken at all: else the system's certificates are not read.
    pub(crate) is_used: bool,
}

impl<'a> From<&'a KeystoneAccess> for Trust<'a> {
    fn from(options: &'a KeystoneAccess) -> Self {
        Trust {
            group: options.group,
            ca_file: options.ca_file.as_deref(),
            identity: options.cert_file.as_deref().map(|cert| (cert, options.key_file.as_deref())),
            insecure: options.insecure,
            is_used: options.auth_url.starts_with("https:"),
        }
    }
}

/// TLS as configured.
///
/// # Errors
/// A certificate or key file that cannot be used.
pub(crate) fn client_config<'a>(trust: impl Into<Trust<'a>>) -> Result<ClientConfig> {
    let trust = trust.into();
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?;
    let builder = if trust.insecure {
        let verifier = Unchecked { algorithms: provider.signature_verification_algorithms };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(trust.roots()?)
    };
    match trust.identity {
        Some((cert, key)) => {
            // One file may hold both.
            let key_file = key.unwrap_or(cert);
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| trust.unusable(key_file, error))?;
            let certificates = trust.certificates(cert)?;
            builder.with_client_auth_cert(certificates, key).map_err(|error| trust.unusable(cert, error))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

impl Trust<'_> {
    /// The certificates of `ca_file`, else the system's. Without any, TLS fails when it is used, not before.
    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match self.ca_file {
            Some(file) => {
                for certificate in self.certificates(file)? {
                    roots.add(certificate).map_err(|error| self.unusable(file, error))?;
                }
            }
            None if self.is_used => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            None => {}
        }
        Ok(roots)
    }

    fn certificates(&self, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(file).map_err(|error| self.unusable(file, error))?;
        read.collect::<std::result::Result<_, _>>().map_err(|error| self.unusable(file, error))
    }

    fn unusable(&self, file: &Path, error: impl Display) -> Error {
        Error::internal(format!("[{}] {}: {error}", self.group, file.display()))
    }
}

/// Accepts every certificate, for `insecure = true`. Signatures are still checked.
#[derive(Debug)]
struct Unchecked {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
