//! Show and lists of 25 among 100,000 images, with each filter and each sort key alone, beside Glance.

use super::Scenario;
use crate::compare::context::{ASKERS, Context};
use crate::compare::metric::Metric;
use crate::compare::plan::Who;
use crate::error::Result;
use crate::fill;
use crate::load::metadata::Ask;
use crate::servers::vitrine::Variant;
use crate::servers::{Server, glance, vitrine};

/// Images of each server.
const IMAGES: usize = 100_000;
/// Images that are shown in turn.
const SHOWN: usize = 1000;
/// Of the time of other scenarios each row takes one part of so many: there are many rows.
const PARTS_OF_TIME: u32 = 3;

const SHOW: &str = "show of 100k x8";
const LIST: &str = "list of 25 of 100k x8";
const SLOWEST: &str = "slowest list of 25 of 100k x8";

/// In the parameters of a list: the id of an image in the middle.
const MIDDLE: &str = "MIDDLE";

/// Lists: the row, and the parameters.
const LISTS: [(&str, &str); 35] = [
    (LIST, ""),
    ("list of 100k from the middle", "marker=MIDDLE"),
    ("list of 100k by name", "sort=name:asc"),
    ("list of 100k by name downwards", "sort=name:desc"),
    ("list of 100k by name from the middle", "sort=name:asc&marker=MIDDLE"),
    ("list of 100k by status", "sort=status:asc"),
    ("list of 100k by container format", "sort=container_format:asc"),
    ("list of 100k by disk format", "sort=disk_format:desc"),
    ("list of 100k by size", "sort=size:desc"),
    ("list of 100k by id", "sort=id:asc"),
    ("list of 100k by created_at", "sort=created_at:asc"),
    ("list of 100k by updated_at", "sort=updated_at:desc"),
    ("list of 100k with name", "name=image-000077"),
    ("list of 100k with status", "status=queued"),
    ("list of 100k with container format", "container_format=docker"),
    ("list of 100k with disk format", "disk_format=iso"),
    ("list of 100k with owner", "owner=00000000000000000000000000000007"),
    ("list of 100k with visibility", "visibility=private"),
    ("list of 100k with protected", "protected=true"),
    ("list of 100k with os_hidden", "os_hidden=true"),
    ("list of 100k with min_disk", "min_disk=20"),
    ("list of 100k with min_ram", "min_ram=1536"),
    ("list of 100k with size_min", "size_min=1000000000000"),
    ("list of 100k with size_max", "size_max=40000000000"),
    ("list of 100k with virtual_size", "virtual_size=1"),
    ("list of 100k with checksum", "checksum=00000000000000000000000000000000"),
    ("list of 100k with os_hash_algo", "os_hash_algo=sha256"),
    ("list of 100k with created_at", "created_at=lt:2024-01-01T00:00:00Z"),
    ("list of 100k with updated_at", "updated_at=gt:2024-02-20T00:00:00Z"),
    ("list of 100k with several names", "name=in:image-000001,image-000002,image-000003"),
    ("list of 100k with a common tag", "tag=all"),
    ("list of 100k with a rare tag", "tag=tag-77"),
    ("list of 100k with a common property", "os_distro=distro-7"),
    ("list of 100k with a rare property", "build=77"),
    ("list of 100k with a property of none", "build=none"),
];

const ROWS: [&str; LISTS.len() + 2] = {
    let mut rows = [SHOW; LISTS.len() + 2];
    let mut place = 0;
    while place < LISTS.len() {
        rows[place + 1] = LISTS[place].0;
        place += 1;
    }
    rows[LISTS.len() + 1] = SLOWEST;
    rows
};

/// Among very many images.
pub(super) const SCENARIO: Scenario = Scenario { name: "catalog", rows: &ROWS, run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let images = context.plan.pick(IMAGES, IMAGES / 100);
    let servers = filled(context, images)?;
    let shown: Vec<String> =
        (0..SHOWN).map(|number| format!("/v2/images/{}", fill::id(number * 7919 % images))).collect();
    let time = context.plan.time / PARTS_OF_TIME;
    for _ in 0..context.plan.rounds {
        let mut slowest = vec![0.0; servers.len()];
        let lists = LISTS.iter().map(|(row, parameters)| (*row, vec![target(parameters, images)]));
        for (row, targets) in std::iter::once((SHOW, shown.clone())).chain(lists) {
            // The slowest is of all of them.
            let is_wanted = context.wants(row) || (row != SHOW && context.wants(SLOWEST));
            if !is_wanted {
                continue;
            }
            for (server, slowest) in servers.iter().zip(&mut slowest) {
                let ask = Ask::new(|| crate::http::Connection::to(server.address), &targets, ASKERS, time)?;
                let ((done, latencies), used) = context.measure(server, || ask.run())?;
                context.keep_requests(row, &server.name, &done, &latencies, &used);
                if row != SHOW {
                    *slowest = f64::max(*slowest, latencies.percentile(99.0));
                }
            }
        }
        if context.wants(SLOWEST) {
            for (server, slowest) in servers.iter().zip(slowest) {
                context.keep(SLOWEST, &server.name, Metric::P99, slowest);
            }
        }
    }
    Ok(())
}

/// Path and query of a list of 25.
fn target(parameters: &str, images: usize) -> String {
    format!("/v2/images?limit=25&{}", parameters.replace(MIDDLE, &fill::id(images / 2)))
}

/// Vitrine, and Glance if the run has it, with so many images.
fn filled(context: &mut Context<'_>, images: usize) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    let directory = context.place("catalog");
    context.say(&format!("vitrine: starting and filling with {images} images"));
    servers.push(vitrine::start(&context.plan.vitrine, &directory, &Variant::PLAIN)?);
    fill::fill(&vitrine::database(&directory), images)?;
    if context.plan.servers.contains(&Who::Glance) {
        let directory = context.place("catalog-glance");
        context.say(&format!("glance: starting and filling with {images} images"));
        servers.push(glance::start(&context.plan.glance, &directory)?);
        fill::fill(&glance::database(&directory), images)?;
    }
    Ok(servers)
}
