//! Metadata requests: connections that ask as fast as they are answered (a closed loop).

use std::time::{Duration, Instant};

use super::{Done, together};
use crate::error::{Error, Result};
use crate::http::Connection;
use crate::images::expect;
use crate::stats::Latencies;

/// Connections ready to ask.
#[derive(Debug)]
pub struct Ask<'a> {
    connections: Vec<Connection>,
    targets: &'a [String],
    time: Duration,
}

impl<'a> Ask<'a> {
    /// `connections` connections, each made by `connect`, that will ask for `targets` in turn, for `time`. Connections are kept alive as
    /// far as the server does; one that closes after an answer pays for the next connection, as its users do.
    ///
    /// # Errors
    /// There is nothing to ask for.
    pub fn new(
        connect: impl Fn() -> Connection,
        targets: &'a [String],
        connections: usize,
        time: Duration,
    ) -> Result<Self> {
        if targets.is_empty() {
            return Err(Error::Setup("nothing to ask for".into()));
        }
        let connections = (0..connections).map(|_| connect()).collect();
        Ok(Self { connections, targets, time })
    }

    /// Asks, and returns the latencies of all requests.
    ///
    /// # Errors
    /// An answer is missing or is not `200`.
    pub fn run(mut self) -> Result<(Done, Latencies)> {
        let (targets, time) = (self.targets, self.time);
        let connections = self.connections.iter_mut().enumerate();
        let (asked, wall) = together(connections, |(number, connection)| {
            let mut latencies = Latencies::new();
            let mut bytes = 0;
            let begin = Instant::now();
            // Each connection begins elsewhere, so that they do not all ask for the same image at once.
            for target in targets.iter().cycle().skip(number * 7 % targets.len()) {
                let asked = Instant::now();
                let head = connection.request("GET", target, None)?;
                bytes += expect(connection, &head, 200, target)?.len() as u64;
                latencies.record(asked.elapsed());
                if begin.elapsed() >= time {
                    break;
                }
            }
            Ok((bytes, latencies))
        })?;
        let mut all = Latencies::new();
        let mut bytes = 0;
        for (count, latencies) in &asked {
            bytes += count;
            all.merge(latencies);
        }
        Ok((Done { bytes, requests: all.count(), wall }, all))
    }
}
