//! The page cache filled ahead of a reader of a cold file, so that no core ever waits for the disk.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use rustix::io::{Errno, ReadWriteFlags};

use super::shrank;
use crate::io::offload::{Lane, Offload, Running};

/// Bytes of a cold file that are read ahead in one piece.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes that are read at a time where the file system cannot send.
const READ_BYTES: usize = 256 * 1024;

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
///
/// The kernel is told to send it nowhere. So it reads ahead as for any reader, and puts large folios into the cache, which are a
/// fraction of the work for every later download; asked to fetch what will be needed (`POSIX_FADV_WILLNEED`) it takes single pages.
fn fill(file: &fs::File, window: Range<u64>) -> io::Result<()> {
    let Ok(nowhere) = nowhere() else { return read(file, window) };
    let mut offset = window.start;
    while offset < window.end {
        let wanted = usize::try_from(window.end - offset).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(nowhere, file, Some(&mut offset), wanted) {
            Ok(0) => return Err(shrank(offset, window.end)),
            Ok(_) | Err(Errno::INTR) => {}
            // Not every file system can send.
            Err(Errno::INVAL | Errno::NOSYS) => return read(file, offset..window.end),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The same by reading.
fn read(file: &fs::File, window: Range<u64>) -> io::Result<()> {
    let mut piece = vec![0; READ_BYTES];
    let mut offset = window.start;
    while offset < window.end {
        let wanted = usize::try_from(window.end - offset).unwrap_or(usize::MAX).min(READ_BYTES);
        match file.read_at(&mut piece[..wanted], offset) {
            Ok(0) => return Err(shrank(offset, window.end)),
            Ok(count) => offset += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `/dev/null`.
fn nowhere() -> io::Result<&'static fs::File> {
    static NOWHERE: OnceLock<fs::File> = OnceLock::new();
    if let Some(nowhere) = NOWHERE.get() {
        return Ok(nowhere);
    }
    let opened = fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(NOWHERE.get_or_init(|| opened))
}

struct Window {
    range: Range<u64>,
    running: Option<Running<io::Result<()>>>,
}

/// Keeps the page cache filled ahead of one reader of a file: one window is sent while the next is read. Not two are read at
/// once: the kernel takes a file's reader for one, and orders what comes next as it goes.
pub(super) struct ReadAhead {
    file: Arc<fs::File>,
    end: u64,
    windows: VecDeque<Window>,
    offload: Offload,
}

impl ReadAhead {
    pub(super) fn new(file: &Arc<fs::File>, end: u64) -> Self {
        Self { file: Arc::clone(file), end, windows: VecDeque::with_capacity(2), offload: Offload::current() }
    }

    /// Returns once `offset..until` can be sent without reading the disk, where the returned `until` may be nearer than the
    /// one asked for.
    pub(super) async fn ready(&mut self, offset: u64, until: u64) -> io::Result<u64> {
        while self.windows.front().is_some_and(|window| window.range.end <= offset) {
            self.windows.pop_front();
        }
        if self.windows.front().is_none_or(|window| window.running.is_none()) {
            let until = self.clip(until);
            match residency(&self.file, offset, until - 1)? {
                Residency::Warm => return Ok(until),
                Residency::Unknown if !self.windows.is_empty() => return Ok(until),
                Residency::Cold | Residency::Unknown => {}
            }
            if !self.windows.is_empty() {
                // Filled once and evicted again before the client took it: fill the slice itself, and go on whatever comes.
                self.fill(offset..until).await.done().await?;
                return Ok(until);
            }
            self.fill_next(offset).await;
        }
        if let Some(mut running) = self.windows.front_mut().and_then(|window| window.running.take()) {
            running.done().await?;
            self.fill_next(offset).await;
        }
        Ok(self.clip(until))
    }

    fn clip(&self, until: u64) -> u64 {
        self.windows.front().map_or(until, |window| until.min(window.range.end))
    }

    /// Starts the next window, or the first one at `from`. If it is warm already that costs the pool a hundredth of a second per
    /// GiB. The core itself must not look: whoever comes upon the end of what the kernel has read ahead orders the next part.
    async fn fill_next(&mut self, from: u64) {
        let start = self.windows.back().map_or(from, |window| window.range.end);
        let range = start..start.saturating_add(WINDOW_BYTES).min(self.end);
        if !range.is_empty() {
            let running = self.fill(range.clone()).await;
            self.windows.push_back(Window { range, running: Some(running) });
        }
    }

    async fn fill(&self, window: Range<u64>) -> Running<io::Result<()>> {
        let file = Arc::clone(&self.file);
        self.offload.start(Lane::Fill, move || fill(&file, window)).await
    }
}
