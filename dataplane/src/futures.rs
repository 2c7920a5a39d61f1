//! How tasks of one core wait for several things at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// What [`race`] was won by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    /// The first future.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for the first of two futures and drops both; the first is preferred when both are ready.
pub(crate) fn race<A: Future, B: Future>(first: A, second: B) -> Race<A, B> {
    Race { first, second }
}

pin_project! {
    /// See [`race`]. No `async fn`, which would have room for each future twice: as its argument, and where it is polled.
    #[must_use = "it does nothing unless it is awaited"]
    pub(crate) struct Race<A, B> {
        #[pin]
        first: A,
        #[pin]
        second: B,
    }
}

impl<A: Future, B: Future> Future for Race<A, B> {
    type Output = Either<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let both = self.project();
        if let Poll::Ready(output) = both.first.poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        both.second.poll(cx).map(Either::Second)
    }
}
