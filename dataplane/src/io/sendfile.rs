//! A file's range to a socket by the kernel alone, and the page cache filled ahead of it when the file is cold.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::conn::Conn;
use super::file::File;
use super::offload::{Lane, Offload, Running};

/// Bytes asked of one `sendfile(2)` call.
pub(super) const SLICE_BYTES: u64 = 2 * 1024 * 1024;

/// Bytes of a cold file that are read ahead in one piece.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Windows in flight or ready ahead of the reader: one is sent while the next is read.
const WINDOWS_AHEAD: usize = 2;

/// Distance of the bytes that are touched to prove that a window has arrived: the smallest read-ahead there is. Larger holes
/// do not occur, because each touch waits for the page it hits.
const TOUCH_STRIDE: u64 = 64 * 1024;

/// After a wait of this long for the client, the pages ahead may have been reclaimed, so they are looked at again.
pub(super) const STALE_AFTER: Duration = Duration::from_millis(100);

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

/// See [`Conn::send_file`].
pub(super) async fn send_file(conn: &Conn, file: &File, range: Range<u64>, progress: &Progress) -> io::Result<()> {
    let mut ahead = ReadAhead::new(file.shared(), range.end);
    let mut offset = range.start;
    while offset < range.end {
        let until = ahead.ready(offset, (offset + SLICE_BYTES).min(range.end)).await?;
        let mut waited = Duration::ZERO;
        while offset < until && waited < STALE_AFTER {
            let count = usize::try_from(until - offset).unwrap_or(usize::MAX);
            match rustix::fs::sendfile(conn, file.shared(), Some(&mut offset), count) {
                Ok(0) => return Err(shrank(offset, range.end)),
                Ok(sent) => {
                    progress.add(sent as u64);
                    conn.sent(sent).await;
                }
                Err(Errno::AGAIN) => {
                    let since = Instant::now();
                    conn.wait_writable().await?;
                    waited = since.elapsed();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

pub(super) fn shrank(offset: u64, end: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the file shrank: it ends at byte {offset}, {end} were promised"),
    )
}

/// Whether a read of a byte would block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Residency {
    Warm,
    Cold,
    /// The file system cannot say: the file is read ahead, and then trusted to stay.
    Unknown,
}

/// Asks the page cache about the bytes at `first` and `last` without reading the disk.
pub(super) fn residency(file: &fs::File, first: u64, last: u64) -> io::Result<Residency> {
    for offset in [last, first] {
        let mut byte = [0u8; 1];
        match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(shrank(offset, last.saturating_add(1))),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Residency::Cold),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Residency::Unknown),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Residency::Warm)
}

/// Reads `window` into the page cache and returns when it is there. Blocks: for the pool only.
fn fill(file: &fs::File, window: &Range<u64>) -> io::Result<()> {
    let length = NonZeroU64::new(window.end.saturating_sub(window.start));
    // Queues the whole window at once; without it the touches below would read piece by piece.
    let _ = rustix::fs::fadvise(file, window.start, length, Advice::WillNeed);
    let mut offset = window.start;
    while offset < window.end {
        if file.read_at(&mut [0u8; 1], offset)? == 0 {
            return Err(shrank(offset, window.end));
        }
        offset = if offset + 1 == window.end { window.end } else { (offset + TOUCH_STRIDE).min(window.end - 1) };
    }
    Ok(())
}

struct Window {
    range: Range<u64>,
    running: Option<Running<io::Result<()>>>,
}

/// Keeps the page cache filled ahead of one reader of a file.
pub(super) struct ReadAhead {
    file: Arc<fs::File>,
    end: u64,
    windows: VecDeque<Window>,
    offload: Offload,
}

impl ReadAhead {
    pub(super) fn new(file: &Arc<fs::File>, end: u64) -> Self {
        Self { file: Arc::clone(file), end, windows: VecDeque::new(), offload: Offload::current() }
    }

    /// Returns once `offset..until` can be sent without reading the disk, where the returned `until` may be nearer than the
    /// one asked for.
    pub(super) async fn ready(&mut self, offset: u64, until: u64) -> io::Result<u64> {
        while self.windows.front().is_some_and(|window| window.range.end <= offset) {
            self.windows.pop_front();
        }
        let fresh = match self.windows.front_mut() {
            Some(window) => window.running.take(),
            None => None,
        };
        if let Some(running) = fresh {
            running.finish().await?;
            self.extend(offset).await?;
            return Ok(self.clip(until));
        }
        let until = self.clip(until);
        match residency(&self.file, offset, until - 1)? {
            Residency::Warm => return Ok(until),
            Residency::Unknown if !self.windows.is_empty() => return Ok(until),
            Residency::Cold | Residency::Unknown => {}
        }
        if self.windows.is_empty() {
            self.extend(offset).await?;
        } else {
            // Filled once and evicted again before the client took it: fill the slice itself, and go on whatever comes.
            let file = Arc::clone(&self.file);
            return self.fill_now(file, offset..until).await;
        }
        if let Some(running) = self.windows.front_mut().and_then(|window| window.running.take()) {
            running.finish().await?;
        }
        Ok(self.clip(until))
    }

    fn clip(&self, until: u64) -> u64 {
        self.windows.front().map_or(until, |window| until.min(window.range.end))
    }

    async fn fill_now(&self, file: Arc<fs::File>, slice: Range<u64>) -> io::Result<u64> {
        let until = slice.end;
        self.offload.start(Lane::Fill, move || fill(&file, &slice)).await.finish().await?;
        Ok(until)
    }

    /// Starts the next windows. `from` is where the first one begins when there is none yet; that one is known to be cold,
    /// later ones are only read if their ends are.
    async fn extend(&mut self, from: u64) -> io::Result<()> {
        while self.windows.len() < WINDOWS_AHEAD {
            let start = self.windows.back().map_or(from, |window| window.range.end);
            let range = start..start.saturating_add(WINDOW_BYTES).min(self.end);
            if range.is_empty() {
                break;
            }
            if !self.windows.is_empty() && residency(&self.file, range.start, range.end - 1)? == Residency::Warm {
                break;
            }
            let (file, window) = (Arc::clone(&self.file), range.clone());
            let running = self.offload.start(Lane::Fill, move || fill(&file, &window)).await;
            self.windows.push_back(Window { range, running: Some(running) });
        }
        Ok(())
    }
}
