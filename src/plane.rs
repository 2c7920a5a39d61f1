//! What a plane's process does around the plane: lock its place, tell when it is ready, and stop with its launcher.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use common::config::Config;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, getpid, kill_process};

use crate::Failure;

/// Threads of control's executor that run handlers; blocking work has threads of its own.
const CONTROL_WORKERS: usize = 2;

/// What a supervised plane writes to standard output once it serves.
pub(crate) const READY: &str = "ready";

/// Runs the control plane until it is told to stop.
pub(crate) fn control(config: Arc<Config>, supervised: bool) -> Result<(), Failure> {
    let _lock = lock(&config.paths.data_dir, "control")?;
    if supervised {
        stop_with_launcher();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(CONTROL_WORKERS).enable_all().build()?;
    let on_ready = move || {
        if supervised {
            announce(READY);
        }
    };
    Ok(runtime.block_on(control::run(config, on_ready))?)
}

/// Runs the data plane until it is told to stop.
pub(crate) fn dataplane(config: Arc<Config>, supervised: bool) -> Result<(), Failure> {
    let _lock = lock(&config.paths.data_dir, "dataplane")?;
    if supervised {
        stop_with_launcher();
    }
    let on_ready = move |api: SocketAddr, admin: SocketAddr| {
        if supervised {
            announce(&format!("{READY} {api} {admin}"));
        } else {
            announce(&format!("vitrine: ready on http://{api}"));
        }
    };
    Ok(dataplane::run(config, on_ready)?)
}

/// Makes sure that one process at a time is this plane of this data directory. Held until the file is dropped; the
/// kernel lets go of it however the process ends.
fn lock(data_dir: &Path, plane: &str) -> Result<File, Failure> {
    let path = data_dir.join(format!("{plane}.lock"));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| {
        format!("the data directory {} is not writable: {error}; choose another with --data-dir", data_dir.display())
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        format!(
            "another {plane} plane runs on {} ({error}); stop it, or choose another directory with --data-dir",
            data_dir.display()
        )
    })?;
    Ok(file)
}

/// The launcher holds the other end of our standard input: it ends when the launcher does, however that dies.
fn stop_with_launcher() {
    std::thread::spawn(|| {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

fn announce(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
