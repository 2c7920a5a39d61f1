//! Latencies as one more client sees them: a single prober that asks, waits for the answer, thinks, and asks again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::http::Connection;
use crate::images::expect;
use crate::stats::Latencies;

/// Time between an answer and the next question.
const THINK: Duration = Duration::from_millis(1);
/// Bytes of the range of which the first byte is awaited.
const RANGE: u64 = 1 << 20;

/// What a prober asks for.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// The server.
    pub address: SocketAddr,
    /// Path of the data of which ranges are fetched, each on a new connection, and its size.
    pub data: Option<(&'a str, u64)>,
    /// Paths of records to show, on one connection that is kept alive.
    pub records: &'a [String],
}

/// The latencies that a prober has seen.
#[derive(Debug, Default)]
pub struct Probed {
    /// From before the connection was made to the head of the answer, which comes with the first bytes.
    pub first_byte: Latencies,
    /// Of a whole show.
    pub show: Latencies,
}

impl Probe<'_> {
    /// Asks until `stop` is set, and at least once.
    ///
    /// # Errors
    /// An answer is missing or not what was asked for.
    pub fn run(&self, stop: &AtomicBool) -> Result<Probed> {
        let mut probed = Probed::default();
        let mut kept = Connection::to(self.address);
        let mut turn = 0_u64;
        loop {
            if let Some((target, size)) = self.data {
                probed.first_byte.record(self.fetch(target, size, turn)?);
                thread::sleep(THINK);
            }
            if !self.records.is_empty() {
                let target = &self.records[usize::try_from(turn).unwrap_or(0) % self.records.len()];
                let asked = Instant::now();
                let head = kept.request("GET", target, None)?;
                expect(&mut kept, &head, 200, target)?;
                probed.show.record(asked.elapsed());
                thread::sleep(THINK);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(probed);
            }
            turn += 1;
        }
    }

    fn fetch(&self, target: &str, size: u64, turn: u64) -> Result<Duration> {
        let length = RANGE.min(size);
        let first = turn * RANGE % (size - length + 1);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nRange: bytes={first}-{}\r\nConnection: close\r\n\r\n",
            self.address,
            first + length - 1
        );
        let mut connection = Connection::to(self.address);
        let asked = Instant::now();
        connection.write(head.as_bytes())?;
        let head = connection.read_head()?;
        let took = asked.elapsed();
        if head.status != 206 {
            return Err(Error::Answer(format!("{} instead of 206 for a range", head.status)));
        }
        connection.discard_body(&head)?;
        Ok(took)
    }
}
