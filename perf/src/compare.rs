//! The comparison: scenarios let servers take turns on the same work; their figures are judged by the table of promises.

pub mod context;
pub mod ledger;
pub mod metric;
pub mod plan;
pub mod promise;
pub mod promises;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::report::Report;
use crate::scenario;
use context::{Context, Work};
use plan::Plan;
use promise::Verdict;

/// Runs the comparison; `say` hears what is going on. A scenario that fails leaves no figures, only its failure.
///
/// # Errors
/// The machine is busy, or nothing can be run at all.
pub fn run(plan: &Plan, mut say: impl FnMut(&str)) -> Result<Report> {
    let matches = |name: &&String| {
        scenario::ALL
            .iter()
            .any(|known| known.name == **name || known.rows.iter().any(|row| row.starts_with(name.as_str())))
    };
    if let Some(unknown) = plan.only.iter().find(|name| !matches(name)) {
        let known: Vec<String> =
            scenario::ALL.iter().map(|known| format!("{} ({})", known.name, known.rows.join(", "))).collect();
        return Err(Error::Setup(format!(
            "'{unknown}' is no scenario and begins no row; there are: {}",
            known.join("; ")
        )));
    }
    let machine = Machine::observe(plan.pick(Machine::WATCH, std::time::Duration::ZERO))?;
    if !plan.busy_ok {
        machine.require_idle()?;
    }
    let work = Work::make(plan.work.clone())?;
    let mut context = Context::new(plan, work.path(), &mut say)?;
    let mut failures = Vec::new();
    for scenario in scenario::ALL.iter().filter(|known| known.rows.iter().any(|row| plan.wants(known.name, row))) {
        context.scenario = scenario.name;
        if let Err(error) = (scenario.run)(&mut context) {
            context.say(&format!("{} failed: {error}", scenario.name));
            context.ledger.forget(scenario.rows);
            failures.push(format!("{}: {error}", scenario.name));
        }
    }
    let (ledger, notes) = context.end();
    drop(work);
    let judge = |promise: &promise::Promise| promise.judge(&ledger);
    let verdicts: Vec<Verdict> = if plan.quick { Vec::new() } else { promises::PROMISES.iter().map(judge).collect() };
    let finished = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Report { machine, finished, method: plan.method(), ledger, verdicts, notes, failures })
}
