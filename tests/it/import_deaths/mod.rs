//! Imports, copies and tasks whose planes die: at each step that outlives a process, in the middle of the data, and at random
//! instants. Each is done, or undone, and then the image is as good as any.
//!
//! `VITRINE_CRASH_ROUNDS` and `VITRINE_CRASH_SEED` ([`deaths::seed_and_rounds`]): with fewer rounds, fewer of the steps are met.

mod attempt;
mod scenario;
mod site;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use attempt::Attempt;
use rustix::process::{Signal, kill_process};
use scenario::Method::{Copy, Direct, Task, Web};
use scenario::{Flaw, Scenario, flawed, good};
use site::Site;
use uuid::Uuid;

use crate::harness::data::Random;
use crate::harness::deaths::{self, Death};
use crate::harness::steps::Victims;

/// What an end may take in a test that shares its processors with others: less than the time after which control looks for jobs
/// that nobody sees to (`reap_interval_seconds`).
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an image that is killed at a step: more than one buffer of the data plane, and not a whole number of them.
const SMALL: usize = 400_000;

/// Bytes of an image that is killed at an instant: it takes a while.
const LARGE: usize = 3_000_001;

/// Steps that no import has.
const STEPS_MAX: u32 = 200;

/// Kills at every step of each of these imports the plane whose step it is; at every second one the other plane, so that two imports of
/// a kind have it at each; and all, at some of them, by the seed.
fn at_each_step(scenarios: &[Scenario]) {
    let (seed, rounds) = deaths::seed_and_rounds();
    let stride = usize::try_from((deaths::ROUNDS / rounds.max(1)).max(1)).expect("small");
    let mut random = Random::new(seed);
    let mut site = Site::new(SMALL, WRITES_SEEN);
    for (index, scenario) in scenarios.iter().enumerate() {
        let mut steps = BTreeMap::new();
        let mut any_of = |stride: usize| usize::try_from(random.below(stride as u64)).expect("small");
        let first_of_other = if stride == 1 { index % 2 } else { any_of(2 * stride) };
        for (victims, first, stride) in [
            (Victims::Own, any_of(stride), stride),
            (Victims::Other, first_of_other, 2 * stride),
            (Victims::All, any_of(4 * stride), 4 * stride),
        ] {
            let first = 1 + u32::try_from(first).expect("small");
            let met = (first..STEPS_MAX).step_by(stride).map_while(|step| {
                let met = at_step(&mut site, *scenario, step, victims, seed)?;
                Some((step, met))
            });
            for (step, met) in met {
                assert!((step as usize) + stride < STEPS_MAX as usize, "{scenario:?}: no end");
                *steps.entry(met).or_insert(0) += 1;
            }
        }
        println!("{scenario:?}: {} deaths: {steps:?}", steps.values().sum::<i32>());
        // Else nothing is proven.
        assert!(!steps.is_empty(), "{scenario:?}: nobody was killed");
        if stride == 1 {
            for step in ["control write catalog.sqlite-wal", "control sync catalog.sqlite-wal"] {
                assert!(steps.contains_key(step), "{step}: {steps:?}");
            }
            for step in ["create", "write", "sync", "link", "unlink"] {
                // What is not what it claims to be never comes to its name.
                let is_never = step == "link" && scenario.flaw == Flaw::Claim;
                let is_met = is_never || steps.keys().any(|met| met.starts_with(&format!("dataplane {step} ")));
                assert!(is_met, "{step}: {steps:?}");
            }
        }
    }
}

/// Imports, and kills at step number `step`; what that was, if there is such a step.
fn at_step(site: &mut Site, scenario: Scenario, step: u32, victims: Victims, seed: u64) -> Option<String> {
    let context = format!("{scenario:?}, seed {seed}, step {step}, {victims:?}");
    let mut attempt = Attempt::prepare(site, scenario);
    site.arm(step, victims);
    attempt.ask(site);
    attempt.settle(site, &context);
    let met = site.disarm();
    attempt.go_on(site, &format!("{context}, {met:?}"));
    met.map(|met| named(&met))
}

/// A step by the directory and the kind of its file alone.
fn named(met: &str) -> String {
    let (what, path) = met.rsplit_once(' ').unwrap_or((met, ""));
    let mut names = path.rsplit('/');
    let (file, directory) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    match (file.ends_with(".part"), Uuid::try_parse(file).is_ok()) {
        (true, _) => format!("{what} {directory}/*.part"),
        (_, true) => format!("{what} {directory}/*"),
        _ => format!("{what} {file}"),
    }
}

