//! What all contenders share: the one file they serve, and the two lines of HTTP around it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};

/// Where the head of a request ends.
pub const HEAD_END: &[u8] = b"\r\n\r\n";

/// Room for the head of a request.
pub const HEAD_BYTES: usize = 4096;

/// Send buffer of each connection in bytes: fewer, larger wake-ups.
pub const SEND_BUFFER: usize = 1 << 20;

/// The arguments of every contender: `PORT FILE CPU`.
pub struct Arguments {
    pub address: SocketAddr,
    pub path: String,
    pub cpu: usize,
}

impl Arguments {
    /// Reads them; panics with the usage if they are wrong.
    pub fn read() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().expect("usage: CONTENDER PORT FILE CPU");
        let port: u16 = next().parse().expect("PORT is a number");
        let path = next();
        let cpu = next().parse().expect("CPU is a number");
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), path, cpu }
    }

    pub fn listener(&self) -> TcpListener {
        TcpListener::bind(self.address).expect("the port is free")
    }

    pub fn file(&self) -> (File, u64) {
        let file = File::open(&self.path).expect("the file can be opened");
        let length = file.metadata().expect("the file has a length").len();
        (file, length)
    }
}

/// The head of the response.
pub fn head(length: u64) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

/// Whether `received` holds a whole head.
pub fn is_complete(received: &[u8]) -> bool {
    received.windows(HEAD_END.len()).any(|window| window == HEAD_END)
}

/// Pins this thread.
pub fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).expect("the processor exists");
}
