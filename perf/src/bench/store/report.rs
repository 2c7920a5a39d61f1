//! What is kept of a measurement: the JSON of `--json`. Times are seconds or microseconds, as their names say; sizes are bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use dataplane::bench::{Operation, Outcome, Phase};
use serde::{Deserialize, Serialize};

use crate::bench::latency::{self, Latency};
use crate::bench::run;
use crate::bench::verdict::mib;
use crate::error::{During, Error, Result};

/// What `format` says.
const FORMAT: &str = "vitrine-bench-store";
/// Version of the format: grows when a field changes its meaning.
const VERSION: u32 = 1;

/// Parts of a phase whose throughput is told.
const PARTS: usize = 40;

/// A whole measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoreReport {
    format: String,
    version: u32,
    /// The file that it was read from; empty: it was measured just now.
    #[serde(skip)]
    pub(super) name: String,
    /// When it began (RFC 3339, UTC).
    pub(super) started: String,
    /// The load, in words.
    pub(super) load: String,
    /// The machine.
    pub(super) machine: String,
    /// Whether it was ended early by a signal.
    pub(super) interrupted: bool,
    /// Every phase, in order.
    pub(super) phases: Vec<Figures>,
    /// Objects that were left behind, with the reason.
    pub(super) left: Vec<String>,
}

/// One phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Figures {
    /// The store.
    pub(super) store: String,
    /// `write`, `read`, `range`, `first-byte` or `delete`.
    pub(super) work: String,
    /// Workers at a time.
    pub(super) workers: usize,
    /// Seconds from the first beginning to the last end.
    pub(super) seconds: f64,
    /// CPU seconds of the whole process in that time.
    pub(super) cpu_seconds: f64,
    /// Operations that succeeded.
    pub(super) operations: u64,
    /// Bytes that they moved.
    pub(super) bytes: u64,
    /// Failures, by their text.
    pub(super) failures: BTreeMap<String, u64>,
    /// From the beginning to the end of an operation.
    pub(super) latency_us: latency::Figures,
    /// From the beginning to the first bytes, of what reads.
    pub(super) first_byte_us: Option<latency::Figures>,
    /// How long it took to make what was written durable and visible, of writes.
    #[serde(default)]
    pub(super) commit_us: Option<latency::Figures>,
    /// Pairs of percentile and latency.
    pub(super) curve: Vec<(f64, f64)>,
    /// Pairs of seconds and MiB/s, over the time of the phase.
    pub(super) over_time: Vec<(f64, f64)>,
}

impl Figures {
    fn of(phase: &Phase) -> Self {
        let (mut latency, mut first, mut commit) = (Latency::default(), Latency::default(), Latency::default());
        for operation in &phase.operations {
            latency.record(operation.took);
            operation.first_byte.into_iter().for_each(|time| first.record(time));
            operation.commit.into_iter().for_each(|time| commit.record(time));
        }
        let mut failures = BTreeMap::new();
        phase.failures.iter().for_each(|text| *failures.entry(text.clone()).or_default() += 1);
        Figures {
            store: phase.store.clone(),
            work: phase.work.name().to_owned(),
            workers: phase.workers,
            seconds: phase.seconds,
            cpu_seconds: phase.cpu_seconds,
            operations: latency.count(),
            bytes: phase.operations.iter().map(|operation| operation.bytes).sum(),
            failures,
            latency_us: latency.figures(),
            first_byte_us: (first.count() > 0).then(|| first.figures()),
            commit_us: (commit.count() > 0).then(|| commit.figures()),
            curve: latency.curve(),
            over_time: over_time(&phase.operations, phase.seconds),
        }
    }

    /// MiB a second; `None` where no bytes are moved.
    pub(super) fn throughput(&self) -> Option<f64> {
        (self.bytes > 0).then(|| mib(self.bytes) / self.seconds.max(1e-9))
    }

