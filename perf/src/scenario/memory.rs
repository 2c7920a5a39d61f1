//! Memory with many slow transfers, and with many connections that do next to nothing.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Scenario;
use crate::compare::context::{Contender, Context};
use crate::compare::metric::Metric;
use crate::error::Result;
use crate::load::crowd::Crowd;
use crate::memory;
use crate::servers::vitrine::Variant;

const TRANSFERS: &str = "memory of 600 transfers";
const CONNECTIONS: &str = "memory of 12000 connections";
/// How long a crowd stays.
const TIME: Duration = Duration::from_secs(8);
/// Descriptors that the largest crowd needs on each side, with some to spare.
const DESCRIPTORS: u64 = 13_000;

const ROOMY: Variant =
    Variant { name: "vitrine", settings: Cow::Borrowed("[dataplane]\nmax_connections = 30000\n"), cores: "" };

/// Memory.
pub(super) const SCENARIO: Scenario = Scenario { name: "memory", rows: &[TRANSFERS, CONNECTIONS], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    memory::raise_descriptors(DESCRIPTORS)?;
    for _ in 0..context.plan.rounds {
        let crowds = [
            (TRANSFERS, context.plan.pick((500, 100, 0), (10, 5, 0))),
            (CONNECTIONS, context.plan.pick((2000, 0, 10_000), (20, 0, 100))),
        ];
        for (row, crowd) in crowds {
            if !context.wants(row) {
                continue;
            }
            // A fresh server each time: memory that an earlier crowd has left is not this one's.
            let Some(contender) = context.variant(&ROOMY)? else { return Ok(()) };
            let peak = peak(context, &contender, crowd)?;
            context.keep(row, contender.name(), Metric::Memory, peak / f64::from(1 << 20));
        }
    }
    Ok(())
}

/// The largest memory of the server, in bytes, while a crowd of so many readers, writers and idle connections is there.
fn peak(context: &mut Context<'_>, contender: &Contender, crowd: (usize, usize, usize)) -> Result<f64> {
    let (readers, writers, idle) = crowd;
    let gathered =
        Crowd::gather(contender.server.address, &contender.data, &contender.records[0], readers, writers, idle);
    let mut crowd = gathered.map_err(|error| contender.server.explain(&error))?;
    let begin = Instant::now();
    let time = context.plan.pick(TIME, Duration::from_millis(300));
    let mut peak = 0;
    while begin.elapsed() < time {
        crowd.tick()?;
        peak = peak.max(memory::of_tree(contender.server.root())?);
    }
    crowd.leave();
    Ok(peak as f64)
}
