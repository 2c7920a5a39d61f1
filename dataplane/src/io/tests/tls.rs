//! TLS inside a connection, against rustls as the client.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, version};

use super::super::*;
use super::{joined, on_both, pattern};

/// Version and suite of every session that can come about.
const SUITES: [(&rustls::SupportedProtocolVersion, CipherSuite); 6] = [
    (&version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    (&version::TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384),
    (&version::TLS13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (&version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (&version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (&version::TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The way of files where this process encrypts.
const COPY: SendOptions = SendOptions { path: SendPath::Copy, depth: 1, zero_copy: false };

const LIMIT: Duration = Duration::from_secs(10);

type Client = StreamOwned<ClientConnection, TcpStream>;

struct Site {
    settings: TlsSettings,
    roots: Arc<RootCertStore>,
}

fn site() -> Site {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.enable_secret_extraction = true;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let settings = TlsSettings { config: Arc::new(config), verifier: None, kernel: false };
    Site { settings, roots: Arc::new(roots) }
}

impl Site {
    fn client(&self, (version, suite): (&'static rustls::SupportedProtocolVersion, CipherSuite)) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|known| known.suite() == suite);
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]).unwrap();
        Arc::new(builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth())
    }

    /// Runs `client` in a thread; the server's end of its connection.
    async fn connected<T: Send + 'static>(
        &self,
        suite: (&'static rustls::SupportedProtocolVersion, CipherSuite),
        client: impl FnOnce(Client) -> T + Send + 'static,
    ) -> (Conn, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = self.client(suite);
        let running = std::thread::spawn(move || {
            let stream = TcpStream::connect(address).unwrap();
            let tls = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
            client(StreamOwned::new(tls, stream))
        });
        let conn = Listener::new(listener).unwrap().accept().await.unwrap();
        (conn.accept_tls(&self.settings, LIMIT).await.unwrap(), running)
    }
}

async fn echo(conn: &Conn, room: usize) {
    loop {
        let (result, bytes) = conn.recv(Vec::with_capacity(room)).await;
        if result.unwrap() == 0 {
            return;
        }
        conn.send_all(&bytes).await.unwrap();
    }
}

fn echoed(mut client: Client) {
    // Long enough for keys to be renewed on the way (every 100 records in tests), and odd.
    let sent = pattern(5_000_001);
    let mut received = Vec::new();
    for piece in sent.chunks(90_001) {
        client.write_all(piece).unwrap();
        let mut back = vec![0; piece.len()];
        client.read_exact(&mut back).unwrap();
        received.extend(back);
    }
    assert!(received == sent);
    client.conn.send_close_notify();
    client.flush().unwrap();
    // A word of farewell, not just the end: rustls takes that for an error.
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn every_suite_echoes_and_ends_in_order() {
    on_both(|_| async {
        let site = site();
        for (index, suite) in SUITES.into_iter().enumerate() {
            let (conn, client) = site.connected(suite, echoed).await;
            let facts = conn.tls().unwrap();
            assert_eq!(facts.version == TlsVersion::V1_3, index < 3);
            assert!(!conn.sends_files() && !facts.by_kernel && !facts.resumed);
            echo(&conn, [100, 8192, 300_000][index % 3]).await;
            drop(conn);
            joined(client).await;
        }
    });
}

#[test]
fn parts_and_files_are_sent_whole() {
    on_both(|_| async {
        let site = site();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let bytes = pattern(7_000_003);
        std::fs::write(&path, &bytes).unwrap();
        for suite in [SUITES[0], SUITES[3], SUITES[5]] {
            let (conn, client) = site
                .connected(suite, |mut client| {
                    let mut received = Vec::new();
                    client.read_to_end(&mut received).map(|_| received)
                })
                .await;
            conn.set_send_buffer(32 * 1024).unwrap();
            let parts: Vec<&[u8]> = bytes.chunks(1000).take(100).collect();
            conn.send_parts(&parts).await.unwrap();
            conn.send_with_more_to_come(&bytes[100_000..300_000]).await.unwrap();
            let file = File::open(&path).await.unwrap();
            let progress = Progress::new();
            send_file(&conn, file, 300_000..bytes.len() as u64, COPY, &progress).await.unwrap();
            assert_eq!(progress.get(), bytes.len() as u64 - 300_000);
            conn.send_all(b"").await.unwrap();
            conn.shutdown_write().unwrap();
            assert!(conn.send_all(b"x").await.is_err());
            assert!(joined(client).await.unwrap() == bytes);
        }
    });
}

#[test]
fn a_file_that_shrank_ends_the_stream_without_farewell() {
    on_both(|_| async {
        let site = site();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, pattern(100_000)).unwrap();
        let (conn, client) = site.connected(SUITES[0], |mut client| client.read_to_end(&mut Vec::new())).await;
        let file = File::open(&path).await.unwrap();
        let error = send_file(&conn, file, 0..100_001, COPY, &Progress::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        conn.abort();
        drop(conn);
        assert_eq!(joined(client).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_send_that_is_dropped_ends_the_stream_without_farewell() {
    on_both(|_| async {
        let site = site();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (conn, client) = site
            .connected(SUITES[0], move |mut client| {
                client.flush().unwrap();
                wait.recv().unwrap();
                client.read_to_end(&mut Vec::new())
            })
            .await;
        conn.set_send_buffer(16 * 1024).unwrap();
        let bytes = pattern(30_000_000);
        assert!(timeout(Duration::from_millis(100), conn.send_all(&bytes)).await.is_err());
        assert_eq!(conn.send_all(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        drop(conn);
        go.send(()).unwrap();
        assert_eq!(joined(client).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_stalled_peer_is_left_after_the_limit() {
    on_both(|_| async {
        let site = site();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (conn, client) = site
            .connected(SUITES[0], move |mut client| {
                client.flush().unwrap();
                wait.recv().unwrap();
            })
            .await;
        conn.set_send_buffer(16 * 1024).unwrap();
        conn.set_send_patience(SendPatience { stall: Duration::from_millis(50), bytes_min: 0 });
        assert_eq!(conn.send_all(&pattern(30_000_000)).await.unwrap_err().kind(), ErrorKind::TimedOut);
        go.send(()).unwrap();
        joined(client).await;
    });
}

#[test]
fn receives_that_are_dropped_lose_nothing() {
    on_both(|_| async {
        let site = site();
        let sent = pattern(300_000);
        let copy = sent.clone();
        let (conn, client) = site
            .connected(SUITES[1], move |mut client| {
                for piece in copy.chunks(9_973) {
                    client.write_all(piece).unwrap();
                    std::thread::sleep(Duration::from_millis(2));
                }
                client.conn.send_close_notify();
                client.flush().unwrap();
                client.read_to_end(&mut Vec::new()).unwrap();
            })
            .await;
        let mut received = Vec::new();
        loop {
            if let Ok((result, bytes)) = timeout(Duration::from_millis(1), conn.recv(Vec::with_capacity(5000))).await {
                if result.unwrap() == 0 {
                    break;
                }
                received.extend(bytes);
            }
            match conn.recv_timeout(Vec::with_capacity(777), Duration::from_millis(1)).await {
                (Ok(0), _) => break,
                (Ok(_), bytes) => received.extend(bytes),
                (Err(error), _) => assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
        assert!(received == sent);
        drop(conn);
        joined(client).await;
    });
}

#[test]
fn the_end_is_seen_behind_what_is_unread_and_no_earlier() {
    on_both(|_| async {
        let site = site();
        let (conn, client) = site
            .connected(SUITES[0], |mut client| {
                client.flush().unwrap();
                std::thread::sleep(Duration::from_millis(100));
                client.write_all(b"last words").unwrap();
                client.conn.send_close_notify();
                client.flush().unwrap();
                client.read(&mut [0; 1]).unwrap()
            })
            .await;
        assert!(!conn.is_closed_by_peer());
        conn.wait_readable().await.unwrap();
        assert!(!conn.is_closed_by_peer(), "there are bytes to be read");
        let (result, bytes) = conn.recv_at_most(Vec::with_capacity(100), 4).await;
        assert_eq!((result.unwrap(), &bytes[..]), (4, &b"last"[..]));
        let (result, bytes) = conn.recv(Vec::with_capacity(100)).await;
        assert_eq!((result.unwrap(), &bytes[..]), (6, &b" words"[..]));
        conn.wait_readable().await.unwrap();
        assert!(conn.is_closed_by_peer());
        assert_eq!(conn.recv(Vec::with_capacity(1)).await.0.unwrap(), 0);
        drop(conn);
        assert_eq!(joined(client).await, 0);
    });
}

#[test]
fn a_client_that_changes_its_key_is_understood() {
    on_both(|_| async {
        let site = site();
        let (conn, client) = site
            .connected(SUITES[0], |mut client| {
                for round in 0..20u8 {
                    client.write_all(&[round; 1000]).unwrap();
                    let mut back = [0; 1000];
                    client.read_exact(&mut back).unwrap();
                    assert_eq!(back, [round; 1000]);
                    client.conn.refresh_traffic_keys().unwrap();
                }
                client.conn.send_close_notify();
                client.flush().unwrap();
            })
            .await;
        echo(&conn, 64).await;
        joined(client).await;
    });
}

#[test]
fn a_connection_moves_to_another_core_with_what_it_has_received() {
    on_both(|driver| async move {
        let site = site();
        let (conn, client) = site
            .connected(SUITES[0], |mut client| {
                client.write_all(b"one two").unwrap();
                let mut back = [0; 7];
                client.read_exact(&mut back).unwrap();
                assert_eq!(&back, b"one two");
                client.conn.send_close_notify();
                client.flush().unwrap();
                client.read_to_end(&mut Vec::new()).unwrap();
            })
            .await;
        let (result, first) = conn.recv_at_most(Vec::with_capacity(8), 3).await;
        assert_eq!((result.unwrap(), &first[..]), (3, &b"one"[..]));
        let moved = conn.detach().unwrap();
        let other = std::thread::spawn(move || {
            super::on_core(driver, move || async move {
                let conn = moved.attach().unwrap();
                conn.send_all(&first).await.unwrap();
                echo(&conn, 64).await;
            });
        });
        joined(other).await;
        joined(client).await;
    });
}

/// A record that was damaged on its way ends the connection, and the client is told.
#[test]
fn damaged_records_are_refused() {
    on_both(|_| async {
        let site = site();
        for suite in [SUITES[0], SUITES[3]] {
            let (conn, client) = site
                .connected(suite, |mut client| {
                    client.flush().unwrap();
                    client.sock.write_all(&[23, 3, 3, 0, 40]).unwrap();
                    client.sock.write_all(&[7; 40]).unwrap();
                    client.read(&mut [0; 1]).unwrap_err().to_string()
                })
                .await;
            let (result, _) = conn.recv(Vec::with_capacity(100)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidData);
            let (again, _) = conn.recv(Vec::with_capacity(100)).await;
            assert!(again.is_err() && conn.is_closed_by_peer());
            let told = joined(client).await;
            assert!(told.contains("BadRecordMac"), "{told}");
        }
    });
}

#[test]
fn one_task_receives_while_another_sends() {
    on_both(|_| async {
        let site = site();
        let (conn, client) = site
            .connected(SUITES[0], |client| {
                let (mut sock, mut tls) = (client.sock, client.conn);
                let bytes = pattern(3_000_000);
                let mut received: Vec<u8> = Vec::new();
                let mut rest = &bytes[..];
                while !rest.is_empty() || received.len() < bytes.len() {
                    let count = tls.writer().write(&rest[..rest.len().min(50_000)]).unwrap();
                    rest = &rest[count..];
                    while tls.wants_write() {
                        tls.write_tls(&mut sock).unwrap();
                    }
                    if received.len() < bytes.len() {
                        tls.read_tls(&mut sock).unwrap();
                        tls.process_new_packets().unwrap();
                        let mut piece = vec![0; 100_000];
                        if let Ok(count) = tls.reader().read(&mut piece) {
                            received.extend(&piece[..count]);
                        }
                    }
                }
                assert!(received == bytes);
            })
            .await;
        let conn = Rc::new(conn);
        let sender = Rc::clone(&conn);
        let sending = spawn(async move { sender.send_all(&pattern(3_000_000)).await });
        let mut received = Vec::new();
        while received.len() < 3_000_000 {
            let (result, bytes) = conn.recv(Vec::with_capacity(60_000)).await;
            assert!(result.unwrap() > 0);
            received.extend(bytes);
        }
        assert!(received == pattern(3_000_000));
        sending.await.unwrap().unwrap();
        joined(client).await;
    });
}

#[test]
fn who_does_not_shake_hands_is_left() {
    on_both(|_| async {
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::new(listener).unwrap();
        let attempt = async |bytes: &'static [u8]| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(bytes).unwrap();
            let conn = listener.accept().await.unwrap();
            let outcome = conn.accept_tls(&site.settings, Duration::from_millis(50)).await;
            let mut told = Vec::new();
            let read = joined(std::thread::spawn(move || client.read_to_end(&mut told).map(|_| told))).await;
            (outcome.err(), read.unwrap_or_default())
        };
        assert!(matches!(attempt(b"").await.0, Some(HandshakeError::TimedOut)));
        assert!(matches!(attempt(b"\x16\x03\x01\x02\x00\x01").await.0, Some(HandshakeError::TimedOut)));
        let (error, _) = attempt(b"\x16\x03\x01\x00\x04\x01\x0f\x42\x40").await;
        assert!(matches!(error, Some(HandshakeError::Refused(_))), "{error:?}");
        let (error, told) = attempt(b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\xff\xff").await;
        assert!(matches!(error, Some(HandshakeError::Refused(_))), "{error:?}");
        assert_eq!((told[0], told[5..].to_owned()), (21, vec![2, 50]), "an alert: decode_error");
        assert!(matches!(attempt(b"\x00\xff").await.0, Some(HandshakeError::Refused(_))));
        let (error, told) = attempt(b"GET / HTTP/1.1\r\n\r\n").await;
        assert!(matches!(error, Some(HandshakeError::PlainHttp)), "{error:?}");
        assert!(told.starts_with(b"HTTP/1.1 400 "));
    });
}

/// What a client's first flight is turned into, by the number of the case: bytes changed, cut, doubled, put in.
fn spoilt(hello: &[u8], case: usize) -> Vec<u8> {
    let noise = pattern(8 * (case + 1));
    let number = |at: usize| usize::from(noise[8 * case + at]) + 256 * usize::from(noise[8 * case + at + 1]);
    let mut bytes = hello.to_vec();
    for _ in 0..1 + case % 3 {
        let at = number(0) % bytes.len();
        match case % 5 {
            0 => bytes[at] ^= 1 << (number(2) % 8),
            1 => bytes.truncate(at + 1),
            2 => bytes.extend_from_within(at..),
            3 => bytes.splice(at..at, noise[..number(4) % noise.len()].iter().copied()).for_each(drop),
            _ => bytes[at] = noise[8 * case + 6],
        }
    }
    bytes
}

#[test]
fn no_hello_makes_a_handshake_panic() {
    on_both(|_| async {
        let site = site();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::new(listener).unwrap();
        for suite in [SUITES[0], SUITES[3]] {
            let name = ServerName::try_from("localhost").unwrap();
            let mut hello = Vec::new();
            ClientConnection::new(site.client(suite), name).unwrap().write_tls(&mut hello).unwrap();
            for case in 0..300 {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(&spoilt(&hello, case)).unwrap();
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let conn = listener.accept().await.unwrap();
                assert!(conn.accept_tls(&site.settings, LIMIT).await.is_err(), "a handshake out of case {case}");
            }
        }
    });
}
