//! Changes of metadata: connections that create or change images as fast as they are answered (a closed loop).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Done, together};
use crate::error::Result;
use crate::http::Connection;
use crate::images::{self, expect};
use crate::stats::Latencies;

/// The media type of a change (RFC 6902, as Glance names it).
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

/// What the connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make one image after the other.
    Create,
    /// Change name and a property of an image of their own, over and over.
    Patch,
}

/// `connections` connections change the server at `address` for `time`. Returns the latencies of all changes.
///
/// # Errors
/// An answer is missing, or is a refusal.
pub fn run(change: Change, address: SocketAddr, connections: usize, time: Duration) -> Result<(Done, Latencies)> {
    let prepare = |number| {
        let mut connection = Connection::to(address);
        let image = images::create(&mut connection, &format!("changed-{number}"))?;
        Ok((connection, image.id))
    };
    let prepared = (0..connections).map(prepare).collect::<Result<Vec<_>>>()?;
    let (changed, wall) = together(prepared, |(mut connection, id)| {
        let mut latencies = Latencies::new();
        let begin = Instant::now();
        for turn in 0_u64.. {
            let asked = Instant::now();
            match change {
                Change::Create => drop(images::create(&mut connection, &format!("made-{turn}"))?),
                Change::Patch => patch(&mut connection, &id, turn)?,
            }
            latencies.record(asked.elapsed());
            if begin.elapsed() >= time {
                break;
            }
        }
        Ok(latencies)
    })?;
    let mut all = Latencies::new();
    changed.iter().for_each(|latencies| all.merge(latencies));
    Ok((Done { bytes: 0, requests: all.count(), wall }, all))
}

fn patch(connection: &mut Connection, id: &str, turn: u64) -> Result<()> {
    let text = serde_json::json!([
        {"op": "replace", "path": "/name", "value": format!("name {turn}")},
        {"op": "add", "path": "/build", "value": turn.to_string()},
    ])
    .to_string();
    let head = connection.request("PATCH", &format!("/v2/images/{id}"), Some((PATCH, text.as_bytes())))?;
    expect(connection, &head, 200, "patch").map(drop)
}
