//! What a figure says: its unit, and what it is called in a report.

use serde::Serialize;

/// The kinds of figures that scenarios produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Data moved per second.
    Rate,
    /// CPU time of all the server's processes per GiB.
    ServerCpu,
    /// CPU time of the load generator per GiB.
    ClientCpu,
    /// GiB that the cores of the server could move in a second of CPU time each: cores divided by [`Self::ServerCpu`].
    Capacity,
    /// Requests answered per second.
    Requests,
    /// CPU time of all the server's processes per request.
    RequestCpu,
    /// Cores that the load generator left to the server, on average.
    CoresLeft,
    /// Requests answered per second by each of these: [`Self::Requests`] divided by [`Self::CoresLeft`].
    PerCoreLeft,
    /// Latency that half of the requests did not exceed.
    P50,
    /// Latency that 99 % of the requests did not exceed.
    P99,
    /// Longest time in which a stream that wanted data got none.
    Gap,
    /// Resident memory of all the server's processes: proportional set size.
    Memory,
    /// By how much the resident memory would grow in an hour.
    Growth,
    /// Largest distance of one stream's share from an equal one, as a part of that.
    Unfairness,
    /// Part of the connections that the core with most of them has.
    Busiest,
    /// Waits for the disk per change of the database.
    Syncs,
    /// From the start of the process to its ready line.
    Start,
    /// Part of the machine that others used, or the hypervisor took, during a measurement.
    Others,
}

impl Metric {
    /// What it is called in a report.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::ServerCpu => "server CPU",
            Self::ClientCpu => "client CPU",
            Self::Capacity => "capacity",
            Self::Requests => "requests",
            Self::RequestCpu => "CPU per request",
            Self::CoresLeft => "left",
            Self::PerCoreLeft => "per core left",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Gap => "longest gap",
            Self::Memory => "memory",
            Self::Growth => "growth",
            Self::Unfairness => "unfairness",
            Self::Busiest => "busiest core",
            Self::Syncs => "syncs",
            Self::Start => "start",
            Self::Others => "others' use",
        }
    }

    /// Its unit, as it stands behind a figure.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "GiB/s",
            Self::ServerCpu | Self::ClientCpu => "s/GiB",
            Self::Capacity => "GiB/CPU-s",
            Self::Requests | Self::PerCoreLeft => "req/s",
            Self::CoresLeft => "cores",
            Self::RequestCpu | Self::P50 | Self::P99 => "us",
            Self::Gap | Self::Start => "ms",
            Self::Memory => "MiB",
            Self::Growth => "MiB/h",
            Self::Syncs => "per change",
            Self::Unfairness | Self::Busiest | Self::Others => "%",
        }
    }
}
