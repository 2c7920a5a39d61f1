//! What a plane's process does around the plane: lock its place, tell when it is ready, and stop with its launcher.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::Config;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Signal, getpid, kill_process};

use crate::{FAILED, Failure, MISCONFIGURED};

/// Threads of control's executor that run handlers; blocking work has threads of its own.
const CONTROL_WORKERS: usize = 2;

/// How long a predecessor may still hold the place of a plane beyond its drain time.
const LOCK_GRACE: Duration = Duration::from_secs(5);

/// The pause between two looks at that.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What a supervised plane writes to standard output once it serves.
pub(crate) const READY: &str = "ready";

/// Runs the control plane until it is told to stop.
pub(crate) fn control(config: Arc<Config>, supervised: bool) -> Result<(), Failure> {
    let _lock = lock(&config, "control", supervised)?;
    if supervised {
        let config = Arc::clone(&config);
        // Uploads that end while the data plane drains still want to be committed.
        stop_with_launcher(move || drop(lock(&config, "dataplane", true)));
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
    let _lock = lock(&config, "dataplane", supervised)?;
    if supervised {
        stop_with_launcher(|| ());
    }
    let scheme = scheme(&config);
    let on_ready = move |api: SocketAddr, admin: SocketAddr| {
        if supervised {
            announce(&format!("{READY} {api} {admin}"));
        } else {
            announce(&format!("vitrine: ready on {scheme}://{api}"));
        }
    };
    dataplane::run(config, on_ready).map_err(|error| {
        let code = if error.is_misconfiguration() { MISCONFIGURED } else { FAILED };
        Failure { line: Some(error.to_string()), code }
    })
}

/// The scheme of our URLs.
pub(crate) fn scheme(config: &Config) -> &'static str {
    if config.dataplane.tls.is_some() { "https" } else { "http" }
}

/// Makes sure that one process at a time is this plane of this data directory. Held until the file is dropped; the
/// kernel lets go of it however the process ends.
///
/// A plane whose launcher was killed may still be finishing transfers: the next launcher's plane waits for it.
fn lock(config: &Config, plane: &str, supervised: bool) -> Result<File, Failure> {
    let data_dir = &config.paths.data_dir;
    let patience = if supervised { config.dataplane.drain + LOCK_GRACE } else { Duration::ZERO };
    let path = data_dir.join(format!("{plane}.lock"));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| {
        format!("the data directory {} is not writable: {error}; choose another with --data-dir", data_dir.display())
    })?;
    let begun = Instant::now();
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if begun.elapsed() >= patience {
            let dir = data_dir.display();
            return Err(format!(
                "another {plane} plane runs on {dir} ({error}); stop it, or choose another directory with --data-dir"
            )
            .into());
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(file)
}

/// The launcher holds the other end of our standard input: it ends when the launcher does, however that dies. Then we
/// stop too, once `before` has returned.
fn stop_with_launcher(before: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        before();
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

fn announce(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
