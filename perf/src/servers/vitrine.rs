//! Vitrine on its embedded defaults: SQLite and file store in its data directory, no authentication.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Kind, Server, free_address};
use crate::error::{During, Result};

/// Starts the binary `program` with its data in the new directory `directory`.
///
/// # Errors
/// It does not start.
pub fn start(program: &Path, directory: &Path) -> Result<Server> {
    fs::create_dir(directory).during(|| directory.display().to_string())?;
    let (address, admin) = (free_address()?, free_address()?);
    let data = directory.join("data");
    let mut command = Command::new(program);
    command.arg("serve").arg("--data-dir").arg(&data);
    command.arg("--listen").arg(address.to_string()).arg("--admin-listen").arg(admin.to_string());
    Server::start(Kind::Vitrine, command, address, data, directory.join("log"), "/v2/images?limit=1")
}