    /// Operations a second.
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds.max(1e-9)
    }

    /// CPU seconds for a GiB; `None` where so little is moved that it says nothing.
    pub(super) fn cost(&self) -> Option<f64> {
        (self.bytes >= 64 << 20).then(|| self.cpu_seconds / (mib(self.bytes) / 1024.0))
    }
}

/// MiB a second in parts of a phase: the bytes of an operation count evenly over its time.
fn over_time(operations: &[Operation], seconds: f64) -> Vec<(f64, f64)> {
    if operations.iter().all(|operation| operation.bytes == 0) || seconds <= 0.0 {
        return Vec::new();
    }
    let part = seconds / PARTS as f64;
    let mut moved = [0.0; PARTS];
    for operation in operations {
        let end = operation.ended.as_secs_f64();
        let begin = operation.ended.saturating_sub(operation.took).as_secs_f64();
        let length = (end - begin).max(Duration::from_micros(1).as_secs_f64());
        for (index, moved) in moved.iter_mut().enumerate() {
            let (from, to) = (index as f64 * part, (index + 1) as f64 * part);
            let inside = (end.min(to) - begin.max(from)).max(0.0);
            *moved += mib(operation.bytes) * inside / length;
        }
    }
    moved.iter().enumerate().map(|(index, moved)| ((index as f64 + 0.5) * part, moved / part)).collect()
}

impl StoreReport {
    pub(super) fn of(outcome: &Outcome, started: String, load: String, interrupted: bool) -> Self {
        StoreReport {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: String::new(),
            started,
            load,
            machine: run::client(),
            interrupted,
            phases: outcome.phases.iter().map(Figures::of).collect(),
            left: outcome.left.clone(),
        }
    }

    /// Reads a file of `--json`.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let what = || path.display().to_string();
        let text = fs::read_to_string(path).during(what)?;
        let report: Self = serde_json::from_str(&text)
            .map_err(|error| Error::Setup(format!("{} is no report of vitrine bench store: {error}", what())))?;
        if report.format != FORMAT || report.version != VERSION {
            let (format, version) = (&report.format, report.version);
            return Err(Error::Setup(format!("{} is '{format}' of version {version}, not of {VERSION}", what())));
        }
        Ok(report)
    }

    /// Names it after the file that it was read from.
    pub(super) fn name_after(&mut self, path: &Path) {
        self.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }

    /// Writes the file of `--json`.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let what = || path.display().to_string();
        let mut text = serde_json::to_string_pretty(self).map_err(std::io::Error::other).during(what)?;
        text.push('\n');
        fs::write(path, text).during(what)
    }

    /// The stores, in the order in which they were measured.
    pub(super) fn stores(&self) -> Vec<&str> {
        let mut stores: Vec<&str> = self.phases.iter().map(|phase| phase.store.as_str()).collect();
        stores.dedup();
        stores
    }

    /// How many operations failed.
    pub(super) fn failures(&self) -> u64 {
        self.phases.iter().flat_map(|phase| phase.failures.values()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spread_over_the_time_of_their_operation() {
        let operation = |ended, took, bytes| Operation {
            ended: Duration::from_millis(ended),
            took: Duration::from_millis(took),
            first_byte: None,
            commit: None,
            bytes,
        };
        let parts = over_time(&[operation(1000, 1000, 10 << 20), operation(2000, 500, 30 << 20)], 2.0);
        assert_eq!(parts.len(), PARTS);
        let sum: f64 = parts.iter().map(|(_, rate)| rate * 2.0 / PARTS as f64).sum();
        assert!((sum - 40.0).abs() < 1e-6, "{sum}");
        assert!((parts[0].1 - 10.0).abs() < 1e-6 && (parts[25].1).abs() < 1e-6 && (parts[39].1 - 60.0).abs() < 1e-6);
        assert!(over_time(&[operation(5, 5, 0)], 1.0).is_empty());
    }
}
