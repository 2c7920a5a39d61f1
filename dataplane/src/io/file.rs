//! Files: direct writes, reads and syncs on the ring; on epoll, and for what the ring lacks, on the pool.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::buffer::{Buffer, Frozen, PAGE_BYTES};
use super::core::current;
use super::descriptors::{refuse_reserved, refuse_scarce};
use super::offload::{Lane, Offload, Running};
use super::ring::{Started, StorageRing};
use super::send::{Residency, residency};

/// How a new file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateOptions {
    /// Write past the page cache where the file system allows it. Halves the cost of a write and makes the sync nearly free;
    /// leaves the file cold.
    pub direct: bool,
    /// Bytes to allocate at once when the size is known. [`File::finish`] cuts what is not used.
    pub preallocate: Option<u64>,
    /// Permission bits, before the umask.
    pub mode: u32,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self { direct: true, preallocate: None, mode: 0o640 }
    }
}

/// An open regular file.
pub struct File {
    shared: Arc<fs::File>,
    /// Where its operations go; none on epoll.
    ring: Option<Rc<StorageRing>>,
    direct: bool,
    /// Bytes that it had when it was opened.
    opened_len: u64,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.shared).field("direct", &self.direct).finish()
    }
}

impl File {
    /// Opens an existing file for reading through the page cache. What the kernel has in memory is opened here and now; a
    /// path that has to be read from the disk is looked up off this thread.
    ///
    /// # Errors
    /// As `open(2)`, and `EMFILE` already when there are too few descriptors left for a transfer; `InvalidInput` when it is not a
    /// regular file.
    pub async fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = match open_at_once(&path) {
            Some(file) => file,
            None => {
                Offload::current().run(move || fs::OpenOptions::new().read(true).custom_flags(FLAGS).open(path)).await?
            }
        };
        refuse_scarce(&file)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self::attach(file, false, metadata.len()))
    }

    /// Makes a new file for writing and reading; it must not exist.
    ///
    /// # Errors
    /// As `open(2)` and `fallocate(2)` (`StorageFull` when the space is not there; then the file is gone again).
    pub async fn create(path: impl Into<PathBuf>, options: CreateOptions) -> io::Result<Self> {
        let path = path.into();
        let (file, direct) = Offload::current().run(move || create_blocking(&path, options)).await?;
        refuse_reserved(&file)?;
        Ok(Self::attach(file, direct, 0))
    }

    fn attach(file: fs::File, direct: bool, opened_len: u64) -> Self {
        Self { shared: Arc::new(file), ring: current().ring.clone(), direct, opened_len }
    }

    /// The same open file, read past the page cache from now on where its file system can.
    #[must_use]
    pub fn direct_if_possible(mut self) -> Self {
        self.direct = self.direct || set_direct(&self.shared);
        self
    }

    /// The same open file, read through the page cache again. No read may be in flight.
    #[must_use]
    pub(super) fn cached(mut self) -> Self {
        if self.direct
            && let Ok(flags) = rustix::fs::fcntl_getfl(&*self.shared)
        {
            self.direct = rustix::fs::fcntl_setfl(&*self.shared, flags.difference(OFlags::DIRECT)).is_err();
        }
        self
    }

    /// Whether writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The file for blocking calls.
    pub(super) fn shared(&self) -> &Arc<fs::File> {
        &self.shared
    }

    /// Whether the byte at `offset` can be read without waiting for the disk, as far as the file system can tell.
    pub fn is_cached(&self, offset: u64) -> bool {
        residency(&self.shared, offset, offset).is_ok_and(|residency| residency == Residency::Warm)
    }

    /// Length in bytes when it was opened; 0 of a new file.
    pub fn opened_len(&self) -> u64 {
        self.opened_len
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.shared.metadata()?.len())
    }

    /// Starts to write all of `bytes` at `offset`, a multiple of [`PAGE_BYTES`]; it goes on by itself. In a direct file a length
    /// that is not such a multiple is written with zeroes up to the next one, so it must be the last piece, and
    /// [`File::finish`] cuts the zeroes off.
    ///
    /// # Errors
    /// `InvalidInput` for an unaligned offset. What comes of the write is told by [`Writing::done`].
    pub async fn start_write(&self, bytes: Frozen, offset: u64) -> io::Result<Writing> {
        if !offset.is_multiple_of(PAGE_BYTES as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the offset of a write is not aligned"));
        }
        let length = if self.direct { bytes.padded().len() } else { bytes.len() };
        let state = match &self.ring {
            Some(ring) => State::Ring(ring.write(&self.shared, bytes, 0, length, offset).await),
            None => {
                let file = Arc::clone(&self.shared);
                let write = move || file.write_all_at(&bytes.padded()[..length], offset);
                State::Pool(Offload::current().start(Lane::Call, write).await)
            }
        };
        Ok(Writing { file: Arc::clone(&self.shared), state, length, offset })
    }

    /// Starts to read from `offset` into the unfilled rest of `buffer`; it goes on by itself. In a direct file, offset and room
    /// must be multiples of [`PAGE_BYTES`].
    pub async fn start_read(&self, buffer: Buffer, offset: u64) -> Reading {
        match &self.ring {
            Some(ring) => Reading(Source::Ring(ring.read(&self.shared, buffer, offset).await)),
            None => {
                let file = Arc::clone(&self.shared);
                let read = move || read_blocking(&file, buffer, offset);
                Reading(Source::Pool(Offload::current().start(Lane::Fill, read).await))
            }
        }
    }

    /// Reads from `offset` into the unfilled rest of `buffer` until it is full or the file ends; returns the bytes read.
    /// In a direct file, offset and room must be multiples of [`PAGE_BYTES`].
    ///
    /// # Errors
    /// As `pread(2)`; the buffer is gone then.
    pub async fn read_at(&self, mut buffer: Buffer, offset: u64) -> io::Result<(usize, Buffer)> {
        let before = buffer.len();
        while buffer.room() > 0 {
            let at = offset.saturating_add((buffer.len() - before) as u64);
            let count;
            (count, buffer) = self.start_read(buffer, at).await.finish().await?;
            // A direct read ends in the middle of a page only where the file does.
            if count == 0 || (self.direct && !count.is_multiple_of(PAGE_BYTES)) {
                break;
            }
        }
        Ok((buffer.len() - before, buffer))
    }

    /// Makes what was written durable (`fdatasync`). A new file's name needs a sync of its directory besides.
    ///
    /// # Errors
    /// As `fdatasync(2)`. After an error the state of the file on disk is unknown: remove it.
    pub async fn sync_data(&self) -> io::Result<()> {
        match &self.ring {
            Some(ring) => ring.sync_data(&self.shared).await.await.result.map(drop),
            None => {
                let file = Arc::clone(&self.shared);
                Offload::current().run(move || file.sync_data()).await
            }
        }
    }

    /// Ends a file that was written from the start: cuts padding and unused allocation so that it is `size` bytes long, and makes
    /// it durable.
    ///
    /// # Errors
    /// As `ftruncate(2)` and `fdatasync(2)`.
    pub async fn finish(&self, size: u64) -> io::Result<()> {
        if self.len()? != size {
            let file = Arc::clone(&self.shared);
            Offload::current().run(move || file.set_len(size)).await?;
        }
        self.sync_data().await
    }
}

