//! Loads on one endpoint: each prepares its connections, then works while the clock runs, then checks.

pub mod change;
pub mod crowd;
pub mod metadata;
pub mod probe;
pub mod pull;
pub mod pull_tls;
pub mod push;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// What a load has done, and how long it took as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Bytes of bodies moved.
    pub bytes: u64,
    /// Requests answered.
    pub requests: u64,
    /// From the common start to the end of the last connection.
    pub wall: Duration,
}

/// Runs `work` on each of `inputs` in a thread of its own, all starting at once. Returns what they return, and the
/// time from the start to the end of the last.
///
/// # Errors
/// The first failure, after all have ended.
pub(crate) fn together<I, O>(
    inputs: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> Result<O> + Sync,
) -> Result<(Vec<O>, Duration)>
where
    I: Send,
    O: Send,
{
    let inputs: Vec<I> = inputs.into_iter().collect();
    let gate = Barrier::new(inputs.len().saturating_add(1));
    let (gate, work) = (&gate, &work);
    let (outcomes, wall) = thread::scope(|scope| {
        let run = |input| {
            scope.spawn(move || {
                gate.wait();
                // By the first thread that runs: this one may be the last.
                let begin = Instant::now();
                (begin, work(input))
            })
        };
        let threads: Vec<_> = inputs.into_iter().map(run).collect();
        gate.wait();
        let mut first = Instant::now();
        let mut join = |thread: thread::ScopedJoinHandle<'_, (Instant, Result<O>)>| {
            let (begin, outcome) = thread.join().map_err(|_| Error::Setup("a load thread panicked".into()))?;
            first = first.min(begin);
            outcome
        };
        let outcomes: Vec<Result<O>> = threads.into_iter().map(&mut join).collect();
        (outcomes, first.elapsed())
    });
    Ok((outcomes.into_iter().collect::<Result<_>>()?, wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_run_at_once_and_in_order() -> Result<()> {
        // Each waits for all the others, so that one after the other would never end.
        let meeting = Barrier::new(4);
        let (results, _) = together(0..4, |n| {
            meeting.wait();
            Ok(n * n)
        })?;
        assert_eq!(results, [0, 1, 4, 9]);
        Ok(())
    }

    #[test]
    fn one_failure_fails_all() {
        let outcome = together(0..3, |n| if n == 1 { Err(Error::Setup("one".into())) } else { Ok(n) });
        assert!(matches!(outcome, Err(Error::Setup(_))));
    }
}
