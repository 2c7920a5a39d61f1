//! Faults that tests inject: the calls of a store that fail or never end, whatever its driver.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::StoreError;
use crate::metrics::StoreWork;

/// The faults of one store; usually none.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    work: StoreWork,
    /// Which calls it hits: each whose number is a multiple of this.
    every: u64,
    effect: Effect,
    calls: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The call fails for a reason that nobody knows.
    Fail,
    /// The store is away for the moment.
    Away,
    /// There is no room.
    Full,
    /// The call never ends.
    Hang,
}

impl Faults {
    /// Those of the store `id` among `rules`, each `store:operation:every:effect`.
    ///
    /// # Errors
    /// One line that names the rule that is none.
    pub(super) fn of(rules: &[String], id: &str) -> Result<Self, String> {
        let faults = rules.iter().filter_map(|rule| parse(rule, id).transpose());
        Ok(Faults(faults.collect::<Result<_, _>>()?))
    }

    /// Fails if this call is to fail.
    pub(super) async fn strike(&self, work: StoreWork) -> Result<(), StoreError> {
        for fault in self.0.iter().filter(|fault| fault.work == work) {
            let number = fault.calls.fetch_add(1, Relaxed).wrapping_add(1);
            if number.is_multiple_of(fault.every) {
                return Err(match fault.effect {
                    Effect::Fail => StoreError::Broken(std::io::Error::other("injected fault")),
                    Effect::Away => StoreError::Away("injected fault".to_owned()),
                    Effect::Full => StoreError::Full(std::io::Error::other("injected fault")),
                    Effect::Hang => std::future::pending().await,
                });
            }
        }
        Ok(())
    }
}

/// The fault that `rule` describes; `None`: it is of another store.
fn parse(rule: &str, id: &str) -> Result<Option<Fault>, String> {
    let bad = || {
        format!(
            "[dataplane] store_faults = {rule}: accepted is store:operation:every:effect, with operation create, write, commit, open, \
             read, remove or ask, and effect fail, away, full or hang"
        )
    };
    let mut parts = rule.rsplitn(4, ':');
    let (effect, every, work, store) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(effect), Some(every), Some(work), Some(store)) => (effect, every, work, store),
        _ => return Err(bad()),
    };
    let effect = match effect {
        "fail" => Effect::Fail,
        "away" => Effect::Away,
        "full" => Effect::Full,
        "hang" => Effect::Hang,
        _ => return Err(bad()),
    };
    let every = every.parse().ok().filter(|every| *every > 0).ok_or_else(bad)?;
    let work = StoreWork::ALL.into_iter().find(|known| known.label() == work).ok_or_else(bad)?;
    Ok((store == id).then_some(Fault { work, every, effect, calls: AtomicU64::new(0) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_its_own_store_and_operation() {
        let rules = ["a:b:write:2:fail".to_owned(), "c:open:1:away".to_owned()];
        let faults = Faults::of(&rules, "a:b").expect("rules");
        assert_eq!((faults.0.len(), faults.0[0].every, faults.0[0].work), (1, 2, StoreWork::Write));
        assert!(Faults::of(&rules, "d").expect("rules").0.is_empty());
        for bad in ["", "a:write:fail", "a:write:0:fail", "a:write:1:explode", "a:fly:1:fail"] {
            let problem = Faults::of(&[bad.to_owned()], "a").expect_err(bad);
            assert!(problem.starts_with(&format!("[dataplane] store_faults = {bad}: accepted is")), "{problem}");
        }
    }
}
