//! What one more client feels while others move bulk data, and whether equal streams get equal shares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::Scenario;
use crate::compare::context::{Contender, Context};
use crate::compare::metric::Metric;
use crate::error::{Error, Result};
use crate::load::probe::{Probe, Probed};
use crate::load::pull::Pull;
use crate::load::push::Push;
use crate::payload::Payload;
use crate::priority;
use crate::stats::Latencies;

const FIRST_BYTE: &str = "first byte beside 8 downloads";
const SHOW: &str = "show beside 8 downloads";
const SHARES: &str = "shares of 8 downloads";
const HASHING: &str = "first byte beside 8 uploads";
/// Nothing else is done on the server meanwhile.
const IDLE: &str = "vitrine idle";
/// Streams of bulk data.
const STREAMS: usize = 8;
/// How long they run, and how long before the prober begins.
const TIME: Duration = Duration::from_secs(6);
const LEAD: Duration = Duration::from_millis(300);
/// A percentile of 99 needs this many latencies.
const SAMPLES_MIN: u64 = 1000;

/// Latencies and shares beside bulk data.
pub(super) const SCENARIO: Scenario = Scenario { name: "fairness", rows: &[FIRST_BYTE, SHOW, SHARES, HASHING], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let vitrine = context.vitrine()?;
    let mut contenders = vec![vitrine.clone()];
    // One nginx, to see what a good server does on this machine.
    contenders.extend(context.nginxes()?.into_iter().take(1));
    let upload = Payload::in_memory(context.plan.pick(context.plan.upload_size / 2, 1 << 20))?;
    for _ in 0..context.plan.rounds {
        if [FIRST_BYTE, SHOW, SHARES].iter().any(|row| context.wants(row)) {
            for contender in &contenders {
                beside_downloads(context, contender)?;
            }
        }
        if context.wants(HASHING) {
            beside_uploads(context, &vitrine, &upload)?;
        }
    }
    Ok(())
}

fn beside_downloads(context: &mut Context<'_>, contender: &Contender) -> Result<()> {
    let (size, time) = (context.plan.size, context.plan.pick(TIME, LEAD * 2));
    let bulk = Pull::whole(contender.server.address, &contender.data, size, STREAMS, 1)?.for_time(time);
    let probe = probe(contender, size);
    let ((pulled, probed, first), used) = context.measure(&contender.server, || {
        let (pulled, probed, first) = beside(&probe, || bulk.run_with(priority::give_way))?;
        Ok((pulled, probed, first))
    })?;
    report_precedence(context, first);
    latencies(context, FIRST_BYTE, contender.name(), &probed.first_byte);
    if !contender.records.is_empty() {
        latencies(context, SHOW, contender.name(), &probed.show);
    }
    let equal = pulled.done.bytes as f64 / STREAMS as f64;
    let distance = pulled.shares.iter().map(|share| (*share as f64 - equal).abs()).fold(0.0, f64::max);
    context.keep(SHARES, contender.name(), Metric::Unfairness, distance / equal * 100.0);
    context.keep_bulk(SHARES, contender.name(), &pulled.done, &used);
    Ok(())
}

fn beside_uploads(context: &mut Context<'_>, vitrine: &Contender, upload: &Payload) -> Result<()> {
    let probe = Probe { records: &[], ..probe(vitrine, context.plan.size) };
    let mut push = Push::prepare(vitrine.server.address, upload, STREAMS, Duration::ZERO)?;
    let ((busy, first), used) = context.measure(&vitrine.server, || {
        let (_, probed, first) = beside(&probe, || push.run_with(priority::give_way))?;
        Ok((probed, first))
    })?;
    push.verify_and_delete()?;
    report_precedence(context, first);
    latencies(context, HASHING, vitrine.name(), &busy.first_byte);
    context.keep_others(HASHING, vitrine.name(), &used);
    let time = context.plan.pick(TIME, LEAD);
    let ((idle, _), used) = context.measure(&vitrine.server, || {
        let (_, probed, first) = beside(&probe, || {
            thread::sleep(time);
            Ok(())
        })?;
        Ok((probed, first))
    })?;
    latencies(context, HASHING, IDLE, &idle.first_byte);
    context.keep_others(HASHING, IDLE, &used);
    Ok(())
}

fn probe(contender: &Contender, size: u64) -> Probe<'_> {
    Probe { address: contender.server.address, data: Some((&contender.data, size)), records: &contender.records }
}

/// Probes while `bulk` runs. Returns what both gave, and whether the prober came before everything else.
pub(super) fn beside<T: Send>(probe: &Probe<'_>, bulk: impl FnOnce() -> Result<T> + Send) -> Result<(T, Probed, bool)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let first = priority::take_precedence();
            thread::sleep(LEAD);
            probe.run(&stop).map(|probed| (probed, first))
        });
        let done = bulk();
        stop.store(true, Ordering::Relaxed);
        let probed = prober.join().unwrap_or_else(|_| Err(Error::Setup("the prober panicked".into())));
        let (probed, first) = probed?;
        Ok((done?, probed, first))
    })
}

/// Tells if latencies hold the prober's own wait for a core.
pub(super) fn report_precedence(context: &mut Context<'_>, first: bool) {
    if !first {
        context.note("latencies hold the prober's own wait for a core: only root may put it first (chrt)".to_owned());
    }
}

/// Keeps latencies of a row.
pub(super) fn latencies(context: &mut Context<'_>, row: &str, contender: &str, latencies: &Latencies) {
    if latencies.count() < SAMPLES_MIN && !context.plan.quick {
        context.note(format!("{row}, {contender}: only {} latencies in a round", latencies.count()));
    }
    context.keep(row, contender, Metric::P50, latencies.percentile(50.0));
    context.keep(row, contender, Metric::P99, latencies.percentile(99.0));
}
