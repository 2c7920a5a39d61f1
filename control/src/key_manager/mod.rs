//! The key manager, which holds the certificates of those who sign images. It is asked with the token of whoever sends the
//! request, so that it decides what they may see.

mod barbican;

use common::Result;
use common::config::{Config, KeyManagerKind};
use common::identity::Proof;
use uuid::Uuid;

use barbican::Barbican;

/// Why there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCertificate {
    /// There is no secret of that id.
    Absent,
    /// The key manager did not give it; why is in the log.
    Away,
    /// The secret is something else: what its format is called, in the words of Glance's library castellan.
    Other(&'static str),
}

/// Where certificates are.
pub(crate) enum KeyManager {
    /// Barbican.
    Barbican(Box<Barbican>),
    /// Another one, which cannot be asked.
    Unsupported,
}

impl KeyManager {
    /// As configured. Asks nothing yet.
    ///
    /// # Errors
    /// A file of certificates that cannot be used; the message names it.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        Ok(match &config.key_manager {
            KeyManagerKind::Barbican(options) => {
                KeyManager::Barbican(Box::new(Barbican::new(options.clone(), &config.control)?))
            }
            KeyManagerKind::Unsupported => KeyManager::Unsupported,
        })
    }

    /// The payload of the certificate `id`, if the holder of `proof` may have it.
    ///
    /// # Errors
    /// [`NoCertificate`]; failures of the key manager are logged.
    pub(crate) async fn certificate(
        &self,
        id: Uuid,
        proof: &Proof,
        request_id: &str,
    ) -> Result<Vec<u8>, NoCertificate> {
        let outcome = match self {
            KeyManager::Barbican(barbican) => barbican.certificate(id, proof).await,
            KeyManager::Unsupported => Err(barbican::Failure::Away("its kind is not supported".to_owned())),
        };
        outcome.map_err(|failure| match failure {
            barbican::Failure::Absent => NoCertificate::Absent,
            barbican::Failure::Other(format) => NoCertificate::Other(format),
            barbican::Failure::Away(cause) => {
                tracing::warn!(request_id, "the key manager does not give certificate {id}: {cause}");
                NoCertificate::Away
            }
        })
    }
}
