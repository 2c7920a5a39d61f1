//! Starting and stopping: one command, one line, three processes, clear errors.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use crate::harness::server::{Options, free_port, is_running, run_to_end};
use crate::harness::{Server, eventually};

/// The most that a start with an existing database may take here, where other tests share the processors; the figure
/// itself is `perf`'s.
const RESTART: Duration = Duration::from_secs(5);

fn defaults() -> Server {
    Server::ours(Options::default())
}

#[test]
fn one_line_says_that_requests_succeed() {
    let server = defaults();
    server.get("/v2/images").expect(200);
    let lines = server.log();
    let ready: Vec<_> = lines.lines().filter(|line| line.contains("ready on")).collect();
    assert_eq!(ready, [format!("vitrine: ready on http://{}", server.address)]);
}

#[test]
fn requests_succeed_from_the_first_moment() {
    let mut server = defaults();
    let id = server.active(b"kept");
    for _ in 0..5 {
        assert!(server.terminate().0.success());
        let took = server.launch();
        assert!(server.download(&id) == b"kept");
        server.get("/v2/images").expect(200);
        println!("start with an existing database: {} ms", took.as_millis());
        assert!(took < RESTART, "{took:?}");
    }
}

#[test]
fn serve_is_what_happens_without_a_command() {
    let server = Server::ours(Options { bare: true, ..Options::default() });
    let id = server.active(b"data");
    assert!(server.data_dir().ends_with("vitrine-data"));
    assert_eq!(server.files_of(&id).len(), 1, "the data is in ./vitrine-data");
}

