//! `tls pull PORT PATH BYTES CONNECTIONS ROUNDS SUITE PID...` downloads BYTES over TLS and throws the ciphertext away as it lies in
//! the kernel: after the handshake the client costs next to nothing, so the server is what is measured. It prints GiB/s and the
//! CPU seconds per GiB of the processes PID and of all their threads. What arrives is not looked at; `run.sh` compares the bytes
//! before, with a real client.
//!
//! `tls ciphers` prints what ring and aws-lc-rs seal in a second, record by record.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

const GIB: f64 = 1073741824.0;
/// Bytes of a record.
const RECORD: usize = 16 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["pull", port, path, bytes, connections, rounds, suite, ref servers @ ..] => {
            let number = |word: &str| word.parse::<u64>().expect("a number");
            let servers: Vec<u64> = servers.iter().map(|word| number(word)).collect();
            let pull = Pull {
                port: port.parse().expect("a port"),
                path: path.to_owned(),
                bytes: number(bytes),
                config: Arc::new(config(suite)),
            };
            measure(&pull, number(connections), number(rounds), &servers);
        }
        ["ciphers"] => ciphers(),
        _ => panic!("usage: tls pull PORT PATH BYTES CONNECTIONS ROUNDS SUITE PID... | tls ciphers"),
    }
}

struct Pull {
    port: u16,
    path: String,
    bytes: u64,
    config: Arc<ClientConfig>,
}

fn measure(pull: &Pull, connections: u64, rounds: u64, servers: &[u64]) {
    let (cpu_before, started) = (busy(servers), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| (0..rounds).for_each(|_| download(pull)));
        }
    });
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), busy(servers) - cpu_before);
    let gib = (pull.bytes * connections * rounds) as f64 / GIB;
    println!("{:.3} {:.4}", gib / seconds, cpu / gib);
}

/// One download on a connection of its own.
fn download(pull: &Pull) {
    let mut stream = TcpStream::connect(("127.0.0.1", pull.port)).expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(&pull.config), name).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).expect("a handshake");
    }
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", pull.path);
    tls.writer().write_all(request.as_bytes()).expect("a request");
    while tls.wants_write() {
        tls.write_tls(&mut stream).expect("a request");
    }
    let mut nowhere = vec![0u8; 4 << 20];
    let mut received = 0;
    loop {
        match rustix::net::recv(&stream, &mut nowhere[..], RecvFlags::TRUNC).expect("a body") {
            (_, 0) => break,
            (_, count) => received += count as u64,
        }
    }
    // Records add a little, a head is small: less is not the whole body, much more is not this body.
    assert!(
        received > pull.bytes && received < pull.bytes + pull.bytes / 256 + 16384,
        "{received} bytes of {}",
        pull.bytes
    );
}

fn config(suite: &str) -> ClientConfig {
    let mut provider = rustls::crypto::ring::default_provider();
    let wanted = match suite {
        "128" => CipherSuite::TLS13_AES_128_GCM_SHA256,
        "256" => CipherSuite::TLS13_AES_256_GCM_SHA384,
        _ => panic!("SUITE is 128 or 256"),
    };
    provider.cipher_suites.retain(|known| known.suite() == wanted);
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth()
}

/// Takes any certificate: who the server is does not matter here.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// CPU seconds that all threads of `processes` have used.
fn busy(processes: &[u64]) -> f64 {
    let mut nanoseconds = 0u64;
    for process in processes {
        for thread in std::fs::read_dir(format!("/proc/{process}/task")).expect("the server runs") {
            let path = thread.expect("a thread").path().join("schedstat");
            let mut line = String::new();
            let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut line));
            read.expect("the kernel counts");
            nanoseconds += line.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    nanoseconds as f64 / 1e9
}

/// Prints GB/s (10^9 bytes) of each cipher of each library.
fn ciphers() {
    use aws_lc_rs::aead as aws;
    use ring::aead as ring;
    for (name, of_ring, of_aws, bytes) in [
        ("AES-128-GCM", &ring::AES_128_GCM, &aws::AES_128_GCM, 16),
        ("AES-256-GCM", &ring::AES_256_GCM, &aws::AES_256_GCM, 32),
        ("CHACHA20-POLY1305", &ring::CHACHA20_POLY1305, &aws::CHACHA20_POLY1305, 32),
    ] {
        let key = ring::LessSafeKey::new(ring::UnboundKey::new(of_ring, &vec![1; bytes]).expect("a key"));
        let by_ring = rate(|record| {
            let nonce = ring::Nonce::assume_unique_for_key([0; 12]);
            let _tag = key.seal_in_place_separate_tag(nonce, ring::Aad::from([0; 5]), record).expect("a record");
        });
        let key = aws::LessSafeKey::new(aws::UnboundKey::new(of_aws, &vec![1; bytes]).expect("a key"));
        let by_aws = rate(|record| {
            let nonce = aws::Nonce::assume_unique_for_key([0; 12]);
            let _tag = key.seal_in_place_separate_tag(nonce, aws::Aad::from([0; 5]), record).expect("a record");
        });
        println!("{name}: ring {by_ring:.1}, aws-lc-rs {by_aws:.1}");
    }
}

fn rate(mut seal: impl FnMut(&mut [u8])) -> f64 {
    let mut memory = vec![7u8; 16 * RECORD];
    let (started, mut bytes) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(1) {
        memory.chunks_mut(RECORD).for_each(&mut seal);
        bytes += memory.len();
    }
    bytes as f64 / started.elapsed().as_secs_f64() / 1e9
}
