//! A file's range to a socket, in one of four ways.
//!
//! The kernel sends pages of its cache by itself ([`SendPath::Splice`], [`SendPath::Sendfile`]), or the bytes pass through
//! buffers of ours: from the page cache ([`SendPath::Copy`]) or around it ([`SendPath::Direct`]). Which way a transfer takes is
//! decided by its caller; all of them deliver the same bytes, never wait for a disk on the core's thread, and end with an error
//! rather than short.

mod ahead;
mod copy;
mod direct;
mod kernel;
mod pipe;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use super::conn::Conn;
use super::file::File;

pub(super) use ahead::{Residency, residency};
pub(super) use pipe::Pipes;

/// Bytes that are looked up in the page cache and sent in one go.
const SLICE_BYTES: u64 = 2 * 1024 * 1024;

/// After a wait of this long for the client, the pages ahead may have been reclaimed, so they are looked at again; and the
/// client's pipe goes to a faster one.
const STALE_AFTER: Duration = Duration::from_millis(100);

/// Bytes that a transfer sends in another way, because what its own needs is scarce, before it asks for that again.
const DETOUR_BYTES: u64 = 64 * 1024 * 1024;

/// The way of a file's bytes to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPath {
    /// `splice(2)` through a pipe of 1 MiB: the kernel passes pages of its cache to the socket. Goes on as [`SendPath::Sendfile`]
    /// while no pipe is free, and for clients that are too slow to need one.
    Splice,
    /// `sendfile(2)`: the same through the kernel's own small pipe.
    Sendfile,
    /// Read from the page cache into a buffer, and sent from there; read right to where they are encrypted if that is done here.
    Copy,
    /// Read past the page cache into pinned buffers, several at a time, and sent from there without a copy where that is worth it.
    /// Goes on as [`SendPath::Copy`] while so many do so that no buffer is left.
    Direct,
}

impl SendPath {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Splice, Self::Sendfile, Self::Copy, Self::Direct];

    /// The name in settings, in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Splice => "splice",
            Self::Sendfile => "sendfile",
            Self::Copy => "copy",
            Self::Direct => "direct",
        }
    }
}

impl fmt::Display for SendPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a transfer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendOptions {
    /// The way.
    pub path: SendPath,
    /// Buffers of [`SendPath::Direct`] that are read ahead.
    pub depth: usize,
    /// Whether [`SendPath::Direct`] sends without a copy (`SEND_ZC`). Over loopback the kernel copies all the same.
    pub zero_copy: bool,
}

/// Bytes moved so far by a transfer, shared between the tasks of one core.
#[derive(Debug, Default)]
pub struct Progress(Cell<u64>);

impl Progress {
    /// Nothing moved yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Adds `bytes`.
    pub fn add(&self, bytes: u64) {
        self.0.set(self.0.get().saturating_add(bytes));
    }
}

/// Sends `range` of `file` and adds to `progress` what went out.
///
/// # Errors
/// `UnexpectedEof` when the file is shorter than `range`; otherwise as `sendfile(2)` and `read(2)`. The connection cannot be used
/// after an error.
pub async fn send_file(
    conn: &Conn,
    file: File,
    range: Range<u64>,
    options: SendOptions,
    progress: &Progress,
) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    match options.path {
        SendPath::Splice => kernel::send(conn, &file, range, kernel::Means::Pipe, progress).await,
        SendPath::Sendfile => kernel::send(conn, &file, range, kernel::Means::Sendfile, progress).await,
        SendPath::Copy => copy::send(conn, &file, range, progress).await,
        SendPath::Direct => past_the_cache(conn, file, range, options, progress).await,
    }
}

async fn past_the_cache(
    conn: &Conn,
    mut file: File,
    range: Range<u64>,
    options: SendOptions,
    progress: &Progress,
) -> io::Result<()> {
    let mut offset = range.start;
    loop {
        // Where the file system has no direct I/O the same reads go through its cache.
        file = file.direct_if_possible();
        offset = direct::send(conn, &file, offset..range.end, options, progress).await?;
        if offset >= range.end {
            return Ok(());
        }
        file = file.cached();
        let until = offset.saturating_add(DETOUR_BYTES).min(range.end);
        copy::send(conn, &file, offset..until, progress).await?;
        offset = until;
    }
}

/// The error for a file that ends at `offset` instead of `end`.
pub(super) fn shrank(offset: u64, end: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the file shrank: it ends at byte {offset}, {end} were promised"),
    )
}
