//! Who sends a download: known for as long as control itself believes it, else asked of control.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Result;
use common::authorise::Authority;
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
    authority: Arc<Authority>,
    known: RefCell<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<[u8; 32], Known>,
    /// Of the policy that said who is an administrator.
    version: u64,
}

#[derive(Debug)]
struct Known {
    identity: Rc<Identity>,
    until: Instant,
}

impl Identities {
    /// `fixed`: the identity of everybody, where `flavor` is none. `authority` says who is an administrator.
    pub(crate) fn new(fixed: Option<Identity>, authority: Arc<Authority>) -> Self {
        Identities { fixed: fixed.map(Rc::new), authority, known: RefCell::default() }
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
        let until = asked + Duration::from_millis(answer.holds_for_ms).min(HOLDS_MAX);
        Ok(self.remember(key, answer.identity, until))
    }

    /// What is known under the present policy.
    fn cache(&self) -> RefMut<'_, Cache> {
        let mut cache = self.known.borrow_mut();
        let version = self.authority.version();
        if cache.version != version {
            *cache = Cache { entries: HashMap::new(), version };
        }
        cache
    }

    fn lookup(&self, key: &[u8; 32]) -> Option<Rc<Identity>> {
        let cache = self.cache();
        let entry = cache.entries.get(key)?;
        let lives = entry.identity.expires_at.is_none_or(|at| at > Timestamp::now().as_seconds());
        (entry.until > Instant::now() && lives).then(|| Rc::clone(&entry.identity))
    }

    /// Notes who control says the caller is. Whether that is an administrator our own policy says: control may have read its
    /// files a moment earlier or later.
    fn remember(&self, key: [u8; 32], identity: Identity, until: Instant) -> Rc<Identity> {
        // The version first: the rules asked then are at least as new.
        let mut cache = self.cache();
        let plain = Identity { is_admin: false, ..identity };
        let is_admin = self.authority.policy().is_admin(&plain.credentials());
        let identity = Rc::new(Identity { is_admin, ..plain });
        if until > Instant::now() {
            if cache.entries.len() >= CACHE_ENTRIES_MAX {
                cache.entries.clear();
            }
            cache.entries.insert(key, Known { identity: Rc::clone(&identity), until });
        }
        identity
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
    use std::path::Path;

    use common::config::PolicyFiles;
    use common::policy::Policy;

    use super::*;

    #[test]
    fn a_new_policy_says_anew_who_is_an_administrator() {
        let options = PolicyFiles {
            file: Vec::new(),
            dirs: Vec::new(),
            default_rule: "default".to_owned(),
            enforce_new_defaults: true,
        };
        let policy = |text| Policy::from_text(Path::new("policy"), text, &options).expect("rules").0;
        let authority = Arc::new(Authority::new(policy("context_is_admin: 'role:boss'"), true));
        let identities = Identities::new(None, Arc::clone(&authority));
        let soon = Instant::now() + Duration::from_secs(60);
        let boss = Identity { user_id: "u".into(), roles: vec!["boss".into()], ..Identity::default() };
        // Control still goes by other rules.
        assert!(identities.remember([1; 32], boss.clone(), soon).is_admin);
        assert!(identities.lookup(&[1; 32]).expect("known").is_admin);
        authority.replace(policy("context_is_admin: 'role:chief'"));
        assert!(identities.lookup(&[1; 32]).is_none(), "what was known is void");
        let claimed = Identity { is_admin: true, ..boss };
        assert!(!identities.remember([1; 32], claimed, soon).is_admin);
        assert!(!identities.lookup(&[1; 32]).expect("known").is_admin);
    }

    #[test]
    fn what_was_learnt_is_believed_for_a_time() {
        let identities = Identities::new(None, Arc::new(Authority::new(Policy::defaults(), true)));
        let soon = Instant::now() + Duration::from_secs(60);
        let proof = |token: &str| Proof { token: Some(token.into()), service_token: None };
        let mut identity = Identity { user_id: "u".into(), ..Identity::default() };
        identity.expires_at = Some(Timestamp::now().as_seconds() + 1000);
        identities.remember(key(&proof("a")), identity.clone(), soon);
        assert_eq!(identities.lookup(&key(&proof("a"))).expect("known").user_id, "u");
        assert!(identities.lookup(&key(&proof("b"))).is_none());
        identity.expires_at = Some(Timestamp::now().as_seconds() - 1);
        identities.remember(key(&proof("c")), identity.clone(), soon);
        assert!(identities.lookup(&key(&proof("c"))).is_none(), "an expired token is not believed");
        identity.expires_at = None;
        let short = Instant::now() + Duration::from_millis(20);
        identities.remember(key(&proof("d")), identity.clone(), short);
        identities.remember(key(&proof("e")), identity, Instant::now());
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
