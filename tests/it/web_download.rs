//! Imports by `web-download`: what is fetched, and what never is (SEC-S01 to S07).

use std::fmt::Write as _;
use std::fs;
#[cfg(feature = "installed")]
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
#[cfg(feature = "installed")]
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::harness::client::Response;
use crate::harness::data::{bytes, md5, sha512};
#[cfg(feature = "installed")]
use crate::harness::dns;
use crate::harness::origin::{Bait, Origin, Wire, redirect, whole};
use crate::harness::server::{OCTETS, Options};
use crate::harness::tasks::{PATIENCE, last_task as task};
use crate::harness::tls::Authority;
use crate::harness::{Server, eventually};

/// Users may have this machine asked, by its address or its name, and failures are told after a second.
const OPEN: &str = "[DEFAULT]\nimage_size_cap = 20000000\n[import_filtering_opts]\nallowed_hosts = [127.0.0.1, localhost]\n\
    allowed_ports = []\n[dataplane]\nfetch_answer_timeout_seconds = 1\n";

/// What every user is told whose data cannot be fetched.
pub(crate) const NOT_FETCHED: &str = "The image data could not be fetched from the given URI.";

pub(crate) fn import(server: &Server, id: &str, uri: &Value) -> Response {
    let body = json!({"method": {"name": "web-download", "uri": uri}});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body)
}

/// Imports from `url`; the image, and the task.
#[track_caller]
fn fetch(server: &Server, url: &str) -> (String, Value) {
    let id = server.queued();
    import(server, &id, &json!(url)).expect(202);
    let task = task(server, &id);
    (id, task)
}

#[track_caller]
pub(crate) fn assert_stored(server: &Server, url: &str, data: &[u8]) {
    let (id, task) = fetch(server, url);
    assert_eq!(task["status"], json!("success"), "{task}\n{}", server.log());
    let image = server.show(&id);
    assert_eq!((&image["status"], &image["size"]), (&json!("active"), &json!(data.len())), "{image}");
    assert_eq!((&image["checksum"], &image["os_hash_value"]), (&json!(md5(data)), &json!(sha512(data))));
    assert!(server.download(&id) == data);
}

#[track_caller]
fn assert_not_fetched(server: &Server, url: &str) {
    let (id, task) = fetch(server, url);
    assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(NOT_FETCHED)), "{url}: {task}");
    assert_untouched(server, &id);
}

#[track_caller]
pub(crate) fn assert_untouched(server: &Server, id: &str) {
    let image = server.show(id);
    assert_eq!((&image["status"], &image["size"]), (&json!("queued"), &Value::Null), "{image}");
    assert_eq!(server.files_of(id), Vec::<std::path::PathBuf>::new());
}

fn chunked(wire: &mut dyn Wire, data: &[u8]) {
    let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in data.chunks(70_001) {
        let _ = write!(wire, "{:x};x=y\r\n", piece.len());
        let _ = wire.write_all(piece);
        let _ = wire.write_all(b"\r\n");
    }
    let _ = wire.write_all(b"0\r\n\r\n");
}

#[test]
fn what_a_server_sends_becomes_the_image() {
    let server = Server::with_config(OPEN);
    let data = bytes(21, 3_000_007);
    let sent = data.clone();
    let origin = Origin::start(move |request, wire| match request.split(' ').nth(1) {
        Some("/length?x=y") => whole(wire, &sent),
        Some("/chunked") => chunked(wire, &sent),
        Some("/end") => {
            let _ = wire.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
            let _ = wire.write_all(&sent);
        }
        Some("/early") => {
            let _ = wire.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            whole(wire, &sent);
        }
        Some("/relative/there") => redirect(wire, 302, "../chunked"),
        Some("/relative/../chunked") => chunked(wire, &sent),
        Some("/away") => redirect(wire, 308, "/length?x=y"),
        _ => whole(wire, b""),
    });
    for path in ["/length?x=y", "/chunked", "/end", "/early", "/relative/there", "/away"] {
        assert_stored(&server, &origin.url(path), &data);
    }
    let by_name = format!("http://localhost:{}/length?x=y#fragment", origin.address.port());
    assert_stored(&server, &by_name, &data);
    assert_stored(&server, &origin.url("/empty"), b"");
    for request in origin.requests() {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
        assert!(!["token", "cookie", "authorization"].iter().any(|word| request.contains(word)), "{request}");
    }
}

