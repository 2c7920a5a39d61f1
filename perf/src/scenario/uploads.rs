//! Uploads: beside the digests alone, beside serial hashing, beside Glance; and without digests beside a bare loop.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use super::Scenario;
use crate::compare::context::Context;
use crate::compare::metric::Metric;
use crate::error::Result;
use crate::load::push::Push;
use crate::payload::Payload;
use crate::servers::vitrine::{self, Variant};
use crate::servers::{Server, bare, glance};
use crate::{digests, size};

const ONE: &str = "upload x1";
const EIGHT: &str = "upload x8";
const UNDIGESTED: &str = "upload without digests x1";

const SCALAR: Variant =
    Variant { name: "vitrine scalar", settings: Cow::Borrowed("[dataplane]\nhash_lanes = scalar\n"), cores: "" };
const NO_DIGESTS: Variant = Variant { name: "vitrine undigested", settings: Cow::Borrowed(""), cores: "" };

/// How often a turn of Glance's is taken again after a failure of its own: with several writers on SQLite it answers 500
/// ("database is locked") now and then.
const GLANCE_RETRIES: usize = 5;
/// By how much each of Glance's uploads begins after the one before, for the same reason: begun at once, they nearly always
/// collide. Little beside the many seconds that they take; the clock runs from the first.
const GLANCE_STAGGER: Duration = Duration::from_millis(100);

/// Uploads.
pub(super) const SCENARIO: Scenario = Scenario { name: "uploads", rows: &[ONE, EIGHT, UNDIGESTED], run };

fn run(context: &mut Context<'_>) -> Result<()> {
    let payload = Payload::in_memory(context.plan.upload_size)?;
    if context.wants(ONE) || context.wants(EIGHT) {
        with_digests(context, &payload)?;
    }
    if context.wants(UNDIGESTED) {
        without_digests(context, &payload)?;
    }
    Ok(())
}

fn with_digests(context: &mut Context<'_>, payload: &Payload) -> Result<()> {
    let vitrine = context.vitrine()?;
    let scalar = context.empty(&SCALAR)?;
    let glance = context.glance()?;
    let mut servers: Vec<&Server> = vec![&vitrine.server];
    servers.extend(scalar.as_ref());
    servers.extend(glance.as_ref().map(|glance: &Rc<_>| &glance.server));
    for _ in 0..context.plan.rounds {
        if context.wants(ONE) {
            let alone = digests::openssl(context.plan.pick(Duration::from_secs(2), Duration::from_secs(1)))?;
            for (name, rate) in [("md5 alone", alone.md5), ("sha512 alone", alone.sha512)] {
                context.keep(ONE, name, Metric::Rate, rate / size::GIB as f64);
            }
            context.keep(ONE, "slower digest alone", Metric::Rate, alone.md5.min(alone.sha512) / size::GIB as f64);
        }
        for (row, streams) in [(ONE, 1), (EIGHT, 8)] {
            for server in &servers {
                if context.wants(row) {
                    upload(context, row, server, payload, streams)?;
                }
            }
        }
    }
    Ok(())
}

fn upload(context: &mut Context<'_>, row: &str, server: &Server, payload: &Payload, streams: usize) -> Result<()> {
    let (mut retries, stagger) =
        if server.name == glance::NAME { (GLANCE_RETRIES, GLANCE_STAGGER) } else { (0, Duration::ZERO) };
    loop {
        let outcome = Push::prepare(server.address, payload, streams, stagger).and_then(|mut push| {
            let measured = context.measure(server, || push.run())?;
            push.verify_and_delete()?;
            Ok(measured)
        });
        match outcome {
            Ok((done, used)) => {
                context.keep_bulk(row, &server.name, &done, &used);
                return Ok(());
            }
            Err(error) if retries > 0 => {
                retries -= 1;
                context.say(&format!("{}: once more, after: {error}", server.name));
                context.note(format!("{row}: a turn of {} failed and was taken again", server.name));
            }
            Err(error) if server.name == glance::NAME => {
                context.say(&format!("{row}: {} cannot do it: {error}", server.name));
                context.note(format!("{row}: {} failed {GLANCE_RETRIES} times and is left out", server.name));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

fn without_digests(context: &mut Context<'_>, payload: &Payload) -> Result<()> {
    let Some(program) = context.plan.undigested.clone() else {
        context.note("uploads without digests were not measured: no binary was given (--undigested)".to_owned());
        return Ok(());
    };
    let directory = context.place(NO_DIGESTS.name);
    let vitrine = vitrine::start(&program, &directory, &NO_DIGESTS)?;
    let bare = bare::start(&context.place(bare::NAME), payload.size)?;
    for _ in 0..context.plan.rounds {
        let mut push = Push::prepare(vitrine.address, payload, 1, Duration::ZERO)?;
        let (done, used) = context.measure(&vitrine, || push.run())?;
        push.compare_and_delete()?;
        context.keep_bulk(UNDIGESTED, NO_DIGESTS.name, &done, &used);
        let mut push = Push::bare(bare.address, payload);
        let (done, used) = context.measure(&bare, || push.run())?;
        bare::verify(&bare, payload)?;
        context.keep_bulk(UNDIGESTED, bare::NAME, &done, &used);
    }
    Ok(())
}
