//! The kernel's own ways from the page cache to a socket: `splice(2)` and `sendfile(2)`, called inline on the non-blocking
//! socket.

use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

use super::ahead::ReadAhead;
use super::pipe::{PIPE_BYTES, Pipe};
use super::{DETOUR_BYTES, Progress, SLICE_BYTES, STALE_AFTER, shrank};
use crate::io::conn::Conn;
use crate::io::core::current;
use crate::io::file::File;

/// Bytes that are not worth a pipe.
const SMALL_BYTES: u64 = 64 * 1024;

/// Bytes of a transfer from which on it is worth a cork.
const LONG_BYTES: u64 = 16 * 1024 * 1024;

/// What the kernel is asked to send with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Pipe,
    Sendfile,
}

/// One transfer.
struct Transfer<'a> {
    conn: &'a Conn,
    file: &'a File,
    progress: &'a Progress,
    /// Where the next byte to send is.
    offset: u64,
    end: u64,
}

pub(super) async fn send(
    conn: &Conn,
    file: &File,
    range: Range<u64>,
    means: Means,
    progress: &Progress,
) -> io::Result<()> {
    let mut ahead = ReadAhead::new(file.shared(), range.end);
    let mut transfer = Transfer { conn, file, progress, offset: range.start, end: range.end };
    let pipes = match means {
        Means::Pipe if range.end - range.start > SMALL_BYTES => Some(Rc::clone(&current().pipes)),
        Means::Pipe | Means::Sendfile => None,
    };
    let is_long = range.end - range.start >= LONG_BYTES;
    let mut pipe: Option<(Pipe, Option<Cork<'_>>)> = None;
    // Where a pipe is asked for again.
    let mut pipe_from = range.start;
    while transfer.offset < transfer.end {
        conn.settle_keys().await?;
        let until = ahead.ready(transfer.offset, (transfer.offset + SLICE_BYTES).min(transfer.end)).await?;
        if pipe.is_none() && transfer.offset >= pipe_from {
            let lent = pipes.as_ref().and_then(|pipes| pipes.take());
            pipe = lent.map(|pipe| (pipe, is_long.then(|| Cork::put(conn))));
            pipe_from = transfer.offset.saturating_add(DETOUR_BYTES);
        }
        match &mut pipe {
            Some((lent, _)) => {
                if transfer.through(lent, until).await? == Pace::Slow {
                    pipe = None;
                    pipe_from = transfer.offset.saturating_add(DETOUR_BYTES);
                    conn.wait_writable().await?;
                }
            }
            None => transfer.by_sendfile(until).await?,
        }
    }
    Ok(())
}

/// Whatever `MSG_MORE` says, an acknowledgement sends the segment that is being filled, because of `TCP_NODELAY`. The cork holds it
/// back: a quarter fewer segments. Taken off when dropped.
struct Cork<'a>(&'a Conn);

impl<'a> Cork<'a> {
    fn put(conn: &'a Conn) -> Self {
        // Without it nothing is wrong.
        let _ = conn.set_cork(true);
        Cork(conn)
    }
}

impl Drop for Cork<'_> {
    fn drop(&mut self) {
        // Of a connection that is broken there is nothing to set.
        let _ = self.0.set_cork(false);
    }
}

/// How fast the client takes what it is sent.
#[derive(Debug, PartialEq, Eq)]
enum Pace {
    Fine,
    /// It took nothing for [`STALE_AFTER`].
    Slow,
}

impl Transfer<'_> {
    /// Sends up to `until` through `pipe`, which is empty. It may not be on return.
    async fn through(&mut self, pipe: &mut Pipe, until: u64) -> io::Result<Pace> {
        let mut read = self.offset;
        while self.offset < until {
            let most = self.conn.turn().await;
            if pipe.filled == 0 {
                let wanted = usize::try_from(until - read).unwrap_or(usize::MAX).min(pipe.capacity());
                let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                match splice(self.file.shared(), Some(&mut read), pipe.writer(), None, wanted, flags) {
                    Ok(0) => return Err(shrank(read, self.end)),
                    Ok(count) => pipe.filled = count,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno.into()),
                }
            }
            // The last segment goes at once, others may wait for the next pipe to be full packets.
            let more = if read < self.end { SpliceFlags::MORE } else { SpliceFlags::empty() };
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE | more;
            match splice(pipe.reader(), None, self.conn, None, pipe.filled.min(most), flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    pipe.filled = pipe.filled.saturating_sub(count);
                    self.sent(count);
                }
                Err(Errno::AGAIN) => {
                    if !self.conn.writable_within(STALE_AFTER).await? {
                        return Ok(Pace::Slow);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Pace::Fine)
    }

    /// Sends up to `until`, or less when the client was waited for so long that the cache has to be looked at again.
    async fn by_sendfile(&mut self, until: u64) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        while self.offset < until && waited < STALE_AFTER {
            let most = self.conn.turn().await;
            let count = usize::try_from(until - self.offset).unwrap_or(usize::MAX).min(PIPE_BYTES).min(most);
            let mut at = self.offset;
            match rustix::fs::sendfile(self.conn, self.file.shared(), Some(&mut at), count) {
                Ok(0) => return Err(shrank(self.offset, self.end)),
                Ok(sent) => self.sent(sent),
                Err(Errno::AGAIN) => {
                    let since = Instant::now();
                    self.conn.wait_writable().await?;
                    waited = since.elapsed();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn sent(&mut self, count: usize) {
        self.offset += count as u64;
        self.progress.add(count as u64);
        self.conn.sent(count);
    }
}
