//! The table of promises. `docs/performance.md` says what was measured of each.

use super::metric::Metric::{self, Rate, ServerCpu};
use super::promise::Bound::{self, AtLeastTimes, AtMostTimes};
use super::promise::Promise;

const fn of(topic: &'static str, row: &'static str, contender: &'static str, metric: Metric, bound: Bound) -> Promise {
    Promise { topic, row, contender, metric, bound }
}

const WARM: &str = "warm downloads";

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
}
