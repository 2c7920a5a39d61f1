//! A `vitrine` under test: its processes, its addresses, its data directory.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Connection, Response, chunked, head};
use super::eventually;

/// How long a start may take in a test; how fast it should be is a matter for `perf`.
const START: Duration = Duration::from_secs(20);
/// How long the server has for an orderly end.
const STOP: Duration = Duration::from_secs(10);
/// The media type of a JSON patch.
pub(crate) const PATCH: &str = "application/openstack-images-v2.1-json-patch";
/// The older media type of a JSON patch, the only one that some clients send.
pub(crate) const PATCH_V20: &str = "application/openstack-images-v2.0-json-patch";

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `None` when the server is not ours (`VITRINE_TEST_ENDPOINT`).
    launcher: Option<Child>,
    data: PathBuf,
    log: Arc<Mutex<String>>,
    options: Options,
    /// Keeps the directory.
    home: Option<TempDir>,
}

/// What a server is started with.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// Text of a configuration file.
    pub(crate) config: Option<String>,
    /// Command and arguments that run the server, which is appended: limits and namespaces of a test.
    pub(crate) under: Vec<String>,
    /// Without a subcommand and without a data directory: what a newcomer types.
    pub(crate) bare: bool,
    /// How clients speak TLS to it, if the configuration says so.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// The token of every request.
    pub(crate) token: Option<&'static str>,
}

/// The binary under test.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_vitrine"))
}

/// A port of 127.0.0.1 that nobody listens on, below the range that the kernel hands out, and given out once only:
/// with `SO_REUSEPORT` two servers on one port would both start.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().expect("no panic inside");
    let given = given.get_or_insert_default();
    let start = u64::from(std::process::id()) * 131;
    (0..10_000u64)
        .filter_map(|i| u16::try_from(12_000 + (start + i) % 20_000).ok())
        .find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok() && given.insert(*port))
        .expect("a free port")
}

/// The headers of `VITRINE_TEST_HEADERS`.
pub(crate) fn extra_headers() -> &'static [(String, String)] {
    static HEADERS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let text = std::env::var("VITRINE_TEST_HEADERS").unwrap_or_default();
        let pairs = text.split('|').filter_map(|part| part.split_once(": "));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    });
    &HEADERS
}

/// Whether the tests run against a server that is not ours.
pub(crate) fn is_foreign() -> bool {
    std::env::var_os("VITRINE_TEST_ENDPOINT").is_some()
}

impl Server {
    /// The server that the API tests speak to: ours with its defaults, or the one of `VITRINE_TEST_ENDPOINT`.
    pub(crate) fn start() -> Server {
        if let Ok(endpoint) = std::env::var("VITRINE_TEST_ENDPOINT") {
            let address = endpoint.parse().expect("VITRINE_TEST_ENDPOINT is ADDRESS:PORT");
            return Server {
                address,
                admin: address,
                launcher: None,
                data: std::env::var_os("VITRINE_TEST_STORE").unwrap_or_default().into(),
                log: Arc::default(),
                options: Options::default(),
                home: None,
            };
        }
        Server::ours(Options::default())
    }

    /// Ours, with these options, in a new data directory.
    pub(crate) fn ours(options: Options) -> Server {
        let home = tempfile::tempdir().expect("a directory for the test");
        let mut server = Server {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            admin: SocketAddr::from(([127, 0, 0, 1], free_port())),
            launcher: None,
            data: home.path().join(if options.bare { "vitrine-data" } else { "data" }),
            log: Arc::default(),
            options,
            home: Some(home),
        };
        server.launch();
        server
    }

    /// Ours, with this text as its configuration file.
    pub(crate) fn with_config(config: &str) -> Server {
        Server::ours(Options { config: Some(config.to_owned()), ..Options::default() })
    }

