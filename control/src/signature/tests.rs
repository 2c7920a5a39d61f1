//! Signatures made by the library that Glance verifies with; `vectors/make.py` makes them anew.

use std::time::{Duration, UNIX_EPOCH};

use ring::digest::{SHA256, SHA384, SHA512};
use rsa::sha2::{Digest, Sha224};

use super::certificate::{Authorities, check, decode, key};
use super::*;

/// What is signed.
const DATA: &[u8] = b"the data of an image";

/// Lines of key type, hash, certificate and signature each.
const ACCEPTED: &str = include_str!("vectors/accepted.txt");
/// The same, with padding that Glance does not take.
const REFUSED: &str = include_str!("vectors/refused.txt");

fn directory() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/signature/vectors")
}

fn certificate(name: &str) -> CertificateDer<'static> {
    let pem = std::fs::read(directory().join(name).with_extension("pem")).expect("a vector");
    decode(&pem).expect("a certificate")
}

fn digest(hash: Hash, data: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha224 => Sha224::digest(data).to_vec(),
        Hash::Sha256 => ring::digest::digest(&SHA256, data).as_ref().to_vec(),
        Hash::Sha384 => ring::digest::digest(&SHA384, data).as_ref().to_vec(),
        Hash::Sha512 => ring::digest::digest(&SHA512, data).as_ref().to_vec(),
    }
}

fn statement(line: &str) -> Statement {
    let [key_type, hash, name, signature] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("four words") };
    let claim = Claim {
        signature: signature.to_owned(),
        hash_method: hash.to_owned(),
        key_type: key_type.to_owned(),
        certificate: name.to_owned(),
    };
    Statement {
        hash: Hash::named(hash).expect("known"),
        key_type: KeyType::named(key_type).expect("known"),
        certificate: hexadecimal(&certificate(name)),
        claim,
    }
}

#[tokio::test]
async fn every_kind_of_signature_is_verified() {
    for line in ACCEPTED.lines() {
        let statement = statement(line);
        assert_eq!(Statement::from_record(&statement.to_record().expect("a record")), Ok(statement.clone()));
        assert!(key(&certificate(&statement.claim.certificate)).expect("a key").is_for(statement.key_type), "{line}");
        let hexadecimal_digest = hexadecimal(&digest(statement.hash, DATA));
        assert_eq!(verify(statement.clone(), &hexadecimal_digest, "i").await, Ok(()), "{line}");
        let other = hexadecimal(&digest(statement.hash, b"the data of an imagE"));
        let refused = verify(statement, &other, "i").await.expect_err("other data");
        let text = "Signature verification failed for image i: Signature verification failed";
        assert_eq!((refused.status().as_u16(), refused.message.as_str()), (400, text), "{line}");
    }
    assert_eq!(ACCEPTED.lines().count(), 37);
}

#[test]
fn a_signature_is_as_long_and_padded_as_it_must_be() {
    for line in REFUSED.lines() {
        let statement = statement(line);
        let signature = claim::decode_base64(&statement.claim.signature).expect("base64");
        assert!(!key(&certificate("rsa-2048")).expect("a key").verifies(
            statement.hash,
            &digest(statement.hash, DATA),
            &signature
        ));
    }
    for line in ACCEPTED.lines() {
        let statement = statement(line);
        let key = key(&certificate(&statement.claim.certificate)).expect("a key");
        let (digest, good) = (digest(statement.hash, DATA), claim::decode_base64(&statement.claim.signature));
        let good = good.expect("base64");
        // Whatever is cut, added or changed, nothing but the signature itself is accepted, and nothing panics.
        for end in [0, 1, 2, good.len() / 2, good.len() - 1] {
            assert!(!key.verifies(statement.hash, &digest, &good[..end]), "{line}");
        }
        assert!(!key.verifies(statement.hash, &digest, &[&good[..], &[0]].concat()), "{line}");
        assert!(!key.verifies(statement.hash, &digest, &vec![0xff; good.len()]), "{line}");
        assert!(!key.verifies(statement.hash, &digest, &vec![0; good.len()]), "{line}");
        for index in (0..good.len()).step_by(good.len() / 4) {
            let mut changed = good.clone();
            changed[index] ^= 0x10;
            assert!(!key.verifies(statement.hash, &digest, &changed), "{line}, octet {index}");
        }
    }
}

#[test]
fn keys_that_are_not_supported_are_named() {
    let refusal = |name| key(&certificate(name)).expect_err("not supported").to_string();
    assert!(refusal("secp256k1").contains("(1.3.132.0.10) is not supported; supported are P-256, P-384 and P-521"));
    assert!(refusal("ed25519").contains("kind (1.3.101.112) that is not supported"));
}

#[test]
fn broken_certificates_never_panic() {
    for name in ["rsa-2048", "dsa-1024", "p384"] {
        let whole = certificate(name);
        for index in 0..whole.len() {
            let mut broken = whole.to_vec();
            broken[index] ^= 0x81;
            let Ok(certificate) = decode(&broken) else { continue };
            let Ok(key) = key(&certificate) else { continue };
            key.verifies(Hash::Sha256, &[7; 32], &[1; 256]);
        }
        assert!(decode(&whole[..whole.len() - 1]).is_err());
    }
    assert!(decode(b"").is_err() && decode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err());
}

#[test]
fn a_certificate_is_valid_between_its_dates() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let text = Err(Refusal::plain("The certificate is outside its valid date range."));
    assert_eq!(check(&certificate("rsa-2048"), None, now), Ok(()));
    assert_eq!(
        [check(&certificate("expired"), None, now), check(&certificate("early"), None, now)],
        [text.clone(), text]
    );
}

#[test]
fn authorities_certify_at_any_distance() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let dir = tempfile::tempdir().expect("a directory");
    let trusting = |names: &[&str]| {
        let pem: String = names
            .iter()
            .map(|name| std::fs::read_to_string(directory().join(name).with_extension("pem")).expect("a vector"))
            .collect();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, pem).expect("written");
        Authorities::read(&file)
    };
    let is_trusted = |names: &[&str], name| {
        let authorities = trusting(names).expect("good certificates");
        check(&certificate(name), Some(&authorities), now).is_ok()
    };
    assert!(is_trusted(&["authority"], "direct-leaf"));
    assert!(is_trusted(&["intermediate"], "leaf") && is_trusted(&["authority", "intermediate"], "leaf"));
    assert!(is_trusted(&["authority", "rsa-2048"], "rsa-2048"), "itself");
    assert!(!is_trusted(&["authority"], "leaf"), "what is between them is not there");
    assert!(!is_trusted(&["authority"], "rsa-2048") && !is_trusted(&["rsa-2048"], "direct-leaf"));
    assert!(!is_trusted(&["authority"], "below-no-authority"));
    for names in [&[][..], &["accepted"]] {
        let name = names.first().map_or_else(|| "ca.pem".to_owned(), |name| format!("{name}.txt"));
        let read =
            if names.is_empty() { trusting(&[]).err() } else { Authorities::read(&directory().join(&name)).err() };
        let cause = read.expect("no certificates").cause.unwrap_or_default();
        assert!(cause.contains(&name) && cause.contains("no certificate is in it"), "{cause}");
    }
}
