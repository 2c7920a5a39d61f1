//! The page cache filled ahead of a reader of a cold file, so that no core ever waits for the disk.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::shrank;
use crate::io::offload::{Lane, Offload, Running};

/// Bytes of a cold file that are read ahead in one piece.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Windows in flight or ready ahead of the reader: one is sent while the next is read.
const WINDOWS_AHEAD: usize = 2;

/// Distance of the bytes that are touched to prove that a window has arrived: the smallest read-ahead there is. Larger holes
/// do not occur, because each touch waits for the page it hits.
const TOUCH_STRIDE: u64 = 64 * 1024;

/// Whether a read of a byte would block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) enum Residency {
    Warm,
    Cold,
    /// The file system cannot say: the file is read ahead, and then trusted to stay.
    Unknown,
}

/// Asks the page cache about the bytes at `first` and `last` without reading the disk.
pub(in crate::io) fn residency(file: &fs::File, first: u64, last: u64) -> io::Result<Residency> {
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
        if let Some(mut running) = fresh {
            running.done().await?;
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
        if let Some(mut running) = self.windows.front_mut().and_then(|window| window.running.take()) {
            running.done().await?;
        }
        Ok(self.clip(until))
    }

    fn clip(&self, until: u64) -> u64 {
        self.windows.front().map_or(until, |window| until.min(window.range.end))
    }

    async fn fill_now(&self, file: Arc<fs::File>, slice: Range<u64>) -> io::Result<u64> {
        let until = slice.end;
        self.offload.start(Lane::Fill, move || fill(&file, &slice)).await.done().await?;
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
