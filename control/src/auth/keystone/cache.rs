//! What Keystone said of tokens, for a while; and one question at a time about each.
//!
//! Tokens are kept by their digest only, so that no memory holds a usable one longer than its request. Tokens that are not
//! valid have a place of their own: whoever makes them up crowds out no valid one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::time::Timestamp;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::wire::Token;

/// Valid tokens that are remembered at a time.
const VALID_MAX: usize = 16_384;

/// Invalid tokens that are remembered at a time.
const INVALID_MAX: usize = 4096;

/// How long a token is taken to be invalid without asking again, at most. Short: nothing is lost by asking, and a token
/// may become known to the Keystone that we ask a little after it was made.
const INVALID_HOLDS: Duration = Duration::from_secs(10);

/// How long answers are remembered for others who asked meanwhile, when there is no cache.
const COALESCED: Duration = Duration::from_millis(50);

/// A token's digest.
pub(super) type Key = [u8; SHA256_OUTPUT_LEN];

/// What Keystone said, and until when that holds.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// `None`: the token is not valid.
    pub(super) token: Option<Arc<Token>>,
    pub(super) until: Instant,
}

/// All answers.
pub(super) struct Cache {
    answers: Mutex<Answers>,
    keep: Option<Duration>,
}

#[derive(Default)]
struct Answers {
    valid: HashMap<Key, Answer>,
    invalid: HashMap<Key, Answer>,
    /// Tokens that Keystone is being asked about.
    asked: HashMap<Key, Arc<tokio::sync::Mutex<()>>>,
}

impl Cache {
    /// A cache that keeps answers for `keep`; `None`: only for those who ask at the same time.
    pub(super) fn new(keep: Option<Duration>) -> Self {
        Cache { answers: Mutex::default(), keep }
    }

    /// The answer, if it still holds. `allow_expired` as in [`key`]: without it a token that has ended meanwhile is not valid.
    pub(super) fn get(&self, key: &Key, allow_expired: bool) -> Option<Answer> {
        let now = Instant::now();
        let answers = self.answers();
        let found = answers.valid.get(key).or_else(|| answers.invalid.get(key)).filter(|answer| now < answer.until)?;
        let ended = |token: &Arc<Token>| !allow_expired && token.has_ended();
        Some(Answer { token: found.token.clone().filter(|token| !ended(token)), until: found.until })
    }

    /// Notes what Keystone said just now.
    pub(super) fn put(&self, key: Key, token: Option<Arc<Token>>) -> Answer {
        let keep = self.keep.unwrap_or(COALESCED);
        let keep = if token.is_some() { keep } else { keep.min(INVALID_HOLDS) };
        let answer = Answer { token, until: Instant::now() + keep };
        let mut answers = self.answers();
        let Answers { valid, invalid, .. } = &mut *answers;
        let (place, other, max) = match answer.token {
            Some(_) => (valid, invalid, VALID_MAX),
            None => (invalid, valid, INVALID_MAX),
        };
        other.remove(&key);
        if place.len() >= max {
            make_room(place, max);
        }
        place.insert(key, answer.clone());
        answer
    }

    /// The place to wait while somebody else asks about the token.
    pub(super) fn queue(&self, key: Key) -> Queue<'_> {
        let turns = self.answers().asked.entry(key).or_default().clone();
        Queue { cache: self, key, turns }
    }

    /// Whether answers outlive those who wait for them.
    pub(super) fn keeps(&self) -> bool {
        self.keep.is_some()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        // A panic elsewhere leaves the maps whole: they are changed in single steps.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Throws out what has ended; if that is too little, the half that ends first.
fn make_room(place: &mut HashMap<Key, Answer>, max: usize) {
    let now = Instant::now();
    place.retain(|_, answer| now < answer.until);
    if place.len() > max / 2 {
        let mut ends: Vec<Instant> = place.values().map(|answer| answer.until).collect();
        let (_, middle, _) = ends.select_nth_unstable(place.len() / 2);
        let middle = *middle;
        place.retain(|_, answer| answer.until > middle);
    }
}

/// Those who want to know about one token. The place goes with the last of them.
pub(super) struct Queue<'c> {
    cache: &'c Cache,
    key: Key,
    turns: Arc<tokio::sync::Mutex<()>>,
}

