//! The token of a run, renewed before it ends and whenever the service says that it has.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::fault::{Fault, Outcome};
use super::keystone::{Granted, Identity};

/// How long before its end a token is renewed.
const MARGIN: Duration = Duration::from_secs(60);

/// Who the requests are from.
#[derive(Debug)]
pub struct Session {
    identity: Option<Identity>,
    stop: Arc<AtomicBool>,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    token: Option<Arc<str>>,
    expires: Option<Timestamp>,
    /// Whether tokens live shorter than the margin: then each is used until it is refused.
    short: bool,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Session {
    /// A token that cannot be renewed, or none.
    #[must_use]
    pub fn fixed(token: Option<&str>) -> Self {
        let current = Current { token: token.map(Into::into), ..Current::default() };
        Self { identity: None, stop: Arc::default(), current: Mutex::new(current) }
    }

    /// Tokens of Keystone; `first` is the first.
    pub(super) fn renewable(identity: Identity, first: &Granted, stop: Arc<AtomicBool>) -> Self {
        let current =
            Current { token: Some(first.token.as_str().into()), expires: first.expires, ..Current::default() };
        Self { identity: Some(identity), stop, current: Mutex::new(current) }
    }

    /// The token for the next request; `None` where there is no authentication.
    ///
    /// # Errors
    /// It is about to end, and Keystone gives no other.
    pub fn token(&self) -> Outcome<Option<Arc<str>>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(identity), Some(expires)) = (&self.identity, current.expires)
            && !current.short
            && Timestamp::now() + MARGIN >= expires
        {
            self.renew(identity, &mut current)?;
        }
        Ok(current.token.clone())
    }

    /// Another token than `refused`, which the service has answered with 401; `None` if there is no other.
    ///
    /// # Errors
    /// Keystone gives none.
    pub fn instead_of(&self, refused: Option<&Arc<str>>) -> Outcome<Option<Arc<str>>> {
        let Some(identity) = &self.identity else { return Ok(None) };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have renewed it meanwhile.
        if current.token.as_ref() == refused {
            self.renew(identity, &mut current)?;
        }
        Ok(current.token.clone())
    }

    fn renew(&self, identity: &Identity, current: &mut Current) -> Outcome<()> {
        let granted = identity.token(&self.stop).map_err(|error| Fault::Token(error.to_string()))?;
        current.token = Some(granted.token.as_str().into());
        current.expires = granted.expires;
        current.short = granted.expires.is_some_and(|expires| Timestamp::now() + MARGIN >= expires);
        Ok(())
    }

    /// Whether requests carry a token.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.identity.is_some() || self.current.lock().unwrap_or_else(PoisonError::into_inner).token.is_some()
    }
}
