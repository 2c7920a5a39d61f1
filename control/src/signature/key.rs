//! Public keys, and signatures made with them. Only digests are seen here, never what was signed.

use std::ops::RangeInclusive;

use dsa::BoxedUint;
use dsa::signature::hazmat::PrehashVerifier;
use rsa::sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::Refusal;
use super::claim::{Hash, KeyType};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Bits of the modulus of an RSA key, from the smallest to the largest that OpenSSL takes.
const RSA_BITS: RangeInclusive<usize> = 1024..=16_384;

/// A public key.
#[derive(Debug)]
pub(super) enum Key {
    Rsa(rsa::PublicKey),
    Dsa(Box<dsa::VerifyingKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl Key {
    /// The key of a certificate.
    ///
    /// # Errors
    /// A kind of key that is not known, or a broken one.
    pub(super) fn read(info: &SubjectPublicKeyInfoOwned) -> Result<Key, Refusal> {
        let bytes = info.subject_public_key.as_bytes().unwrap_or_default();
        let parameters = info.algorithm.parameters.as_ref();
        let key = match info.algorithm.oid {
            RSA | RSA_PSS => rsa_key(bytes).map(Key::Rsa),
            DSA => parameters.and_then(|parameters| dsa_key(&parameters.to_der().ok()?, bytes)).map(Key::Dsa),
            ELLIPTIC_CURVE => {
                let curve: Option<ObjectIdentifier> = parameters.and_then(|parameters| parameters.decode_as().ok());
                match curve {
                    Some(P256) => p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok().map(Key::P256),
                    Some(P384) => p384::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok().map(Key::P384),
                    Some(P521) => p521::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok().map(Key::P521),
                    curve => {
                        let curve = curve.map_or_else(|| "explicit parameters".to_owned(), |curve| curve.to_string());
                        return Err(Refusal::new(format!(
                            "The elliptic curve of the certificate's key ({curve}) is not supported; supported are P-256, P-384 \
                             and P-521"
                        )));
                    }
                }
            }
            other => {
                return Err(Refusal::new(format!(
                    "The certificate's key is of a kind ({other}) that is not supported; supported are RSA, DSA and elliptic curves"
                )));
            }
        };
        key.ok_or_else(|| Refusal::new("The certificate's key is broken, or of a size that is not supported"))
    }

    /// Whether `kind` of signatures can be made with this key.
    pub(super) fn is_for(&self, kind: KeyType) -> bool {
        match self {
            Key::Rsa(_) => kind == KeyType::RsaPss,
            Key::Dsa(_) => kind == KeyType::Dsa,
            Key::P256(_) | Key::P384(_) | Key::P521(_) => kind == KeyType::EllipticCurve,
        }
    }

    /// Whether `signature` is that of what has this digest. RSA: PSS with MGF1 of the same hash and a salt of any length, as
    /// Glance has it; the others: two integers in DER.
    pub(super) fn verifies(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
        fn check<S>(key: &impl PrehashVerifier<S>, digest: &[u8], signature: Option<S>) -> bool {
            signature.is_some_and(|signature| key.verify_prehash(digest, &signature).is_ok())
        }
        match self {
            Key::Rsa(key) => match hash {
                Hash::Sha224 => verifies_pss::<Sha224>(key, digest, signature),
                Hash::Sha256 => verifies_pss::<Sha256>(key, digest, signature),
                Hash::Sha384 => verifies_pss::<Sha384>(key, digest, signature),
                Hash::Sha512 => verifies_pss::<Sha512>(key, digest, signature),
            },
            Key::Dsa(key) => check(key.as_ref(), digest, dsa::Signature::try_from(signature).ok()),
            Key::P256(key) => check(key, digest, p256::ecdsa::DerSignature::try_from(signature).ok()),
            Key::P384(key) => check(key, digest, p384::ecdsa::DerSignature::try_from(signature).ok()),
            Key::P521(key) => check(key, digest, p521::ecdsa::DerSignature::try_from(signature).ok()),
        }
    }
}

fn verifies_pss<D: Digest + rsa::sha2::digest::FixedOutputReset>(
    key: &rsa::PublicKey,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(signature) = rsa::pss::Signature::from_bytes_with_max_len(signature, RSA_BITS.end() / 8) else {
        return false;
    };
    let key = rsa::pss::VerifyingKey::<D>::new_with_auto_salt_len(key.clone());
    key.verify_prehash(digest, &signature).is_ok()
}

/// RFC 8017, appendix A.1.1.
fn rsa_key(der: &[u8]) -> Option<rsa::PublicKey> {
    let [modulus, exponent] = integers(der)?.map(BoxedUint::from_be_slice_vartime);
    rsa::PublicKey::new_with_size_limits(modulus, exponent, RSA_BITS).ok()
}

/// RFC 3279, section 2.3.2.
fn dsa_key(parameters: &[u8], der: &[u8]) -> Option<Box<dsa::VerifyingKey>> {
    let [p, q, g] = integers(parameters)?;
    let (p, q) = (BoxedUint::from_be_slice_vartime(p), BoxedUint::from_be_slice_vartime(q));
    // The arithmetic wants numbers as wide as the modulus, and below it.
    let below = |bytes| BoxedUint::from_be_slice(bytes, p.bits_precision()).ok().filter(|number| *number < p);
    let (g, y) = (below(g)?, below(UintRef::from_der(der).ok()?.as_bytes())?);
    let components = dsa::Components::from_components(p, q, g).ok()?;
    dsa::VerifyingKey::from_components(components, y).ok().map(Box::new)
}

/// The octets of the integers in a sequence of just so many.
fn integers<const N: usize>(der: &[u8]) -> Option<[&[u8]; N]> {
    let mut reader = SliceReader::new(der).ok()?;
    let numbers = reader.sequence(|reader| {
        let mut numbers: [&[u8]; N] = [&[]; N];
        for number in &mut numbers {
            *number = UintRef::decode(reader)?.as_bytes();
        }
        Ok::<_, x509_cert::der::Error>(numbers)
    });
    numbers.ok()
}
