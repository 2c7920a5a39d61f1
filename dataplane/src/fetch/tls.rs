//! TLS to other servers, on the certificates that the system trusts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::FetchError;
use crate::io::{Conn, Offload};

/// What servers are judged by, read when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct TlsClient {
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    /// Does the handshake with the server `host`, in at most `limit` of time.
    ///
    /// # Errors
    /// [`FetchError::Tls`].
    pub(super) async fn secure(&self, conn: Conn, host: &str, limit: Duration) -> Result<Conn, FetchError> {
        let failed = |error: &dyn std::fmt::Display| FetchError::Tls(error.to_string());
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let config = match self.config.get() {
            Some(config) => config,
            None => {
                // Hundreds of files.
                let read = Offload::current().run(client_config).await.map_err(|error| failed(&error))?;
                self.config.get_or_init(|| read)
            }
        };
        conn.connect_tls(config, name, limit).await.map_err(|error| failed(&error))
    }
}

fn client_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("a certificate that the system trusts cannot be read: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            "the system trusts no certificate (SSL_CERT_FILE names a file of others): nothing comes over https"
        );
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_secret_extraction = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
