//! What Keystone said of tokens, for a while.
//!
//! Tokens are kept by their digest only, so that no memory holds a usable one longer than its request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::Result;
use common::time::Timestamp;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::wire::Token;

/// Tokens that are remembered at a time.
const TOKENS_MAX: usize = 16_384;

/// How long a failure to ask holds for everybody who asks about the same token.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);

/// How long answers are remembered for others who asked meanwhile, when there is no cache.
const COALESCED: Duration = Duration::from_millis(50);

type Key = [u8; SHA256_OUTPUT_LEN];

/// The place of one token's answer. Its lock is held while Keystone is asked.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Answer>>>;

/// All answers.
pub(super) struct Cache {
    slots: Mutex<HashMap<Key, Entry>>,
    keep: Duration,
}

struct Entry {
    slot: Slot,
    asked: Instant,
}

impl Cache {
    /// A cache that keeps answers for `keep`; `None`: only for those who ask at the same time.
    pub(super) fn new(keep: Option<Duration>) -> Self {
        Cache { slots: Mutex::new(HashMap::new()), keep: keep.unwrap_or(COALESCED) }
    }

    /// The place of the answer about `token`.
    pub(super) fn slot(&self, token: &str, allow_expired: bool) -> Slot {
        let key = key(token, allow_expired);
        // A panic elsewhere leaves the map whole: it is changed in single steps.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = slots.get(&key) {
            return entry.slot.clone();
        }
        if slots.len() >= TOKENS_MAX {
            self.make_room(&mut slots);
        }
        let slot = Slot::default();
        slots.insert(key, Entry { slot: slot.clone(), asked: Instant::now() });
        slot
    }

    /// Throws out what has ended; if that is too little, the older half.
    fn make_room(&self, slots: &mut HashMap<Key, Entry>) {
        let now = Instant::now();
        slots.retain(|_, entry| now.duration_since(entry.asked) < self.keep);
        if slots.len() > TOKENS_MAX / 2 {
            let mut times: Vec<Instant> = slots.values().map(|entry| entry.asked).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            slots.retain(|_, entry| entry.asked > middle);
        }
    }
}

fn key(token: &str, allow_expired: bool) -> Key {
    let mut text = token.as_bytes().to_vec();
    text.push(u8::from(allow_expired));
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(digest(&SHA256, &text).as_ref());
    key
}

/// What Keystone said, and until when that holds.
pub(super) struct Answer {
    outcome: Result<Option<Arc<Token>>>,
    until: Instant,
}

impl Answer {
    /// An answer of now, to be kept for `keep`.
    pub(super) fn new(outcome: Result<Option<Arc<Token>>>, keep: Option<Duration>) -> Self {
        let keep = if outcome.is_ok() { keep.unwrap_or(COALESCED) } else { FAILURE_HOLDS };
        Answer { outcome, until: Instant::now() + keep }
    }

    /// The answer, if it still holds. A token that has ended meanwhile is not valid.
    pub(super) fn fresh(&self, allow_expired: bool) -> Option<Result<Option<Arc<Token>>>> {
        if Instant::now() >= self.until {
            return None;
        }
        let now = Timestamp::now().as_seconds();
        let ended = |token: &Arc<Token>| !allow_expired && token.expires_at <= now;
        Some(self.outcome.clone().map(|token| token.filter(|token| !ended(token))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Error;

    fn token(expires_in_seconds: i64) -> Arc<Token> {
        Arc::new(Token { expires_at: Timestamp::now().as_seconds() + expires_in_seconds, ..Token::default() })
    }

    #[test]
    fn an_answer_ends_with_the_token() {
        let keep = Some(Duration::from_secs(300));
        let valid = Answer::new(Ok(Some(token(100))), keep);
        assert!(matches!(valid.fresh(false), Some(Ok(Some(_)))));
        let ended = Answer::new(Ok(Some(token(-1))), keep);
        assert!(matches!(ended.fresh(false), Some(Ok(None))));
        assert!(matches!(ended.fresh(true), Some(Ok(Some(_)))));
    }

    #[test]
    fn failures_and_uncached_answers_are_short_lived() {
        let failed = Answer::new(Err(Error::unavailable("away", 1)), Some(Duration::from_secs(300)));
        assert!(failed.until <= Instant::now() + FAILURE_HOLDS);
        assert!(matches!(failed.fresh(false), Some(Err(_))));
        assert!(Answer::new(Ok(None), None).until <= Instant::now() + COALESCED);
    }

    #[test]
    fn one_token_has_one_slot_and_there_are_not_too_many() {
        let cache = Cache::new(Some(Duration::from_secs(300)));
        assert!(Arc::ptr_eq(&cache.slot("a", false), &cache.slot("a", false)));
        assert!(!Arc::ptr_eq(&cache.slot("a", false), &cache.slot("a", true)));
        let mut newest = cache.slot("token", false);
        for i in 0..TOKENS_MAX + 10 {
            newest = cache.slot(&format!("token-{i}"), false);
        }
        let held = cache.slots.lock().expect("no panic inside").len();
        assert!(held <= TOKENS_MAX, "{held}");
        let last = format!("token-{}", TOKENS_MAX + 9);
        assert!(Arc::ptr_eq(&cache.slot(&last, false), &newest), "the newest token was forgotten");
    }
}
