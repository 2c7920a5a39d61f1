//! The two ways in which tasks of one core wait for several things at once.

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

/// Runs two futures side by side until both have succeeded or one has failed; then the other is dropped.
pub(crate) async fn try_both<A, B, E>(
    first: impl Future<Output = Result<A, E>>,
    second: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut first_done, mut second_done) = (None, None);
    poll_fn(|cx| {
        if first_done.is_none()
            && let Poll::Ready(output) = first.as_mut().poll(cx)
        {
            first_done = Some(output?);
        }
        if second_done.is_none()
            && let Poll::Ready(output) = second.as_mut().poll(cx)
        {
            second_done = Some(output?);
        }
        match (first_done.take(), second_done.take()) {
            (Some(a), Some(b)) => Poll::Ready(Ok((a, b))),
            (a, b) => {
                (first_done, second_done) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
