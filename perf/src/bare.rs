//! The bar for uploads without digests: a loop that receives and writes, and does nothing else.
//!
//! One thread, one connection at a time. Four aligned, registered buffers of 1 MiB are filled from the socket, one after the other,
//! and written through a ring with `O_DIRECT` into a preallocated file while the next are filled; `fdatasync` comes before the answer.

// A ring takes addresses of buffers: what keeps them alive stands at each block.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use io_uring::{IoUring, opcode, types};
use rustix::fs::{FallocateFlags, OFlags, fallocate};

use crate::error::{During, Error, Result};

/// Name of the subcommand that runs [`serve`].
pub const SUBCOMMAND: &str = "bare";
/// Buffers, and bytes of each.
const BUFFERS: usize = 4;
const BUFFER: usize = 1 << 20;
/// Addresses, offsets and lengths of direct writes are multiples of this.
const BLOCK: usize = 4096;
/// Longest head of a request.
const HEAD_MAX: usize = BLOCK;

/// Receives one request after another on `address`; the body of each, of at most `size` bytes, becomes the content of the file `path`.
///
/// # Errors
/// It cannot listen, or a ring cannot be had.
pub fn serve(address: SocketAddr, path: &Path, size: u64) -> Result<()> {
    let options = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .clone();
    let listener = TcpListener::bind(address).during(|| address.to_string())?;
    let mut writer = Writer::new()?;
    loop {
        let (mut socket, _) = listener.accept().during(|| "accepting")?;
        loop {
            let file = options.open(path).during(|| path.display().to_string())?;
            fallocate(&file, FallocateFlags::empty(), 0, size.next_multiple_of(BLOCK as u64))
                .during(|| "preallocating")?;
            if !writer.receive(&mut socket, &file)? {
                break;
            }
            file.sync_data().during(|| "fdatasync")?;
            socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").during(|| "answering")?;
        }
    }
}

/// The buffers and the ring that writes them.
struct Writer {
    ring: IoUring,
    /// Holds all buffers, with room to begin at a whole block. Never resized, as the ring knows its address.
    memory: Vec<u8>,
    /// Where the first buffer begins.
    start: usize,
    /// Bytes of each buffer that the ring is writing; 0 for one that is free.
    writing: [usize; BUFFERS],
}

impl Writer {
    fn new() -> Result<Self> {
        let ring = IoUring::new(2 * u32::try_from(BUFFERS).unwrap_or(u32::MAX)).during(|| "a ring")?;
        let memory = vec![0; BUFFERS * BUFFER + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        let mut writer = Self { ring, memory, start, writing: [0; BUFFERS] };
        let buffers: Vec<libc::iovec> = (0..BUFFERS)
            .map(|number| libc::iovec { iov_base: writer.buffer(number).as_mut_ptr().cast(), iov_len: BUFFER })
            .collect();
        // SAFETY: the memory belongs to this value, is never resized, and fields are dropped in order: the ring before it.
        unsafe { writer.ring.submitter().register_buffers(&buffers) }.during(|| "registering buffers")?;
        Ok(writer)
    }

    fn buffer(&mut self, number: usize) -> &mut [u8] {
        let first = self.start + number * BUFFER;
        &mut self.memory[first..first + BUFFER]
    }

    /// Receives one request and writes its body; `false` if the client has closed instead.
    fn receive(&mut self, socket: &mut TcpStream, file: &File) -> Result<bool> {
        let Some((mut filled, length)) = head(socket, self.buffer(0))? else { return Ok(false) };
        let mut offset = 0;
        let mut number = 0;
        while offset < length {
            let want = BUFFER.min(usize::try_from(length - offset).unwrap_or(BUFFER));
            while self.writing[number] > 0 {
                self.reap()?;
            }
            while filled < want {
                let count = socket.read(&mut self.buffer(number)[filled..want]).during(|| "receiving a body")?;
                if count == 0 {
                    return Err(Error::Bytes("a body that ends early".into()));
                }
                filled += count;
            }
            self.write(number, file, offset, want.next_multiple_of(BLOCK))?;
            offset += want as u64;
            number = (number + 1) % BUFFERS;
            filled = 0;
        }
        while self.writing.iter().any(|bytes| *bytes > 0) {
            self.reap()?;
        }
        file.set_len(length).during(|| "the length of a file")?;
        Ok(true)
    }

    fn write(&mut self, number: usize, file: &File, offset: u64, bytes: usize) -> Result<()> {
        let index = u16::try_from(number).unwrap_or(u16::MAX);
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let address = self.buffer(number).as_ptr();
        let entry = opcode::WriteFixed::new(types::Fd(file.as_raw_fd()), address, count, index)
            .offset(offset)
            .build()
            .user_data(number as u64);
        self.writing[number] = bytes;
        // SAFETY: the buffer is neither touched nor freed until `reap` has seen this write end, and `receive` keeps the file open
        // until then; if it fails before, the process ends.
        unsafe { self.ring.submission().push(&entry) }.map_err(std::io::Error::other).during(|| "a full ring")?;
        self.ring.submit().during(|| "submitting a write").map(drop)
    }

    /// Waits for a write to end.
    fn reap(&mut self) -> Result<()> {
        self.ring.submit_and_wait(1).during(|| "waiting for a write")?;
        for done in self.ring.completion() {
            let number = usize::try_from(done.user_data()).unwrap_or(usize::MAX);
            let wanted = std::mem::take(&mut self.writing[number]);
            if usize::try_from(done.result()) != Ok(wanted) {
                return Err(Error::Bytes(format!("a write of {wanted} bytes gave {}", done.result())));
            }
        }
        Ok(())
    }
}

/// Reads a head, and leaves what came of the body with it at the start of `buffer`. Returns how much that is and the length of the
/// body; `None` if the client has closed.
fn head(socket: &mut TcpStream, buffer: &mut [u8]) -> Result<Option<(usize, u64)>> {
    let mut filled = 0;
    loop {
        let count = socket.read(&mut buffer[filled..HEAD_MAX]).during(|| "receiving a head")?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length = length.ok_or_else(|| Error::Http("a request without a length".into()))?;
            buffer.copy_within(end + 4..filled, 0);
            return Ok(Some((filled - end - 4, length)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_is_sent_is_what_is_written() -> Result<()> {
        let directory = tempfile::tempdir().during(|| "a directory")?;
        let path = directory.path().join("file");
        let listener = TcpListener::bind("127.0.0.1:0").during(|| "a free port")?;
        let address = listener.local_addr().during(|| "a free port")?;
        drop(listener);
        let file = path.clone();
        let server = thread::spawn(move || serve(address, &file, 20 << 20));
        let mut socket = TcpStream::connect(address);
        while socket.is_err() && !server.is_finished() {
            socket = TcpStream::connect(address);
        }
        let mut socket = socket.during(|| "connecting")?;
        for length in [5 * BUFFER + 4097, 1, 9 * BUFFER] {
            let body: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[1]).collect();
            let head = format!("PUT / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&body)).during(|| "sending")?;
            let mut answer = [0; 27];
            socket.read_exact(&mut answer).during(|| "the answer")?;
            assert!(answer.starts_with(b"HTTP/1.1 204 "));
            assert!(std::fs::read(&path).during(|| "the file")? == body, "{length}");
        }
        Ok(())
    }
}
