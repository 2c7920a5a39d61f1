//! The scenarios of the comparison, one module each. A scenario starts what it needs, lets the contenders take turns round after
//! round (A B C, A B C, …) so that a slow phase of the machine meets all of them, and keeps its figures by row.

mod catalog;
mod changes;
mod cold;
mod fairness;
mod flood;
mod memory;
mod metadata;
mod paths;
mod scaling;
mod start;
mod tls;
mod uploads;
mod warm;

use crate::compare::context::Context;
use crate::error::Result;

/// A piece of the comparison that can be run alone.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name for `--only`.
    pub name: &'static str,
    /// The rows it fills: what promises name.
    pub rows: &'static [&'static str],
    /// Fills them.
    pub run: fn(&mut Context<'_>) -> Result<()>,
}

/// All, in the order in which they run.
pub const ALL: &[Scenario] = &[
    warm::SCENARIO,
    paths::SCENARIO,
    tls::SCENARIO,
    uploads::SCENARIO,
    fairness::SCENARIO,
    flood::SCENARIO,
    scaling::SCENARIO,
    metadata::SCENARIO,
    catalog::SCENARIO,
    changes::SCENARIO,
    start::SCENARIO,
    memory::SCENARIO,
    cold::SCENARIO,
];