#[test]
fn several_stores_are_filled_from_one_answer() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = |name: &str| home.path().join(name).display().to_string();
    let config = format!(
        "[glance_store]\ndefault_backend = fast\n[fast]\nfilesystem_store_datadir = {}\n[slow]\nfilesystem_store_datadir = {}\n{}",
        dir("fast"),
        dir("slow"),
        OPEN.replace("[DEFAULT]", "[DEFAULT]\nenabled_backends = fast:file, slow:file")
    );
    let server = Server::with_config(&config);
    let data = bytes(22, 700_001);
    let sent = data.clone();
    let origin = Origin::start(move |_, wire| whole(wire, &sent));
    let id = server.queued();
    let body = json!({"method": {"name": "web-download", "uri": origin.url("/")}, "all_stores": true});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"));
    assert_eq!(server.show(&id)["stores"], json!("fast,slow"));
    assert_eq!(origin.requests().len(), 1, "it is read once");
    for store in ["fast", "slow"] {
        assert!(fs::read(Path::new(&dir(store)).join(&id)).expect("a file") == data, "{store}");
    }
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let server = Server::with_config(OPEN);
    let refused = |id: &str, uri: Value| import(&server, id, &uri).expect(400).text();
    let id = server.queued();
    for (uri, shown) in [
        (Value::Null, "None"),
        (json!(5), "5"),
        (json!(""), ""),
        (json!("file:///etc/passwd"), "file:///etc/passwd"),
        (json!("http://unknown.invalid/x"), "http://unknown.invalid/x"),
    ] {
        let text = refused(&id, uri);
        assert!(text.contains(&format!("URI for web-download does not pass filtering: {shown}")), "{text}");
    }
    assert_untouched(&server, &id);
    let bare = server.create(&json!({"name": "no formats"}))["id"].as_str().expect("an id").to_owned();
    let text = import(&server, &bare, &json!("http://127.0.0.1/")).expect(409).text();
    assert!(text.contains("'container_format' needs to be set before import"), "{text}");
    let staged = server.queued();
    server.request(
        "PUT",
        &format!("/v2/images/{staged}/stage"),
        &[("Content-Type", "application/octet-stream")],
        Some(b"x"),
    );
    let text = import(&server, &staged, &json!("http://127.0.0.1/")).expect(409).text();
    assert!(text.contains("Image needs to be in 'queued' state to use 'web-download' method"), "{text}");
}

