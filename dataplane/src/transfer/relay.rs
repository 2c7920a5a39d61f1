//! From another machine to a client, through buffers: one of another server, or several that are read ahead.

use std::io;
use std::ops::Range;

use super::origin::Reading;
use super::receive::Interrupted;
use crate::fetch::Answer;
use crate::io::{BUFFER_BYTES, BufferPool, Conn, Progress, timeout};
use crate::shard::Shard;
use crate::store::{Blocks, Piece, Store};

/// What is sent of holes.
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// Sends `span` of what `answer` has. `progress`: what the client has got.
///
/// # Errors
/// Those of the client's connection; `InvalidData` when the other server has less, or breaks off; `TimedOut` when it takes longer than
/// a fetch may.
pub(super) async fn answer(
    shard: &Shard,
    conn: &Conn,
    mut answer: Answer,
    span: Range<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let start = answer.start();
    let received = Progress::new();
    let reading = Reading::web(&mut answer, shard.config.dataplane.body_min_rate_bytes_per_second, &received);
    let relayed = relay(conn, reading, (start, 1), span, progress);
    match shard.config.dataplane.fetch_timeout {
        Some(limit) => timeout(limit, relayed).await?,
        None => relayed.await,
    }
}

/// Sends `span` of an image of a store, which is read ahead of the client. `progress`: what the client has got.
///
/// # Errors
/// Those of the client's connection; `InvalidData` when the store fails, or the image is removed meanwhile.
pub(super) async fn blocks(
    shard: &Shard,
    conn: &Conn,
    (store, blocks): (&Store, &Blocks),
    span: Range<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let read = Progress::new();
    let reading = Reading::blocks(store.read(shard, blocks, span.clone(), false), &read);
    relay(conn, reading, (span.start, blocks.buffers()), span, progress).await
}

/// Sends `span` of what `reading` gives from `at` on, through so many `buffers`.
async fn relay(
    conn: &Conn,
    mut reading: Reading<'_>,
    (mut at, buffers): (u64, usize),
    span: Range<u64>,
    progress: &Progress,
) -> io::Result<()> {
    let pool = BufferPool::for_slow_clients(buffers)?;
    while at < span.end {
        reading.ready(&pool).await.map_err(broken)?;
        let piece = reading.next(at).await.map_err(broken)?;
        let bytes = match &piece {
            Some(Piece::Data(buffer)) => &buffer[..],
            Some(Piece::Zeros(count)) => &ZEROS[..*count],
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{at} of {} bytes", span.end))),
        };
        let here = at..at + bytes.len() as u64;
        at = here.end;
        let (first, last) = (span.start.max(here.start), span.end.min(here.end));
        if at >= span.end {
            reading.confirm().await.map_err(broken)?;
        }
        if first < last {
            let within = |offset: u64| usize::try_from(offset - here.start).map_err(io::Error::other);
            let part = bytes.get(within(first)?..within(last)?).unwrap_or_default();
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
        Interrupted::Store(error) => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
    }
}
