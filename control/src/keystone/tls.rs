//! TLS to Keystone.

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

/// TLS as configured: whose certificates are believed, and ours.
///
/// # Errors
/// A certificate or key file that cannot be used.
pub(super) fn client_config(access: &KeystoneAccess) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::internal)?;
    let builder = if access.insecure {
        let verifier = Unchecked { algorithms: provider.signature_verification_algorithms };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(roots(access)?)
    };
    match (&access.cert_file, &access.key_file) {
        (Some(cert), key) => {
            // One file may hold both.
            let key_file = key.as_deref().unwrap_or(cert);
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(access, key_file, error))?;
            builder
                .with_client_auth_cert(certificates(access, cert)?, key)
                .map_err(|error| unusable(access, cert, error))
        }
        (None, _) => Ok(builder.with_no_client_auth()),
    }
}

/// The certificates of `cafile`, else the system's. Without any, TLS fails when it is used, not before.
fn roots(access: &KeystoneAccess) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &access.ca_file {
        Some(file) => {
            for certificate in certificates(access, file)? {
                roots.add(certificate).map_err(|error| unusable(access, file, error))?;
            }
        }
        None if access.auth_url.starts_with("https:") => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    Ok(roots)
}

fn certificates(access: &KeystoneAccess, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| unusable(access, file, error))?;
    read.collect::<std::result::Result<_, _>>().map_err(|error| unusable(access, file, error))
}

fn unusable(access: &KeystoneAccess, file: &Path, error: impl Display) -> Error {
    Error::internal(format!("[{}] {}: {error}", access.group, file.display()))
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
