//! Processes of a server that die at random instants.

use std::time::{SystemTime, UNIX_EPOCH};

use super::data::Random;
use super::{Server, number_from_env};

/// Rounds of the random tests, unless told otherwise.
pub(crate) const ROUNDS: u64 = 50;

/// `VITRINE_CRASH_SEED` (from the clock, printed) and `VITRINE_CRASH_ROUNDS` (50).
pub(crate) fn seed_and_rounds() -> (u64, u64) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
    let seed = number_from_env("VITRINE_CRASH_SEED", u64::from(clock));
    let rounds = number_from_env("VITRINE_CRASH_ROUNDS", ROUNDS);
    // Shown with the failure, and by --nocapture.
    println!("VITRINE_CRASH_SEED={seed} VITRINE_CRASH_ROUNDS={rounds}");
    (seed, rounds)
}

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    Control,
    Dataplane,
    /// One after the other; the launcher lives.
    Planes,
    /// A power cut, as far as the processes see it.
    All,
}

impl Death {
    /// Each of them.
    pub(crate) const EACH: [Death; 4] = [Death::Control, Death::Dataplane, Death::Planes, Death::All];

    /// One of them; most often the data plane, which has the most to lose.
    pub(crate) fn at_random(random: &mut Random) -> Death {
        match random.below(5) {
            0 => Death::Control,
            1 | 2 => Death::Dataplane,
            3 => Death::Planes,
            _ => Death::All,
        }
    }

    /// `kill -9`.
    pub(crate) fn strike(self, server: &Server) {
        match self {
            Death::Control => server.kill_plane("control"),
            Death::Dataplane => server.kill_plane("dataplane"),
            Death::Planes => {
                server.kill_plane("control");
                server.kill_plane("dataplane");
            }
            Death::All => server.kill_processes(),
        }
    }

    /// Starts what nobody else starts again.
    pub(crate) fn is_over(self, server: &mut Server) {
        if self == Death::All {
            server.kill_all();
            server.launch();
        }
    }
}