    /// Starts the processes (again) on the same addresses and data, and waits for the line that says so. Returns how
    /// long that took.
    pub(crate) fn launch(&mut self) -> Duration {
        let begun = Instant::now();
        let home = self.home.as_ref().expect("ours").path().to_owned();
        let mut command = match &self.options.under[..] {
            [] => binary(),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary().get_program());
                command
            }
        };
        command.current_dir(&home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.options.bare {
            command.args(["serve", "--data-dir"]).arg(&self.data);
        }
        command.args(["--listen", &self.address.to_string(), "--admin-listen", &self.admin.to_string()]);
        if let Some(common) = std::env::var_os("VITRINE_TEST_CONFIG") {
            command.arg("--config").arg(common);
        }
        if let Some(config) = &self.options.config {
            let path = home.join("vitrine.conf");
            fs::write(&path, config).expect("writing the configuration");
            command.arg("--config").arg(path);
        }
        let mut child = command.spawn().expect("starting vitrine");
        let (lines, ready) = mpsc::channel();
        collect(child.stdout.take().expect("piped"), self.log.clone(), Some(lines));
        collect(child.stderr.take().expect("piped"), self.log.clone(), None);
        self.launcher = Some(child);
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        let expected = format!("vitrine: ready on {scheme}://{}", self.address);
        match ready.recv_timeout(START) {
            Ok(line) if line == expected => begun.elapsed(),
            Ok(line) => panic!("the first line is {line:?}, not {expected:?}\n{}", self.log()),
            Err(error) => panic!("no line that says ready ({error}):\n{}", self.log()),
        }
    }

    /// The configuration file of the next start.
    pub(crate) fn reconfigure(&mut self, config: &str) {
        self.options.config = Some(config.to_owned());
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Everything the processes wrote to standard output and error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic inside").clone()
    }

    pub(crate) fn launcher_pid(&self) -> Pid {
        pid(self.launcher.as_ref().expect("ours").id())
    }

    /// The process of a plane, `control` or `dataplane`: the launcher's child with that subcommand.
    pub(crate) fn plane(&self, name: &str) -> Option<Pid> {
        children_of(self.launcher_pid()).into_iter().find(|child| {
            let line = fs::read(format!("/proc/{}/cmdline", child.as_raw_nonzero())).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(name.as_bytes())
        })
    }

    /// The plane's process, waited for.
    pub(crate) fn wait_plane(&self, name: &str) -> Pid {
        eventually(START, || self.plane(name)).unwrap_or_else(|| panic!("no {name} process:\n{}", self.log()))
    }

    /// `kill -9` of one plane.
    pub(crate) fn kill_plane(&self, name: &str) {
        let _ = kill_process(self.wait_plane(name), Signal::KILL);
    }

    /// `kill -9` of everything, launcher first, as a power cut would; returns when nothing of it runs any more.
    pub(crate) fn kill_processes(&self) {
        let mut victims = vec![self.launcher_pid()];
        victims.extend(children_of(victims[0]));
        for victim in &victims {
            let _ = kill_process(*victim, Signal::KILL);
        }
        eventually(STOP, || victims.iter().all(|victim| !is_running(*victim)).then_some(()));
    }

    /// As [`Server::kill_processes`], for good or until the next [`Server::launch`].
    pub(crate) fn kill_all(&mut self) {
        if self.launcher.is_some() {
            self.kill_processes();
        }
        if let Some(mut launcher) = self.launcher.take() {
            let _ = launcher.wait();
        }
    }

    /// `SIGTERM` to the launcher; its exit status, and the processes that were left behind.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Vec<Pid>) {
        let mut launcher = self.launcher.take().expect("ours and running");
        let children = children_of(pid(launcher.id()));
        kill_process(pid(launcher.id()), Signal::TERM).expect("the launcher runs");
        let status = eventually(STOP, || launcher.try_wait().expect("our child"));
        let left: Vec<Pid> = children.iter().copied().filter(|child| is_running(*child)).collect();
        for process in &left {
            let _ = kill_process(*process, Signal::KILL);
        }
        match status {
            Some(status) => (status, left),
            None => {
                let _ = launcher.kill();
                let _ = launcher.wait();
                panic!("SIGTERM did not end the launcher within {STOP:?}:\n{}", self.log());
            }
        }
    }

    /// The files that hold image bytes: everything below the data directory but the catalog and what processes need.
    pub(crate) fn stored_files(&self) -> Vec<PathBuf> {
        const OTHERS: [&str; 10] =
            [".sqlite", ".sqlite3", ".db", "-wal", "-shm", "-journal", ".sock", ".lock", ".pid", ".log"];
        let mut files = Vec::new();
        walk(&self.data, &mut files);
        files.retain(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            !OTHERS.iter().any(|end| name.ends_with(end))
        });
        files
    }

    /// The files whose name holds this image's id.
    pub(crate) fn files_of(&self, id: &str) -> Vec<PathBuf> {
        let mut files = self.stored_files();
        files.retain(|file| file.to_string_lossy().contains(id));
        files
    }

    /// Asserts that the store comes to hold no bytes, or none of the image `id`: they are removed right after the
    /// answer to a deletion.
    #[track_caller]
    pub(crate) fn assert_bytes_gone(&self, id: Option<&str>) {
        let files = || id.map_or_else(|| self.stored_files(), |id| self.files_of(id));
        let gone = eventually(STOP, || files().is_empty().then_some(()));
        assert!(gone.is_some(), "left in the store: {:?}\n{}", files(), self.log());
    }

    pub(crate) fn connect(&self) -> Connection {
        match &self.options.tls {
            Some(config) => Connection::over(super::tls::connect(self.address, config).expect("a TLS connection")),
            None => Connection::open(self.address),
        }
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Response {
        let token = self.options.token.map(|token| ("X-Auth-Token", token));
        let headers: Vec<_> = headers.iter().copied().chain(token).collect();
        match self.connect().request(method, path, &headers, body) {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path}: {error}\n{}", self.log()),
        }
    }

    /// The same of a server that may be dying: `None` where it gives no answer, or has none to give now.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Option<Response> {
        let mut connection = Connection::try_open(self.address).ok()?;
        let reply = connection.request(method, path, headers, body).ok()?;
        (reply.status < 500).then_some(reply)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], None)
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path, &[], None)
    }

    /// A request with a JSON body.
    #[track_caller]
    pub(crate) fn send_json(&self, method: &str, path: &str, body: &Value) -> Response {
        let text = body.to_string();
        self.request(method, path, &[("Content-Type", "application/json")], Some(text.as_bytes()))
    }

    /// A request without a body where one could be: `Content-Length: 0`.
    #[track_caller]
    pub(crate) fn send_empty(&self, method: &str, path: &str) -> Response {
        self.request(method, path, &[], Some(b""))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, operations: &Value) -> Response {
        let text = operations.to_string();
        self.request("PATCH", path, &[("Content-Type", PATCH)], Some(text.as_bytes()))
    }

    /// A new image with these fields; its representation.
    #[track_caller]
    pub(crate) fn create(&self, fields: &Value) -> Value {
        self.send_json("POST", "/v2/images", fields).expect(201).json()
    }

    /// The id of a new image, raw and bare, that waits for its data.
    #[track_caller]
    pub(crate) fn queued(&self) -> String {
        let image = self.create(&json!({"disk_format": "raw", "container_format": "bare"}));
        image["id"].as_str().expect("an id").to_owned()
    }

    #[track_caller]
    pub(crate) fn show(&self, id: &str) -> Value {
        self.get(&format!("/v2/images/{id}")).expect(200).json()
    }

    #[track_caller]
    pub(crate) fn upload(&self, id: &str, data: &[u8]) -> Response {
        self.request("PUT", &format!("/v2/images/{id}/file"), &[("Content-Type", OCTETS)], Some(data))
    }

    /// As [`Server::upload`], in chunks of these sizes.
    #[track_caller]
    pub(crate) fn upload_chunked(&self, id: &str, data: &[u8], sizes: &[usize]) -> Response {
        let mut connection = self.connect();
        let headers = [("Content-Type", OCTETS), ("Transfer-Encoding", "chunked")];
        let mut bytes = head("PUT", &format!("/v2/images/{id}/file"), &headers, None);
        bytes.extend(chunked(data, sizes));
        let _ = connection.send(&bytes);
        connection.response("PUT").unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// The id of a new active image with this data.
    #[track_caller]
    pub(crate) fn active(&self, data: &[u8]) -> String {
        let id = self.queued();
        self.upload(&id, data).expect(204);
        id
    }

    #[track_caller]
    pub(crate) fn download(&self, id: &str) -> Vec<u8> {
        self.get(&format!("/v2/images/{id}/file")).expect(200).body
    }

    /// The image comes back to `queued` without size, and its bytes are gone.
    #[track_caller]
    pub(crate) fn assert_queued_without_bytes(&self, id: &str) {
        let back = eventually(Duration::from_secs(10), || {
            (self.show(id)["status"] == "queued" && self.files_of(id).is_empty()).then_some(())
        });
        let image = self.show(id);
        assert!(back.is_some(), "{image}\nfiles {:?}\n{}", self.files_of(id), self.log());
        for field in ["size", "virtual_size", "checksum", "os_hash_value"] {
            assert_eq!(image[field], Value::Null, "{field} of {image}");
        }
    }
}

