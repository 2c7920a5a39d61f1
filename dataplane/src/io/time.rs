//! Timers of a core, at millisecond granularity.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

/// The longest timer; anything longer is this long. The runtime's timer wheel is finite, and a year is "never" for a transfer.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Waits for `duration`, rounded up to a millisecond.
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration.min(LONGEST)).await;
}

/// The time given to [`timeout`] is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs `future` for at most `limit`, then drops it. Every future of this module may be dropped at any time; what a dropped
/// receive had already taken from its socket is lost with it, so its connection is closed afterwards (or use
/// [`Conn::recv_timeout`](super::Conn::recv_timeout), which loses nothing).
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    monoio::time::timeout(limit.min(LONGEST), future).await.map_err(|_| Elapsed)
}
