//! Vitrine on its embedded defaults: SQLite and file store in its data directory, no authentication. Variants of it add a
//! few lines of configuration.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Server, end, free_address};
use crate::error::{During, Error, Result};

/// What the server prints, before its address, once requests succeed.
const READY: &str = "vitrine: ready on ";
/// The option that turns TLS on.
const TLS: &str = "tls_cert_file";

/// A Vitrine to compare: what is special about it.
#[derive(Debug, Clone)]
pub struct Variant {
    /// What it is called in reports: `vitrine` and what is special.
    pub name: &'static str,
    /// Configuration file; empty: none.
    pub settings: Cow<'static, str>,
    /// Cores that its processes may run on, as a list of taskset's (util-linux); empty: all.
    pub cores: &'static str,
}

impl Variant {
    /// As it is installed, without any setting.
    pub const PLAIN: Self = Self { name: "vitrine", settings: Cow::Borrowed(""), cores: "" };
}

impl Variant {
    /// Whether it talks TLS only.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.settings.contains(TLS)
    }
}

/// Starts the binary `program` with its data in `directory`, made if it is not there.
///
/// # Errors
/// It does not start.
pub fn start(program: &Path, directory: &Path, variant: &Variant) -> Result<Server> {
    fs::create_dir_all(directory).during(|| directory.display().to_string())?;
    let (address, admin, data) = (free_address()?, free_address()?, data(directory));
    let mut command = if variant.cores.is_empty() {
        Command::new(program)
    } else {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", variant.cores]).arg(program);
        command
    };
    serve(&mut command, &data, address, admin);
    let settings = &variant.settings;
    if !settings.is_empty() {
        let path = directory.join("vitrine.conf");
        fs::write(&path, settings.as_bytes()).during(|| path.display().to_string())?;
        command.arg("--config").arg(path);
    }
    let ready = (!variant.is_tls()).then_some("/v2/images?limit=1");
    let mut server = Server::start(variant.name, command, address, data, directory.join("log"), ready)?;
    server.admin = Some(admin);
    Ok(server)
}

/// The options that a server has warned it does not know: figures of such a variant are those of another.
#[must_use]
pub fn unknown_options(server: &Server) -> Vec<String> {
    let option = |line: &str| line.split_once("unknown option ")?.1.split(" is ignored").next().map(str::to_owned);
    server.said().lines().filter_map(option).collect()
}

/// Starts the binary `program` on the database that an earlier [`start`] has left in `directory`, and stops it. Returns
/// the time from the start of the process to its line that it is ready.
///
/// # Errors
/// It does not start, or ends without that line.
pub fn restart(program: &Path, directory: &Path) -> Result<Duration> {
    let mut command = Command::new(program);
    serve(&mut command, &data(directory), free_address()?, free_address()?);
    let log = directory.join("log");
    let errors = File::create(&log).during(|| log.display().to_string())?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let begin = Instant::now();
    let mut child = command.spawn().during(|| format!("starting {}", program.display()))?;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let mut lines = lines.map_while(std::result::Result::ok);
    let ready = lines.any(|line| line.starts_with(READY));
    let took = begin.elapsed();
    // The pipe stays open for what the server may say while it ends.
    end(&mut child);
    drop(lines);
    if ready {
        return Ok(took);
    }
    let text = fs::read_to_string(&log).unwrap_or_default();
    Err(Error::Setup(format!("{} ended without being ready:\n{text}", program.display())))
}

/// The database of a Vitrine in `directory`.
#[must_use]
pub fn database(directory: &Path) -> PathBuf {
    data(directory).join("catalog.sqlite")
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn serve(command: &mut Command, data: &Path, address: SocketAddr, admin: SocketAddr) {
    command.arg("serve").arg("--data-dir").arg(data).arg("--listen").arg(address.to_string());
    command.arg("--admin-listen").arg(admin.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn program(directory: &Path, script: &str) -> std::io::Result<PathBuf> {
        let path = directory.join("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    #[test]
    fn a_restart_takes_until_the_ready_line() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let script = "echo first; sleep 0.2; echo 'vitrine: ready on http://x'; exec sleep 60";
        let program = program(directory.path(), script)?;
        let took = restart(&program, directory.path()).map_err(std::io::Error::other)?;
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(30), "{took:?}");
        Ok(())
    }

    #[test]
    fn a_program_that_ends_early_says_why() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let program = program(directory.path(), "echo not ready; echo no luck >&2; exit 2")?;
        let message = restart(&program, directory.path()).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("no luck"), "{message}");
        Ok(())
    }
}
