//! From the page cache into memory of ours, and from there to the socket: for bytes that this process must see, such as those
//! that it encrypts.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::ahead::ReadAhead;
use super::{Progress, SLICE_BYTES, STALE_AFTER, shrank};
use crate::io::buffer::{BUFFER_BYTES, BufferPool};
use crate::io::conn::Conn;
use crate::io::file::File;

pub(super) async fn send(conn: &Conn, file: &File, range: Range<u64>, progress: &Progress) -> io::Result<()> {
    // What is encrypted is read right to where that happens.
    let pool = if conn.sends_files() { Some(BufferPool::new(1)?) } else { None };
    let mut ahead = ReadAhead::new(file.shared(), range.end);
    let mut offset = range.start;
    while offset < range.end {
        let until = ahead.ready(offset, (offset + SLICE_BYTES).min(range.end)).await?;
        let mut waited = Duration::ZERO;
        while offset < until && waited < STALE_AFTER {
            let since = Instant::now();
            let piece = offset..until;
            let sent = match &pool {
                Some(pool) => through_buffer(conn, file, piece, range.end, pool).await?,
                None => encrypted(conn, file, piece, range.end).await?,
            };
            if sent == 0 {
                return Err(shrank(offset, range.end));
            }
            offset += sent as u64;
            progress.add(sent as u64);
            waited = since.elapsed();
        }
    }
    Ok(())
}

/// Sends the beginning of `piece`, whose pages are in memory; 0: the file ends here.
async fn through_buffer(conn: &Conn, file: &File, piece: Range<u64>, end: u64, pool: &BufferPool) -> io::Result<usize> {
    let mut buffer = pool.get().await;
    let wanted = clamp(&piece).min(BUFFER_BYTES);
    let count = rustix::io::pread(file.shared(), &mut buffer.spare_mut()[..wanted], piece.start)?;
    buffer.advance(count);
    if piece.start + (count as u64) < end {
        conn.send_with_more_to_come(&buffer).await?;
    } else {
        conn.send_all(&buffer).await?;
    }
    Ok(count)
}

/// The same where this process encrypts.
async fn encrypted(conn: &Conn, file: &File, piece: Range<u64>, end: u64) -> io::Result<usize> {
    let more = piece.end < end;
    conn.send_read(clamp(&piece), more, |slots| Ok(rustix::io::preadv(file.shared(), slots, piece.start)?)).await
}

fn clamp(piece: &Range<u64>) -> usize {
    usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX)
}
