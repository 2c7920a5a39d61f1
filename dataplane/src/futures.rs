//! How tasks of one core wait for several things at once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What [`race`] was won by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    /// The first future.
    First(A),
    /// The second.
    Second(B),
}

/// Waits for the first of two futures and drops the other; the first is preferred when both are ready.
pub(crate) async fn race<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| {
        if let Poll::Ready(output) = first.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(cx).map(Either::Second)
    })
    .await
}
