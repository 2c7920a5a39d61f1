//! Timers of a core, at millisecond granularity.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

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
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout { future: monoio::time::timeout(limit.min(LONGEST), future) }
}

pin_project! {
    /// See [`timeout`]. No `async fn`, which would have room for the future twice: as its argument, and where it is polled.
    #[derive(Debug)]
    #[must_use = "it does nothing unless it is awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: monoio::time::Timeout<F>,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(|_| Elapsed)
    }
}
