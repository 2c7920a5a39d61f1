//! Kernel TLS: the kernel encrypts what is written to the socket, files included (`include/uapi/linux/tls.h`).
//!
//! Only sending is given to it. Receives are rare beside downloads, and uploads must be read by us in any case.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustls::ConnectionTrafficSecrets;

use super::record::TlsVersion;
use crate::io::raw;

/// `TLS_1_2_VERSION`, `TLS_1_3_VERSION`.
const VERSION_1_2: u16 = 0x0303;
const VERSION_1_3: u16 = 0x0304;
/// `TLS_CIPHER_AES_GCM_128`, `TLS_CIPHER_AES_GCM_256`, `TLS_CIPHER_CHACHA20_POLY1305`.
const AES_GCM_128: u16 = 51;
const AES_GCM_256: u16 = 52;
const CHACHA20_POLY1305: u16 = 54;

/// Whether this kernel has TLS: it is asked with a socket that is not connected, so that nothing changes.
pub fn has_kernel_tls() -> bool {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let refused = socket.map_err(io::Error::from).and_then(|socket| {
        use std::os::fd::AsFd;
        raw::set_ulp_tls(socket.as_fd())
    });
    // Where TLS is missing it is ENOENT.
    refused.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::NOTCONN))
}

/// Hands the encryption of what is sent on `fd` to the kernel, from record `sequence` on.
pub(super) fn take_over(
    fd: BorrowedFd<'_>,
    version: TlsVersion,
    next: &(u64, ConnectionTrafficSecrets),
) -> io::Result<()> {
    let info = crypto_info(version, next.0, &next.1).ok_or(io::ErrorKind::Unsupported)?;
    raw::set_ulp_tls(fd)?;
    raw::set_tls_tx(fd, &info)
}

/// Gives the kernel the next key; kernels before 6.14 refuse.
pub(super) fn renew(fd: BorrowedFd<'_>, version: TlsVersion, next: &(u64, ConnectionTrafficSecrets)) -> io::Result<()> {
    let info = crypto_info(version, next.0, &next.1).ok_or(io::ErrorKind::Unsupported)?;
    raw::set_tls_tx(fd, &info)
}

/// `struct tls12_crypto_info_…`: version, cipher, then nonce, key, salt and sequence number.
fn crypto_info(version: TlsVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Vec<u8>> {
    let (cipher, key, iv, salt_bytes) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (AES_GCM_128, key, iv, 4),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (AES_GCM_256, key, iv, 4),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (CHACHA20_POLY1305, key, iv, 0),
        _ => return None,
    };
    let number = match version {
        TlsVersion::V1_2 => VERSION_1_2,
        TlsVersion::V1_3 => VERSION_1_3,
    };
    let (salt, nonce) = iv.as_ref().split_at_checked(salt_bytes)?;
    let mut nonce = nonce.to_owned();
    if version == TlsVersion::V1_2
        && let Ok(explicit) = <[u8; 8]>::try_from(&nonce[..])
    {
        // The kernel counts this part up with each record, where rustls has mixed the sequence number into it: begin behind
        // every one that was used.
        nonce = u64::from_be_bytes(explicit).wrapping_add(sequence).to_be_bytes().to_vec();
    }
    let mut info = Vec::with_capacity(64);
    info.extend_from_slice(&number.to_ne_bytes());
    info.extend_from_slice(&cipher.to_ne_bytes());
    info.extend_from_slice(&nonce);
    info.extend_from_slice(key.as_ref());
    info.extend_from_slice(salt);
    info.extend_from_slice(&sequence.to_be_bytes());
    Some(info)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;

    fn iv() -> Iv {
        Iv::new([0xf1, 0xf2, 0xf3, 0xf4, 1, 2, 3, 4, 5, 6, 7, 8])
    }

    fn key() -> AeadKey {
        AeadKey::from([7; 32])
    }

    #[test]
    fn infos_are_laid_out_as_the_kernel_documents_them() {
        let secrets = ConnectionTrafficSecrets::Aes256Gcm { key: key(), iv: iv() };
        let info = crypto_info(TlsVersion::V1_3, 5, &secrets).unwrap();
        let mut expected = Vec::new();
        expected.extend_from_slice(&0x0304u16.to_ne_bytes());
        expected.extend_from_slice(&52u16.to_ne_bytes());
        expected.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        expected.extend_from_slice(&[7; 32]);
        expected.extend_from_slice(&[0xf1, 0xf2, 0xf3, 0xf4]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(info, expected);
        // sizeof(struct tls12_crypto_info_aes_gcm_256)
        assert_eq!(info.len(), 56);
    }

    /// What a real handshake on AES-128 comes to: there is no other way to a key of 16 bytes.
    #[allow(deprecated)]
    fn secrets_of_a_handshake() -> (u64, ConnectionTrafficSecrets) {
        use std::sync::Arc;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|known| known.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let provider = Arc::new(provider);
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        server.enable_secret_extraction = true;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            server.read_tls(&mut &flight[..]).unwrap();
            server.process_new_packets().unwrap();
            flight.clear();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            client.read_tls(&mut &flight[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        server.dangerous_extract_secrets().unwrap().tx
    }

    #[test]
    fn a_short_key_makes_a_short_info() {
        let (sequence, secrets) = secrets_of_a_handshake();
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = &secrets else { panic!("not AES-128") };
        let info = crypto_info(TlsVersion::V1_3, sequence, &secrets).unwrap();
        // sizeof(struct tls12_crypto_info_aes_gcm_128)
        assert_eq!(info.len(), 40);
        assert_eq!(&info[2..4], 51u16.to_ne_bytes());
        assert_eq!((&info[4..12], &info[12..28], &info[28..32]), (&iv.as_ref()[4..], key.as_ref(), &iv.as_ref()[..4]));
        assert_eq!(info[32..], sequence.to_be_bytes());
    }

    #[test]
    fn chacha_has_no_salt() {
        let secrets = ConnectionTrafficSecrets::Chacha20Poly1305 { key: key(), iv: iv() };
        let info = crypto_info(TlsVersion::V1_3, 0, &secrets).unwrap();
        // sizeof(struct tls12_crypto_info_chacha20_poly1305)
        assert_eq!(info.len(), 56);
        assert_eq!(&info[4..16], iv().as_ref());
    }

    #[test]
    fn explicit_nonces_begin_behind_those_that_were_used() {
        let secrets = ConnectionTrafficSecrets::Aes256Gcm { key: key(), iv: iv() };
        let info = crypto_info(TlsVersion::V1_2, 1, &secrets).unwrap();
        assert_eq!(&info[..4], &[0x0303u16.to_ne_bytes(), 52u16.to_ne_bytes()].concat());
        assert_eq!(&info[4..12], &[1, 2, 3, 4, 5, 6, 7, 9]);
    }

    #[test]
    fn a_kernel_without_tls_is_found_out() {
        let listed = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap_or_default();
        if !listed.split_whitespace().any(|ulp| ulp == "tls") && rustix::process::geteuid().is_root() {
            // Root's question may load a module, so only the answer of a kernel without one is certain.
            let modules = std::fs::read_dir("/lib/modules").is_ok_and(|mut entries| entries.next().is_some());
            assert!(modules || !has_kernel_tls());
        } else if listed.split_whitespace().any(|ulp| ulp == "tls") {
            assert!(has_kernel_tls());
        }
    }
}