#[test]
fn sec_s01_ports_cannot_be_told_apart() {
    // As it comes nothing of this machine is asked, on no port.
    let server = Server::start();
    let bait = Bait::on("127.0.0.1:0").expect("a port");
    let id = server.queued();
    for url in [
        format!("http://{}/", bait.address),
        format!("http://localhost:{}/", bait.address.port()),
        "http://127.0.0.1/".to_owned(),
        "http://localhost/".to_owned(),
        "http://images.example:22/".to_owned(),
    ] {
        let text = import(&server, &id, &json!(url)).expect(400).text();
        assert!(text.contains("does not pass filtering"), "{text}");
    }
    assert!(!bait.was_taken());
    // Where it may be asked, what went wrong is not told: neither in words nor by the clock.
    let server = Server::with_config(OPEN);
    let closed = crate::harness::server::free_port();
    let silent = Bait::on("127.0.0.1:0").expect("a port");
    let strange = Origin::start(|_, wire| drop(wire.write_all(b"SSH-2.0-OpenSSH_9\r\n")));
    let gone = Origin::start(|_, wire| drop(wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")));
    let mut times = Vec::new();
    for url in
        [format!("http://127.0.0.1:{closed}/"), format!("http://{}/", silent.address), strange.url("/"), gone.url("/")]
    {
        let begun = Instant::now();
        assert_not_fetched(&server, &url);
        times.push(begun.elapsed());
    }
    assert!(times.iter().all(|time| *time >= Duration::from_secs(1)), "{times:?}");
}

#[test]
fn sec_s02_every_redirect_is_asked_about() {
    let server = Server::with_config(OPEN);
    let bait = Bait::on("127.0.0.2:0").expect("all of 127/8 is this machine's");
    let bait6 = Bait::on("[::1]:0");
    let port = bait.address.port();
    let mut targets = vec![
        format!("http://{}/", bait.address),
        format!("http://0.0.0.0:{port}/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        format!("http://2130706434:{port}/"),
        format!("http://127.2:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://172.16.0.1/".to_owned(),
        "http://192.168.0.1/".to_owned(),
        "http://[fc00::1]/".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        format!("http://127.0.0.1@127.0.0.2:{port}/"),
        format!("//127.0.0.2:{port}/"),
    ];
    targets.extend(bait6.as_ref().map(|bait| format!("http://{}/", bait.address)));
    let listed = targets.clone();
    let origin = Origin::start(move |request, wire| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let index: usize = path.trim_start_matches('/').parse().unwrap_or(0);
        redirect(wire, [301, 302, 303, 307, 308][index % 5], &listed[index]);
    });
    std::thread::scope(|scope| {
        for index in 0..targets.len() {
            let (server, origin) = (&server, &origin);
            scope.spawn(move || assert_not_fetched(server, &origin.url(&format!("/{index}"))));
        }
    });
    assert_eq!(origin.requests().len(), targets.len());
    assert!(!bait.was_taken() && !bait6.is_some_and(|bait| bait.was_taken()));
}

#[test]
fn sec_s02_redirects_come_to_an_end() {
    let server = Server::with_config(OPEN);
    let data = bytes(23, 1000);
    let sent = data.clone();
    let origin = Origin::start(move |request, wire| {
        let left: u32 = request.split(['/', ' ']).nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
        match left {
            0 => whole(wire, &sent),
            left => redirect(wire, 302, &format!("/{}", left - 1)),
        }
    });
    assert_stored(&server, &origin.url("/5"), &data);
    assert_not_fetched(&server, &origin.url("/6"));
    let round = Origin::start(|_, wire| redirect(wire, 301, "/again"));
    assert_not_fetched(&server, &round.url("/"));
    assert_eq!(round.requests().len(), 6);
    let nowhere = Origin::start(|_, wire| drop(wire.write_all(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")));
    assert_not_fetched(&server, &nowhere.url("/"));
}

#[test]
fn sec_s03_odd_spellings_are_refused() {
    let server = Server::with_config(OPEN);
    let bait = Bait::on("127.0.0.1:0").expect("a port");
    let port = bait.address.port();
    let id = server.queued();
    for host in [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "１２７.0.0.1",
        "good@127.0.0.1",
        "good:pw@127.0.0.1",
        "127.0.0.1\\@x",
        "127.0.0.1\t",
        "127.0.0.1\n",
        " 127.0.0.1",
    ] {
        let text = import(&server, &id, &json!(format!("http://{host}:{port}/"))).expect(400).text();
        assert!(text.contains("does not pass filtering"), "{host}: {text}");
    }
    import(&server, &id, &json!(format!("http://good#@127.0.0.1:{port}/"))).expect(400);
    assert!(!bait.was_taken());
}

#[test]
#[cfg(feature = "installed")]
fn sec_s05_what_counts_is_the_address_that_is_asked() {
    let home = tempfile::tempdir().expect("a directory");
    let outside: IpAddr = "8.8.8.8".parse().expect("an address");
    let inside: IpAddr = Ipv4Addr::LOCALHOST.into();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let under = dns::start(home.path(), move |name, times| {
        seen.lock().expect("no panic inside").push(name.to_owned());
        match name {
            "inside.test" | "listed.test" => vec![inside],
            "inside6.test" => vec![Ipv6Addr::LOCALHOST.into()],
            "mapped.test" => vec![Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()],
            "several.test" => vec![outside, inside],
            // Outside when it is checked, inside when it is connected to.
            "rebinds.test" if times == 0 => vec![outside],
            "rebinds.test" => vec![inside],
            _ => Vec::new(),
        }
    });
    let bait = Bait::on("127.0.0.1:0").expect("a port");
    let port = bait.address.port();
    let bait6 = Bait::on(&format!("[::1]:{port}"));
    let any = "[import_filtering_opts]\nallowed_ports = []\n[dataplane]\nfetch_answer_timeout_seconds = 1\n";
    let server = Server::ours(Options { config: Some(any.to_owned()), under: under.clone(), ..Options::default() });
    for name in ["inside.test", "inside6.test", "mapped.test", "absent.test"] {
        let id = server.queued();
        let text = import(&server, &id, &json!(format!("http://{name}:{port}/"))).expect(400).text();
        assert!(text.contains("does not pass filtering"), "{text}");
    }
    // Of several addresses those outside are asked.
    for name in ["several.test", "rebinds.test"] {
        assert_not_fetched(&server, &format!("http://{name}:{port}/"));
    }
    assert!(!bait.was_taken() && !bait6.is_some_and(|bait| bait.was_taken()));
    assert!(
        asked.lock().expect("no panic inside").iter().any(|name| name == "rebinds.test"),
        "it is our names that it asks"
    );

    // What an operator lists may be inside; and what it redirects to is looked up and checked like anything else.
    let listed = any.replace("allowed_ports", "allowed_hosts = [listed.test]\nallowed_ports");
    let server = Server::ours(Options { config: Some(listed), under, ..Options::default() });
    let data = bytes(27, 5000);
    let sent = data.clone();
    let away = format!("http://inside.test:{port}/");
    let origin = Origin::start(move |request, wire| match request.contains("/away") {
        true => redirect(wire, 302, &away),
        false => whole(wire, &sent),
    });
    let url = |path: &str| format!("http://listed.test:{}{path}", origin.address.port());
    assert_stored(&server, &url("/"), &data);
    assert_not_fetched(&server, &url("/away"));
    assert!(!bait.was_taken());
}

#[test]
fn sec_s07_sources_that_lie_or_never_end_leave_nothing() {
    let server = Server::with_config(OPEN);
    let origin = Origin::start(|request, wire| {
        let endless = |wire: &mut dyn Wire| while wire.write_all(&[0; 65_536]).is_ok() {};
        let head = |wire: &mut dyn Wire, fields: &str| drop(write!(wire, "HTTP/1.1 200 OK\r\n{fields}\r\n"));
        match request.split(' ').nth(1).unwrap_or_default() {
            "/short" => {
                head(wire, "Content-Length: 100000\r\n");
                let _ = wire.write_all(&[1; 99_999]);
            }
            "/broken" => {
                head(wire, "Transfer-Encoding: chunked\r\n");
                let _ = wire.write_all(b"5\r\nhello\r\nnonsense\r\n");
            }
            "/cut" => {
                head(wire, "Transfer-Encoding: chunked\r\n");
                let _ = wire.write_all(b"5\r\nhello\r\n");
            }
            "/both" => {
                head(wire, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n");
                let _ = wire.write_all(b"5\r\nhello\r\n0\r\n\r\n");
            }
            "/claim" => {
                head(wire, "Content-Length: 1000000000000\r\n");
                endless(wire);
            }
            "/endless" => {
                head(wire, "");
                endless(wire);
            }
            _ => {
                let mut fields = String::new();
                while fields.len() < 200_000 {
                    let _ = write!(fields, "X-Long: {}\r\n", "x".repeat(1000));
                }
                head(wire, &fields);
            }
        }
    });
    for path in ["/short", "/broken", "/cut", "/both", "/head"] {
        assert_not_fetched(&server, &origin.url(path));
    }
    for path in ["/claim", "/endless"] {
        let (id, task) = fetch(&server, &origin.url(path));
        let message = task["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("The provided image is too large"), "{task}");
        assert_untouched(&server, &id);
    }
    // Cut off by a reset: before the head, inside of it, and inside of the data.
    for sent in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nsome"] {
        let reset = Origin::that_resets(move |_, wire| {
            let _ = wire.write_all(sent.as_bytes());
            let _ = wire.flush();
            // Else the reset may overtake what was sent.
            std::thread::sleep(Duration::from_millis(50));
        });
        assert_not_fetched(&server, &reset.url("/"));
    }
    // Packed data is stored as it comes: nobody unpacks it.
    let packed = Origin::start(|_, wire| {
        let _ =
            wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00");
    });
    assert_stored(&server, &packed.url("/"), b"\x1f\x8b\x08\x00");
}

#[test]
fn sec_s07_a_source_that_trickles_is_left() {
    let server = Server::with_config(&OPEN.replace("[dataplane]", "[dataplane]\nfetch_timeout_seconds = 20"));
    let origin = Origin::start(|request, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 19000000\r\n\r\n");
        // Slower than is put up with, or fast enough and for too long.
        let piece: &[u8] = if request.contains("/slow") { b"x" } else { &[b'x'; 2000] };
        while wire.write_all(piece).and_then(|()| wire.flush()).is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    std::thread::scope(|scope| {
        for path in ["/slow", "/long"] {
            let (server, origin) = (&server, &origin);
            scope.spawn(move || assert_not_fetched(server, &origin.url(path)));
        }
    });
}

#[test]
fn https_is_fetched_on_certificates_that_the_system_trusts() {
    let home = tempfile::tempdir().expect("a directory");
    let authority = Authority::new("somebody else");
    let trusted = home.path().join("trusted.pem");
    fs::write(&trusted, &authority.pem).expect("writing");
    let identity = authority.server();
    let data = bytes(24, 2_000_003);
    let with = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let config = builder.with_no_client_auth().with_single_cert(vec![identity.certificate.clone()], key);
        Arc::new(config.expect("a certificate"))
    };
    let under = vec!["env".to_owned(), format!("SSL_CERT_FILE={}", trusted.display())];
    let server = Server::ours(Options { config: Some(OPEN.to_owned()), under, ..Options::default() });
    let stranger = Server::with_config(OPEN);
    // It may be asked, and has an image: only the way there is wrong.
    let plain = Origin::start(|_, wire| whole(wire, b"in the clear"));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (sent, down) = (data.clone(), plain.url("/"));
        let origin = Origin::with_tls(with(&[version]), move |request, wire| match request.contains("/down") {
            true => redirect(wire, 302, &down),
            false => chunked(wire, &sent),
        });
        let url = |host: &str, path: &str| format!("https://{host}:{}{path}", origin.address.port());
        assert_stored(&server, &url("localhost", "/"), &data);
        assert_not_fetched(&server, &url("localhost", "/down"));
        // The certificate is for another name, or by nobody that is known.
        let asked = origin.requests().len();
        assert_not_fetched(&server, &url("127.0.0.1", "/"));
        assert_not_fetched(&stranger, &url("localhost", "/"));
        assert_eq!(origin.requests().len(), asked, "nothing is asked of who is not known");
    }
    assert_eq!(plain.requests(), Vec::<String>::new());
}

#[test]
fn a_download_survives_the_death_of_either_plane() {
    for plane in ["control", "dataplane"] {
        let server = Server::with_config(OPEN);
        let data = bytes(25, 4_000_000);
        let sent = data.clone();
        let origin = Origin::start(move |_, wire| {
            let _ = write!(wire, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
            for piece in sent.chunks(sent.len() / 10) {
                let _ = wire.write_all(piece);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let id = server.queued();
        import(&server, &id, &json!(origin.url("/"))).expect(202);
        assert!(eventually(PATIENCE, || (!origin.requests().is_empty()).then_some(())).is_some());
        server.kill_plane(plane);
        server.wait_plane(plane);
        let status = eventually(PATIENCE, || {
            let mut connection = crate::harness::Connection::try_open(server.address).ok()?;
            let reply = connection.request("GET", &format!("/v2/images/{id}"), &[], None).ok()?;
            (reply.status == 200 && reply.json()["status"] == json!("active")).then_some(())
        });
        assert!(status.is_some(), "{plane}:\n{}", server.log());
        assert!(server.download(&id) == data);
    }
}

#[test]
fn slow_servers_leave_turns_to_others() {
    let server = Server::with_config(&format!("{OPEN}[taskflow_executor]\nmax_workers = 2\n"));
    let origin = Origin::start(|_, wire| {
        let _ = wire.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").and_then(|()| wire.flush());
        std::thread::sleep(Duration::from_secs(8));
    });
    let slow = [server.queued(), server.queued()];
    slow.iter().for_each(|id| drop(import(&server, id, &json!(origin.url("/"))).expect(202)));
    assert!(eventually(PATIENCE, || (!origin.requests().is_empty()).then_some(())).is_some());
    let id = server.queued();
    server.request("PUT", &format!("/v2/images/{id}/stage"), &[("Content-Type", OCTETS)], Some(b"data")).expect(204);
    let begun = Instant::now();
    let body = json!({"method": {"name": "glance-direct"}});
    server.send_json("POST", &format!("/v2/images/{id}/import"), &body).expect(202);
    assert_eq!(task(&server, &id)["status"], json!("success"));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(origin.requests().len(), 1, "one of two turns");
}

#[test]
fn the_tasks_api_makes_an_image_and_fills_it() {
    let server = Server::with_config(OPEN);
    let data = bytes(26, 500_003);
    let sent = data.clone();
    let origin = Origin::start(move |request, wire| match request.contains("/gone") {
        true => drop(wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
        false => whole(wire, &sent),
    });
    let input = |path: &str, id: &str| {
        json!({"import_from": origin.url(path), "import_from_format": "raw", "image_properties":
            {"id": id, "name": "by a task", "disk_format": "raw", "container_format": "bare", "hw_x": "y"}})
    };
    let create = |input: &Value| server.send_json("POST", "/v2/tasks", &json!({"type": "import", "input": input}));
    let ended = |reply: &Response| {
        let id = reply.json()["id"].as_str().expect("an id").to_owned();
        let over = eventually(PATIENCE, || {
            let task = server.get(&format!("/v2/tasks/{id}")).expect(200).json();
            matches!(task["status"].as_str()?, "success" | "failure").then_some(task)
        });
        over.unwrap_or_else(|| panic!("the task does not end:\n{}", server.log()))
    };
    let id = "11111111-2222-3333-4444-555555555555";
    let reply = create(&input("/", id)).expect(201);
    let task = reply.json();
    assert!(
        reply.header("location").is_some_and(|url| url.ends_with(task["self"].as_str().expect("a path"))),
        "{task}"
    );
    assert_eq!((&task["type"], &task["input"]["import_from"]), (&json!("import"), &json!(origin.url("/"))), "{task}");
    let task = ended(&reply);
    assert_eq!((&task["status"], &task["result"]), (&json!("success"), &json!({"image_id": id})), "{task}");
    let image = server.show(id);
    assert_eq!(
        (&image["status"], &image["name"], &image["hw_x"]),
        (&json!("active"), &json!("by a task"), &json!("y"))
    );
    assert!(image.as_object().is_some_and(|image| !image.keys().any(|key| key.starts_with("os_glance"))), "{image}");
    assert!(server.download(id) == data);

    // Without data there is no image; what is wrong with the image is told by the task.
    let other = "11111111-2222-3333-4444-666666666666";
    let task = ended(&create(&input("/gone", other)).expect(201));
    assert_eq!((&task["status"], &task["message"]), (&json!("failure"), &json!(NOT_FETCHED)), "{task}");
    server.get(&format!("/v2/images/{other}")).expect(404);
    assert_eq!(server.files_of(other), Vec::<std::path::PathBuf>::new());
    let failure = |change: &dyn Fn(&mut Value)| {
        let mut input = input("/", "11111111-2222-3333-4444-777777777777");
        change(&mut input);
        let task = ended(&create(&input).expect(201));
        assert_eq!(task["status"], json!("failure"), "{task}");
        task["message"].as_str().unwrap_or_default().to_owned()
    };
    let message =
        failure(&|input| drop(input["image_properties"].as_object_mut().expect("a map").remove("disk_format")));
    assert_eq!(message, "Property disk_format must be set prior to saving data.");
    assert!(failure(&|input| input["image_properties"]["id"] = json!(id)).contains("already exists"));
    let message = failure(&|input| drop(input.as_object_mut().expect("a map").remove("import_from_format")));
    assert_eq!(message, "Input does not contain 'import_from_format' field");

    // SEC-S04: the same gate for this way in.
    for (uri, text) in [
        ("http://127.0.0.2/", "URI for legacy import task does not pass filtering: http://127.0.0.2/"),
        ("file:///etc/passwd", "File based imports are not allowed."),
        ("ftp://127.0.0.1/", "The given uri is not valid."),
        ("", "Invalid location: "),
    ] {
        let mut input = input("/", id);
        input["import_from"] = json!(uri);
        let told = create(&input).expect(400).text();
        assert!(told.contains(text), "{uri}: {told}");
    }
    let refused = |body: Value| server.send_json("POST", "/v2/tasks", &body).expect(400).text();
    assert!(refused(json!({"input": {}})).contains("Task 'type' is required"));
    assert!(refused(json!({"type": "import"})).contains("Task 'input' is required"));
    assert!(refused(json!({"type": "export", "input": {}})).contains("is not one of"));
    assert!(refused(json!({"type": "import", "input": []})).contains("is not of type"));
    refused(json!([]));
}
