//! No runtime: a loop of our own on the `io-uring` crate. Accepts, receives and polls are operations, `sendfile(2)` goes inline.
//! Connections are served to their end by one small state each; what a real server needs besides (timers, tasks, cancelling) is
//! not here, and is what the runtime is for.

use std::fs::File;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd};

use raw_uring::{IoUring, opcode, squeue, types};
use runtimes::{Arguments, HEAD_BYTES, SEND_BUFFER, head, is_complete, pin};
use rustix::io::Errno;
use rustix::net::{SendFlags, sockopt};

const SLICE_BYTES: usize = 2 << 20;
/// Slices in a row before the others have their turn.
const SLICES_PER_TURN: usize = 8;
const POLLOUT: u32 = 4;
const ACCEPT: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    received: Box<[u8; HEAD_BYTES]>,
    filled: usize,
    /// The next byte of the file; `None` while the head is awaited.
    offset: Option<u64>,
}

fn main() {
    let arguments = Arguments::read();
    let listener = arguments.listener();
    let (file, length) = arguments.file();
    pin(arguments.cpu);
    let mut ring = IoUring::builder().setup_coop_taskrun().setup_single_issuer().build(1024).expect("a ring");
    let accept = opcode::Accept::new(types::Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut())
        .build()
        .user_data(ACCEPT);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    push(&mut ring, &accept);
    loop {
        ring.submit_and_wait(1).expect("the ring is entered");
        let done: Vec<_> = ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (token, result) in done {
            if token == ACCEPT {
                push(&mut ring, &accept);
                if result >= 0 {
                    // SAFETY: the kernel has just given us this descriptor.
                    let stream = unsafe { TcpStream::from_raw_fd(result) };
                    stream.set_nonblocking(true).expect("a socket");
                    let connection =
                        Connection { stream, received: Box::new([0; HEAD_BYTES]), filled: 0, offset: None };
                    let slot = connections.iter().position(Option::is_none).unwrap_or(connections.len());
                    if slot == connections.len() {
                        connections.push(None);
                    }
                    let connection = connections[slot].insert(connection);
                    push(&mut ring, &connection.receive(slot));
                }
                continue;
            }
            let slot = usize::try_from(token).expect("a slot");
            let connection = connections[slot].as_mut().expect("a connection with an operation in flight");
            match connection.go_on(result, slot, &file, length) {
                Some(entry) => push(&mut ring, &entry),
                None => connections[slot] = None,
            }
        }
    }
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: what the entries point to is on the heap of a connection, which stays until its one operation has completed.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit().expect("the ring is entered");
    }
}

impl Connection {
    fn receive(&mut self, slot: usize) -> squeue::Entry {
        let rest = &mut self.received[self.filled..];
        opcode::Recv::new(types::Fd(self.stream.as_raw_fd()), rest.as_mut_ptr(), rest.len() as u32)
            .build()
            .user_data(slot as u64)
    }

    fn wait_writable(&self, slot: usize) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.stream.as_raw_fd()), POLLOUT).build().user_data(slot as u64)
    }

    /// Takes up a completed operation; the next one, or `None` at the end.
    fn go_on(&mut self, result: i32, slot: usize, file: &File, length: u64) -> Option<squeue::Entry> {
        let mut offset = match self.offset {
            Some(offset) => offset,
            None => {
                self.filled += usize::try_from(result).ok().filter(|&count| count > 0)?;
                if !is_complete(&self.received[..self.filled]) {
                    return Some(self.receive(slot));
                }
                sockopt::set_socket_send_buffer_size(&self.stream, SEND_BUFFER).ok()?;
                // The head fits any socket's empty buffer.
                rustix::net::send(&self.stream, head(length).as_bytes(), SendFlags::MORE).ok()?;
                0
            }
        };
        for _ in 0..SLICES_PER_TURN {
            if offset >= length {
                return None;
            }
            match rustix::fs::sendfile(&self.stream, file, Some(&mut offset), SLICE_BYTES) {
                Ok(0) => return None,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return None,
            }
        }
        self.offset = Some(offset);
        Some(self.wait_writable(slot))
    }
}
