//! What a plane's process does around the plane: lock its place, tell when it is ready, and stop with its launcher.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    let _catalog = lock_catalog(&config, supervised)?;
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
    runtime.block_on(control::run(config, on_ready)).map_err(|error| {
        let code = if error.is_misconfiguration() { MISCONFIGURED } else { FAILED };
        Failure { line: Some(error.to_string()), code }
    })
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
    let dir = config.paths.data_dir.display();
    let path = config.paths.data_dir.join(format!("{plane}.lock"));
    let file = open_lock(&path).map_err(|error| {
        format!("the data directory {dir} is not writable: {error}; choose another with --data-dir")
    })?;
    take(&file, patience(config, supervised)).map_err(|error| {
        format!("another {plane} plane runs on {dir} ({error}); stop it, or choose another directory with --data-dir")
    })?;
    Ok(file)
}

/// Makes sure that one control plane at a time writes the catalog, which data directories may share. As [`lock`]; the
/// file lies beside the database, whatever links lead there.
fn lock_catalog(config: &Config, supervised: bool) -> Result<File, Failure> {
    let database = &config.database.sqlite;
    if let Some(directory) = database.parent() {
        // One that cannot be made shows as the failure to open the file in it.
        let _ = std::fs::create_dir_all(directory);
    }
    let path = catalog_lock(database);
    let shown = database.display();
    let file = open_lock(&path).map_err(|error| {
        format!("cannot make {} beside the catalog: {error}; its directory must be writable", path.display())
    })?;
    take(&file, patience(config, supervised)).map_err(|error| {
        format!("another control plane writes the catalog {shown} ({error}); stop it, or set [database] connection")
    })?;
    Ok(file)
}

/// The lock of a database: beside the file itself, so that all names of the file lead to one lock.
fn catalog_lock(database: &Path) -> PathBuf {
    let real = std::fs::canonicalize(database).or_else(|_| {
        let directory = std::fs::canonicalize(database.parent().unwrap_or(Path::new("/")))?;
        io::Result::Ok(directory.join(database.file_name().unwrap_or_default()))
    });
    let mut name = real.unwrap_or_else(|_| database.to_owned()).into_os_string();
    name.push(".lock");
    name.into()
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

/// How long a predecessor is waited for.
fn patience(config: &Config, supervised: bool) -> Duration {
    if supervised { config.dataplane.drain + LOCK_GRACE } else { Duration::ZERO }
}

fn take(file: &File, patience: Duration) -> io::Result<()> {
    let begun = Instant::now();
    while let Err(error) = flock(file, FlockOperation::NonBlockingLockExclusive) {
        if begun.elapsed() >= patience {
            return Err(error.into());
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_catalog_lead_to_one_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let real = directory.path().join("real.sqlite");
        let before = catalog_lock(&real);
        assert!(before.to_string_lossy().ends_with("/real.sqlite.lock"), "{before:?}");
        std::fs::write(&real, "").expect("the file");
        let link = directory.path().join("link.sqlite");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let elsewhere = directory.path().join("elsewhere");
        std::os::unix::fs::symlink(directory.path(), &elsewhere).expect("a link");
        for name in [&real, &link, &elsewhere.join("real.sqlite"), &elsewhere.join("link.sqlite")] {
            assert_eq!(catalog_lock(name), before, "{name:?}");
        }
        let (first, second) = (open_lock(&before).expect("opens"), open_lock(&before).expect("opens"));
        take(&first, Duration::ZERO).expect("free");
        assert!(take(&second, Duration::from_millis(30)).is_err());
        drop(first);
        take(&second, Duration::ZERO).expect("free again");
    }
}
