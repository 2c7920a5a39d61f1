//! What clients that work keep of their throughput while ten thousand connections are open and say nothing, or half of something.

use std::borrow::Cow;
use std::thread;
use std::time::Duration;

use super::Scenario;
use crate::compare::context::{ASKERS, Contender, Context};
use crate::compare::metric::Metric;
use crate::error::Result;
use crate::http::Connection;
use crate::load::crowd::Crowd;
use crate::load::metadata::Ask;
use crate::load::pull::Pull;
use crate::memory;
use crate::servers::vitrine::Variant;

const DOWNLOAD: &str = "download x8 beside 10000 half-open";
const SHOW: &str = "show x8 beside 10000 half-open";
const STREAMS: usize = 8;
/// Who is not flooded.
const QUIET: &str = "vitrine quiet";

/// Room for all, and time: none of the flood may end before the measurement does.
const ROOMY: Variant = Variant {
    name: "vitrine",
    settings: Cow::Borrowed(
        "[dataplane]\nmax_connections = 30000\nhead_timeout_seconds = 300\nidle_timeout_seconds = 300\nbody_min_rate_bytes_per_second = 0\n",
    ),
    cores: "",
};
/// Descriptors that the flood needs on each side, with some to spare.
const DESCRIPTORS: u64 = 11_000;
/// How long after the last connection was made it has surely been accepted.
const ARRIVAL: Duration = Duration::from_secs(2);

/// Beside a flood of half-open connections.
pub(super) const SCENARIO: Scenario = Scenario { name: "flood", rows: &[DOWNLOAD, SHOW], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    memory::raise_descriptors(DESCRIPTORS)?;
    let Some(contender) = context.variant(&ROOMY)? else { return Ok(()) };
    for _ in 0..context.plan.rounds {
        work(context, &contender, QUIET)?;
        let flood = Crowd::half_open(contender.server.address, context.plan.pick(10_000, 100));
        let flood = flood.map_err(|error| contender.server.explain(&error))?;
        thread::sleep(context.plan.pick(ARRIVAL, Duration::from_millis(50)));
        work(context, &contender, contender.name())?;
        flood.leave();
    }
    Ok(())
}

fn work(context: &mut Context<'_>, contender: &Contender, name: &str) -> Result<()> {
    let address = contender.server.address;
    let time = context.plan.pick(Duration::from_secs(3), Duration::from_millis(100));
    if context.wants(DOWNLOAD) {
        let pull = Pull::whole(address, &contender.data, context.plan.size, STREAMS, 1)?.for_time(time);
        let (pulled, used) = context.measure(&contender.server, || pull.run())?;
        context.keep_bulk(DOWNLOAD, name, &pulled.done, &used);
    }
    if context.wants(SHOW) {
        let ask = Ask::new(|| Connection::to(address), &contender.records, ASKERS, time)?;
        let ((done, _), used) = context.measure(&contender.server, || ask.run())?;
        context.keep(SHOW, name, Metric::Requests, done.requests as f64 / done.wall.as_secs_f64());
        context.keep_others(SHOW, name, &used);
    }
    Ok(())
}
