//! Downloads: connections that ask for data, one request after another, and drop it in the kernel.
//!
//! The client must be leaner than any server. A thread with one connection blocks in `recv`; a few threads with many
//! connections wait on epoll and take whatever one ready connection has in one call. Heads are parsed, bodies never seen.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Done, together};
use crate::error::{During, Error, Result};
use crate::http::{Connection, Head};
use crate::images::expect;
use crate::payload::{Comparer, Noise, Payload};
use crate::standstill::Span;

/// How much one call may drop: more than a socket holds.
const PIECE: usize = 4 << 20;
/// Piece by which heads are read.
const HEAD_STEP: usize = 4096;
/// Ready connections that one wait tells of.
const EVENTS: usize = 64;
/// Longest wait on sockets that have nothing, before the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long nothing may come at all before a measurement is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// One request and what must come back.
#[derive(Debug, Clone)]
struct Request {
    text: Vec<u8>,
    status: u16,
    length: u64,
}

/// When a load ends.
#[derive(Debug, Clone)]
enum Until {
    /// Each connection has had this many answers.
    Answers(usize),
    /// This time has passed.
    Passed(Duration),
    /// Somebody has set this.
    Stopped(Arc<AtomicBool>),
}

impl Until {
    /// Whether the time to end has come, `elapsed` after the start.
    fn is_over(&self, elapsed: Duration) -> bool {
        match self {
            Self::Answers(_) => false,
            Self::Passed(time) => elapsed >= *time,
            Self::Stopped(stop) => stop.load(Ordering::Relaxed),
        }
    }

    /// Whether a connection is done after `answers`.
    fn is_done(&self, answers: usize) -> bool {
        matches!(self, Self::Answers(count) if answers >= *count)
    }
}

/// Time without data that is worth remembering.
const GAP: Duration = Duration::from_millis(1);

/// Connections ready to download.
#[derive(Debug)]
pub struct Pull {
    streams: Vec<Stream>,
    until: Until,
    threads: usize,
}

/// What downloads have done.
#[derive(Debug)]
pub struct Pulled {
    /// All of them together.
    pub done: Done,
    /// Bytes that each connection has got.
    pub shares: Vec<u64>,
    /// When a connection that waited for data got none for [`GAP`]; only kept by connections with a thread of their own.
    pub gaps: Vec<Span>,
}

impl Pull {
    /// `connections` connections, already made, that will each fetch the `size` bytes at `target`, `passes` times.
    ///
    /// # Errors
    /// The server does not accept.
    pub fn whole(address: SocketAddr, target: &str, size: u64, connections: usize, passes: usize) -> Result<Self> {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes();
        let requests: Arc<[Request]> = Arc::new([Request { text, status: 200, length: size }]);
        Self::new(address, connections, Until::Answers(passes), |_| requests.clone())
    }

    /// `connections` connections, already made, that will fetch `count` random ranges of `length` bytes between them, each one
    /// after another.
    ///
    /// # Errors
    /// The server does not accept, or the data at `target` is smaller than a range.
    pub fn ranges(
        address: SocketAddr,
        target: &str,
        size: u64,
        connections: usize,
        (count, length): (usize, u64),
    ) -> Result<Self> {
        let Some(places) = size.checked_sub(length) else {
            return Err(Error::Setup(format!("no range of {length} bytes in {size}")));
        };
        // The same places for every server and in every round.
        let mut noise = Noise::new(length);
        let each = count.div_ceil(connections.max(1));
        let request = |first: u64| {
            let last = first + length - 1;
            let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nRange: bytes={first}-{last}\r\n\r\n");
            Request { text: head.into_bytes(), status: 206, length }
        };
        Self::new(address, connections, Until::Answers(each), |_| {
            (0..each).map(|_| request(noise.below(places + 1))).collect()
        })
    }

