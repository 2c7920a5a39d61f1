//! Certificates of signers: read, valid today, and issued by whom the operator trusts.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::Refusal;
use super::key::Key;

/// `id-kp-codeSigning` (RFC 5280): what a certificate must be for, if it says what it is for.
const CODE_SIGNING: &[u8] = &[43, 6, 1, 5, 5, 7, 3, 3];

/// Whose certificates sign images, or sign those which do.
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// From a file of PEM certificates.
    ///
    /// # Errors
    /// A file that cannot be used; the message names it.
    pub(super) fn read(file: &Path) -> Result<Authorities> {
        let unusable = |error: &dyn std::fmt::Display| {
            Error::internal(format!("[control] signature_ca_file {}: {error}", file.display()))
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))?;
        let certificates: std::result::Result<Vec<_>, _> = certificates.collect();
        let certificates = certificates.map_err(|error| unusable(&error))?;
        if certificates.is_empty() {
            return Err(unusable(&"no certificate is in it"));
        }
        for certificate in &certificates {
            anchor_from_trusted_cert(certificate).map_err(|error| unusable(&error))?;
        }
        Ok(Authorities { certificates })
    }

    /// Whether `certificate` is one of these, or was issued by one or below one.
    fn trust(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        if self.certificates.iter().any(|trusted| trusted.as_ref() == certificate.as_ref()) {
            return true;
        }
        let anchors: Vec<TrustAnchor<'_>> =
            self.certificates.iter().filter_map(|trusted| anchor_from_trusted_cert(trusted).ok()).collect();
        let Ok(end) = EndEntityCert::try_from(certificate) else { return false };
        let usage = KeyUsage::required_if_present(CODE_SIGNING);
        let path = end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], now, usage, None, None);
        path.is_ok()
    }
}

/// The certificate of a payload of the key manager, PEM or DER, as DER.
///
/// # Errors
/// Octets that are no X.509 certificate.
pub(super) fn decode(payload: &[u8]) -> Result<CertificateDer<'static>, Refusal> {
    let certificate = CertificateDer::from_pem_slice(payload).unwrap_or_else(|_| payload.to_vec().into());
    parse(&certificate).map(|_| certificate)
}

/// Refuses a certificate that is not valid at `now`, or not trusted.
///
/// # Errors
/// Which of the two.
pub(super) fn check(
    der: &CertificateDer<'_>,
    authorities: Option<&Authorities>,
    now: SystemTime,
) -> Result<(), Refusal> {
    let certificate = parse(der)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let validity = certificate.tbs_certificate().validity();
    if now < validity.not_before.to_unix_duration() || now > validity.not_after.to_unix_duration() {
        return Err(Refusal::plain("The certificate is outside its valid date range."));
    }
    if authorities.is_some_and(|authorities| !authorities.trust(der, UnixTime::since_unix_epoch(now))) {
        return Err(Refusal::plain("The certificate was not issued by an authority that is trusted here."));
    }
    Ok(())
}

/// The public key of a certificate.
///
/// # Errors
/// One that is broken or not supported.
pub(super) fn key(der: &CertificateDer<'_>) -> Result<Key, Refusal> {
    Key::read(parse(der)?.tbs_certificate().subject_public_key_info())
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, Refusal> {
    Certificate::from_der(der).map_err(|_| Refusal::new("The certificate cannot be read as X.509"))
}
