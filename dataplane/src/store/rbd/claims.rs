//! Names of unfinished images that this process still has open, or works on: whoever removes them waits for that to end, else it
//! would find them in use, or come before what makes them.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The names in use, and by how many.
#[derive(Debug, Default)]
pub(super) struct Claims {
    names: Mutex<HashMap<String, usize>>,
    freed: Condvar,
}

/// A name in use, until dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    name: String,
}

impl Claims {
    /// Uses `name`.
    pub(super) fn claim(self: &Arc<Self>, name: &str) -> Claim {
        *self.names().entry(name.to_owned()).or_default() += 1;
        Claim { claims: Arc::clone(self), name: name.to_owned() }
    }

    /// Waits until nobody uses `name`, for at most `limit`; whether that is so. Blocks.
    pub(super) fn wait_free(&self, name: &str, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut names = self.names();
        while names.contains_key(name) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            names = self.freed.wait_timeout(names, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.claims.names();
        if let Some(count) = names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.name);
            }
        }
        self.claims.freed.notify_all();
    }
}
