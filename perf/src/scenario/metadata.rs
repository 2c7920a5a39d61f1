//! Show and list, beside Glance and without the hop through the front door; and what that hop costs one connection.

use std::time::Instant;

use super::Scenario;
use crate::compare::context::{ASKERS, Context, IMAGES};
use crate::compare::metric::Metric;
use crate::error::Result;
use crate::http::Connection;
use crate::images::{self, expect};
use crate::load::metadata::Ask;
use crate::stats::Latencies;

const SHOW: &str = "show x8";
const LIST: &str = "list of 100 x8";
const LIST_25: &str = "list of 25 x8";
const HOP: &str = "hop of a show x1";
/// Who is asked without the front door: control itself, on its own socket.
const DIRECT: &str = "vitrine direct";
/// Requests with the hop and without take turns in blocks of this many, as often as that.
const BLOCK: usize = 50;
const BLOCKS: usize = 60;

/// Metadata.
pub(super) const SCENARIO: Scenario = Scenario { name: "metadata", rows: &[SHOW, LIST, LIST_25, HOP], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let vitrine = context.vitrine()?;
    let control = vitrine.server.files.join("control.sock");
    let asked: Vec<&str> = [SHOW, LIST, LIST_25].into_iter().filter(|row| context.wants(row)).collect();
    let glance = if asked.is_empty() { None } else { context.glance()? };
    let lists = [images::list_target(IMAGES), images::list_target(25)];
    for _ in 0..context.plan.rounds {
        for row in asked.iter().copied() {
            for (name, contender) in
                [("vitrine", Some(&vitrine)), (DIRECT, Some(&vitrine)), ("glance", glance.as_ref())]
            {
                let Some(contender) = contender else { continue };
                let address = contender.server.address;
                let connect = || if name == DIRECT { Connection::through(&control) } else { Connection::to(address) };
                let targets = match row {
                    SHOW => &contender.records[..],
                    LIST => &lists[..1],
                    _ => &lists[1..],
                };
                let ask = Ask::new(connect, targets, ASKERS, context.plan.time)?;
                let ((done, latencies), used) = context.measure(&contender.server, || ask.run())?;
                context.keep_requests(row, name, &done, &latencies, &used);
            }
        }
        if context.wants(HOP) {
            let mut front = Connection::to(vitrine.server.address);
            let mut direct = Connection::through(&control);
            let (mut with, mut without) = (Latencies::new(), Latencies::new());
            let blocks = context.plan.pick(BLOCKS, 2);
            let records = &vitrine.records;
            let (_, used) = context.measure(&vitrine.server, || {
                for block in 0..blocks {
                    // Asked twice alike, so that neither is the first to touch a record.
                    ask_some(&mut front, records, block, &mut with)?;
                    ask_some(&mut direct, records, block, &mut without)?;
                }
                Ok(())
            })?;
            for (name, latencies) in [("vitrine", with), (DIRECT, without)] {
                context.keep(HOP, name, Metric::P50, latencies.percentile(50.0));
                context.keep(HOP, name, Metric::P99, latencies.percentile(99.0));
                context.keep_others(HOP, name, &used);
            }
        }
    }
    Ok(())
}

fn ask_some(connection: &mut Connection, records: &[String], block: usize, latencies: &mut Latencies) -> Result<()> {
    for target in records.iter().cycle().skip(block * BLOCK % records.len()).take(BLOCK) {
        let asked = Instant::now();
        let head = connection.request("GET", target, None)?;
        expect(connection, &head, 200, target)?;
        latencies.record(asked.elapsed());
    }
    Ok(())
}
