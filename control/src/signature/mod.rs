//! Image signatures: who signed an image is told by four of its properties, and what was signed is its data.
//!
//! [`Signatures::statement`] fetches the signer's certificate before data moves, with the token of whoever sends it, and all that is
//! needed later goes on record, because the token may have ended by then and control may have been restarted. The data plane hashes
//! with one more digest; [`Signatures::verify`] decides before the image becomes active. `claim` knows the properties, `certificate`
//! the certificate, `key` the arithmetic. Texts are Glance's (those of its library cursive).

mod certificate;
mod claim;
mod key;

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use common::config::Config;
use common::identity::Proof;
use common::model::Image;
use common::{Error, Result};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::key_manager::{KeyManager, NoCertificate};
use certificate::Authorities;
pub(crate) use claim::{Claim, SIGNATURE, is_claim};
use claim::{Hash, KeyType};

/// Why data is not taken for what was signed, for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

impl Refusal {
    fn new(reason: impl fmt::Display) -> Self {
        Refusal(format!("Signature verification for the image failed: {reason}."))
    }

    /// Without the usual words before it.
    fn plain(text: &str) -> Self {
        Refusal(text.to_owned())
    }

    /// As clients read it.
    fn of_image(&self, image_id: &str) -> Error {
        Error::bad_request(format!("Signature verification failed for image {image_id}: {self}"))
    }
}

/// All that the verification of an image's data needs beside its digest, as it goes on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statement {
    /// The properties that it is about.
    claim: Claim,
    hash: Hash,
    key_type: KeyType,
    /// The signer's certificate: DER, hexadecimal.
    certificate: String,
}

impl Statement {
    /// The digest that is needed, by the name that the data plane knows.
    pub(crate) fn digest_name(&self) -> &'static str {
        self.hash.digest_name()
    }

    /// Whether it is about what `image` says now.
    pub(crate) fn is_about(&self, image: &Image) -> bool {
        Claim::of(image).is_some_and(|claim| claim == self.claim)
    }

    /// As the record of an upload keeps it.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn to_record(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// From such a record.
    ///
    /// # Errors
    /// 500 for one that this version does not understand: the data is then not taken.
    pub(crate) fn from_record(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::internal(format!("the record of a signature: {error}")))
    }
}

/// Verifies signatures. Clones are the same.
#[derive(Clone)]
pub(crate) struct Signatures {
    shared: Arc<Shared>,
}

struct Shared {
    key_manager: KeyManager,
    /// `None`: whatever the key manager gives is believed.
    authorities: Option<Authorities>,
}

impl Signatures {
    /// As `config` says. Asks nobody yet.
    ///
    /// # Errors
    /// A file of certificates that cannot be used; the message names it.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let authorities = config.control.signature_ca_file.as_deref().map(Authorities::read).transpose()?;
        let shared = Shared { key_manager: KeyManager::new(config)?, authorities };
        Ok(Signatures { shared: Arc::new(shared) })
    }

    /// What will be needed to verify data of `image`; `None` when it is not signed.
    ///
    /// # Errors
    /// 400 for properties that cannot be right, and for a certificate that is not there or not good.
    pub(crate) async fn statement(&self, image: &Image, proof: &Proof, request_id: &str) -> Result<Option<Statement>> {
        let Some(claim) = Claim::of(image) else { return Ok(None) };
        let refused = |refusal: Refusal| refusal.of_image(&image.id);
        let signature = claim::decode_base64(&claim.signature).map_err(refused)?;
        let hash = Hash::named(&claim.hash_method).map_err(refused)?;
        let key_type = KeyType::named(&claim.key_type).map_err(refused)?;
        let certificate = self.certificate(&claim.certificate, image, proof, request_id).await?;
        let statement = Statement { claim, hash, key_type, certificate: hexadecimal(&certificate) };
        let shared = self.shared.clone();
        let checked = contained(&image.id, move || {
            certificate::check(&certificate, shared.authorities.as_ref(), SystemTime::now())?;
            if !certificate::key(&certificate)?.is_for(key_type) {
                let name = &statement.claim.key_type;
                return Err(Refusal::new(format!("Invalid public key type for signature key type: {name}")));
            }
            match signature.is_empty() {
                true => Err(Refusal::new("Error occurred while creating the verifier")),
                false => Ok(statement),
            }
        });
        checked.await.map(Some).map_err(refused)
    }

    async fn certificate(
        &self,
        name: &str,
        image: &Image,
        proof: &Proof,
        request_id: &str,
    ) -> Result<CertificateDer<'static>> {
        // A reference is an id, or a URL that ends in one: only the id counts, whichever server the URL names.
        let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let id = Uuid::try_parse(last).map_err(|_| Error::bad_request("Secret incorrectly specified."))?;
        let refused = |reason: String| Refusal::new(reason).of_image(&image.id);
        match self.shared.key_manager.certificate(id, proof, request_id).await {
            Ok(payload) => certificate::decode(&payload).map_err(|refusal| refusal.of_image(&image.id)),
            Err(NoCertificate::Other(format)) => Err(refused(format!("Invalid certificate format: {format}"))),
            Err(NoCertificate::Absent) => Err(refused(format!("Certificate not found with ID: {name}"))),
            Err(NoCertificate::Away) => Err(refused(format!("Unable to retrieve certificate with ID: {name}"))),
        }
    }
}

/// Whether what has this digest (hexadecimal) was signed as `statement` says.
///
/// # Errors
/// 400 if not.
pub(crate) async fn verify(statement: Statement, digest: &str, image_id: &str) -> Result<()> {
    let digest = from_hexadecimal(digest).ok_or_else(|| Error::internal("the data plane's digest is none"))?;
    let verified = contained(image_id, move || {
        let signature = claim::decode_base64(&statement.claim.signature)?;
        let certificate = from_hexadecimal(&statement.certificate).unwrap_or_default().into();
        match certificate::key(&certificate)?.verifies(statement.hash, &digest, &signature) {
            true => Ok(()),
            false => Err(Refusal::plain("Signature verification failed")),
        }
    });
    verified.await.map_err(|refusal| refusal.of_image(image_id))
}

/// Does `work` away from the threads that serve requests, because large keys take milliseconds. If it should panic over what somebody
/// made up, that is a refusal.
async fn contained<T: Send + 'static>(
    image_id: &str,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(image = image_id, "the verification of a signature broke off: {error}");
        Err(Refusal::plain("Signature verification failed"))
    })
}

/// Whether `signature` is one of `digest` by the key of `certificate`, whatever its dates.
///
/// # Errors
/// A certificate, key or hash that is not understood.
pub(crate) fn verifies(certificate: &[u8], hash: &str, digest: &[u8], signature: &[u8]) -> Result<bool, Refusal> {
    let hash = Hash::named(hash)?;
    Ok(certificate::key(&certificate::decode(certificate)?)?.verifies(hash, digest, signature))
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Never fails.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
