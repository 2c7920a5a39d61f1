//! Past the page cache: direct reads into pinned buffers, several ahead, and sent from there.
//!
//! For images that would push everything else out of the page cache, and for machines where nothing else is allowed.

use std::io;
use std::ops::Range;

use super::{Progress, SendOptions};
use crate::io::buffer::{BufferPool, Claim, Frozen};
use crate::io::conn::Conn;
use crate::io::file::File;
use crate::io::reader::FileReader;

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
    let mut reader = FileReader::new(file, range.clone(), options.depth);
    while reader.position() < range.end {
        if !reader.begin(&pool).await {
            if reader.position() == range.start {
                return Ok(range.start);
            }
            // It is the client who has them, until it acknowledges what was sent from them without a copy.
            reader.begin_with(conn.wait_for_peer(pool.get()).await?).await;
        }
        let (bytes, part) = reader.next().await?;
        conn.turn().await;
        send_bytes(conn, bytes, part, options.zero_copy, progress).await?;
    }
    Ok(range.end)
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
