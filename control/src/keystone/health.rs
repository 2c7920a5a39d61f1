//! Whether Keystone answers: after a failure one request finds out, the others are not kept waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After a failure nobody asks for so long; then one does.
pub(crate) const AWAY_HOLDS: Duration = Duration::from_secs(1);

/// What is known of Keystone.
#[derive(Debug, Default)]
pub(crate) struct Health {
    away: Mutex<Option<Away>>,
}

#[derive(Debug, Clone, Copy)]
struct Away {
    /// When it is worth asking again.
    again: Instant,
    /// Whether somebody does.
    probing: bool,
}

impl Health {
    /// Permission to ask; `None` while Keystone is known to be away and somebody else finds out whether it still is.
    pub(crate) fn admit(&self) -> Option<Question<'_>> {
        let mut away = self.away();
        let probes = match &mut *away {
            None => false,
            Some(away) if !away.probing && Instant::now() >= away.again => {
                away.probing = true;
                true
            }
            Some(_) => return None,
        };
        Some(Question { health: self, probes })
    }

    /// A question had no answer.
    pub(crate) fn failed(&self) {
        let mut away = self.away();
        let probing = away.is_some_and(|away| away.probing);
        *away = Some(Away { again: Instant::now() + AWAY_HOLDS, probing });
    }

    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question to Keystone. Dropped without an outcome (nobody waits for it any more), it tells nothing.
#[derive(Debug)]
pub(crate) struct Question<'h> {
    health: &'h Health,
    probes: bool,
}

impl Question<'_> {
    /// Keystone answered, whatever it said; or it did not.
    pub(crate) fn ended(self, answered: bool) {
        match answered {
            true => *self.health.away() = None,
            false => self.health.failed(),
        }
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        if self.probes
            && let Some(away) = &mut *self.health.away()
        {
            away.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the wait after a failure were over.
    fn wait(health: &Health) {
        if let Some(away) = &mut *health.away() {
            away.again = Instant::now();
        }
    }

    #[test]
    fn one_finds_out_whether_it_is_back() {
        let health = Health::default();
        let (one, two) = (health.admit().expect("healthy"), health.admit().expect("healthy"));
        one.ended(false);
        assert!(health.admit().is_none(), "just failed");
        wait(&health);
        let probe = health.admit().expect("worth a try");
        assert!(health.admit().is_none(), "one is enough");
        two.ended(false);
        wait(&health);
        assert!(health.admit().is_none(), "still one is enough");
        probe.ended(false);
        assert!(health.admit().is_none());
        wait(&health);
        drop(health.admit().expect("worth a try"));
        health.admit().expect("nobody waited for that one").ended(true);
        assert!(health.admit().is_some() && health.admit().is_some());
    }
}
