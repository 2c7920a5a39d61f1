//! The servers that are compared: started on free ports of the loopback with a directory of their own, and stopped.

pub mod bare;
pub mod glance;
pub mod nginx;
pub mod vitrine;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cpu;
use crate::error::{During, Error, Result};
use crate::http::Connection;

/// How long a server may take to answer its first request.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks at a server that starts or stops.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of a failed server's log is shown, in lines.
const LOG_SHOWN: usize = 8;

/// A running server; it is stopped when dropped.
#[derive(Debug)]
pub struct Server {
    /// What it is called in reports.
    pub name: String,
    /// Where it answers.
    pub address: SocketAddr,
    /// Where it answers operators, if it does.
    pub admin: Option<SocketAddr>,
    /// Directory under which it keeps its image files.
    pub files: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `command`, with its output in `log`, and waits until `GET ready` is answered by something better than
    /// a server error, or without `ready` (which is plain HTTP) until it accepts connections.
    ///
    /// # Errors
    /// The command cannot be run, ends, or does not answer within a minute.
    fn start(
        name: &str,
        mut command: Command,
        address: SocketAddr,
        files: PathBuf,
        log: PathBuf,
        ready: Option<&str>,
    ) -> Result<Self> {
        let output = File::create(&log).during(|| log.display().to_string())?;
        let errors = output.try_clone().during(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let program = Path::new(command.get_program()).display().to_string();
        let child = command.spawn().during(|| format!("starting {program}"))?;
        let mut server = Self { name: name.to_owned(), address, admin: None, files, log, child };
        let begin = Instant::now();
        while !ready.map_or_else(|| accepts(address), |target| answers(address, target)) {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(server.failure(&format!("ended while starting ({status})")));
            }
            if begin.elapsed() > START_MAX {
                return Err(server.failure("does not answer"));
            }
            thread::sleep(PAUSE);
        }
        Ok(server)
    }

    /// Process that all others of it descend from.
    #[must_use]
    pub fn root(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// CPU time so far of all its processes.
    ///
    /// # Errors
    /// The server is gone.
    pub fn cpu(&self) -> Result<Duration> {
        cpu::tree(self.child.id())
    }

    /// Makes every server read the very same file: replaces the server's own copy of an image by a hard link to
    /// `source`, which has the same bytes. Then the page cache holds the data once, in the same pages for all.
    ///
    /// # Errors
    /// There is not exactly one file of `size` bytes under the server's directory, or it cannot be linked.
    pub fn share(&self, source: &Path, size: u64) -> Result<()> {
        let copy = self.file_of(size)?;
        let link = copy.with_extension("perf-link");
        fs::hard_link(source, &link).during(|| link.display().to_string())?;
        fs::rename(&link, &copy).during(|| copy.display().to_string())
    }

    /// The one image file of `size` bytes under its directory.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn file_of(&self, size: u64) -> Result<PathBuf> {
        let mut found = Vec::new();
        files_of_size(&self.files, size, &mut found)?;
        match found.as_slice() {
            [file] => Ok(file.clone()),
            files => Err(Error::Setup(format!(
                "{} files of {size} bytes under {}: which one is the image?",
                files.len(),
                self.files.display()
            ))),
        }
    }

    /// Adds to a failed measurement what the server has said last.
    #[must_use]
    pub fn explain(&self, error: &Error) -> Error {
        self.failure(&format!("failed a measurement: {error}"))
    }

    fn failure(&self, what: &str) -> Error {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        // Thousands of lines about other requests may have come since.
        let troubles = lines.iter().filter(|line| [" WARN ", " ERROR "].iter().any(|level| line.contains(level)));
        let troubles: Vec<&str> = troubles.copied().collect();
        let last = |lines: &[&str], most: usize| lines[lines.len().saturating_sub(most)..].join("\n");
        let tail = format!("{}\n…\n{}", last(&troubles, LOG_SHOWN), last(&lines, LOG_SHOWN));
        Error::Setup(format!("{} {what}; the end of {}:\n{tail}", self.name, self.log.display()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Asks a server to end, and ends all its processes if it does not.
fn end(child: &mut Child) {
    let processes = cpu::members(child.id()).unwrap_or_default();
    // A signal that does not arrive means that the process has ended.
    signal(child.id(), Signal::TERM);
    let begin = Instant::now();
    while begin.elapsed() < STOP_MAX {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        thread::sleep(PAUSE);
    }
    for pid in processes {
        signal(pid, Signal::KILL);
    }
    let _ = child.wait();
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn answers(address: SocketAddr, target: &str) -> bool {
    Connection::to(address).request("GET", target, None).is_ok_and(|head| head.status < 500)
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// An address of the loopback that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during(|| "a free port")?;
    listener.local_addr().during(|| "a free port")
}

fn files_of_size(directory: &Path, size: u64, found: &mut Vec<PathBuf>) -> Result<()> {
    let what = || directory.display().to_string();
    for entry in fs::read_dir(directory).during(what)? {
        let entry = entry.during(what)?;
        let kind = entry.file_type().during(what)?;
        if kind.is_dir() {
            files_of_size(&entry.path(), size, found)?;
        } else if kind.is_file() && entry.metadata().during(what)?.len() == size {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(files: &Path, script: &str) -> Result<Server> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let address = free_address()?;
        let log = files.join("log");
        Server::start("nginx", command, address, files.to_owned(), log, Some("/"))
    }

    #[test]
    fn a_server_that_dies_says_why() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let outcome = sleeper(directory.path(), "echo no luck >&2; exit 3");
        let message = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("no luck") && message.contains("nginx ended"), "{message}");
        Ok(())
    }

    #[test]
    fn the_image_file_is_replaced_by_a_link() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let store = directory.path().join("store");
        fs::create_dir_all(store.join("ab"))?;
        fs::write(store.join("ab/image"), b"12345")?;
        fs::write(store.join("other"), b"123")?;
        let source = directory.path().join("source");
        fs::write(&source, b"54321")?;
        let server = Server {
            name: "glance".into(),
            admin: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            files: store.clone(),
            log: directory.path().join("log"),
            child: Command::new("sleep").arg("60").spawn()?,
        };
        server.share(&source, 5).map_err(std::io::Error::other)?;
        assert_eq!(fs::read(store.join("ab/image"))?, b"54321");
        fs::write(store.join("second"), b"abcde")?;
        assert!(server.share(&source, 5).is_err(), "two files could be meant");
        Ok(())
    }
}