#[test]
fn three_processes_and_two_private_sockets() {
    let server = defaults();
    let control = server.wait_plane("control");
    let dataplane = server.wait_plane("dataplane");
    assert_ne!(control, dataplane);
    let directory = fs::metadata(server.data_dir()).expect("the data directory");
    assert_eq!(directory.permissions().mode() & 0o007, 0, "others have no access to the data");
    for name in ["control.sock", "dataplane.sock"] {
        let socket = fs::metadata(server.data_dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(socket.file_type().is_socket());
        assert_eq!(socket.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn one_pinned_thread_per_core() {
    let server = defaults();
    let tasks = format!("/proc/{}/task", server.wait_plane("dataplane").as_raw_nonzero());
    let mut cores = Vec::new();
    for task in fs::read_dir(tasks).expect("a running process").flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        cores.extend(allowed.and_then(|list| list.trim().parse::<usize>().ok()));
    }
    cores.sort_unstable();
    cores.dedup();
    let available = std::thread::available_parallelism().expect("a number of processors").get();
    if available > 1 {
        assert_eq!(cores.len(), available, "threads bound to one core each: {cores:?}");
    }
}

#[test]
fn a_signal_ends_all_processes() {
    let mut server = defaults();
    server.active(b"kept");
    let address = server.address;
    let (status, left) = server.terminate();
    assert!(status.success(), "{status}\n{}", server.log());
    assert_eq!(left, []);
    assert!(crate::harness::Connection::try_open(address).is_err());
}

#[test]
fn a_killed_plane_comes_back() {
    let server = defaults();
    for name in ["control", "dataplane"] {
        let before = server.wait_plane(name);
        server.kill_plane(name);
        let after = eventually(Duration::from_secs(5), || server.plane(name).filter(|pid| *pid != before));
        assert!(after.is_some(), "{name} is not started again:\n{}", server.log());
        let served = eventually(Duration::from_secs(5), || {
            let mut connection = crate::harness::Connection::try_open(server.address).ok()?;
            let reply = connection.request("GET", "/v2/images", &[], None).ok()?;
            (reply.status == 200).then_some(())
        });
        assert!(served.is_some(), "{}", server.log());
    }
}

#[test]
fn planes_do_not_outlive_their_launcher() {
    let mut server = defaults();
    let planes = [server.wait_plane("control"), server.wait_plane("dataplane")];
    rustix::process::kill_process(server.launcher_pid(), rustix::process::Signal::KILL).expect("it runs");
    let ended = eventually(Duration::from_secs(10), || planes.iter().all(|plane| !is_running(*plane)).then_some(()));
    for plane in planes {
        let _ = rustix::process::kill_process(plane, rustix::process::Signal::KILL);
    }
    server.kill_all();
    assert!(ended.is_some(), "a plane runs on without its launcher");
}

/// Asserts that a start fails with this exit code and one line that holds all of these texts.
#[track_caller]
fn assert_refused(arguments: &[&str], code: i32, texts: &[&str]) {
    let home = tempfile::tempdir().expect("a directory");
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut all = vec!["serve"];
    if !arguments.contains(&"--listen") {
        all.extend(["--listen", &listen]);
    }
    if !arguments.contains(&"--admin-listen") {
        all.extend(["--admin-listen", &admin]);
    }
    all.extend(arguments);
    let (got, text) = run_to_end(&all, home.path());
    assert_eq!(got, Some(code), "{arguments:?}: {text}");
    let named = text.lines().any(|line| texts.iter().all(|part| line.contains(part)));
    assert!(named, "{arguments:?}: no line holds all of {texts:?}:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_taken_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("bound").to_string();
    assert_refused(&["--listen", &address], 1, &[&address]);
    assert_refused(&["--admin-listen", &address], 1, &[&address]);
}

#[test]
fn a_port_of_another_vitrine_is_taken() {
    let server = defaults();
    let address = server.address.to_string();
    assert_refused(&["--listen", &address], 1, &[&address]);
    server.get("/v2/images").expect(200);
}

#[test]
fn an_unusable_directory_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("file");
    fs::write(&file, "no directory").expect("writing");
    let path = file.to_str().expect("UTF-8");
    assert_refused(&["--data-dir", path], 1, &[path]);
    let below = format!("{path}/below");
    assert_refused(&["--data-dir", &below], 1, &[&below]);
    // Not even root writes here.
    assert_refused(&["--data-dir", "/proc/vitrine"], 1, &["/proc/vitrine"]);
}

#[test]
fn bad_usage_is_explained() {
    assert_refused(&["--no-such-option"], 2, &["--no-such-option"]);
    assert_refused(&["--listen", "nowhere"], 2, &["nowhere"]);
    assert_refused(&["--listen", "127.0.0.1:99999"], 2, &["99999"]);
    assert_refused(&["--config", "/nonexistent/vitrine.conf"], 2, &["/nonexistent/vitrine.conf"]);
}

#[test]
fn bad_configuration_names_option_and_value() {
    let home = tempfile::tempdir().expect("a directory");
    let cases = [
        ("[DEFAULT]\nimage_size_cap = many\n", ["image_size_cap", "many"]),
        ("[DEFAULT]\nhashing_algorithm = md42\n", ["hashing_algorithm", "md42"]),
        ("[DEFAULT]\nlimit_param_default = -5\n", ["limit_param_default", "-5"]),
        ("[paste_deploy]\nflavor = vanilla\n", ["flavor", "vanilla"]),
    ];
    for (i, (text, named)) in cases.iter().enumerate() {
        let path = home.path().join(format!("{i}.conf"));
        fs::write(&path, text).expect("writing");
        assert_refused(&["--config", path.to_str().expect("UTF-8")], 2, named);
    }
    let path = home.path().join("broken.conf");
    fs::write(&path, "[DEFAULT\nx = 1\n").expect("writing");
    assert_refused(&["--config", path.to_str().expect("UTF-8")], 2, &["broken.conf"]);
}

#[test]
fn unknown_options_are_warned_of_with_file_and_line() {
    let server = Server::with_config("[DEFAULT]\n\nno_such_option = 1\n");
    server.get("/v2/images").expect(200);
    let log = server.log();
    let warned = log.lines().any(|line| line.contains("no_such_option") && line.contains("vitrine.conf:3"));
    assert!(warned, "{log}");
}

#[test]
fn without_authentication_only_the_loopback_is_served() {
    let listen = format!("0.0.0.0:{}", free_port());
    assert_refused(&["--listen", &listen], 2, &[&listen]);
}

#[test]
fn identity_headers_of_a_client_mean_nothing() {
    let server = defaults();
    let owner = server.create(&serde_json::json!({}))["owner"].clone();
    let spoofed = [
        ("Content-Type", "application/json"),
        ("X-Identity-Status", "Confirmed"),
        ("X-Project-Id", "intruder"),
        ("X-Tenant-Id", "intruder"),
        ("X-User-Id", "intruder"),
        ("X-Roles", "nobody"),
    ];
    let image = server.request("POST", "/v2/images", &spoofed, Some(b"{}")).expect(201).json();
    assert_eq!(image["owner"], owner);
}

#[test]
fn two_data_directories_with_one_catalog_have_one_control_plane() {
    let home = tempfile::tempdir().expect("a directory");
    let catalog = home.path().join("shared.sqlite");
    let config = format!("[database]\nconnection = sqlite:///{}\n", catalog.display());
    let first = Server::with_config(&config);
    first.get("/v2/images").expect(200);
    // By another name of the same file.
    let link = home.path().join("link.sqlite");
    std::os::unix::fs::symlink(&catalog, &link).expect("a link");
    let file = home.path().join("second.conf");
    fs::write(&file, format!("[database]\nconnection = sqlite:///{}\n", link.display())).expect("written");
    let (file, data) = (file.to_string_lossy(), home.path().join("second"));
    fs::create_dir(&data).expect("a directory");
    let data = data.to_string_lossy();
    let (status, text) = run_to_end(&["control", "--config", &file, "--data-dir", &data], home.path());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("another control plane writes the catalog") && text.contains("link.sqlite"), "{text}");
    first.get("/v2/images").expect(200);
}
