//! A file's range in order, read several buffers ahead.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::buffer::{BUFFER_BYTES, Buffer, BufferPool, Frozen, PAGE_BYTES};
use super::file::{File, Reading};
use super::send::shrank;

/// A read of one buffer, from a page's start.
struct Ahead {
    reading: Reading,
    offset: u64,
}

/// Reads a range of a file, piece by piece. Reads begin at pages, whatever the range: a direct file takes no others.
pub struct FileReader<'f> {
    file: &'f File,
    range: Range<u64>,
    ahead: VecDeque<Ahead>,
    /// Where the next read begins.
    next: u64,
    /// Where the next piece begins.
    position: u64,
}

impl<'f> FileReader<'f> {
    /// A reader of `range`, which begins at most `depth` reads ahead. Nothing is read yet.
    pub fn new(file: &'f File, range: Range<u64>, depth: usize) -> Self {
        let next = range.start - range.start % PAGE_BYTES as u64;
        let position = range.start;
        FileReader { file, range, ahead: VecDeque::with_capacity(depth), next, position }
    }

    /// Where the next piece begins; the end of the range when there is none.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Begins as many reads as `pool` has buffers for; whether one is on its way.
    pub async fn begin(&mut self, pool: &BufferPool) -> bool {
        while self.next < self.range.end {
            let Some(buffer) = pool.try_get() else { break };
            self.begin_with(buffer).await;
        }
        !self.ahead.is_empty()
    }

    /// Begins the next read, into `buffer`, which is empty.
    pub async fn begin_with(&mut self, buffer: Buffer) {
        let reading = self.file.start_read(buffer, self.next).await;
        self.ahead.push_back(Ahead { reading, offset: self.next });
        self.next += BUFFER_BYTES as u64;
    }

    /// The next piece: a buffer, and the part of it that is in the range. A read has to be on its way.
    ///
    /// # Errors
    /// As `pread(2)`; `UnexpectedEof` when the file ends before the range does.
    pub async fn next(&mut self) -> io::Result<(Frozen, Range<usize>)> {
        let Some(Ahead { reading, offset }) = self.ahead.pop_front() else {
            return Err(shrank(self.position, self.range.end));
        };
        let (_, mut buffer) = reading.finish().await?;
        let wanted = usize::try_from(self.range.end - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        if buffer.len() < wanted {
            // A short read that is none at the end of the file is as good as unheard of, and costs one more.
            let at = offset + (buffer.len() - buffer.len() % PAGE_BYTES) as u64;
            buffer.truncate(buffer.len() - buffer.len() % PAGE_BYTES);
            (_, buffer) = self.file.read_at(buffer, at).await?;
        }
        if buffer.len() < wanted {
            return Err(shrank(offset + buffer.len() as u64, self.range.end));
        }
        let skipped = usize::try_from(self.position - offset).unwrap_or(BUFFER_BYTES);
        self.position = offset + wanted as u64;
        Ok((buffer.freeze(), skipped..wanted))
    }
}
