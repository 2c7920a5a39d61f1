//! A signer's certificate and a signature: any octets are read or refused, and where they are read, the certificate says the same
//! as PEM, and a signature that verifies does so again.

use control::parsers;

/// The first octet names the hash, the next two say how long the certificate is; the signature follows. The digest is one octet all
/// through, the hash's own.
pub fn run(data: &[u8]) {
    let [choice, high, low, rest @ ..] = data else { return };
    let (certificate, signature) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(rest.len()));
    let (hash, bytes) = [("SHA-224", 28), ("SHA-256", 32), ("SHA-384", 48), ("SHA-512", 64)][usize::from(choice % 4)];
    let digest = vec![*choice; bytes];
    let verified = parsers::signature(certificate, hash, &digest, signature);
    assert_eq!(parsers::signature(pem(certificate).as_bytes(), hash, &digest, signature), verified);
}

fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits =
                group.iter().fold(0_usize, |bits, octet| bits << 8 | usize::from(*octet)) << (8 * (3 - group.len()));
            for index in 0..4 {
                text.push(if index <= group.len() { char::from(DIGITS[bits >> (18 - 6 * index) & 63]) } else { '=' });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
