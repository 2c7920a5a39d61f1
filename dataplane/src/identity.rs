//! Who sends a download: known for as long as control itself believes it, else asked of control.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::Result;
use common::identity::{Identity, Proof};
use common::rpc::{Authenticated, ToControl};
use common::time::Timestamp;
use ring::digest::{SHA256, digest};

use crate::control_client::ControlClient;

/// Identities that a core remembers; the cache is emptied when it is full.
const CACHE_ENTRIES_MAX: usize = 4096;

/// Longest time for which any answer is believed: that of the largest `token_cache_time`.
const HOLDS_MAX: Duration = Duration::from_hours(24);

/// A core's knowledge of callers. Tokens themselves are never kept, only their digests.
#[derive(Debug)]
pub(crate) struct Identities {
    /// The same for everybody, where there is no authentication.
    fixed: Option<Rc<Identity>>,
    known: RefCell<HashMap<[u8; 32], Known>>,
}

#[derive(Debug)]
struct Known {
    identity: Rc<Identity>,
    until: Instant,
}

impl Identities {
    /// `fixed`: the identity of everybody, where `flavor` is none.
    pub(crate) fn new(fixed: Option<Identity>) -> Self {
        Identities { fixed: fixed.map(Rc::new), known: RefCell::default() }
    }

    /// The holder of `proof`.
    ///
    /// # Errors
    /// 401, or 503 when control is away and the answer is not known.
    pub(crate) async fn identify(&self, proof: Proof, control: &ControlClient) -> Result<Rc<Identity>> {
        if let Some(identity) = &self.fixed {
            return Ok(Rc::clone(identity));
        }
        let key = key(&proof);
        if let Some(identity) = self.lookup(&key) {
            return Ok(identity);
        }
        let asked = Instant::now();
        let answer = control.call::<Authenticated>(ToControl::Authenticate { proof }).await?;
        let identity = Rc::new(answer.identity);
        self.remember(key, &identity, asked + Duration::from_millis(answer.holds_for_ms).min(HOLDS_MAX));
        Ok(identity)
    }

    fn lookup(&self, key: &[u8; 32]) -> Option<Rc<Identity>> {
        let known = self.known.borrow();
        let entry = known.get(key)?;
        let lives = entry.identity.expires_at.is_none_or(|at| at > Timestamp::now().as_seconds());
        (entry.until > Instant::now() && lives).then(|| Rc::clone(&entry.identity))
    }

    fn remember(&self, key: [u8; 32], identity: &Rc<Identity>, until: Instant) {
        if until <= Instant::now() {
            return;
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= CACHE_ENTRIES_MAX {
            known.clear();
        }
        known.insert(key, Known { identity: Rc::clone(identity), until });
    }
}

fn key(proof: &Proof) -> [u8; 32] {
    let mut text = proof.token.clone().unwrap_or_default();
    // A separator that no header value can hold.
    text.push('\n');
    text.push_str(proof.service_token.as_deref().unwrap_or(""));
    let mut key = [0; 32];
    key.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_believed_for_a_time() {
        let identities = Identities::new(None);
        let soon = Instant::now() + Duration::from_secs(60);
        let proof = |token: &str| Proof { token: Some(token.into()), service_token: None };
        let mut identity = Identity { user_id: "u".into(), ..Identity::default() };
        identity.expires_at = Some(Timestamp::now().as_seconds() + 1000);
        identities.remember(key(&proof("a")), &Rc::new(identity.clone()), soon);
        assert_eq!(identities.lookup(&key(&proof("a"))).expect("known").user_id, "u");
        assert!(identities.lookup(&key(&proof("b"))).is_none());
        identity.expires_at = Some(Timestamp::now().as_seconds() - 1);
        identities.remember(key(&proof("c")), &Rc::new(identity.clone()), soon);
        assert!(identities.lookup(&key(&proof("c"))).is_none(), "an expired token is not believed");
        identity.expires_at = None;
        let short = Instant::now() + Duration::from_millis(20);
        identities.remember(key(&proof("d")), &Rc::new(identity.clone()), short);
        identities.remember(key(&proof("e")), &Rc::new(identity), Instant::now());
        assert!(identities.lookup(&key(&proof("e"))).is_none(), "for one request only");
        std::thread::sleep(Duration::from_millis(30));
        assert!(identities.lookup(&key(&proof("d"))).is_none(), "no longer than control believes it");
    }

    #[test]
    fn the_two_tokens_do_not_run_together() {
        let one = Proof { token: Some("ab".into()), service_token: Some("c".into()) };
        let two = Proof { token: Some("a".into()), service_token: Some("bc".into()) };
        assert_ne!(key(&one), key(&two));
    }
}
