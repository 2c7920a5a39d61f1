//! Past the page cache: direct reads into pinned buffers, several ahead, and sent from there.
//!
//! For images that would push everything else out of the page cache, and for machines where nothing else is allowed.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::{Progress, SendOptions, shrank};
use crate::io::buffer::{BUFFER_BYTES, BufferPool, Claim, Frozen, PAGE_BYTES};
use crate::io::conn::Conn;
use crate::io::file::{File, Reading};

/// A read of one buffer, from a page's start.
struct Ahead {
    reading: Reading,
    offset: u64,
}

/// Returns where the next byte to send is: before the end of `range` if so many others are sent this way, or keep what they were
/// sent unacknowledged, that no memory is left for it.
pub(super) async fn send(
    conn: &Conn,
    file: &File,
    range: Range<u64>,
    options: SendOptions,
    progress: &Progress,
) -> io::Result<u64> {
    let pool = BufferPool::with_claim(options.depth, Claim::Half)?;
    let mut ahead: VecDeque<Ahead> = VecDeque::with_capacity(options.depth);
    let mut next = range.start - range.start % PAGE_BYTES as u64;
    let mut sent = range.start;
    while sent < range.end {
        while next < range.end {
            // If none is free it is the client who has them, until it acknowledges what was sent from them without a copy.
            let buffer = match pool.try_get() {
                Some(buffer) => buffer,
                None if sent == range.start && ahead.is_empty() => return Ok(sent),
                None if ahead.is_empty() => conn.wait_for_peer(pool.get()).await?,
                None => break,
            };
            ahead.push_back(Ahead { reading: file.start_read(buffer, next).await, offset: next });
            next += BUFFER_BYTES as u64;
        }
        let Some(Ahead { reading, offset }) = ahead.pop_front() else { return Err(shrank(sent, range.end)) };
        let (_, mut buffer) = reading.finish().await?;
        let wanted = usize::try_from(range.end - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        if buffer.len() < wanted {
            // A short read that is none at the end of the file is as good as unheard of, and costs one more.
            let at = offset + (buffer.len() - buffer.len() % PAGE_BYTES) as u64;
            buffer.truncate(buffer.len() - buffer.len() % PAGE_BYTES);
            (_, buffer) = file.read_at(buffer, at).await?;
        }
        if buffer.len() < wanted {
            return Err(shrank(offset + buffer.len() as u64, range.end));
        }
        let skipped = usize::try_from(sent - offset).unwrap_or(BUFFER_BYTES);
        let bytes = buffer.freeze();
        conn.turn().await;
        send_bytes(conn, bytes, skipped..wanted, options.zero_copy, progress).await?;
        sent = offset + wanted as u64;
    }
    Ok(sent)
}

async fn send_bytes(
    conn: &Conn,
    bytes: Frozen,
    part: Range<usize>,
    zero_copy: bool,
    progress: &Progress,
) -> io::Result<()> {
    let count = part.len() as u64;
    if zero_copy {
        conn.send_frozen(&bytes, part).await?;
    } else {
        conn.send_all(&bytes[part]).await?;
    }
    progress.add(count);
    Ok(())
}
