//! The table of promises. `docs/performance.md` says what was measured of each.

use super::metric::Metric::{
    self, Busiest, Capacity, Gap, Memory, P50, P99, PerCoreLeft, Rate, RequestCpu, Requests, ServerCpu, Start, Syncs,
    Unfairness,
};
use super::promise::Bound::{self, AtLeastTimes, AtMost, AtMostAbove, AtMostTimes, Never};
use super::promise::Promise;

const fn of(topic: &'static str, row: &'static str, contender: &'static str, metric: Metric, bound: Bound) -> Promise {
    Promise { topic, row, contender, metric, bound }
}

const WARM: &str = "warm downloads";
const COLD: &str = "cold downloads";
const TLS: &str = "TLS";
const UPLOADS: &str = "uploads";
const FAIRNESS: &str = "fairness and latency";
const SCALING: &str = "scaling";
const METADATA: &str = "metadata";
const MEMORY: &str = "memory";

/// All promises, in the order of the report.
pub const PROMISES: &[Promise] = &[
    of(WARM, "download x1", "vitrine", ServerCpu, AtMostTimes(1.0, "nginx")),
    of(WARM, "download x1", "vitrine", Rate, AtLeastTimes(1.0, "nginx")),
    of(WARM, "download x8", "vitrine", ServerCpu, AtMostTimes(0.9, "nginx")),
    of(WARM, "download x8", "vitrine", Rate, AtLeastTimes(1.1, "nginx")),
    of(WARM, "download x64", "vitrine", ServerCpu, AtMostTimes(0.9, "nginx")),
    of(WARM, "download x64", "vitrine", Rate, AtLeastTimes(1.1, "nginx")),
    of(WARM, "ranges x1", "vitrine", ServerCpu, AtMostTimes(1.0, "nginx")),
    of(WARM, "ranges x1", "vitrine", Rate, AtLeastTimes(1.0, "nginx")),
    of(WARM, "ranges x8", "vitrine", ServerCpu, AtMostTimes(0.9, "nginx")),
    of(WARM, "ranges x8", "vitrine", Rate, AtLeastTimes(1.1, "nginx")),
    of(WARM, "ranges x64", "vitrine", ServerCpu, AtMostTimes(0.9, "nginx")),
    of(WARM, "ranges x64", "vitrine", Rate, AtLeastTimes(1.1, "nginx")),
    of(COLD, "cold download x1", "vitrine", Rate, AtLeastTimes(0.95, "fio buffered")),
    of(COLD, "gap of a warm download beside a cold one", "vitrine 1 core", Gap, AtMost(10.0)),
    of(COLD, "show beside a cold download", "vitrine 1 core", P99, AtMost(5000.0)),
    of(TLS, "tls download x1", "vitrine tls", ServerCpu, AtMostTimes(0.9, "nginx tls")),
    of(TLS, "tls download x8", "vitrine tls", ServerCpu, AtMostTimes(0.9, "nginx tls")),
    of(UPLOADS, "upload x1", "vitrine", Rate, AtLeastTimes(0.95, "slower digest alone")),
    of(UPLOADS, "upload x1", "vitrine", Rate, AtLeastTimes(3.0, "glance")),
    of(UPLOADS, "upload x8", "vitrine", ServerCpu, AtMostTimes(0.33, "vitrine scalar")),
    of(UPLOADS, "upload x8", "vitrine", Rate, AtLeastTimes(2.0, "vitrine scalar")),
    of(UPLOADS, "upload x8", "vitrine", ServerCpu, AtMostTimes(0.25, "glance")),
    of(UPLOADS, "upload x8", "vitrine", Rate, AtLeastTimes(2.5, "glance")),
    of(UPLOADS, "upload without digests x1", "vitrine undigested", Rate, AtLeastTimes(0.9, "bare loop")),
    of(FAIRNESS, "first byte beside 8 downloads", "vitrine", P99, AtMost(2000.0)),
    of(FAIRNESS, "show beside 8 downloads", "vitrine", P99, AtMost(5000.0)),
    of(FAIRNESS, "shares of 8 downloads", "vitrine", Unfairness, AtMost(10.0)),
    of(FAIRNESS, "first byte beside 8 uploads", "vitrine", P99, AtMostAbove(1000.0, "vitrine idle")),
    of(FAIRNESS, "download x8 beside 10000 half-open", "vitrine", Rate, AtLeastTimes(0.9, "vitrine quiet")),
    of(FAIRNESS, "show x8 beside 10000 half-open", "vitrine", Requests, AtLeastTimes(0.9, "vitrine quiet")),
    of(SCALING, "scaling of 8 downloads", "vitrine 2 cores", Capacity, AtLeastTimes(1.9, "vitrine 1 core")),
    of(SCALING, "scaling of 8 uploads", "vitrine 2 cores", Capacity, AtLeastTimes(1.9, "vitrine 1 core")),
    of(SCALING, "spread of 64 connections", "vitrine", Busiest, Never(60.0)),
    of(METADATA, "hop of a show x1", "vitrine", P50, AtMostAbove(60.0, "vitrine direct")),
    of(METADATA, "show x8", "vitrine", RequestCpu, AtMostTimes(1.0 / 80.0, "glance")),
    of(METADATA, "show x8", "vitrine", PerCoreLeft, AtLeastTimes(80.0, "glance")),
    of(METADATA, "list of 25 x8", "vitrine", RequestCpu, AtMostTimes(1.0 / 50.0, "glance")),
    of(METADATA, "list of 25 x8", "vitrine", PerCoreLeft, AtLeastTimes(50.0, "glance")),
    of(METADATA, "show of 100k x8", "vitrine", RequestCpu, AtMostTimes(1.0 / 80.0, "glance")),
    of(METADATA, "show of 100k x8", "vitrine", PerCoreLeft, AtLeastTimes(80.0, "glance")),
    of(METADATA, "list of 25 of 100k x8", "vitrine", RequestCpu, AtMostTimes(1.0 / 50.0, "glance")),
    of(METADATA, "list of 25 of 100k x8", "vitrine", PerCoreLeft, AtLeastTimes(50.0, "glance")),
    of(METADATA, "slowest list of 25 of 100k x8", "vitrine", P99, AtMost(10_000.0)),
    of(METADATA, "create x16", "vitrine", Syncs, AtMost(0.25)),
    of(METADATA, "patch x16", "vitrine", Syncs, AtMost(0.25)),
    of(METADATA, "start", "vitrine", Start, AtMost(300.0)),
    // 64 MiB, and 256 KiB for each of the 600.
    of(MEMORY, "memory of 600 transfers", "vitrine", Memory, AtMost(214.0)),
    of(MEMORY, "memory of 12000 connections", "vitrine", Memory, AtMost(1024.0)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_promise_is_of_a_row_that_a_scenario_fills() {
        for promise in PROMISES {
            let known = scenario::ALL.iter().any(|scenario| scenario.rows.contains(&promise.row));
            assert!(known, "{promise:?}");
        }
    }

    /// A server that waits instead of working has a low cost and few answers: one promise without the other says little.
    #[test]
    fn what_a_request_costs_is_promised_with_how_many_are_answered() {
        let beside_glance = |metric| PROMISES.iter().filter(move |promise| promise.metric == metric);
        let mut count = 0;
        for promise in beside_glance(RequestCpu) {
            let AtMostTimes(part, other) = promise.bound else { panic!("{promise:?}") };
            let answered = beside_glance(PerCoreLeft).find(|answered| answered.row == promise.row);
            let Some(AtLeastTimes(times, who)) = answered.map(|answered| answered.bound) else { panic!("{promise:?}") };
            assert!((times * part - 1.0).abs() < 1e-9 && who == other, "{promise:?}");
            count += 1;
        }
        assert_eq!(count, 4, "show and list, of few and of many images");
    }
}