/// The media type of image data.
pub(crate) const OCTETS: &str = "application/octet-stream";

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() && self.launcher.is_some() {
            eprintln!("---- what the server wrote:\n{}----", self.log());
        }
        self.kill_all();
    }
}

/// Runs `vitrine` with these arguments until it ends by itself: its status and what it wrote to both streams.
pub(crate) fn run_to_end(arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    run_program_to_end(Path::new(binary().get_program()), arguments, directory)
}

/// The same of a program that becomes it.
pub(crate) fn run_program_to_end(program: &Path, arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starting vitrine");
    let log = Arc::new(Mutex::new(String::new()));
    let first = collect(child.stdout.take().expect("piped"), log.clone(), None);
    let second = collect(child.stderr.take().expect("piped"), log.clone(), None);
    let status = eventually(START, || child.try_wait().expect("our child"));
    if status.is_none() {
        for process in children_of(pid(child.id())) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    first.join().expect("no panic inside");
    second.join().expect("no panic inside");
    let text = log.lock().expect("no panic inside").clone();
    let status = status.unwrap_or_else(|| panic!("vitrine {arguments:?} goes on running:\n{text}"));
    (status.code(), text)
}

fn pid(raw: u32) -> Pid {
    i32::try_from(raw).ok().and_then(Pid::from_raw).expect("a process id")
}

/// Whether a process exists and has not ended.
pub(crate) fn is_running(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// The processes whose parent is `parent`.
fn children_of(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("a Linux system").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        if line.and_then(|text| text.trim().parse().ok()) == Some(parent.as_raw_nonzero().get()) {
            found.push(id);
        }
    }
    found
}

/// Collects a stream line by line, and hands the first lines to `lines`.
fn collect(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    lines: Option<mpsc::Sender<String>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(io::Result::ok) {
            let mut log = log.lock().expect("no panic inside");
            log.push_str(&line);
            log.push('\n');
            if let Some(lines) = &lines {
                let _ = lines.send(line);
            }
        }
    })
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}
