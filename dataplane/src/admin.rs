//! The operators' listener: `/metrics`, `/healthz`, `/readyz`. Served by the first core.

use std::rc::Rc;

use common::metrics::{Exposition, merge, process};
use common::rpc::{MetricsText, ToControl};
use http::StatusCode;

use crate::connection;
use crate::hash::Algorithm;
use crate::http::input::{Input, NoRequest, Patience};
use crate::http::reply::{self, Sent};
use crate::io::Conn;
use crate::metrics;
use crate::shard::Shard;

/// The content type of a Prometheus exposition.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long an operator's tool may read nothing, where clients may for ever.
const MIN_STALL: std::time::Duration = std::time::Duration::from_secs(30);

/// Serves one connection of an operator's tool.
pub(crate) async fn serve(shard: Rc<Shard>, conn: Conn) {
    let limits = connection::limits(&shard);
    let patience = Patience { idle: shard.config.dataplane.idle_timeout, head: shard.config.dataplane.head_timeout };
    conn.set_send_stall(shard.config.dataplane.send_stall.max(MIN_STALL));
    let mut input = Input::new(&conn);
    loop {
        let head = match input.next(&limits, patience).await {
            Ok(head) => head,
            Err(NoRequest::Refused(error)) => {
                let _ = reply::send_error(&conn, &error, None, None, Sent::whole(false)).await;
                return;
            }
            Err(NoRequest::Ended) => return,
        };
        // Nothing here takes a body, so one ends the connection.
        let keep = head.keep_alive && head.body == common::http::head::Body::None;
        let (status, content_type, body) = match (head.method.as_str(), head.path.as_str()) {
            ("GET", "/metrics") => (StatusCode::OK, EXPOSITION, scrape(&shard).await),
            ("GET", "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
            ("GET", "/readyz") => readiness(&shard).await,
            (_, "/metrics" | "/healthz" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "There are /metrics, /healthz and /readyz.\n".to_owned()),
        };
        let sent = reply::send_text(&conn, status, content_type, body.as_bytes(), keep).await;
        if sent.is_err() || !keep {
            return;
        }
    }
}

/// Both planes' metrics; without control's while it is away.
async fn scrape(shard: &Shard) -> String {
    let control = shard.control.call::<MetricsText>(ToControl::Metrics).await;
    let mut out = Exposition::default();
    out.family("vitrine_control_up", "gauge", "Whether the control plane answers.");
    out.sample("", &[], u8::from(control.is_ok()));
    metrics::expose(&mut out, &shard.shared.metrics, &shard.shared.stores.ids());
    hashing(&mut out, shard);
    let ours = out.into_text();
    let control = control.map(|metrics| metrics.text).unwrap_or_default();
    merge(&[&ours, &process("dataplane"), &control])
}

fn hashing(out: &mut Exposition, shard: &Shard) {
    let figures = Algorithm::ALL.map(|algorithm| (algorithm.name(), shard.shared.hashes.figures(algorithm)));
    out.family("vitrine_dataplane_hash_seconds_total", "counter", "Time spent on digests.");
    for (algorithm, figures) in figures {
        out.sample("", &[("algorithm", algorithm)], figures.time.as_secs_f64());
    }
    out.family("vitrine_dataplane_hash_bytes_total", "counter", "Bytes hashed.");
    for (algorithm, figures) in figures {
        out.sample("", &[("algorithm", algorithm)], figures.bytes);
    }
    out.family(
        "vitrine_dataplane_hash_batches_total",
        "counter",
        "Calls of the code that hashes several uploads at once.",
    );
    for (algorithm, figures) in figures {
        out.sample("", &[("algorithm", algorithm)], figures.batches);
    }
    out.family(
        "vitrine_dataplane_hash_lanes_total",
        "counter",
        "Buffers in those calls: by their number, the mean lanes in use.",
    );
    for (algorithm, figures) in figures {
        out.sample("", &[("algorithm", algorithm)], figures.lanes);
    }
}

/// Ready to take work: control answers and we are not on our way out.
async fn readiness(shard: &Shard) -> (StatusCode, &'static str, String) {
    if shard.draining.get() {
        return (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned());
    }
    match shard.control.call::<MetricsText>(ToControl::Metrics).await {
        Ok(_) => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the control plane is away\n".to_owned()),
    }
}
