//! The outcome of a run as it is kept: the JSON of `--json`, and what tables, pages and comparisons are made from.
//! Times are seconds or microseconds, as their names say; sizes are bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::drive::{Measured, Slice};
use super::latency::{Figures, Latency};
use super::ledger::{Kind, Ledger, Record};
use crate::error::{During, Error, Result};

/// What `format` says.
pub const FORMAT: &str = "vitrine-bench";
/// Version of the format: grows when a field changes its meaning.
pub const VERSION: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Id of the run, in the names of its images.
    pub run: String,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// What was done, in words.
    pub workload: String,
    /// The load, in words.
    pub load: String,
    /// The machine of the client.
    pub client: String,
    /// Whether bytes were compared.
    pub verified: bool,
    /// Whether it was ended early by a signal.
    pub interrupted: bool,
    /// The endpoints: one, or two that took turns.
    pub endpoints: Vec<Endpoint>,
    /// Every turn, in order.
    pub rounds: Vec<Round>,
    /// Images that were left behind, with the reason.
    pub left: Vec<String>,
    /// The second endpoint against the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparison: Vec<super::verdict::Verdict>,
}

/// One endpoint over all its rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// `A` or `B`.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// How its CPU time was seen, if it was.
    pub cpu_source: Option<String>,
    /// All rounds together.
    pub operations: Vec<Operation>,
    /// The first text of each kind of failure.
    pub faults: BTreeMap<String, String>,
    /// Answers with wrong bytes.
    pub wrong: u64,
    /// The first of them.
    pub wrong_first: Vec<String>,
}

/// Requests of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    /// `pull`, `push.upload`, …
    pub name: String,
    /// Requests that succeeded.
    pub requests: u64,
    /// Requests that failed, by status or cause.
    pub errors: BTreeMap<String, u64>,
    /// Image data moved by those that succeeded.
    pub bytes: u64,
    /// From the intended start to the last byte.
    pub latency_us: Figures,
    /// From the intended start to the answer's head, of downloads.
    pub first_byte_us: Option<Figures>,
    /// Pairs of percentile and latency.
    pub curve: Vec<(f64, f64)>,
    /// Pairs of a lower bound and how many latencies lie from there to the next.
    pub histogram: Vec<(f64, u64)>,
}

/// One turn of one endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Round {
    /// Name of the endpoint.
    pub endpoint: String,
    /// Seconds measured.
    pub seconds: f64,
    /// Image data received in that time.
    pub bytes_down: u64,
    /// Image data sent in that time.
    pub bytes_up: u64,
    /// Arrivals that began more than 10 ms after their time.
    pub late: u64,
    /// Arrivals that were given up.
    pub dropped: u64,
    /// Requests cut off at the end.
    pub unfinished: u64,
    /// CPU seconds of the service in that time, where they could be seen.
    pub server_cpu: Option<f64>,
    /// Seconds in which the service's cores were not asleep, where it tells.
    pub server_busy: Option<f64>,
    /// CPU seconds of this client in that time.
    pub client_cpu: f64,
    /// The requests of this round.
    pub operations: Vec<RoundOperation>,
    /// The measured time in parts.
    pub slices: Vec<Part>,
}

/// Requests of one kind in one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoundOperation {
    /// `pull`, `push.upload`, …
    pub name: String,
    /// Requests that succeeded within the measured time.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Latencies, with those of requests that ended after the measured time.
    pub latency_us: Figures,
}

/// A part of the measured time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Its length.
    pub seconds: f64,
    /// Image data received.
    pub down: u64,
    /// Image data sent.
    pub up: u64,
    /// Failed requests.
    pub errors: u64,
    /// CPU seconds of the service.
    pub server_cpu: Option<f64>,
    /// CPU seconds of the client.
    pub client_cpu: f64,
    /// Requests, median and 99th percentile of their latencies in microseconds, by operation.
    pub operations: BTreeMap<String, (u64, f64, f64)>,
}

impl Round {
    /// The round that was measured.
    #[must_use]
    pub fn of(endpoint: &str, measured: &Measured, ledger: &Ledger, server_busy: Option<f64>) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        let sum = |of: fn(&Slice) -> u64| measured.slices.iter().map(of).sum();
        let costs = measured.slices.iter().map(|slice| slice.costs.server);
        let in_time = |kind: &Kind| -> u64 {
            measured.slices.iter().filter_map(|slice| slice.latency.get(kind)).map(Latency::count).sum()
        };
        Self {
            endpoint: endpoint.to_owned(),
            seconds: measured.seconds,
            bytes_down: sum(|slice| slice.down),
            bytes_up: sum(|slice| slice.up),
            late: ledger.late.load(Relaxed),
            dropped: ledger.dropped.load(Relaxed),
            unfinished: ledger.unfinished.load(Relaxed),
            server_cpu: costs.sum(),
            server_busy,
            client_cpu: measured.slices.iter().map(|slice| slice.costs.client).sum(),
            operations: measured
                .records
                .iter()
                .map(|(kind, record)| RoundOperation {
                    name: kind.name().to_owned(),
                    requests: in_time(kind),
                    errors: record.bad(),
                    latency_us: record.latency.figures(),
                })
                .collect(),
            slices: measured.slices.iter().map(Part::of).collect(),
        }
    }
}

impl Part {
    fn of(slice: &Slice) -> Self {
        let operations = slice.latency.iter().filter(|(_, latency)| latency.count() > 0).map(|(kind, latency)| {
            (kind.name().to_owned(), (latency.count(), latency.percentile(50.0), latency.percentile(99.0)))
        });
        Self {
            seconds: slice.seconds,
            down: slice.down,
            up: slice.up,
            errors: slice.bad,
            server_cpu: slice.costs.server,
            client_cpu: slice.costs.client,
            operations: operations.collect(),
        }
    }
}

impl Operation {
    /// What is kept of a record.
    #[must_use]
    pub fn of(kind: Kind, record: &Record) -> Self {
        Self {
            name: kind.name().to_owned(),
            requests: record.good(),
            errors: record.faults.clone(),
            bytes: record.bytes,
            latency_us: record.latency.figures(),
            first_byte_us: record.first_byte.as_ref().map(Latency::figures),
            curve: record.latency.curve(),
            histogram: record.latency.buckets(),
        }
    }

    /// Requests that failed.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Report {
    /// Reads a file of `--json`.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn load(path: &Path) -> Result<Self> {
        let what = || path.display().to_string();
        let text = fs::read_to_string(path).during(what)?;
        let report: Self = serde_json::from_str(&text)
            .map_err(|error| Error::Setup(format!("{} is no report of vitrine bench: {error}", what())))?;
        if report.format != FORMAT || report.version != VERSION {
            let (format, version) = (&report.format, report.version);
            return Err(Error::Setup(format!("{} is '{format}' of version {version}, not of {VERSION}", what())));
        }
        Ok(report)
    }

    /// Writes the file of `--json`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let what = || path.display().to_string();
        let mut text = serde_json::to_string_pretty(self).map_err(std::io::Error::other).during(what)?;
        text.push('\n');
        fs::write(path, text).during(what)
    }

    /// The rounds of an endpoint.
    pub fn rounds_of(&self, name: &str) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.endpoint == name)
    }

    /// Requests of all endpoints that succeeded, and that failed. A push is no request but made of some.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let all = self.endpoints.iter().flat_map(|endpoint| &endpoint.operations);
        let requests = all.filter(|operation| operation.name != Kind::Push.name());
        requests.fold((0, 0), |(good, bad), each| (good + each.requests, bad + each.bad()))
    }
}