/// Every import that there is.
const ALL: [Scenario; 14] = [
    good(Copy, &["slow"]),
    good(Copy, &[]),
    flawed(Copy, &[], false, Flaw::Full),
    flawed(Copy, &[], true, Flaw::Full),
    good(Direct, &[]),
    flawed(Direct, &["fast", "slow"], false, Flaw::Full),
    flawed(Direct, &[], true, Flaw::Claim),
    flawed(Direct, &["fast", "slow"], true, Flaw::Full),
    good(Web, &[]),
    flawed(Web, &[], false, Flaw::Full),
    flawed(Web, &["far", "slow"], true, Flaw::Full),
    flawed(Web, &[], false, Flaw::Claim),
    good(Task, &[]),
    flawed(Task, &[], true, Flaw::Claim),
];

/// Each write of image data is a step: the kernel's ring would do them unseen.
const WRITES_SEEN: &str = "[dataplane]\ndriver = epoll\n";

#[test]
fn copies_survive_a_death_at_each_step() {
    at_each_step(&ALL[0..2]);
}

#[test]
fn copies_into_a_store_that_fails_survive_a_death_at_each_step() {
    at_each_step(&ALL[2..4]);
}

#[test]
fn imports_of_staged_data_survive_a_death_at_each_step() {
    at_each_step(&ALL[4..6]);
}

#[test]
fn imports_of_staged_data_that_fail_survive_a_death_at_each_step() {
    at_each_step(&ALL[6..8]);
}

#[test]
fn downloads_survive_a_death_at_each_step() {
    at_each_step(&ALL[8..10]);
}

#[test]
fn downloads_that_fail_survive_a_death_at_each_step() {
    at_each_step(&ALL[10..12]);
}

#[test]
fn tasks_survive_a_death_at_each_step() {
    at_each_step(&ALL[12..14]);
}

#[test]
fn downloads_and_tasks_survive_a_death_in_the_middle_of_their_data() {
    let mut site = Site::new(LARGE, "");
    for scenario in ALL.into_iter().filter(|scenario| matches!(scenario.method, Web | Task)) {
        for death in Death::EACH {
            let context = format!("{scenario:?}, {death:?}");
            let mut attempt = Attempt::prepare_held(&site, scenario);
            attempt.ask(&site);
            site.wait_for_middle();
            attempt.assert_under_way(&site);
            death.strike(&site.server);
            // What lives goes on with what it has.
            site.release();
            death.is_over(&mut site.server);
            attempt.settle(&mut site, &context);
            attempt.go_on(&mut site, &context);
        }
    }
}

#[test]
fn a_redirect_is_followed_once_control_is_there_to_be_asked_about_it() {
    let mut site = Site::new(SMALL, "");
    let mut attempt = Attempt::prepare_redirected(&site, good(Web, &[]));
    attempt.ask(&site);
    site.wait_for_middle();
    // A launcher that stands still cannot start control again: the redirect comes while there is none.
    kill_process(site.server.launcher_pid(), Signal::STOP).expect("it runs");
    site.server.kill_plane("control");
    site.release();
    std::thread::sleep(Duration::from_millis(300));
    kill_process(site.server.launcher_pid(), Signal::CONT).expect("it stands still");
    let begun = Instant::now();
    attempt.settle(&mut site, &"a redirect without control");
    // Not when the time for an answer is over, which is 15 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}\n{}", begun.elapsed(), site.server.log());
}

#[test]
fn deaths_at_random_instants_lose_and_leave_nothing_of_imports() {
    let (seed, rounds) = deaths::seed_and_rounds();
    let mut random = Random::new(seed);
    let mut site = Site::new(LARGE, "");
    let mut promised = 0;
    for round in 0..rounds.div_ceil(2) {
        let mut any = || ALL[usize::try_from(random.below(ALL.len() as u64)).expect("small")];
        let scenarios = [any(), any(), any()];
        let mut attempts = scenarios.map(|scenario| Attempt::prepare(&site, scenario));
        let (death, instant) = (Death::at_random(&mut random), Duration::from_micros(random.below(250_000)));
        let context = format!("seed {seed}, round {round}, {death:?} after {instant:?}, {scenarios:?}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(instant);
                death.strike(&site.server);
            });
            attempts.iter_mut().for_each(|attempt| attempt.ask(&site));
        });
        promised += attempts.iter().filter(|attempt| attempt.is_accepted).count();
        death.is_over(&mut site.server);
        for attempt in &mut attempts {
            attempt.settle(&mut site, &context);
        }
        for attempt in &attempts {
            attempt.go_on(&mut site, &context);
        }
    }
    println!("{promised} promised imports, nothing lost");
    assert!(promised > 0, "no import was ever promised");
}
