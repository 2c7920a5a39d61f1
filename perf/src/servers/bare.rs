//! A bare receive-and-write loop as a contender: this program's own subcommand, in a process of its own.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Server, free_address};
use crate::bare;
use crate::error::{During, Result};
use crate::payload::{Comparer, Payload};

/// What it is called in reports.
pub const NAME: &str = "bare loop";
/// The file it writes, in its directory.
const FILE: &str = "received";

/// Starts it with its file, of at most `size` bytes, in the new directory `directory`.
///
/// # Errors
/// It does not start.
pub fn start(directory: &Path, size: u64) -> Result<Server> {
    fs::create_dir(directory).during(|| directory.display().to_string())?;
    let address = free_address()?;
    let mut command = Command::new(env::current_exe().during(|| "path of this program")?);
    command.args([bare::SUBCOMMAND, &address.to_string()]).arg(directory.join(FILE)).arg(size.to_string());
    Server::start(NAME, command, address, directory.to_owned(), directory.join("log"), None)
}

/// Compares what it has written last with what was sent.
///
/// # Errors
/// It differs.
pub fn verify(server: &Server, payload: &Payload) -> Result<()> {
    let path = server.files.join(FILE);
    let file = fs::File::open(&path).during(|| path.display().to_string())?;
    let mut comparer = Comparer::new(payload);
    let count = crate::payload::read_all(&file, |bytes| comparer.compare(bytes))?;
    comparer.finish(count)
}
