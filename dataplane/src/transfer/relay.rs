//! From another server to a client, through one buffer.

use std::io;
use std::ops::Range;

use super::origin::Reading;
use super::receive::Interrupted;
use crate::fetch::Answer;
use crate::io::{BufferPool, Conn, Progress, timeout};
use crate::shard::Shard;

/// Sends `span` of what `answer` has. `progress`: what the client has got.
///
/// # Errors
/// Those of the client's connection; `InvalidData` when the other server has less, or breaks off; `TimedOut` when it takes longer than
/// a fetch may.
pub(super) async fn send(
    shard: &Shard,
    conn: &Conn,
    answer: Answer,
    span: Range<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let relayed = relay(shard, conn, answer, span, progress);
    match shard.config.dataplane.fetch_timeout {
        Some(limit) => timeout(limit, relayed).await?,
        None => relayed.await,
    }
}

async fn relay(
    shard: &Shard,
    conn: &Conn,
    mut answer: Answer,
    span: Range<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let pool = BufferPool::for_slow_clients(1)?;
    let mut at = answer.start();
    let received = Progress::new();
    let mut reading = Reading::web(&mut answer, shard.config.dataplane.body_min_rate_bytes_per_second, &received);
    while at < span.end {
        reading.ready(&pool).await;
        let buffer = reading.next(at).await.map_err(broken)?;
        if buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{at} of {} bytes", span.end)));
        }
        let here = at..at + buffer.len() as u64;
        at = here.end;
        let (first, last) = (span.start.max(here.start), span.end.min(here.end));
        if first < last {
            let within = |offset: u64| usize::try_from(offset - here.start).map_err(io::Error::other);
            let part = buffer.get(within(first)?..within(last)?).unwrap_or_default();
            conn.send_all(part).await?;
            progress.add(part.len() as u64);
        } else if conn.is_closed_by_peer() {
            // What comes before the range is not read on for a client that has gone.
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}

fn broken(error: Interrupted) -> io::Error {
    match error {
        Interrupted::Broken(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}
