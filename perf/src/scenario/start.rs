//! How long Vitrine takes to start on an existing database.

use super::Scenario;
use crate::compare::context::Context;
use crate::compare::metric::Metric;
use crate::error::Result;
use crate::servers::vitrine::{self, Variant};

const START: &str = "start";
/// How often the start is timed.
const TIMES: usize = 5;

/// Starting.
pub(super) const SCENARIO: Scenario = Scenario { name: "start", rows: &[START], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let directory = context.place("start");
    // Makes the database.
    drop(vitrine::start(&context.plan.vitrine, &directory, &Variant::PLAIN)?);
    for _ in 0..context.plan.pick(TIMES, 1) {
        let took = vitrine::restart(&context.plan.vitrine, &directory)?;
        context.keep(START, Variant::PLAIN.name, Metric::Start, took.as_secs_f64() * 1e3);
    }
    Ok(())
}
