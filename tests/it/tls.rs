//! TLS from outside: what clients see, what operators configure, and what the malicious try.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use rustls::{ClientConfig, HandshakeKind, version};
use tempfile::TempDir;

use crate::harness::client::{Stream, chunked, head, socket};
use crate::harness::data::{bytes, md5, sha512};
use crate::harness::server::{OCTETS, Options, run_to_end};
use crate::harness::tls::{Authority, Identity, connect};
use crate::harness::{Connection, Server, eventually};

const DAY: Duration = Duration::from_secs(86_400);

/// A server's certificate and key on disk, and who made them.
struct Site {
    directory: TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Site {
        let site = Site { directory: tempfile::tempdir().expect("a directory"), authority: Authority::new("tests") };
        site.install(&site.authority.server());
        fs::write(site.path("ca.pem"), &site.authority.pem).expect("a file");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn install(&self, identity: &Identity) {
        fs::write(self.path("cert.pem"), &identity.cert_pem).expect("a file");
        fs::write(self.path("key.pem"), &identity.key_pem).expect("a file");
    }

    fn config(&self, more: &str) -> String {
        let (cert, key) = (self.path("cert.pem"), self.path("key.pem"));
        format!("[dataplane]\ntls_cert_file = {}\ntls_key_file = {}\n{more}", cert.display(), key.display())
    }

    fn server(&self, more: &str) -> Server {
        self.server_for(more, self.authority.client_config())
    }

    fn server_for(&self, more: &str, client: Arc<ClientConfig>) -> Server {
        Server::ours(Options { config: Some(self.config(more)), tls: Some(client), ..Options::default() })
    }

    /// `openssl s_client` to `server` with these inputs, one after the other: everything that it prints.
    fn s_client(&self, server: &Server, arguments: &[&str], inputs: &[&[u8]]) -> String {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &server.address.to_string(), "-CAfile"])
            .arg(self.path("ca.pem"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl");
        let mut stdin = child.stdin.take().expect("piped");
        for input in inputs {
            // A letter is a command only if it is all that is there to be read; it may have ended after one.
            std::thread::sleep(Duration::from_millis(300));
            let _ = stdin.write_all(input);
        }
        // It ends with its input: what it still has to hear gets a moment.
        std::thread::sleep(Duration::from_millis(300));
        drop(stdin);
        let output = child.wait_with_output().expect("openssl");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

/// The server is there and answers.
fn assert_alive(server: &Server) {
    server.get("/v2/images").expect(200);
}

/// Everything that matters to a client, once.
fn round(server: &Server) {
    let data = bytes(7, 3_000_017);
    let id = server.queued();
    server.upload(&id, &data).expect(204);
    let image = server.show(&id);
    assert_eq!((&image["checksum"], &image["os_hash_value"]), (&md5(&data).into(), &sha512(&data).into()));
    assert!(server.download(&id) == data);
    let path = format!("/v2/images/{id}/file");
    let mut connection = server.connect();
    for (from, to) in [(0, 0), (1, 16_384), (16_383, 300_000), (262_144, 262_144), (2_999_000, 3_000_016)] {
        let range = format!("bytes={from}-{to}");
        let part = connection.request("GET", &path, &[("Range", &range)], None).expect("a reply").expect(206);
        assert!(part.body == data[from..=to], "{range}");
    }
    let id = server.queued();
    server.upload_chunked(&id, &data, &[1, 17, 16_384, 100_000]).expect(204);
    assert!(server.download(&id) == data);
}

#[test]
fn images_go_up_and_down_in_both_versions_on_both_drivers() {
    let site = Site::new();
    for driver in ["uring", "epoll"] {
        for each in [&version::TLS13, &version::TLS12] {
            let client = site.authority.trusting(&[each], None);
            round(&site.server_for(&format!("driver = {driver}\n"), client));
        }
    }
}

#[test]
fn a_version_that_is_not_offered_is_refused() {
    let site = Site::new();
    let server = site.server("tls_versions = 1.3\n");
    let old = site.authority.trusting(&[&version::TLS12], None);
    let refused = connect(server.address, &old).map(drop).expect_err("TLS 1.2").to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert_alive(&server);
}

#[test]
fn curl_gets_an_image_and_links_say_https() {
    let site = Site::new();
    let server = site.server("");
    let data = bytes(1, 1_000_003);
    let id = server.active(&data);
    let curl = |version: &str, path: &str| {
        let url = format!("https://localhost:{}{path}", server.address.port());
        let output =
            Command::new("curl").args(["-sSf", version, "--cacert"]).arg(site.path("ca.pem")).arg(url).output();
        let output = output.expect("curl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let version = if version == "--tls-max=1.2" { "--tlsv1.2" } else { version };
        assert!(curl(version, &format!("/v2/images/{id}/file")) == data);
    }
    let versions = String::from_utf8(curl("--tlsv1.3", "/versions")).expect("text");
    assert!(versions.contains(&format!("https://localhost:{}/v2/", server.address.port())), "{versions}");
}

#[test]
fn only_http_1_is_spoken() {
    let site = Site::new();
    let server = site.server("");
    let mut config = (*site.authority.client_config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = connect(server.address, &Arc::new(config.clone())).expect("a connection");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let refused = connect(server.address, &Arc::new(config)).map(drop).expect_err("no common protocol").to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn sessions_are_taken_up_again() {
    let site = Site::new();
    let server = site.server("");
    for each in [&version::TLS13, &version::TLS12] {
        let client = site.authority.trusting(&[each], None);
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(server.address, &client).expect("a connection");
            stream.write_all(&head("GET", "/healthcheck", &[("Connection", "close")], None)).expect("a request");
            stream.read_to_end(&mut Vec::new()).expect("a reply, and an end in order");
            kinds.push(stream.conn.handshake_kind());
        }
        assert_eq!(kinds[1..], [Some(HandshakeKind::Resumed); 2], "{each:?}");
    }
    let metrics = Connection::open(server.admin).request("GET", "/metrics", &[], None).expect("metrics").text();
    for line in [
        "vitrine_dataplane_tls_handshakes_total{version=\"1.2\",outcome=\"full\"} 1",
        "vitrine_dataplane_tls_handshakes_total{version=\"1.2\",outcome=\"resumed\"} 2",
        "vitrine_dataplane_tls_handshakes_total{version=\"1.3\",outcome=\"full\"} 1",
        "vitrine_dataplane_tls_handshakes_total{version=\"1.3\",outcome=\"resumed\"} 2",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn clients_certificates_are_judged() {
    let site = Site::new();
    let ca = format!("tls_client_ca_file = {}\n", site.path("ca.pem").display());
    let good = site.authority.client(DAY);
    let stranger = Authority::new("strangers").client(DAY);
    let expired = site.authority.client(Duration::ZERO);
    std::thread::sleep(Duration::from_secs(1));
    for each in [&version::TLS13, &version::TLS12] {
        let client = |identity| site.authority.trusting(&[each], identity);
        // TLS 1.3 tells a client of a refusal only after its own handshake: ask for something.
        let outcome = |server: &Server, identity| {
            let mut stream = connect(server.address, &client(identity)).map_err(|error| error.to_string())?;
            stream
                .write_all(&head("GET", "/v2/images", &[("Connection", "close")], None))
                .map_err(|e| e.to_string())?;
            let mut reply = String::new();
            stream.read_to_string(&mut reply).map_err(|error| error.to_string())?;
            Ok::<bool, String>(reply.starts_with("HTTP/1.1 200 "))
        };
        let required = site.server_for(&ca, client(Some(&good)));
        round(&required);
        assert_eq!(outcome(&required, Some(&good)), Ok(true));
        for (identity, why) in
            [(None, "CertificateRequired"), (Some(&stranger), "UnknownCA"), (Some(&expired), "CertificateExpired")]
        {
            let refused = outcome(&required, identity).expect_err(why);
            // TLS 1.2 has no alert of its own for a certificate that is missing.
            assert!(refused.contains(why) || (identity.is_none() && refused.contains("Alert")), "{why}: {refused}");
        }
        assert_alive(&required);
        let optional = site.server_for(&format!("{ca}tls_client_auth = optional\n"), client(None));
        assert_eq!(outcome(&optional, None), Ok(true));
        assert_eq!(outcome(&optional, Some(&good)), Ok(true));
        assert!(outcome(&optional, Some(&stranger)).is_err());
        assert!(outcome(&optional, Some(&expired)).is_err());
    }
}

#[test]
fn a_certificate_that_expires_ends_its_sessions_too() {
    let site = Site::new();
    let ca = format!("tls_client_ca_file = {}\n", site.path("ca.pem").display());
    let brief = site.authority.client(Duration::from_secs(4));
    let client = site.authority.trusting(&[&version::TLS13], Some(&brief));
    let server = site.server_for(&ca, site.authority.trusting(&[&version::TLS13], Some(&site.authority.client(DAY))));
    let visit = || {
        let mut stream = connect(server.address, &client).map_err(|error| error.to_string())?;
        stream.write_all(&head("GET", "/healthcheck", &[("Connection", "close")], None)).map_err(|e| e.to_string())?;
        stream.read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
        Ok::<_, String>(stream.conn.handshake_kind())
    };
    visit().expect("a certificate that is good");
    assert_eq!(visit(), Ok(Some(HandshakeKind::Resumed)));
    std::thread::sleep(Duration::from_secs(5));
    let refused = visit().expect_err("a certificate that has expired");
    assert!(refused.contains("Certificate"), "{refused}");
    assert_alive(&server);
}

#[test]
fn what_is_wrong_with_the_files_is_told_in_one_line() {
    let site = Site::new();
    let other = site.authority.server();
    fs::write(site.path("other.pem"), &other.key_pem).expect("a file");
    fs::write(site.path("empty.pem"), "").expect("a file");
    fs::write(
        site.path("locked.pem"),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .expect("a file");
    fs::write(site.path("junk.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a file");
    fs::write(site.path("torn.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").expect("a file");
    let (cert, key, ca) = ("cert.pem", "key.pem", "ca.pem");
    for (files, option, at, cause) in [
        ([cert, "none.pem", ca], "tls_key_file", "none.pem", "No such file"),
        (["none.pem", key, ca], "tls_cert_file", "none.pem", "No such file"),
        ([cert, "other.pem", ca], "tls_key_file", "other.pem", "it is not the key of the certificate in"),
        ([cert, "empty.pem", ca], "tls_key_file", "empty.pem", "there is no PEM key"),
        ([cert, "locked.pem", ca], "tls_key_file", "locked.pem", "without passphrase"),
        (["empty.pem", key, ca], "tls_cert_file", "empty.pem", "there is no PEM certificate in it"),
        (["junk.pem", key, ca], "tls_cert_file", "junk.pem", "no certificate"),
        (["torn.pem", key, ca], "tls_cert_file", "torn.pem", "it is not PEM"),
        ([cert, key, "empty.pem"], "tls_client_ca_file", "empty.pem", "there is no PEM certificate in it"),
        ([cert, key, "junk.pem"], "tls_client_ca_file", "junk.pem", ""),
    ] {
        let config = site.path("vitrine.conf");
        let [cert, key, ca] = files.map(|name| site.path(name).display().to_string());
        let text = format!("[DEFAULT]\ncert_file = {cert}\nkey_file = {key}\nca_file = {ca}\n");
        fs::write(&config, text).expect("a file");
        let config = config.display().to_string();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config", &config];
        let (status, told) = run_to_end(&arguments, site.directory.path());
        let start = format!("vitrine: [dataplane] {option} = {}: ", site.path(at).display());
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("vitrine: ")).collect();
        assert!(lines.len() == 1 && lines[0].starts_with(&start) && lines[0].contains(cause), "{start}{cause}\n{told}");
        assert_eq!(status, Some(2), "{told}");
    }
}

/// Keys in each of the forms that operators have.
#[test]
fn keys_of_every_kind_are_read() {
    let site = Site::new();
    let run = |arguments: &[&str]| {
        let output =
            Command::new("openssl").args(arguments).current_dir(site.directory.path()).output().expect("openssl");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for (make, convert) in [
        (vec!["genrsa", "-traditional", "-out", "key.pem", "2048"], None),
        (vec!["genrsa", "-out", "key.pem", "2048"], None),
        (vec!["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "key.pem"], None),
        (vec!["genpkey", "-algorithm", "ED25519", "-out", "key.pem"], None),
        (
            vec!["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sec1.pem"],
            Some(vec!["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.pem", "-out", "key.pem"]),
        ),
    ] {
        run(&make);
        if let Some(convert) = convert {
            run(&convert);
        }
        run(&[
            "req",
            "-x509",
            "-key",
            "key.pem",
            "-out",
            "cert.pem",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        let mut server = site.server("");
        let output = Command::new("curl")
            .args(["-sSf", "--cacert"])
            .arg(site.path("cert.pem"))
            .arg(format!("https://localhost:{}/v2/images", server.address.port()))
            .output()
            .expect("curl");
        assert!(output.status.success(), "{make:?}: {}", String::from_utf8_lossy(&output.stderr));
        server.kill_all();
    }
}

/// HTTP-D09: the certificate is replaced during 100 live transfers. None is dropped, and new clients see the new one.
#[test]
fn a_new_certificate_comes_into_use_without_dropping_a_transfer() {
    const TRANSFERS: usize = 100;
    let site = Site::new();
    let server = site.server("");
    let data = Arc::new(bytes(3, 4_000_037));
    let id = server.active(&data);
    let client = site.authority.client_config();
    let certificate =
        || connect(server.address, &client).expect("a connection").conn.peer_certificates().map(<[_]>::to_vec);
    let before = certificate();
    let (begun, reloaded) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let mut transfers = Vec::new();
        for number in 0..TRANSFERS {
            let (server, client, data, id, begun, reloaded) = (&server, &client, &data, &id, &begun, &reloaded);
            transfers.push(scope.spawn(move || {
                let mut connection = Connection::over(connect(server.address, client).expect("a connection"));
                if number % 4 == 0 {
                    // An upload that is half way.
                    let path = format!("/v2/images/{}/file", server.queued());
                    let half = data.len() / 2;
                    let request = head("PUT", &path, &[("Content-Type", OCTETS)], Some(data.len()));
                    connection.send(&request).and_then(|()| connection.send(&data[..half])).expect("sent");
                    begun.fetch_add(1, Relaxed);
                    wait_for(reloaded);
                    connection.send(&data[half..]).expect("sent");
                    connection.response("PUT").expect("a reply").expect(204);
                } else {
                    let request = head("GET", &format!("/v2/images/{id}/file"), &[], None);
                    connection.send(&request).expect("sent");
                    connection.read_head().expect("a head").expect(200);
                    let first = connection.take(100_000).expect("the first bytes");
                    begun.fetch_add(1, Relaxed);
                    wait_for(reloaded);
                    let rest = connection.take(data.len() - first.len()).expect("the others");
                    assert!([first, rest].concat() == **data);
                }
            }));
        }
        eventually(Duration::from_secs(60), || (begun.load(Relaxed) == TRANSFERS).then_some(()))
            .expect("all have begun");
        // A file that is broken changes nothing, and is told once.
        let key = fs::read(site.path("key.pem")).expect("a file");
        fs::write(site.path("key.pem"), "nonsense").expect("a file");
        kill_process(server.launcher_pid(), Signal::HUP).expect("the launcher runs");
        let told = || server.log().matches("the old TLS certificate stays in use").count();
        eventually(Duration::from_secs(10), || (told() > 0).then_some(())).expect("an error in the log");
        assert_eq!(certificate(), before);
        fs::write(site.path("key.pem"), key).expect("a file");
        let new = site.authority.server();
        site.install(&new);
        kill_process(server.launcher_pid(), Signal::HUP).expect("the launcher runs");
        let seen = eventually(Duration::from_secs(10), || (certificate() != before).then(&certificate));
        assert_eq!(seen.flatten(), Some(vec![new.certificate.clone()]));
        assert_eq!(told(), 1);
        reloaded.store(true, Relaxed);
        for transfer in transfers {
            transfer.join().expect("a transfer that went on");
        }
    });
}

fn wait_for(flag: &AtomicBool) {
    eventually(Duration::from_secs(60), || flag.load(Relaxed).then_some(())).expect("a flag that is raised");
}

/// HTTP-D09: what is not TLS, or never becomes it.
#[test]
fn handshakes_that_lead_nowhere_are_ended() {
    let site = Site::new();
    let server = site.server("tls_handshake_timeout_seconds = 1\n");
    // Plain HTTP is told so.
    let mut plain = Connection::open(server.address);
    let reply = plain.request("GET", "/v2/images", &[], None).expect("a reply").expect(400);
    assert!(reply.text().contains("https://"), "{}", reply.text());
    assert!(plain.is_closed_within(Duration::from_secs(5)));
    // Nothing at all, and a byte now and then.
    let begun = Instant::now();
    let mut silent = Connection::open(server.address);
    let mut slow = socket(server.address).expect("a connection");
    let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc];
    hello.resize(517, 0);
    let cut = hello.iter().find_map(|byte| {
        std::thread::sleep(Duration::from_millis(50));
        slow.write_all(&[*byte]).err()
    });
    assert!(cut.is_some() && begun.elapsed() < Duration::from_secs(10), "a slow hello is read for ever");
    assert!(silent.is_closed_within(Duration::from_secs(1)));
    // A hello of a megabyte, in one message and as one that is only announced.
    let mut big = socket(server.address).expect("a connection");
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0x0f, 0x42, 0x40];
    record.resize(5 + 0x4000, 0);
    let sent = (0..64).map(|_| big.write_all(&record)).find(Result::is_err);
    assert!(sent.is_some() || is_cut(&mut big), "a hello of a megabyte is taken");
    // Bytes that are nothing.
    for junk in [
        &b"\x00\x01\x02"[..],
        b"\x80\x2e\x01\x00\x02",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x01\x00",
        b"\xff\xff",
    ] {
        let mut stream = socket(server.address).expect("a connection");
        stream.write_all(junk).expect("sent");
        assert!(is_cut(&mut stream), "{junk:?}");
    }
    assert_alive(&server);
    let metrics = Connection::open(server.admin).request("GET", "/metrics", &[], None).expect("metrics").text();
    assert!(metrics.contains("outcome=\"plain_http\"} 1"), "{metrics}");
    assert!(metrics.contains("outcome=\"timed_out\"} 2"), "{metrics}");
}

/// Whether the server ends the connection, whatever it says before.
fn is_cut(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

/// HTTP-D09: names that no server has.
#[test]
fn server_names_are_not_believed() {
    let site = Site::new();
    let server = site.server("");
    let long = "x".repeat(255);
    for name in ["nobody.example", "127.0.0.1", "..", "a..b", "\u{1}\u{7f}", "-", &long, "xn--\u{fc}"] {
        for each in ["-tls1_2", "-tls1_3"] {
            site.s_client(&server, &[each, "-servername", name], &[]);
            assert_alive(&server);
        }
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// HTTP-D09: renegotiation, which TLS 1.2 has and we have not; and a key update, which TLS 1.3 has.
#[test]
fn renegotiation_is_refused_and_keys_are_updated() {
    let site = Site::new();
    let server = site.server("");
    let request = b"GET /versions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let told = site.s_client(&server, &["-tls1_2"], &[request]);
    assert!(told.contains("HTTP/1.1 200 OK"), "{told}");
    let told = site.s_client(&server, &["-tls1_2"], &[b"R\n", request]);
    assert!(told.contains("RENEGOTIATING") && told.contains("no renegotiation"), "{told}");
    assert!(!told.contains("HTTP/1.1 200 OK"), "{told}");
    for update in [&b"k\n"[..], b"K\n"] {
        let told = site.s_client(&server, &["-tls1_3"], &[update, update, request]);
        assert!(told.contains("KEYUPDATE") && told.contains("HTTP/1.1 200 OK"), "{told}");
    }
    assert_alive(&server);
}

#[test]
fn a_slow_reader_gets_everything_and_one_that_leaves_holds_nobody_up() {
    let site = Site::new();
    let server = site.server("");
    let data = bytes(9, 12_000_001);
    let id = server.active(&data);
    let path = format!("/v2/images/{id}/file");
    std::thread::scope(|scope| {
        for number in 0..12u64 {
            let (server, data, path) = (&server, &data, &path);
            scope.spawn(move || {
                let mut connection = server.connect();
                connection.send(&head("GET", path, &[], None)).expect("sent");
                connection.read_head().expect("a head").expect(200);
                if number % 3 == 0 {
                    // Gone in the midst of the body.
                    connection.take(300_000 + 1_000 * usize::try_from(number).expect("small")).expect("some bytes");
                    return;
                }
                let mut received = Vec::new();
                while received.len() < data.len() {
                    let piece = connection.take(700_000.min(data.len() - received.len())).expect("bytes");
                    received.extend(piece);
                    std::thread::sleep(Duration::from_millis(20));
                }
                assert!(received == *data);
            });
        }
    });
    assert!(server.download(&id) == data);
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn uploads_that_break_off_are_undone() {
    let site = Site::new();
    let server = site.server("");
    let data = bytes(4, 2_000_000);
    for cut in [0, 1, 70_000, 1_999_999] {
        for whole_words in [true, false] {
            let id = server.queued();
            let mut stream = connect(server.address, &site.authority.client_config()).expect("a connection");
            let request = head("PUT", &format!("/v2/images/{id}/file"), &[("Content-Type", OCTETS)], Some(data.len()));
            stream.write_all(&request).and_then(|()| stream.write_all(&data[..cut])).expect("sent");
            match whole_words {
                // The end of the stream, in order but too early.
                true => {
                    stream.conn.send_close_notify();
                    stream.flush().expect("sent");
                }
                false => stream.socket().shutdown(std::net::Shutdown::Both).expect("open until now"),
            }
            server.assert_queued_without_bytes(&id);
        }
    }
    let id = server.queued();
    let mut connection = server.connect();
    let mut request = head(
        "PUT",
        &format!("/v2/images/{id}/file"),
        &[("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")],
        None,
    );
    request.extend(chunked(&data, &[65_536]));
    connection.send(&request).expect("sent");
    connection.response("PUT").expect("a reply").expect(204);
}
