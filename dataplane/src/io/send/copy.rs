//! From the page cache into a buffer, and from there to the socket: for bytes that this process must see, such as those that
//! it encrypts.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::ahead::ReadAhead;
use super::{Progress, shrank};
use crate::io::buffer::{BUFFER_BYTES, BufferPool};
use crate::io::conn::Conn;
use crate::io::file::File;

pub(super) async fn send(conn: &Conn, file: &File, range: Range<u64>, progress: &Progress) -> io::Result<()> {
    let pool = BufferPool::new(1)?;
    let mut ahead = ReadAhead::new(file.shared(), range.end);
    let mut offset = range.start;
    while offset < range.end {
        let until = ahead.ready(offset, (offset + BUFFER_BYTES as u64).min(range.end)).await?;
        let mut buffer = pool.get().await;
        let wanted = usize::try_from(until - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        // Of pages that are in memory: it does not wait.
        match file.shared().read_at(&mut buffer.spare_mut()[..wanted], offset) {
            Ok(0) => return Err(shrank(offset, range.end)),
            Ok(count) => buffer.advance(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let count = buffer.len() as u64;
        if offset + count < range.end {
            conn.send_with_more_to_come(&buffer).await?;
        } else {
            conn.send_all(&buffer).await?;
        }
        offset += count;
        progress.add(count);
    }
    Ok(())
}