impl Queue<'_> {
    /// Waits until nobody else asks.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns.lock().await
    }
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        let mut answers = self.cache.answers();
        // Ours and the map's; others are made under the lock that we hold.
        if Arc::strong_count(&self.turns) == 2 {
            answers.asked.remove(&self.key);
        }
    }
}

/// The key of `token`. A token that has ended and is asked about as such is another question.
pub(super) fn key(token: &str, allow_expired: bool) -> Key {
    let mut text = token.as_bytes().to_vec();
    text.push(u8::from(allow_expired));
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(digest(&SHA256, &text).as_ref());
    key
}

impl Token {
    /// Whether it is no longer valid by its own word.
    pub(super) fn has_ended(&self) -> bool {
        self.expires_at <= Timestamp::now().as_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Option<Duration> = Some(Duration::from_secs(300));

    fn token(expires_in_seconds: i64) -> Option<Arc<Token>> {
        Some(Arc::new(Token { expires_at: Timestamp::now().as_seconds() + expires_in_seconds, ..Token::default() }))
    }

    #[test]
    fn an_answer_ends_with_the_token() {
        let cache = Cache::new(KEEP);
        let (valid, ended) = (key("a", false), key("b", false));
        cache.put(valid, token(100));
        cache.put(ended, token(-1));
        assert!(cache.get(&valid, false).expect("known").token.is_some());
        assert!(cache.get(&ended, false).expect("known").token.is_none());
        assert!(cache.get(&ended, true).expect("known").token.is_some());
        assert!(cache.get(&key("c", false), false).is_none());
        assert_ne!(key("a", false), key("a", true));
    }

    #[test]
    fn invalid_tokens_are_remembered_for_a_short_time_and_crowd_nobody_out() {
        let cache = Cache::new(KEEP);
        let valid = key("valid", false);
        cache.put(valid, token(100));
        for number in 0..3 * INVALID_MAX {
            cache.put(key(&format!("made up {number}"), false), None);
            assert!(cache.answers().invalid.len() <= INVALID_MAX);
        }
        let last = cache.get(&key(&format!("made up {}", 3 * INVALID_MAX - 1), false), false).expect("the newest");
        assert!(last.token.is_none() && last.until <= Instant::now() + INVALID_HOLDS);
        assert!(cache.get(&valid, false).expect("still known").token.is_some());
        cache.put(valid, None);
        assert!(cache.get(&valid, false).expect("known").token.is_none(), "revoked");
        cache.put(valid, token(100));
        assert!(cache.get(&valid, false).expect("known").token.is_some());
    }

    #[test]
    fn there_are_not_too_many_valid_ones() {
        let cache = Cache::new(KEEP);
        for number in 0..VALID_MAX + 10 {
            cache.put(key(&format!("token-{number}"), false), token(100));
        }
        assert!(cache.answers().valid.len() <= VALID_MAX);
        assert!(
            cache.get(&key(&format!("token-{}", VALID_MAX + 9), false), false).is_some(),
            "the newest was forgotten"
        );
    }

    #[test]
    fn without_a_cache_answers_are_for_those_who_wait() {
        let cache = Cache::new(None);
        assert!(cache.put(key("a", false), token(100)).until <= Instant::now() + COALESCED);
        assert!(cache.put(key("a", false), None).until <= Instant::now() + COALESCED);
        assert!(!cache.keeps());
    }

    #[tokio::test]
    async fn one_asks_at_a_time_and_the_queue_goes_with_the_last() {
        let cache = Cache::new(KEEP);
        let (one, two, other) =
            (cache.queue(key("a", false)), cache.queue(key("a", false)), cache.queue(key("b", false)));
        let turn = one.turn().await;
        let _other = tokio::time::timeout(Duration::from_secs(5), other.turn()).await.expect("another token");
        let waits = tokio::time::timeout(Duration::from_millis(20), two.turn()).await;
        assert!(waits.is_err(), "somebody asks");
        drop(waits);
        drop(turn);
        drop(two.turn().await);
        drop(one);
        assert_eq!(cache.answers().asked.len(), 2);
        drop(two);
        assert_eq!(cache.answers().asked.len(), 1);
    }
}
