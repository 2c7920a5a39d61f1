//! Control's metrics, beside those of the catalog and of uploads.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Bounds of the histogram of answers, in seconds.
const ANSWER_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Methods that have a label of their own. Others, which a client may invent, share one.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Label of all other methods.
const OTHER_METHOD: &str = "other";

/// Requests to the API.
#[derive(Clone)]
pub(crate) struct RequestMetrics {
    total: IntCounterVec,
    seconds: HistogramVec,
}

impl RequestMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// They are registered already.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let total = Opts::new("vitrine_control_http_requests_total", "API requests that the control plane answered.");
        let total = IntCounterVec::new(total, &["route", "method", "status"])?;
        let seconds = HistogramOpts::new(
            "vitrine_control_http_request_seconds",
            "Time from an API request's arrival in the control plane to its answer.",
        );
        let seconds = HistogramVec::new(seconds.buckets(ANSWER_SECONDS.to_vec()), &["route"])?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(RequestMetrics { total, seconds })
    }

    /// Counts one answer.
    pub(crate) fn count(&self, route: &str, method: &str, status: u16, time: Duration) {
        let method = METHODS.iter().find(|known| **known == method).unwrap_or(&OTHER_METHOD);
        self.total.with_label_values(&[route, method, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_make_labels() {
        let registry = Registry::new();
        let metrics = RequestMetrics::register(&registry).expect("new");
        metrics.count("/v2/images", "GET", 200, Duration::from_millis(3));
        metrics.count("/v2/images", "BREW", 405, Duration::from_millis(3));
        let text = common::metrics::encode(&registry);
        assert!(text.contains(r#"method="GET",route="/v2/images",status="200"} 1"#), "{text}");
        assert!(text.contains(r#"method="other",route="/v2/images",status="405"} 1"#), "{text}");
    }
}
