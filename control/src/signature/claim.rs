//! What an image's properties say of its signature.

use common::model::Image;
use serde::{Deserialize, Serialize};

use super::Refusal;

/// The signature, in base64.
pub(crate) const SIGNATURE: &str = "img_signature";
/// What was hashed with.
const HASH_METHOD: &str = "img_signature_hash_method";
/// What was signed with.
const KEY_TYPE: &str = "img_signature_key_type";
/// The certificate's id in the key manager.
const CERTIFICATE: &str = "img_signature_certificate_uuid";

/// The properties of a signed image, as they stand there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// `img_signature`.
    pub(super) signature: String,
    /// `img_signature_hash_method`.
    pub(super) hash_method: String,
    /// `img_signature_key_type`.
    pub(super) key_type: String,
    /// `img_signature_certificate_uuid`.
    pub(super) certificate: String,
}

/// Whether an image claims by this property that it is signed.
pub(crate) fn is_claim(name: &str) -> bool {
    [SIGNATURE, HASH_METHOD, KEY_TYPE, CERTIFICATE].contains(&name)
}

impl Claim {
    /// The claim of `image`. Without any of the four properties it is not signed, as Glance has it.
    pub(crate) fn of(image: &Image) -> Option<Claim> {
        let text = |name| image.property(name).map(str::to_owned);
        Some(Claim {
            signature: text(SIGNATURE)?,
            hash_method: text(HASH_METHOD)?,
            key_type: text(KEY_TYPE)?,
            certificate: text(CERTIFICATE)?,
        })
    }
}

/// What was hashed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hash {
    #[serde(rename = "SHA-224")]
    Sha224,
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-384")]
    Sha384,
    #[serde(rename = "SHA-512")]
    Sha512,
}

impl Hash {
    const ALL: [Hash; 4] = [Hash::Sha224, Hash::Sha256, Hash::Sha384, Hash::Sha512];

    /// By its name in the property.
    pub(super) fn named(name: &str) -> Result<Hash, Refusal> {
        let found = Hash::ALL.into_iter().find(|hash| hash.name() == name);
        found.ok_or_else(|| Refusal::new(format!("Invalid signature hash method: {name}")))
    }

    fn name(self) -> &'static str {
        match self {
            Hash::Sha224 => "SHA-224",
            Hash::Sha256 => "SHA-256",
            Hash::Sha384 => "SHA-384",
            Hash::Sha512 => "SHA-512",
        }
    }

    /// The name of the digest among those of the data plane.
    pub(crate) fn digest_name(self) -> &'static str {
        match self {
            Hash::Sha224 => "sha224",
            Hash::Sha256 => "sha256",
            Hash::Sha384 => "sha384",
            Hash::Sha512 => "sha512",
        }
    }
}

/// What was signed with. For elliptic curves Glance takes any curve that the certificate has, whichever the type names; so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyType {
    RsaPss,
    Dsa,
    EllipticCurve,
}

impl KeyType {
    /// By its name in the property. The curves over binary fields (`ECC_SECT…`) are gone from what Glance is built upon as well.
    pub(super) fn named(name: &str) -> Result<KeyType, Refusal> {
        match name {
            "RSA-PSS" => Ok(KeyType::RsaPss),
            "DSA" => Ok(KeyType::Dsa),
            "ECC_SECP521R1" | "ECC_SECP384R1" => Ok(KeyType::EllipticCurve),
            _ => Err(Refusal::new(format!("Invalid signature key type: {name}"))),
        }
    }
}

/// The octets of a base64 text, as lenient as Glance: what is not of the alphabet, such as line breaks, is skipped, and what follows
/// the padding too.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, Refusal> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0_u32, 0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if count % 4 >= 2 => {
                padding += 1;
                if count % 4 + padding >= 4 {
                    return Ok(octets);
                }
                continue;
            }
            _ => continue,
        };
        padding = 0;
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count % 4 != 1 {
            let unused = 6 - 2 * ((count + 3) % 4);
            octets.push((bits >> unused).to_le_bytes()[0]);
        }
    }
    match count % 4 {
        0 => Ok(octets),
        _ => Err(Refusal::new("The signature data was not properly encoded using base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_python_reads_it() {
        let decoded = |text| decode_base64(text).map_err(|refusal| refusal.to_string());
        let broken =
            Err("Signature verification for the image failed: The signature data was not properly encoded using \
                          base64."
                .to_owned());
        for (text, expected) in [
            ("", Ok(&b""[..])),
            ("YQ==", Ok(b"a")),
            ("YWI=", Ok(b"ab")),
            ("YWJj", Ok(b"abc")),
            ("YWJj/+8=", Ok(b"abc\xff\xef")),
            ("YW\nJj\r\n", Ok(b"abc")),
            ("YWI=YWJj", Ok(b"ab")),
            ("YQ=YQ==", Ok(b"a\x06\x10")),
            ("ä!", Ok(b"")),
            ("=", Ok(b"")),
            ("YQ", broken.clone()),
            ("YQ=", broken.clone()),
            ("YWJjZ", broken.clone()),
        ] {
            assert_eq!(decoded(text), expected.map(<[u8]>::to_vec), "{text}");
        }
    }
}
