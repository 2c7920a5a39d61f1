//! Many clients that do next to nothing: slow readers, slow writers, idle connections that are kept alive.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::error::{During, Error, Result};
use crate::http::{Connection, Head};
use crate::images;

/// Bytes that a slow client moves in one go, and the time between two.
const SIP: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(100);
/// Size that slow uploads announce: far more than they get to, but no more than a disk can set aside for all of them.
const ANNOUNCED: u64 = 64 << 20;
/// Clients that share a source address: each address has some 28,000 ports.
const EACH_ADDRESS: usize = 10_000;

/// What half-open connections have sent.
const HALVES: [&[u8]; 3] = [
    b"",
    b"GET /v2/images HTTP/1.1\r\nHost: lo",
    b"POST /v2/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
];

/// Clients in the middle of doing next to nothing.
#[derive(Debug)]
pub struct Crowd {
    address: SocketAddr,
    readers: Vec<TcpStream>,
    writers: Vec<TcpStream>,
    idle: Vec<TcpStream>,
    /// Images that the writers write to.
    images: Vec<String>,
    piece: Vec<u8>,
}

impl Crowd {
    /// Connects all: `readers` that download `data`, `writers` that upload to new images, and `idle` ones that have asked for `record`
    /// once.
    ///
    /// # Errors
    /// The server does not accept, or refuses a request.
    pub fn gather(
        address: SocketAddr,
        data: &str,
        record: &str,
        readers: usize,
        writers: usize,
        idle: usize,
    ) -> Result<Self> {
        let mut crowd = Self::nobody(address);
        let mut made = 0;
        let mut open = || {
            made += 1;
            connect(address, made / EACH_ADDRESS)
        };
        for _ in 0..idle {
            let mut socket = open()?;
            ask(&mut socket, &format!("GET {record} HTTP/1.1\r\nHost: {address}\r\n\r\n"), 200, true)?;
            crowd.idle.push(socket);
        }
        for _ in 0..readers {
            let mut socket = open()?;
            ask(&mut socket, &format!("GET {data} HTTP/1.1\r\nHost: {address}\r\n\r\n"), 200, false)?;
            socket.set_nonblocking(true).during(|| "a socket that does not block")?;
            crowd.readers.push(socket);
        }
        let mut maker = Connection::to(address);
        for number in 0..writers {
            let image = images::create(&mut maker, &format!("perf-slow-{number}"))?;
            let mut socket = open()?;
            let head = format!(
                "PUT {} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/octet-stream\r\nContent-Length: {ANNOUNCED}\r\n\r\n",
                images::data_target(&image.id)
            );
            socket.write_all(head.as_bytes()).during(|| "sending a head")?;
            socket.set_nonblocking(true).during(|| "a socket that does not block")?;
            crowd.writers.push(socket);
            crowd.images.push(image.id);
        }
        Ok(crowd)
    }

    /// Connects `count` clients that have said nothing, half of a head, or half of a body, in equal parts.
    ///
    /// # Errors
    /// The server does not accept.
    pub fn half_open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut crowd = Self::nobody(address);
        for number in 0..count {
            let mut socket = connect(address, number / EACH_ADDRESS)?;
            socket.write_all(HALVES[number % HALVES.len()]).during(|| "sending half of a request")?;
            crowd.idle.push(socket);
        }
        Ok(crowd)
    }

    fn nobody(address: SocketAddr) -> Self {
        Self {
            address,
            readers: Vec::new(),
            writers: Vec::new(),
            idle: Vec::new(),
            images: Vec::new(),
            piece: vec![0; SIP],
        }
    }

    /// Lets every reader and writer move a little, and waits a little.
    ///
    /// # Errors
    /// The server has closed one of them.
    pub fn tick(&mut self) -> Result<()> {
        for socket in &self.readers {
            match rustix::net::recv(socket, &mut self.piece[..], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(Error::Answer("a slow reader was closed".into())),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).during(|| "a slow reader"),
            }
        }
        for socket in &self.writers {
            match rustix::net::send(socket, &self.piece, SendFlags::NOSIGNAL) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).during(|| "a slow writer"),
            }
        }
        thread::sleep(PAUSE);
        Ok(())
    }

    /// Lets all go, and deletes the images that were written to as far as the server does by then.
    pub fn leave(self) {
        drop((self.readers, self.writers, self.idle));
        let mut connection = Connection::to(self.address);
        for id in &self.images {
            let _ = images::delete(&mut connection, id);
        }
    }
}

/// Connects from the loopback address number `source`.
fn connect(address: SocketAddr, source: usize) -> Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 1, u8::try_from(source).unwrap_or(u8::MAX).max(1));
    let connected = (|| {
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        rustix::net::connect(&socket, &address)?;
        Ok::<_, Errno>(TcpStream::from(socket))
    })();
    connected.during(|| format!("connecting from {source} to {address}"))
}

/// Sends a request and reads the head of the answer, and with `whole` its body.
fn ask(socket: &mut TcpStream, request: &str, status: u16, whole: bool) -> Result<()> {
    socket.write_all(request.as_bytes()).during(|| "sending a request")?;
    let mut text = Vec::new();
    let mut piece = [0; 2048];
    let head = loop {
        if let Some(head) = Head::parse(&text)? {
            break head;
        }
        let count = socket.read(&mut piece).during(|| "receiving a head")?;
        if count == 0 {
            return Err(Error::Http("the server closed before the end of a head".into()));
        }
        text.extend_from_slice(&piece[..count]);
    };
    if head.status != status {
        return Err(Error::Answer(format!("{} instead of {status}", head.status)));
    }
    let mut left = head.length.unwrap_or(0).saturating_sub((text.len() - head.size) as u64);
    while whole && left > 0 {
        let count = socket.read(&mut piece).during(|| "receiving a body")?;
        if count == 0 {
            return Err(Error::Bytes("a body that ends early".into()));
        }
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}