    fn new(
        address: SocketAddr,
        connections: usize,
        until: Until,
        mut requests: impl FnMut(usize) -> Arc<[Request]>,
    ) -> Result<Self> {
        let streams: Vec<Stream> =
            (0..connections).map(|number| Stream::open(address, requests(number))).collect::<Result<_>>()?;
        let cores = thread::available_parallelism().during(|| "number of cores")?.get();
        Ok(Self { streams, until, threads: cores })
    }

    /// Ends after `time` instead, in the middle of whatever comes then; requests are repeated as long.
    #[must_use]
    pub fn for_time(mut self, time: Duration) -> Self {
        self.until = Until::Passed(time);
        self
    }

    /// Ends when `stop` is set instead, in the middle of whatever comes then; requests are repeated as long.
    #[must_use]
    pub fn until(mut self, stop: &Arc<AtomicBool>) -> Self {
        self.until = Until::Stopped(stop.clone());
        self
    }

    /// Gives each connection a thread of its own, which then knows the gaps of it.
    #[must_use]
    pub fn with_threads(mut self) -> Self {
        self.threads = self.streams.len();
        self
    }

    /// Downloads. Lengths are checked, bytes are not looked at.
    ///
    /// # Errors
    /// A download fails or has another length.
    pub fn run(self) -> Result<Pulled> {
        self.run_with(|| Ok(()))
    }

    /// Downloads, after each of the client's threads has called `prepare`.
    ///
    /// # Errors
    /// As of [`Self::run`], or `prepare` fails.
    pub fn run_with(self, prepare: impl Fn() -> Result<()> + Sync) -> Result<Pulled> {
        let until = self.until;
        let each = self.streams.len().div_ceil(self.threads.max(1)).max(1);
        let mut groups = Vec::new();
        let mut streams = self.streams.into_iter().peekable();
        while streams.peek().is_some() {
            groups.push(streams.by_ref().take(each).collect::<Vec<_>>());
        }
        let (ended, wall) = together(groups, |mut group: Vec<Stream>| {
            prepare()?;
            match group.as_mut_slice() {
                [stream] => stream.drain_alone(&until)?,
                many => drain_many(many, &until)?,
            }
            Ok(group)
        })?;
        let streams: Vec<Stream> = ended.into_iter().flatten().collect();
        let shares: Vec<u64> = streams.iter().map(|stream| stream.bytes).collect();
        let requests = streams.iter().map(|stream| stream.answers as u64).sum();
        let gaps = streams.into_iter().flat_map(|stream| stream.gaps).collect();
        Ok(Pulled { done: Done { bytes: shares.iter().sum(), requests, wall }, shares, gaps })
    }
}

/// A connection in the middle of its requests.
#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    requests: Arc<[Request]>,
    /// Answers that have come whole.
    answers: usize,
    /// What has come of a head; empty while a body comes.
    head: Vec<u8>,
    /// What is still to come of a body; `None` while a head is awaited.
    left: Option<u64>,
    bytes: u64,
    gaps: Vec<Span>,
}

impl Stream {
    fn open(address: SocketAddr, requests: Arc<[Request]>) -> Result<Self> {
        let socket = TcpStream::connect(address).during(|| format!("connecting to {address}"))?;
        socket.set_nodelay(true).during(|| "TCP_NODELAY")?;
        socket.set_read_timeout(Some(SILENCE_MAX)).during(|| "SO_RCVTIMEO")?;
        if requests.is_empty() {
            return Err(Error::Setup("nothing to ask for".into()));
        }
        Ok(Self { socket, requests, answers: 0, head: Vec::new(), left: None, bytes: 0, gaps: Vec::new() })
    }

    fn request(&self) -> &Request {
        &self.requests[self.answers % self.requests.len()]
    }

    fn ask(&mut self) -> Result<()> {
        let text = &self.requests[self.answers % self.requests.len()].text;
        // A request is far smaller than an empty send buffer, so that this does not wait, and is never cut.
        self.socket.write_all(text).during(|| "sending a request")
    }

