//! Two cores against one, and how connections spread over cores.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use super::Scenario;
use crate::compare::context::{Contender, Context, Used};
use crate::compare::metric::Metric;
use crate::error::{Error, Result};
use crate::http::Connection;
use crate::images::expect;
use crate::load::Done;
use crate::load::pull::Pull;
use crate::load::push::Push;
use crate::payload::Payload;
use crate::servers::vitrine::Variant;
use crate::size::gib;

const DOWNLOADS: &str = "scaling of 8 downloads";
const UPLOADS: &str = "scaling of 8 uploads";
const SPREAD: &str = "spread of 64 connections";
/// Streams of bulk data.
const STREAMS: usize = 8;
/// Connections that are spread.
const CONNECTIONS: usize = 64;
/// Takes of the spread in each round: it is chance.
const TAKES: usize = 4;
/// The gauge of open connections, by core.
const GAUGE: &str = "vitrine_dataplane_connections{core=";

const ONE: Variant =
    Variant { name: "vitrine 1 core", settings: Cow::Borrowed("[dataplane]\ncores = 1\n"), cores: "0" };
const TWO: Variant =
    Variant { name: "vitrine 2 cores", settings: Cow::Borrowed("[dataplane]\ncores = 2\n"), cores: "0,1" };

/// Scaling.
pub(super) const SCENARIO: Scenario = Scenario { name: "scaling", rows: &[DOWNLOADS, UPLOADS, SPREAD], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let mut contenders: Vec<(Rc<Contender>, f64)> = Vec::new();
    if context.wants(DOWNLOADS) || context.wants(UPLOADS) {
        for (variant, cores) in [(&TWO, 2.0), (&ONE, 1.0)] {
            contenders.extend(context.variant(variant)?.map(|contender| (contender, cores)));
        }
    }
    let upload = Payload::in_memory(context.plan.pick(context.plan.upload_size / 2, 1 << 20))?;
    for _ in 0..context.plan.rounds {
        for (contender, cores) in &contenders {
            if context.wants(DOWNLOADS) {
                let (size, passes) = (context.plan.size, context.plan.passes(STREAMS));
                let pull = Pull::whole(contender.server.address, &contender.data, size, STREAMS, passes)?;
                let (pulled, used) = context.measure(&contender.server, || pull.run())?;
                keep(context, DOWNLOADS, contender, *cores, &pulled.done, &used);
            }
        }
        for (contender, cores) in &contenders {
            if context.wants(UPLOADS) {
                let mut push = Push::prepare(contender.server.address, &upload, STREAMS, Duration::ZERO)?;
                let (done, used) = context.measure(&contender.server, || push.run())?;
                push.verify_and_delete()?;
                keep(context, UPLOADS, contender, *cores, &done, &used);
            }
        }
        if context.wants(SPREAD) {
            let vitrine = context.vitrine()?;
            for _ in 0..TAKES {
                let busiest = spread(&vitrine)?;
                context.keep(SPREAD, vitrine.name(), Metric::Busiest, busiest);
            }
        }
    }
    Ok(())
}

/// Keeps the usual figures, and what the cores could move if each were used fully by the server alone.
fn keep(context: &mut Context<'_>, row: &str, contender: &Contender, cores: f64, done: &Done, used: &Used) {
    context.keep_bulk(row, contender.name(), done, used);
    let cost = used.server.as_secs_f64() / gib(done.bytes);
    if cost > 0.0 {
        context.keep(row, contender.name(), Metric::Capacity, cores / cost);
    }
}

/// Opens connections, and asks the server which core has how many of them: the percentage of the core with most.
fn spread(vitrine: &Contender) -> Result<f64> {
    let before = by_core(vitrine)?;
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::to(vitrine.server.address)).collect();
    for connection in &mut connections {
        let head = connection.request("GET", &vitrine.records[0], None)?;
        expect(connection, &head, 200, "show")?;
    }
    let after = by_core(vitrine)?;
    let most = after.iter().zip(&before).map(|(after, before)| after - before).fold(0.0, f64::max);
    Ok(most / CONNECTIONS as f64 * 100.0)
}

fn by_core(vitrine: &Contender) -> Result<Vec<f64>> {
    let admin = vitrine.server.admin.ok_or_else(|| Error::Setup("a server without an admin address".into()))?;
    let mut connection = Connection::to(admin);
    let head = connection.request("GET", "/metrics", None)?;
    let text = expect(&mut connection, &head, 200, "metrics")?;
    let text = String::from_utf8_lossy(&text);
    let values: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with(GAUGE))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect();
    if values.is_empty() { Err(Error::Answer(format!("no {GAUGE}…}} among the metrics"))) } else { Ok(values) }
}
