//! From the page cache into memory of ours, and from there to the socket: for bytes that this process must see, such as those
//! that it encrypts.

use std::io::{self, IoSliceMut};
use std::ops::Range;

use super::ahead::ReadAhead;
use super::{Progress, STALE_AFTER, shrank};
use crate::io::buffer::{BUFFER_BYTES, Buffer, BufferPool};
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
        // Whatever has to be waited for comes before the look at the page cache: what is there now may not be there then.
        let memory = match &mut buffer {
            Some(buffer) => Some((buffer.take(conn).await?, buffer)),
            None => {
                conn.until_writable().await?;
                conn.turn().await;
                None
            }
        };
        let until = ahead.ready(offset, (offset + BUFFER_BYTES as u64).min(range.end)).await?;
        let sent = match memory {
            Some((memory, buffer)) => buffer.send(conn, file, offset..until, range.end, memory).await?,
            None => encrypted(conn, file, offset..until, range.end).await?,
        };
        offset += sent as u64;
        progress.add(sent as u64);
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
    /// The buffer, once it is there and the client takes something.
    async fn take(&mut self, conn: &Conn) -> io::Result<Buffer> {
        if self.is_slow {
            conn.wait_writable().await?;
        }
        conn.turn().await;
        let pool = match &self.pool {
            Some(pool) => pool,
            None => self.pool.insert(BufferPool::new(1)?),
        };
        Ok(pool.get().await)
    }

    /// Sends the beginning of `piece`, whose pages are in memory; how much that was. May be nothing if the client is slow.
    async fn send(
        &mut self,
        conn: &Conn,
        file: &File,
        piece: Range<u64>,
        end: u64,
        mut buffer: Buffer,
    ) -> io::Result<usize> {
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