    fn drain_alone(&mut self, until: &Until) -> Result<()> {
        let mut piece = vec![0; PIECE];
        self.ask()?;
        let begin = Instant::now();
        let mut last = begin;
        let mut data = false;
        loop {
            self.step(&mut piece)?;
            let now = Instant::now();
            if data && self.left.is_some() && now - last > GAP {
                self.gaps.push(last..now);
            }
            (data, last) = (self.left.is_some(), now);
            if until.is_done(self.answers) || until.is_over(now - begin) {
                return Ok(());
            }
            if self.left.is_none() && self.head.is_empty() {
                self.ask()?;
            }
        }
    }

    /// Receives once: what there is of a body, or of a head. `false` if nothing was there.
    fn step(&mut self, piece: &mut [u8]) -> Result<bool> {
        match self.left {
            Some(left) => self.drop_body(left, piece),
            None => self.read_head(piece),
        }
    }

    fn drop_body(&mut self, left: u64, piece: &mut [u8]) -> Result<bool> {
        let want = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        // With MSG_TRUNC, TCP drops the bytes instead of copying them (tcp(7)).
        let count = match rustix::net::recv(&self.socket, &mut piece[..want], RecvFlags::TRUNC) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Ok((_, 0)) => {
                return Err(Error::Bytes(format!("the connection ended {left} bytes before the end of a body")));
            }
            other => other.during(|| "receiving a body")?.1 as u64,
        };
        self.take(left, count);
        Ok(true)
    }

    fn read_head(&mut self, piece: &mut [u8]) -> Result<bool> {
        let count = match self.socket.read(&mut piece[..HEAD_STEP]) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Ok(0) => return Err(Error::Http("the server closed before the end of a head".into())),
            other => other.during(|| "receiving an answer")?,
        };
        self.head.extend_from_slice(&piece[..count]);
        let Some(head) = Head::parse(&self.head)? else { return Ok(true) };
        let Request { status, length, .. } = *self.request();
        if head.status != status || head.length != Some(length) {
            let text = String::from_utf8_lossy(&self.head).into_owned();
            return Err(Error::Answer(format!("instead of {status} with {length} bytes came:\n{text}")));
        }
        let here = (self.head.len() - head.size) as u64;
        self.head.clear();
        if here > length {
            return Err(Error::Http("bytes after the end of a body".into()));
        }
        self.take(length, here);
        Ok(true)
    }

    /// Counts `count` bytes of the `left` that were to come.
    fn take(&mut self, left: u64, count: u64) {
        self.bytes += count;
        if left == count {
            self.answers += 1;
            self.left = None;
        } else {
            self.left = Some(left.saturating_sub(count));
        }
    }
}

fn drain_many(streams: &mut [Stream], until: &Until) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).during(|| "epoll")?;
    for (stream, number) in streams.iter_mut().zip(0..) {
        stream.ask()?;
        stream.socket.set_nonblocking(true).during(|| "a socket that does not block")?;
        epoll::add(&epoll, &stream.socket, epoll::EventData::new_u64(number), epoll::EventFlags::IN)
            .during(|| "watching a socket")?;
    }
    let mut piece = vec![0; PIECE];
    let mut events = Vec::with_capacity(EVENTS);
    let (begin, tick) = (Instant::now(), rustix::fs::Timespec::try_from(TICK).map_err(std::io::Error::other));
    let tick = tick.during(|| "a timeout")?;
    let mut heard = begin;
    let mut open = streams.len();
    while open > 0 {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick)) {
            Err(Errno::INTR) => continue,
            other => other.during(|| "waiting for data")?,
        };
        let now = Instant::now();
        if until.is_over(now - begin) {
            return Ok(());
        }
        if !events.is_empty() {
            heard = now;
        } else if now - heard > SILENCE_MAX {
            return Err(Error::Answer(format!("nothing came for {SILENCE_MAX:?} on {open} connections")));
        }
        for event in &events {
            let number = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(stream) = streams.get_mut(number) else { continue };
            let before = stream.answers;
            stream.step(&mut piece)?;
            if stream.answers == before {
                continue;
            }
            if until.is_done(stream.answers) {
                epoll::delete(&epoll, &stream.socket).during(|| "watching a socket no more")?;
                open -= 1;
            } else {
                stream.ask()?;
            }
        }
    }
    Ok(())
}

