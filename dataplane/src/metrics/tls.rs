//! Handshakes by how they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::metrics::Exposition;

use super::CoreMetrics;
use crate::io::{HandshakeError, TlsFacts, TlsVersion};

/// Ways in which a handshake ends, as `version` and `outcome` of the metric.
const OUTCOMES: [(&str, &str); 8] = [
    ("1.2", "full"),
    ("1.2", "resumed"),
    ("1.3", "full"),
    ("1.3", "resumed"),
    ("none", "plain_http"),
    ("none", "timed_out"),
    ("none", "gone"),
    ("none", "refused"),
];

/// Counters of one core.
#[derive(Debug, Default)]
pub(crate) struct TlsCounters([AtomicU64; OUTCOMES.len()]);

impl TlsCounters {
    /// A handshake has led to a connection.
    pub(crate) fn established(&self, facts: TlsFacts) {
        let version = if facts.version == TlsVersion::V1_3 { 2 } else { 0 };
        self.0[version + usize::from(facts.resumed)].fetch_add(1, Relaxed);
    }

    /// A handshake has not.
    pub(crate) fn failed(&self, error: &HandshakeError) {
        let row = match error {
            HandshakeError::PlainHttp => 4,
            HandshakeError::TimedOut => 5,
            HandshakeError::Gone(_) => 6,
            HandshakeError::Refused(_) => 7,
        };
        self.0[row].fetch_add(1, Relaxed);
    }
}

/// Writes what all cores counted.
pub(super) fn expose(out: &mut Exposition, cores: &[Arc<CoreMetrics>]) {
    out.family("vitrine_dataplane_tls_handshakes_total", "counter", "TLS handshakes with clients, by how they ended.");
    for (row, (version, outcome)) in OUTCOMES.iter().enumerate() {
        let count = super::sum(cores, |core| &core.tls.0[row]);
        out.sample("", &[("version", version), ("outcome", outcome)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_row() {
        let core = Arc::new(CoreMetrics::new(0));
        let facts = |version, resumed| TlsFacts { version, resumed, by_kernel: false };
        core.tls.established(facts(TlsVersion::V1_2, false));
        core.tls.established(facts(TlsVersion::V1_3, true));
        core.tls.failed(&HandshakeError::PlainHttp);
        core.tls.failed(&HandshakeError::TimedOut);
        let mut out = Exposition::default();
        expose(&mut out, &[core]);
        let text = out.into_text();
        for (labels, count) in [
            ("version=\"1.2\",outcome=\"full\"", 1),
            ("version=\"1.2\",outcome=\"resumed\"", 0),
            ("version=\"1.3\",outcome=\"resumed\"", 1),
            ("version=\"none\",outcome=\"plain_http\"", 1),
            ("version=\"none\",outcome=\"timed_out\"", 1),
            ("version=\"none\",outcome=\"refused\"", 0),
        ] {
            let line = format!("vitrine_dataplane_tls_handshakes_total{{{labels}}} {count}");
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
