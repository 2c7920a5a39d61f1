//! Vitrine on its embedded defaults: SQLite and file store in its data directory, no authentication.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Kind, Server, end, free_address};
use crate::error::{During, Error, Result};

/// What the server prints, before its address, once requests succeed.
const READY: &str = "vitrine: ready on ";

/// Starts the binary `program` with its data in the new directory `directory`.
///
/// # Errors
/// It does not start.
pub fn start(program: &Path, directory: &Path) -> Result<Server> {
    fs::create_dir(directory).during(|| directory.display().to_string())?;
    let (address, data) = (free_address()?, data(directory));
    let command = serve(program, &data, address)?;
    Server::start(Kind::Vitrine, command, address, data, directory.join("log"), "/v2/images?limit=1")
}

/// Starts the binary `program` on the database that an earlier [`start`] has left in `directory`, and stops it. Returns
/// the time from the start of the process to its line that it is ready.
///
/// # Errors
/// It does not start, or ends without that line.
pub fn restart(program: &Path, directory: &Path) -> Result<Duration> {
    let mut command = serve(program, &data(directory), free_address()?)?;
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

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn serve(program: &Path, data: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new(program);
    command.arg("serve").arg("--data-dir").arg(data).arg("--listen").arg(address.to_string());
    command.arg("--admin-listen").arg(free_address()?.to_string());
    Ok(command)
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
