//! Creating and changing images, by one client and by sixteen, beside Glance; and how many changes share a wait for the disk.

use super::Scenario;
use crate::compare::context::Context;
use crate::compare::metric::Metric;
use crate::compare::plan::Who;
use crate::error::{Error, Result};
use crate::http::Connection;
use crate::images::expect;
use crate::load::change::{self, Change};
use crate::servers::vitrine::Variant;
use crate::servers::{Server, glance};

const CREATE_1: &str = "create x1";
const CREATE_16: &str = "create x16";
const PATCH_1: &str = "patch x1";
const PATCH_16: &str = "patch x16";

/// Why some rows are without Glance.
const GLANCE_ALONE: &str =
    "glance on SQLite answers 500, \"database is locked\", where several clients write: it is asked by one only";

/// Commits and their changes, counted by Vitrine.
const COMMITS: &str = "vitrine_control_catalog_commit_changes";

/// Changes.
pub(super) const SCENARIO: Scenario =
    Scenario { name: "changes", rows: &[CREATE_1, CREATE_16, PATCH_1, PATCH_16], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let mut servers: Vec<Server> = context.empty(&Variant::PLAIN)?.into_iter().collect();
    if context.plan.servers.contains(&Who::Glance) {
        let directory = context.place("changes-glance");
        servers.push(glance::start(&context.plan.glance, &directory)?);
    }
    let rows = [
        (CREATE_1, Change::Create, 1),
        (CREATE_16, Change::Create, 16),
        (PATCH_1, Change::Patch, 1),
        (PATCH_16, Change::Patch, 16),
    ];
    for _ in 0..context.plan.rounds {
        for (row, change, writers) in rows {
            if !context.wants(row) {
                continue;
            }
            for server in &servers {
                if server.name == glance::NAME && writers > 1 {
                    context.note(GLANCE_ALONE.to_owned());
                    continue;
                }
                let time = context.plan.time;
                let before = commits(server)?;
                let ((done, latencies), used) =
                    context.measure(server, || change::run(change, server.address, writers, time))?;
                context.keep_requests(row, &server.name, &done, &latencies, &used);
                if let (Some(before), Some(after)) = (before, commits(server)?) {
                    context.keep(row, &server.name, Metric::Syncs, (after.0 - before.0) / (after.1 - before.1));
                }
            }
        }
    }
    Ok(())
}

/// Commits so far, and changes in them; `None` where nobody counts.
fn commits(server: &Server) -> Result<Option<(f64, f64)>> {
    let Some(admin) = server.admin else { return Ok(None) };
    let mut connection = Connection::to(admin);
    let head = connection.request("GET", "/metrics", None)?;
    let text = expect(&mut connection, &head, 200, "metrics")?;
    let text = String::from_utf8_lossy(&text);
    let value = |suffix: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(COMMITS)?.strip_prefix(suffix));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.ok_or_else(|| Error::Answer(format!("no {COMMITS}{suffix} among the metrics")))
    };
    Ok(Some((value("_count ")?, value("_sum ")?)))
}
