//! Warm downloads beside nginx: the whole image, and random ranges of it, on 1, 8 and 64 connections.

use std::rc::Rc;

use super::Scenario;
use crate::compare::context::{Contender, Context};
use crate::error::Result;
use crate::load::pull::Pull;

/// Rows and the connections of each: of the whole image, and of ranges.
const WHOLE: [(&str, usize); 3] = [("download x1", 1), ("download x8", 8), ("download x64", 64)];
const RANGES: [(&str, usize); 3] = [("ranges x1", 1), ("ranges x8", 8), ("ranges x64", 64)];
/// Bytes of a range.
const RANGE: u64 = 1 << 20;
/// Random ranges, and how often each is asked for in a turn: 1,000 alone would be 15 ticks of the kernel's clock.
const RANGES_COUNT: usize = 1000;
const RANGES_TIMES: usize = 4;

/// Warm downloads.
pub(super) const SCENARIO: Scenario =
    Scenario { name: "warm", rows: &[WHOLE[0].0, WHOLE[1].0, WHOLE[2].0, RANGES[0].0, RANGES[1].0, RANGES[2].0], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let mut contenders = vec![context.vitrine()?];
    contenders.extend(context.nginxes()?);
    for _ in 0..context.plan.rounds {
        for (row, connections) in WHOLE {
            whole(context, row, &contenders, connections)?;
        }
        for (row, connections) in RANGES {
            ranges(context, row, &contenders, connections)?;
        }
    }
    Ok(())
}

/// One turn of each contender with whole downloads.
pub(super) fn whole(
    context: &mut Context<'_>,
    row: &str,
    contenders: &[Rc<Contender>],
    connections: usize,
) -> Result<()> {
    if !context.wants(row) {
        return Ok(());
    }
    let (size, passes) = (context.plan.size, context.plan.passes(connections));
    for contender in contenders {
        let pull = Pull::whole(contender.server.address, &contender.data, size, connections, passes)?;
        let (pulled, used) = context.measure(&contender.server, || pull.run())?;
        context.keep_bulk(row, contender.name(), &pulled.done, &used);
    }
    Ok(())
}

fn ranges(context: &mut Context<'_>, row: &str, contenders: &[Rc<Contender>], connections: usize) -> Result<()> {
    if !context.wants(row) {
        return Ok(());
    }
    let (count, size) = (context.plan.pick(RANGES_COUNT * RANGES_TIMES, 64), context.plan.size);
    for contender in contenders {
        let pull = Pull::ranges(contender.server.address, &contender.data, size, connections, (count, RANGE))?;
        let (pulled, used) = context.measure(&contender.server, || pull.run())?;
        context.keep_bulk(row, contender.name(), &pulled.done, &used);
    }
    Ok(())
}
