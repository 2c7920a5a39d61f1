//! Timers of a core, at millisecond granularity.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use super::send::Progress;

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

/// The least that a transfer must move to be kept.
#[derive(Debug, Clone, Copy)]
pub struct MinRate {
    /// Bytes that must be added to the [`Progress`] in each period.
    pub bytes: u64,
    /// How often it is looked at: one timer per period and transfer, none per operation.
    pub period: Duration,
}

/// Runs `future` while `progress` grows by at least `floor.bytes` in each `floor.period`; otherwise drops it and returns
/// [`io::ErrorKind::TimedOut`]. A reader that stops, or trickles, is cut after one to two periods.
pub async fn with_min_rate<T>(
    progress: &Progress,
    floor: MinRate,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut future = pin!(future);
    let mut before = progress.get();
    loop {
        if let Ok(done) = timeout(floor.period, future.as_mut()).await {
            return done;
        }
        let now = progress.get();
        if now.saturating_sub(before) < floor.bytes {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("moved {} bytes in {:?}, least is {}", now.saturating_sub(before), floor.period, floor.bytes),
            ));
        }
        before = now;
    }
}
