//! Files: direct writes, reads and syncs on the ring; on epoll, and for what the ring lacks, on the pool.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};
use rustix::io::Errno;

use super::buffer::{Buffer, Frozen, PAGE_BYTES};
use super::core::current;
use super::descriptors::refuse_reserved;
use super::driver::Driver;
use super::offload::Offload;
use super::raw::{Part, Rest};

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
    /// The same open file, owned by the ring's runtime; none on epoll.
    ring: Option<monoio::fs::File>,
    direct: bool,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.shared).field("direct", &self.direct).finish()
    }
}

impl File {
    /// Opens an existing file for reading through the page cache.
    ///
    /// # Errors
    /// As `open(2)`; `InvalidInput` when it is not a regular file.
    pub async fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = Offload::current()
            .run(move || {
                // A named pipe would hold the thread up; non-blocking means nothing to a regular file.
                let file =
                    fs::OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
                if !file.metadata()?.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
                }
                Ok(file)
            })
            .await?;
        Self::attach(file, false)
    }

    /// Makes a new file for writing and reading; it must not exist.
    ///
    /// # Errors
    /// As `open(2)` and `fallocate(2)` (`StorageFull` when the space is not there; then the file is gone again).
    pub async fn create(path: impl Into<PathBuf>, options: CreateOptions) -> io::Result<Self> {
        let path = path.into();
        let (file, direct) = Offload::current().run(move || create_blocking(&path, options)).await?;
        Self::attach(file, direct)
    }

    fn attach(file: fs::File, direct: bool) -> io::Result<Self> {
        let ring = match current().driver {
            Driver::Uring => {
                let clone = file.try_clone()?;
                refuse_reserved(&clone)?;
                Some(monoio::fs::File::from_std(clone)?)
            }
            Driver::Epoll => None,
        };
        refuse_reserved(&file)?;
        Ok(Self { shared: Arc::new(file), ring, direct })
    }

    /// Whether writes go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// The file for blocking calls.
    pub(super) fn shared(&self) -> &Arc<fs::File> {
        &self.shared
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.shared.metadata()?.len())
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all of `bytes` at `offset`, a multiple of [`PAGE_BYTES`]. In a direct file a length that is not such a multiple is
    /// written with zeroes up to the next one, so it must be the last piece, and [`File::finish`] cuts the zeroes off.
    ///
    /// Returns the number of bytes without padding, and the buffer, in every case.
    ///
    /// # Errors
    /// As `pwrite(2)`; `InvalidInput` for an unaligned offset.
    pub async fn write_at(&self, bytes: Frozen, offset: u64) -> (io::Result<usize>, Frozen) {
        if !offset.is_multiple_of(PAGE_BYTES as u64) {
            return (Err(io::Error::new(io::ErrorKind::InvalidInput, "the offset of a write is not aligned")), bytes);
        }
        let length = if self.direct { bytes.padded().len() } else { bytes.len() };
        let kept = bytes.clone();
        let result = match &self.ring {
            Some(ring) => write_on_ring(ring, bytes, length, offset).await,
            None => {
                let file = Arc::clone(&self.shared);
                Offload::current().run(move || file.write_all_at(&bytes.padded()[..length], offset)).await
            }
        };
        (result.map(|()| kept.len()), kept)
    }

    /// Reads from `offset` into the unfilled rest of `buffer` until it is full or the file ends; returns the bytes read.
    /// In a direct file, offset and room must be multiples of [`PAGE_BYTES`].
    ///
    /// # Errors
    /// As `pread(2)`. The buffer comes back in every case, with what was read before the error.
    pub async fn read_at(&self, mut buffer: Buffer, offset: u64) -> (io::Result<usize>, Buffer) {
        let before = buffer.len();
        while buffer.room() > 0 {
            let at = offset.saturating_add((buffer.len() - before) as u64);
            let result;
            (result, buffer) = match &self.ring {
                Some(ring) => {
                    let (result, rest) = ring.read_at(Rest(buffer), at).await;
                    (result, rest.0)
                }
                None => {
                    let file = Arc::clone(&self.shared);
                    Offload::current().run(move || read_blocking(&file, buffer, at)).await
                }
            };
            match result {
                Ok(0) => break,
                // A direct read ends in the middle of a page only where the file does.
                Ok(count) if self.direct && count % PAGE_BYTES != 0 => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(buffer.len() - before), buffer)
    }

    /// Makes what was written durable (`fdatasync`). A new file's name needs a sync of its directory besides.
    ///
    /// # Errors
    /// As `fdatasync(2)`. After an error the state of the file on disk is unknown: remove it.
    pub async fn sync_data(&self) -> io::Result<()> {
        match &self.ring {
            Some(ring) => ring.sync_data().await,
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

async fn write_on_ring(ring: &monoio::fs::File, mut bytes: Frozen, length: usize, offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let (result, part) = ring.write_at(Part::new(bytes, done, length), offset.saturating_add(done as u64)).await;
        bytes = part.into_inner();
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_blocking(file: &fs::File, mut buffer: Buffer, offset: u64) -> (io::Result<usize>, Buffer) {
    let result = file.read_at(buffer.spare_mut(), offset);
    if let Ok(count) = result {
        buffer.advance(count);
    }
    (result, buffer)
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
