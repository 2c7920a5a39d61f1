//! From the page cache into memory of ours, and from there to the socket: for bytes that this process must see, such as those
//! that it encrypts.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::ahead::ReadAhead;
use super::{Progress, SLICE_BYTES, STALE_AFTER, shrank};
use crate::io::buffer::{BUFFER_BYTES, BufferPool};
use crate::io::conn::Conn;
use crate::io::file::File;

/// Bytes that are copied at a time for a client that is slow: it does not take more at once.
const SLOW_BYTES: usize = 32 * 1024;

pub(super) async fn send(conn: &Conn, file: &File, range: Range<u64>, progress: &Progress) -> io::Result<()> {
    // What is encrypted is read right to where that happens.
    let mut buffer = if conn.sends_files() { Some(OneBuffer::default()) } else { None };
    let mut ahead = ReadAhead::new(file.shared(), range.end);
    let mut offset = range.start;
    while offset < range.end {
        let until = ahead.ready(offset, (offset + SLICE_BYTES).min(range.end)).await?;
        let mut waited = Duration::ZERO;
        while offset < until && waited < STALE_AFTER {
            let since = Instant::now();
            let piece = offset..until;
            let sent = match &mut buffer {
                Some(buffer) => buffer.send(conn, file, piece, range.end).await?,
                None => encrypted(conn, file, piece, range.end).await?,
            };
            offset += sent as u64;
            progress.add(sent as u64);
            waited = since.elapsed();
        }
    }
    Ok(())
}

/// The buffer of one transfer, for as long as its client takes what is in it: a slow one holds no memory.
#[derive(Default)]
struct OneBuffer {
    pool: Option<BufferPool>,
    is_slow: bool,
}

impl OneBuffer {
    /// Sends the beginning of `piece`, whose pages are in memory; how much that was. May be nothing if the client is slow.
    async fn send(&mut self, conn: &Conn, file: &File, piece: Range<u64>, end: u64) -> io::Result<usize> {
        if self.is_slow {
            conn.wait_writable().await?;
        }
        let pool = match &self.pool {
            Some(pool) => pool,
            None => self.pool.insert(BufferPool::new(1)?),
        };
        let mut buffer = pool.get().await;
        let wanted = clamp(&piece).min(if self.is_slow { SLOW_BYTES } else { BUFFER_BYTES });
        let count = rustix::io::pread(file.shared(), &mut buffer.spare_mut()[..wanted], piece.start)?;
        if count == 0 {
            return Err(shrank(piece.start, end));
        }
        buffer.advance(count);
        let sent = conn.send_until_slow(&buffer, STALE_AFTER).await?;
        self.is_slow = sent < count;
        if self.is_slow {
            drop(buffer);
            self.pool = None;
        }
        Ok(sent)
    }
}

/// The same where this process encrypts.
async fn encrypted(conn: &Conn, file: &File, piece: Range<u64>, end: u64) -> io::Result<usize> {
    let more = piece.end < end;
    let read = |slots: &mut [IoSliceMut<'_>]| Ok(rustix::io::preadv(file.shared(), slots, piece.start)?);
    match conn.send_read(clamp(&piece), more, read).await? {
        0 => Err(shrank(piece.start, end)),
        count => Ok(count),
    }
}

fn clamp(piece: &Range<u64>) -> usize {
    usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX)
}
