//! TLS towards clients: from the operator's files to what handshakes are done with, at start and again on SIGHUP.

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use common::config::{self, ClientAuth};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, version};

use crate::futures::{Either, race};
use crate::io::{Conn, TlsSettings, has_kernel_tls};
use crate::shard::Shard;

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

/// The listener's TLS. The settings are replaced as a whole; a handshake takes those of its beginning, and connections keep theirs.
pub(crate) struct Tls {
    options: config::Tls,
    provider: Arc<CryptoProvider>,
    /// Seals sessions into the tickets that clients keep for us: we keep none. Its keys change every six hours, and outlive a reload.
    ticketer: Arc<dyn ProducesTickets>,
    kernel: bool,
    current: RwLock<TlsSettings>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One line that names option, path and cause.
    pub(crate) fn load(options: &config::Tls) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ticketer =
            rustls::crypto::ring::Ticketer::new().map_err(|error| format!("no keys for tickets: {error}"))?;
        let kernel = options.kernel && has_kernel_tls();
        let current = RwLock::new(settings(options, &provider, &ticketer, kernel)?);
        tracing::info!(
            "clients are served over TLS; what they are sent is encrypted {}",
            match kernel {
                true => "by the kernel",
                false => "in this process",
            }
        );
        Ok(Tls { options: options.clone(), provider, ticketer, kernel, current })
    }

    /// Reads the files again. If anything is wrong with them the old ones stay in use.
    pub(crate) fn reload(&self) {
        match settings(&self.options, &self.provider, &self.ticketer, self.kernel) {
            Ok(settings) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = settings;
                tracing::info!("the TLS certificate in {} is in use", self.options.cert_file.display());
            }
            Err(problem) => tracing::error!("the old TLS certificate stays in use: {problem}"),
        }
    }

    fn current(&self) -> TlsSettings {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Does the handshake with a new client. `None`: there is no connection; that is counted, and told to who debugs.
pub(crate) async fn secure(shard: &Rc<Shard>, tls: &Tls, conn: Conn) -> Option<Conn> {
    let peer = conn.peer_addr();
    let drained = async {
        while !shard.draining.get() {
            shard.changed.wait().await;
        }
    };
    let settings = tls.current();
    match race(conn.accept_tls(&settings, tls.options.handshake_timeout), drained).await {
        Either::First(Ok(conn)) => {
            if let Some(facts) = conn.tls() {
                shard.metrics.tls.established(facts);
            }
            Some(conn)
        }
        Either::First(Err(error)) => {
            shard.metrics.tls.failed(&error);
            tracing::debug!("no TLS with {peer:?}: {error}");
            None
        }
        Either::Second(()) => None,
    }
}

fn settings(
    options: &config::Tls,
    provider: &Arc<CryptoProvider>,
    ticketer: &Arc<dyn ProducesTickets>,
    kernel: bool,
) -> Result<TlsSettings, String> {
    let mut versions = Vec::new();
    if options.v1_3 {
        versions.push(&version::TLS13);
    }
    if options.v1_2 {
        versions.push(&version::TLS12);
    }
    let verifier = verifier(options, provider)?;
    let chain = certificates("tls_cert_file", &options.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&options.key_file).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(
            "tls_key_file",
            &options.key_file,
            "there is no PEM key (PKCS#8, PKCS#1 or SEC1) without passphrase in it",
        ),
        error => unreadable("tls_key_file", &options.key_file, error),
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("[dataplane] tls_versions: {error}"))?;
    let builder = match &verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let cause = format!("it is not the key of the certificate in {}", options.cert_file.display());
            wrong("tls_key_file", &options.key_file, &cause)
        }
        Error::InvalidCertificate(error) => {
            wrong("tls_cert_file", &options.cert_file, &format!("no certificate: {error:?}"))
        }
        error => wrong("tls_key_file", &options.key_file, &error.to_string()),
    })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = Arc::clone(ticketer);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.enable_secret_extraction = true;
    Ok(TlsSettings { config: Arc::new(config), verifier, kernel })
}

/// Who judges clients' certificates, if they are asked for.
fn verifier(
    options: &config::Tls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(path) = options.client_ca_file.as_ref().filter(|_| options.client_auth != ClientAuth::None) else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_client_ca_file", path)? {
        roots.add(certificate).map_err(|error| wrong("tls_client_ca_file", path, &error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match options.client_auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        _ => builder,
    };
    builder.build().map(Some).map_err(|error| wrong("tls_client_ca_file", path, &error.to_string()))
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(option, path, error))?;
    if found.is_empty() {
        return Err(wrong(option, path, "there is no PEM certificate in it"));
    }
    Ok(found)
}

fn unreadable(option: &str, path: &Path, error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => wrong(option, path, &error.to_string()),
        error => wrong(option, path, &format!("it is not PEM: {error}")),
    }
}

fn wrong(option: &str, path: &Path, cause: &str) -> String {
    format!("[dataplane] {option} = {}: {cause}", path.display())
}
