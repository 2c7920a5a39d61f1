//! Glance as its operators run it: a WSGI application under uWSGI, with a SQLite database and a file store.
//!
//! Without authentication its default policies refuse nearly everything (the caller has no role), so the older
//! defaults are allowed beside them. As its release ships it, uWSGI closes each connection after the answer.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::{Server, free_address};
use crate::error::{During, Error, Result};

/// What it is called in reports.
pub const NAME: &str = "glance";
/// How long a request of Glance's waits for the database's lock, in seconds: several uploads end at once, and SQLite
/// has one writer.
const LOCK_WAIT_SECONDS: u32 = 60;
/// How long uWSGI waits for the next bytes of a request, in seconds.
const SILENCE_SECONDS: u32 = 60;
/// Largest chunk of a request body that uWSGI takes, in bytes: its default of 1 MiB is too small for Glance's client.
const CHUNK_MAX: u32 = 16 << 20;

/// Starts Glance from the virtual environment `home` with its data in the new directory `directory`, with one process
/// per core.
///
/// # Errors
/// The environment is not complete, or it does not start.
pub fn start(home: &Path, directory: &Path) -> Result<Server> {
    let files = directory.join("images");
    for path in [&files, &directory.join("staging"), &directory.join("tasks"), &directory.join("locks")] {
        fs::create_dir_all(path).during(|| path.display().to_string())?;
    }
    let path = directory.join("glance-api.conf");
    fs::write(&path, settings(home, directory)).during(|| path.display().to_string())?;
    create_database(home, directory)?;
    let address = free_address()?;
    let processes = thread::available_parallelism().during(|| "number of cores")?.get();
    let command = uwsgi(home, directory, address, processes);
    Server::start(NAME, command, address, files, directory.join("log"), Some("/healthcheck"))
}

/// The database of a Glance in `directory`.
#[must_use]
pub fn database(directory: &Path) -> PathBuf {
    directory.join("glance.sqlite")
}

fn settings(home: &Path, directory: &Path) -> String {
    let (home, directory) = (home.display(), directory.display());
    format!(
        "[DEFAULT]
enabled_backends = perf:file
node_staging_uri = file://{directory}/staging
[database]
connection = sqlite:///{directory}/glance.sqlite?timeout={LOCK_WAIT_SECONDS}
[glance_store]
default_backend = perf
[perf]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[oslo_concurrency]
lock_path = {directory}/locks
[oslo_policy]
enforce_new_defaults = False
[paste_deploy]
config_file = {home}/etc/glance/glance-api-paste.ini
"
    )
}

fn create_database(home: &Path, directory: &Path) -> Result<()> {
    let mut command = Command::new(home.join("bin/glance-manage"));
    command.arg("--config-file").arg(directory.join("glance-api.conf")).arg("db_sync");
    let output = command.output().during(|| "glance-manage db_sync")?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Setup(format!("glance-manage db_sync failed:\n{text}")))
}

fn uwsgi(home: &Path, directory: &Path, address: SocketAddr, processes: usize) -> Command {
    let mut command = Command::new(home.join("bin/uwsgi"));
    command.env("OS_GLANCE_CONFIG_DIR", directory);
    command.args(["--module", "glance.wsgi.api:application", "--need-app", "--lazy-apps"]);
    command.args(["--http-socket", &address.to_string(), "--add-header", "Connection: close"]);
    command.args(["--master", "--die-on-term", "--enable-threads", "--thunder-lock", "--disable-logging"]);
    command.args(["--processes", &processes.to_string(), "--chunked-input-limit", &CHUNK_MAX.to_string()]);
    command.args(["--socket-timeout", &SILENCE_SECONDS.to_string()]);
    command.args(["--buffer-size", "65535"]).arg("--virtualenv").arg(home);
    command
}