/// A write that was started. Dropping it lets the write run on.
#[derive(Debug)]
pub struct Writing {
    file: Arc<fs::File>,
    state: State,
    /// Bytes to write, padding included.
    length: usize,
    offset: u64,
}

#[derive(Debug)]
enum State {
    Ring(Started),
    /// What a short write has left, from this byte on. It is rare: an interrupted call, a disk that is nearly full.
    Rest(Frozen, usize),
    Pool(Running<io::Result<()>>),
}

impl Writing {
    /// Waits until all of it is written. May be dropped at any time and called again.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    pub async fn done(&mut self) -> io::Result<()> {
        loop {
            match &mut self.state {
                State::Pool(running) => return running.done().await,
                State::Ring(started) => {
                    let outcome = started.await;
                    let done = match outcome.result {
                        Ok(count) if count >= self.length => return Ok(()),
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                        Err(error) => return Err(error),
                    };
                    let bytes = outcome.unwritten.ok_or(io::ErrorKind::WriteZero)?;
                    // From a page's start: a direct write takes nothing else.
                    self.state = State::Rest(bytes, done - done % PAGE_BYTES);
                }
                State::Rest(bytes, from) => {
                    let (file, bytes, from, length) = (Arc::clone(&self.file), bytes.clone(), *from, self.length);
                    let offset = self.offset.saturating_add(from as u64);
                    let write = move || file.write_all_at(&bytes.padded()[from..length], offset);
                    self.state = State::Pool(Offload::current().start(Lane::Call, write).await);
                }
            }
        }
    }
}

/// A read that was started. Dropping it lets the read run on.
#[derive(Debug)]
pub struct Reading(Source);

#[derive(Debug)]
enum Source {
    Ring(Started),
    Pool(Running<io::Result<(usize, Buffer)>>),
}

impl Reading {
    /// Waits for the bytes: how many there were, and the buffer with them. Fewer than there was room for is not the end of the
    /// file, none is.
    ///
    /// # Errors
    /// As `pread(2)`; the buffer is gone then.
    pub async fn finish(self) -> io::Result<(usize, Buffer)> {
        match self.0 {
            Source::Pool(mut running) => running.done().await,
            Source::Ring(started) => {
                let outcome = started.await;
                let buffer = outcome.filled.ok_or_else(|| io::Error::other("a read came back without its buffer"))?;
                Ok((outcome.result?, buffer))
            }
        }
    }
}

fn read_blocking(file: &fs::File, mut buffer: Buffer, offset: u64) -> io::Result<(usize, Buffer)> {
    loop {
        match file.read_at(buffer.spare_mut(), offset) {
            Ok(count) => {
                buffer.advance(count);
                return Ok((count, buffer));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How files are opened for reading: a named pipe would hold the thread up; non-blocking means nothing to a regular file.
const FLAGS: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file whose path the kernel has in memory; `None`: it has to be looked up on the disk, or something is wrong with it.
fn open_at_once(path: &Path) -> Option<fs::File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(fs::File::from)
}

fn create_blocking(path: &Path, options: CreateOptions) -> io::Result<(fs::File, bool)> {
    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(options.mode).open(path)?;
    let made = prepare(&file, options);
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    Ok((file, made?))
}

fn prepare(file: &fs::File, options: CreateOptions) -> io::Result<bool> {
    if let Some(bytes) = options.preallocate.filter(|&bytes| bytes > 0) {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            // A file system without the call: the file grows as it is written.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(options.direct && set_direct(file))
}

/// Switches a file to direct I/O if its file system has it, with an alignment that ours satisfies.
fn set_direct(file: &fs::File) -> bool {
    if let Ok(stat) = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN);
        let fits = |alignment: u32| alignment != 0 && PAGE_BYTES.is_multiple_of(alignment as usize);
        if told && !(fits(stat.stx_dio_offset_align) && fits(stat.stx_dio_mem_align)) {
            return false;
        }
    }
    let Ok(flags) = rustix::fs::fcntl_getfl(file) else { return false };
    rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).is_ok()
}
