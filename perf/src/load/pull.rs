//! Downloads: connections that fetch the same data over and over and drop it in the kernel.

use std::net::SocketAddr;

use super::{Done, together};
use crate::error::{Error, Result};
use crate::http::Connection;
use crate::images::expect;
use crate::payload::{Digester, Digests};

/// Connections ready to download.
#[derive(Debug)]
pub struct Pull {
    connections: Vec<Connection>,
    target: String,
    size: u64,
    passes: u64,
}

impl Pull {
    /// `connections` connections that will each fetch the `size` bytes at `target`, `passes` times.
    #[must_use]
    pub fn new(address: SocketAddr, target: &str, size: u64, connections: usize, passes: u64) -> Self {
        let connections = (0..connections).map(|_| Connection::to(address)).collect();
        Self { connections, target: target.to_owned(), size, passes }
    }

    /// Downloads. Lengths are checked, bytes are not looked at.
    ///
    /// # Errors
    /// A download fails or has another length.
    pub fn run(mut self) -> Result<Done> {
        let (target, size, passes) = (self.target.as_str(), self.size, self.passes);
        let (counts, wall) = together(self.connections.iter_mut(), |connection| {
            let mut bytes = 0;
            for _ in 0..passes {
                let head = connection.request("GET", target, None)?;
                if head.status != 200 {
                    return expect(connection, &head, 200, "download").map(|_| 0);
                }
                bytes += same_size(connection.discard_body(&head)?, size)?;
            }
            Ok(bytes)
        })?;
        let requests = passes.saturating_mul(counts.len() as u64);
        Ok(Done { bytes: counts.iter().sum(), requests, wall })
    }
}

/// Downloads the data at `target` once and compares every byte, through its digests.
///
/// # Errors
/// The download fails, or what comes is not what `digests` says.
pub fn verify(address: SocketAddr, target: &str, size: u64, digests: &Digests) -> Result<()> {
    let mut connection = Connection::to(address);
    let head = connection.request("GET", target, None)?;
    if head.status != 200 {
        return expect(&mut connection, &head, 200, "download").map(drop);
    }
    let mut digester = Digester::new();
    same_size(connection.inspect_body(&head, |piece| digester.update(piece))?, size)?;
    let found = digester.finish();
    if found == *digests {
        return Ok(());
    }
    Err(Error::Bytes(format!("{target} on {address} gave {found:?} instead of {digests:?}")))
}

fn same_size(found: u64, size: u64) -> Result<u64> {
    if found == size { Ok(found) } else { Err(Error::Bytes(format!("{found} bytes instead of {size}"))) }
}
