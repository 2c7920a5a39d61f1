//! How many requests may wait for Keystone: the others serve who needs nothing of it.

use common::config::Control;
use common::{Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::session::RETRY_AFTER_SECONDS;

/// Of control's connections, the part (one in so many) that may wait for Keystone. The others serve those who are known,
/// and the data plane.
const SHARE: usize = 4;

/// Places for requests that wait.
pub(crate) struct Waiters {
    places: Semaphore,
}

impl Waiters {
    /// As many as control's connections allow.
    pub(crate) fn new(control: &Control) -> Self {
        Waiters { places: Semaphore::new((control.max_connections / SHARE).max(1)) }
    }

    /// A place, until it is dropped.
    ///
    /// # Errors
    /// 503 when all are taken.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>> {
        let full = "Too many requests wait for the Identity service. Try again.";
        self.places.try_acquire().map_err(|_| Error::unavailable(full, RETRY_AFTER_SECONDS))
    }
}
