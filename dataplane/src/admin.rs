//! The operators' listener: `/metrics`, `/healthz`, `/readyz`. Served by the first core.

use std::io;
use std::rc::Rc;

use common::Error;
use common::error::Kind;
use common::http::head::{Body as Framing, Head};
use common::metrics::{Exposition, merge, process};
use common::rpc::{MetricsText, ToControl};
use http::StatusCode;

use crate::connection;
use crate::hash::Algorithm;
use crate::http::input::{Input, NoRequest, Patience};
use crate::http::reply::{self, Sent};
use crate::io::{Conn, SendPatience, are_descriptors_scarce};
use crate::metrics;
use crate::places::Place;
use crate::shard::Shard;

/// The content type of a Prometheus exposition.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long an operator's tool may read nothing, where clients may for ever.
const MIN_STALL: std::time::Duration = std::time::Duration::from_secs(30);

/// How long a scrape waits for a store.
const ROOM_PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// Serves the connection of an operator's tool that has `place`.
pub(crate) async fn serve(shard: Rc<Shard>, place: Place) {
    let conn = place.conn();
    let limits = connection::limits(&shard);
    let patience = Patience { idle: shard.config.dataplane.idle_timeout, head: shard.config.dataplane.head_timeout };
    conn.set_send_patience(SendPatience { stall: shard.config.dataplane.send_stall.max(MIN_STALL), bytes_min: 0 });
    let mut input = Input::new(conn);
    loop {
        let Some(next) = place.while_waiting(input.next(&limits, patience)).await else { return };
        let keep = match next {
            Ok(head) => answer(&shard, conn, &head).await,
            Err(NoRequest::Refused(error)) => {
                reply::send_error(conn, &error, None, None, Sent::whole(false)).await.map(|()| false)
            }
            Err(NoRequest::Ended) => return,
        };
        match keep {
            Ok(true) => {}
            Ok(false) => return input.linger().await,
            Err(_) => return,
        }
    }
}

/// Answers one request; whether another may follow.
async fn answer(shard: &Shard, conn: &Conn, head: &Head) -> io::Result<bool> {
    // Nothing here takes a body, so one ends the connection.
    let keep = head.keep_alive && head.body == Framing::None;
    let is_known = matches!(head.path.as_str(), "/metrics" | "/healthz" | "/readyz");
    let sent = Sent { keep, head_only: head.method == "HEAD" };
    if is_known && !["GET", "HEAD"].contains(&head.method.as_str()) {
        let message = format!("The method {} is not allowed for this resource.", head.method);
        let error = Error::new(Kind::MethodNotAllowed, message).header("Allow", "GET, HEAD");
        reply::send_error(conn, &error, None, None, sent).await?;
        return Ok(keep);
    }
    let (status, content_type, body) = match head.path.as_str() {
        "/metrics" => (StatusCode::OK, EXPOSITION, scrape(shard).await),
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => readiness(shard).await,
        _ => (StatusCode::NOT_FOUND, "text/plain", "There are /metrics, /healthz and /readyz.\n".to_owned()),
    };
    reply::send_text(conn, status, content_type, body.as_bytes(), sent).await?;
    Ok(keep)
}

/// Both planes' metrics; without control's while it is away.
async fn scrape(shard: &Shard) -> String {
    let control = shard.control.call::<MetricsText>(ToControl::Metrics).await;
    let mut out = Exposition::default();
    out.family("vitrine_control_up", "gauge", "Whether the control plane answers.");
    out.sample("", &[], u8::from(control.is_ok()));
    metrics::expose(&mut out, &shard.shared.metrics, &shard.shared.stores.ids());
    room(&mut out, shard).await;
    hashing(&mut out, shard);
    let ours = out.into_text();
    let control = control.map(|metrics| metrics.text).unwrap_or_default();
    merge(&[&ours, &process("dataplane"), &control])
}

/// How much fits into the stores that tell it in time.
async fn room(out: &mut Exposition, shard: &Shard) {
    out.family("vitrine_dataplane_store_free_bytes", "gauge", "Bytes that still fit into a store, where it tells.");
    let stores = &shard.shared.stores;
    for (id, store) in stores.ids().iter().filter_map(|id| Some((id, stores.by_id(id)?))) {
        if let Some(free) = store.free_bytes(shard, ROOM_PATIENCE).await {
            out.sample("", &[("store", id)], free);
        }
    }
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

/// Ready to take work: control answers, there are files left to open, and we are not on our way out.
async fn readiness(shard: &Shard) -> (StatusCode, &'static str, String) {
    if shard.draining.get() {
        return (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "draining\n".to_owned());
    }
    if are_descriptors_scarce() {
        return (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "too many files are open\n".to_owned());
    }
    match shard.control.call::<MetricsText>(ToControl::Metrics).await {
        Ok(_) => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the control plane is away\n".to_owned()),
    }
}