/// Downloads the data at `target` once and compares every byte with `truth`.
///
/// # Errors
/// The download fails, or what comes is something else.
pub fn verify(address: SocketAddr, target: &str, truth: &Payload) -> Result<()> {
    let mut connection = Connection::to(address);
    let head = connection.request("GET", target, None)?;
    if head.status != 200 {
        return expect(&mut connection, &head, 200, "download").map(drop);
    }
    let mut comparer = Comparer::new(truth);
    let found = connection.inspect_body(&head, |piece| comparer.compare(piece))?;
    comparer.finish(found).map_err(|error| Error::Bytes(format!("{target} on {address}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;

    const BODY: u64 = 300_000;

    /// Serves any number of connections with answers of `BODY` bytes, in which a `Range` is honoured by its length; each
    /// connection is cut after `most` answers.
    fn server(most: usize) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").during(|| "test server")?;
        let address = listener.local_addr().during(|| "test server")?;
        thread::spawn(move || {
            for socket in listener.incoming().map_while(std::io::Result::ok) {
                thread::spawn(move || serve(&socket, most));
            }
        });
        Ok(address)
    }

    fn serve(mut socket: &TcpStream, most: usize) -> Option<()> {
        let mut lines = std::io::BufReader::new(socket.try_clone().ok()?).lines();
        for _ in 0..most {
            let (mut status, mut length) = (200, BODY);
            loop {
                let line = lines.next()?.ok()?;
                if line.is_empty() {
                    break;
                }
                if let Some((first, last)) = line.strip_prefix("Range: bytes=").and_then(|range| range.split_once('-'))
                {
                    status = 206;
                    length = last.parse::<u64>().ok()? - first.parse::<u64>().ok()? + 1;
                }
            }
            let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + usize::try_from(length).ok()?, b'x');
            socket.write_all(&answer).ok()?;
        }
        Some(())
    }

    #[test]
    fn every_way_of_waiting_counts_the_same() -> Result<()> {
        for connections in [1, 2, 9] {
            let pulled = Pull::whole(server(9)?, "/", BODY, connections, 3)?.run()?;
            assert_eq!(pulled.shares, vec![3 * BODY; connections]);
            assert_eq!(pulled.done.requests, 3 * connections as u64);
            assert_eq!(Pull::whole(server(9)?, "/", BODY, connections, 3)?.with_threads().run()?.shares, pulled.shares);
        }
        Ok(())
    }

    #[test]
    fn ranges_are_shared_out() -> Result<()> {
        let pulled = Pull::ranges(server(9)?, "/", BODY, 4, (10, 1000))?.run()?;
        assert_eq!(pulled.shares, [3000; 4]);
        assert!(Pull::ranges(server(9)?, "/", 999, 1, (1, 1000)).is_err());
        Ok(())
    }

    #[test]
    fn an_end_by_the_clock_is_in_the_middle() -> Result<()> {
        let time = Duration::from_millis(50);
        for connections in [1, 4] {
            let pulled = Pull::whole(server(1_000_000)?, "/", BODY, connections, 1)?.for_time(time).run()?;
            assert!(pulled.done.wall >= time && pulled.done.bytes > 0, "{pulled:?}");
        }
        Ok(())
    }

    #[test]
    fn another_length_and_an_early_end_are_errors() -> Result<()> {
        for connections in [1, 3] {
            assert!(Pull::whole(server(9)?, "/", BODY + 1, connections, 1)?.run().is_err());
            assert!(Pull::whole(server(1)?, "/", BODY, connections, 2)?.run().is_err());
        }
        Ok(())
    }
}
