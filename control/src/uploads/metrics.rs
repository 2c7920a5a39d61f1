//! Figures of uploads.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What became of uploads, and what waits to be cleared up.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) opened: IntCounter,
    pub(super) committed: IntCounter,
    pub(super) aborted: IntCounter,
    pub(super) reaped: IntCounter,
    pub(super) removals_waiting: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let outcomes = IntCounterVec::new(
            Opts::new("vitrine_control_uploads_total", "Uploads by what became of them."),
            &["event"],
        );
        let waiting = IntGauge::new(
            "vitrine_control_removals_waiting",
            "Places in stores whose bytes must go and are not gone, as of the last search.",
        );
        // Only a malformed name, known here at compile time, makes these fail; tests would show it.
        let (outcomes, waiting) = (outcomes.expect("a valid metric"), waiting.expect("a valid metric"));
        for collector in [Box::new(outcomes.clone()) as Box<dyn prometheus::core::Collector>, Box::new(waiting.clone())]
        {
            if let Err(error) = registry.register(collector) {
                tracing::error!("a metric of uploads is registered twice: {error}");
            }
        }
        let of = |event: &str| outcomes.with_label_values(&[event]);
        Metrics {
            opened: of("opened"),
            committed: of("committed"),
            aborted: of("aborted"),
            reaped: of("reaped"),
            removals_waiting: waiting,
        }
    }
}
