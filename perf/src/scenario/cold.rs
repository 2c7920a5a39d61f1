//! Cold downloads: the file has been dropped from the page cache. Beside `fio` on the same file, and what others feel meanwhile.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Scenario;
use super::fairness::{beside, latencies, report_precedence};
use crate::compare::context::{Contender, Context};
use crate::compare::metric::Metric;
use crate::disk;
use crate::error::{Error, Result};
use crate::images;
use crate::load::probe::Probe;
use crate::load::pull::Pull;
use crate::load::push::Push;
use crate::payload::Payload;
use crate::priority;
use crate::servers::vitrine::Variant;
use crate::size::GIB;
use crate::standstill::{self, Watch};

const COLD: &str = "cold download x1";
const GAP: &str = "gap of a warm download beside a cold one";
const SHOW: &str = "show beside a cold download";
/// Rounds at least: a shared disk is far from steady.
const ROUNDS: usize = 5;
/// Part of the file that must have come from the disk in a cold turn, in percent.
const FROM_DISK: u64 = 90;
/// Cold downloads in a row while others are watched.
const IN_A_ROW: usize = 3;
/// How long others are watched without a cold download.
const TIME: Duration = Duration::from_secs(4);
/// By how many bytes the second image is larger, to be told from the first.
const LARGER: u64 = 4096;

const ONE: Variant = Variant { name: "vitrine 1 core", settings: Cow::Borrowed("[dataplane]\ncores = 1\n"), cores: "" };
/// The same, with nothing cold.
const WITHOUT: &str = "vitrine 1 core, none cold";

/// Cold downloads.
pub(super) const SCENARIO: Scenario = Scenario { name: "cold", rows: &[COLD, GAP, SHOW], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    if context.wants(COLD) {
        beside_fio(context)?;
    }
    if context.wants(GAP) || context.wants(SHOW) {
        beside_others(context)?;
    }
    Ok(())
}

fn beside_fio(context: &mut Context<'_>) -> Result<()> {
    let mut contenders = vec![context.vitrine()?];
    contenders.extend(context.nginxes()?.into_iter().take(2));
    let path = context.image_path();
    let rounds = context.plan.pick(context.plan.rounds.max(ROUNDS), 1);
    for _ in 0..rounds {
        for (name, direct) in [("fio buffered", false), ("fio direct", true)] {
            if context.plan.quick {
                continue;
            }
            let rate = from_disk(context, &path, |_| disk::fio(&path, direct))?;
            context.keep(COLD, name, Metric::Rate, rate / GIB as f64);
        }
        for contender in &contenders {
            turn(context, COLD, contender, &path)?;
        }
    }
    // Later scenarios are about warm files.
    let warm =
        contenders.first().map(|vitrine| Pull::whole(vitrine.server.address, &vitrine.data, context.plan.size, 1, 1));
    warm.transpose()?.map_or(Ok(()), |pull| pull.run().map(drop))
}

/// One cold download by one contender.
pub(super) fn turn(context: &mut Context<'_>, row: &str, contender: &Contender, path: &Path) -> Result<()> {
    let pull = Pull::whole(contender.server.address, &contender.data, context.plan.size, 1, 1)?;
    let (pulled, used) = from_disk(context, path, |context| context.measure(&contender.server, || pull.run()))?;
    context.keep_bulk(row, contender.name(), &pulled.done, &used);
    Ok(())
}

/// Drops the image from the page cache, does `work`, and checks that it was read from the disk.
fn from_disk<T>(context: &mut Context<'_>, path: &Path, work: impl FnOnce(&mut Context<'_>) -> Result<T>) -> Result<T> {
    disk::forget(path)?;
    let before = disk::read_bytes()?;
    let done = work(context)?;
    let read = disk::read_bytes()?.saturating_sub(before);
    let size = context.plan.size;
    if read < size / 100 * FROM_DISK {
        return Err(Error::Setup(format!("only {read} of {size} bytes were read from a disk: the file was not cold")));
    }
    Ok(done)
}

fn beside_others(context: &mut Context<'_>) -> Result<()> {
    let Some(contender) = context.variant(&ONE)? else { return Ok(()) };
    let (data, path, size) = second_image(context, &contender)?;
    let address = contender.server.address;
    let probe = Probe { address, data: None, records: &contender.records };
    let count = context.plan.pick(IN_A_ROW, 1);
    let idle = context.plan.pick(TIME, Duration::from_millis(100));
    for _ in 0..context.plan.rounds {
        for name in [ONE.name, WITHOUT] {
            let cold = name == ONE.name;
            let (warm_size, warm) = (context.plan.size, &contender.data);
            let ((gaps, still, probed, first), used) = context.measure(&contender.server, || {
                let watch = Watch::start()?;
                // Longer than anything else takes: it is ended when that has.
                let stop = Arc::new(AtomicBool::new(false));
                let warm = Pull::whole(address, warm, warm_size, 1, 1)?.until(&stop);
                thread::scope(|scope| {
                    let warm = scope.spawn(|| warm.run_with(priority::prefer));
                    let beside = beside(&probe, || {
                        if cold {
                            for _ in 0..count {
                                disk::forget(&path)?;
                                Pull::whole(address, &data, size, 1, 1)?.run_with(priority::give_way)?;
                            }
                        } else {
                            thread::sleep(idle);
                        }
                        Ok(())
                    });
                    stop.store(true, Ordering::Relaxed);
                    let warm = warm.join().unwrap_or_else(|_| Err(Error::Setup("the warm download panicked".into())));
                    let (((), probed, first), warm) = (beside?, warm?);
                    Ok((warm.gaps, watch.finish()?, probed, first))
                })
            })?;
            report_precedence(context, first);
            let gap = gaps.iter().map(|gap| standstill::without(gap, &still)).max().unwrap_or_default();
            context.keep(GAP, name, Metric::Gap, gap.as_secs_f64() * 1e3);
            if let Some(longest) = still.iter().map(standstill::length).max() {
                let (count, longest) = (still.len(), longest.as_secs_f64() * 1e3);
                context.note(format!(
                    "{GAP}, {name}: the machine stood still {count} times, for up to {longest:.0} ms; taken off"
                ));
            }
            context.keep_others(GAP, name, &used);
            latencies(context, SHOW, name, &probed.show);
        }
    }
    Ok(())
}

/// Stores another image: the path of its data, its file, and its size.
fn second_image(context: &mut Context<'_>, contender: &Contender) -> Result<(String, PathBuf, u64)> {
    let size = context.plan.size + LARGER;
    let payload = Payload::in_memory(size)?;
    let mut push = Push::prepare(contender.server.address, &payload, 1, Duration::ZERO)?;
    push.run()?;
    let id = push.verify_and_keep()?;
    Ok((images::data_target(&id), contender.server.file_of(size)?, size))
}
