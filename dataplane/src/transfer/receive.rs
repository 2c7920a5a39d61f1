//! One pass over the bytes of an upload: received into a buffer, and from that same buffer hashed, inspected and
//! written. A byte is never copied on the way.

use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::{Duration, Instant};

use common::Error;
use common::error::Kind;
use common::rpc::UploadTicket;

use crate::futures::{Either, race};
use crate::hash::{Algorithm, Pool, Stream};
use crate::http::body::{Body, BodyError};
use crate::http::input::Input;
use crate::inspect::Inspector;
use crate::io::{BUFFER_BYTES, Buffer, BufferPool, Frozen, MailSender, Mailbox, Progress, mailbox, timeout, yield_now};
use crate::store::{Pending, StoreError, Writer};

/// What the bytes of an upload came to.
pub(crate) struct Received {
    /// How many there were.
    pub(crate) size: u64,
    /// MD5, hexadecimal.
    pub(crate) checksum: String,
    /// The ticket's digest, hexadecimal.
    pub(crate) hash_value: String,
    /// What they look like, where somebody asked.
    pub(crate) inspector: Option<Inspector>,
}

/// Why an upload ended early.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The client went away or broke the framing.
    Client(BodyError),
    /// The client sends too slowly.
    Slow,
    /// More or fewer bytes than promised or allowed.
    Size(Error),
    /// The store failed.
    Store(StoreError),
    /// The machine failed.
    Broken(std::io::Error),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        Interrupted::Store(error)
    }
}

impl From<BodyError> for Interrupted {
    fn from(error: BodyError) -> Self {
        Interrupted::Client(error)
    }
}

impl From<std::io::Error> for Interrupted {
    fn from(error: std::io::Error) -> Self {
        Interrupted::Broken(error)
    }
}

/// The two digests of one upload, each a stream of its own: with those of other uploads they fill lanes, alone they are a pair.
struct Digests {
    md5: Stream<Frozen>,
    other: Stream<Frozen>,
    sender: MailSender<(Which, String)>,
    home: Mailbox<(Which, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Md5,
    Other,
}

impl Digests {
    fn new(pool: &Pool<Frozen>, algorithm: Algorithm, depth: NonZeroUsize) -> std::io::Result<Self> {
        let (sender, seed) = mailbox(2)?;
        let home = seed.attach()?;
        Ok(Digests { md5: pool.open(Algorithm::Md5, depth), other: pool.open(algorithm, depth), sender, home })
    }

    fn submit(&mut self, bytes: &Frozen) -> Result<(), Interrupted> {
        let submitted = self.md5.submit_both(&mut self.other, bytes);
        submitted.map_err(|error| Interrupted::Broken(std::io::Error::other(error)))
    }

    /// Both digests, once the last buffer is hashed.
    async fn finish(self) -> Result<(String, String), Interrupted> {
        let closed = |error| Interrupted::Broken(std::io::Error::other(error));
        for (which, stream) in [(Which::Md5, self.md5), (Which::Other, self.other)] {
            let sender = self.sender.clone();
            // Never full: it has room for both.
            stream.finish(move |digest| drop(sender.post((which, digest)))).map_err(closed)?;
        }
        let (first, second) = (self.home.recv().await, self.home.recv().await);
        Ok(if first.0 == Which::Md5 { (first.1, second.1) } else { (second.1, first.1) })
    }
}

/// Receives the whole body into `writer`. `buffers`: how many of [`BUFFER_BYTES`] may be on their way at once.
///
/// # Errors
/// [`Interrupted`]; what was written stays with the writer.
pub(crate) async fn receive(
    ticket: &UploadTicket,
    algorithm: Algorithm,
    buffers: NonZeroUsize,
    hashes: &Pool<Frozen>,
    writer: &Writer<'_>,
    (input, body): (&mut Input<'_>, &mut Body),
    mut pace: Pace<'_>,
) -> Result<Received, Interrupted> {
    let pool = BufferPool::new(buffers.get())?;
    let mut digests = Digests::new(hashes, algorithm, buffers)?;
    let mut inspector = (ticket.container_format == "bare").then(Inspector::new);
    let mut writes = Writes { writer, in_flight: VecDeque::with_capacity(buffers.get()) };
    let mut size = 0;
    loop {
        // The next buffer arrives while those before it are hashed and written.
        let buffer = writes.beside(fill(&pool, input, body, &mut pace)).await?;
        if buffer.is_empty() {
            break;
        }
        let offset = size;
        size += buffer.len() as u64;
        check_size(ticket, size)?;
        if let Some(inspector) = &mut inspector {
            inspector.feed(&buffer);
        }
        let last = buffer.len() < BUFFER_BYTES;
        let frozen = buffer.freeze();
        digests.submit(&frozen)?;
        writes.start(frozen, offset).await?;
        if last {
            break;
        }
    }
    check_complete(ticket, size)?;
    let (checksum, hash_value) = writes.beside(digests.finish()).await?;
    writes.finish().await?;
    Ok(Received { size, checksum, hash_value, inspector })
}

/// The writes of an upload that are on their way, oldest first. There are no more of them than buffers.
struct Writes<'a> {
    writer: &'a Writer<'a>,
    in_flight: VecDeque<Pending<'a>>,
}

impl<'a> Writes<'a> {
    async fn start(&mut self, bytes: Frozen, offset: u64) -> Result<(), Interrupted> {
        let pending = self.writer.start_write(bytes, offset).await?;
        self.in_flight.push_back(pending);
        Ok(())
    }

    /// Waits for `work`, and ends it if a write fails meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = Result<T, Interrupted>>) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        loop {
            match race(self.oldest(), work.as_mut()).await {
                Either::First(written) => written?,
                Either::Second(done) => return done,
            }
        }
    }

    /// Waits for the oldest write, for ever if there is none.
    async fn oldest(&mut self) -> Result<(), Interrupted> {
        let Some(oldest) = self.in_flight.front_mut() else { return std::future::pending().await };
        oldest.done().await?;
        self.in_flight.pop_front();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Interrupted> {
        while !self.in_flight.is_empty() {
            self.oldest().await?;
        }
        Ok(())
    }
}

/// A full buffer, or what is left of the body.
async fn fill(
    pool: &BufferPool,
    input: &mut Input<'_>,
    body: &mut Body,
    pace: &mut Pace<'_>,
) -> Result<Buffer, Interrupted> {
    let mut buffer = pool.get().await;
    let mut pieces = 0;
    while buffer.room() > 0 {
        let count;
        (count, buffer) = pace.receive(input, body, buffer).await?;
        if count == 0 {
            break;
        }
        pieces += 1;
        if pieces % PIECES_PER_TURN == 0 {
            yield_now().await;
        }
    }
    Ok(buffer)
}

/// Pieces of a buffer that are taken before other tasks have their turn: they may all have arrived already.
const PIECES_PER_TURN: u32 = 1024;

/// How long the client is waited for before its rate is looked at.
const RATE_PERIOD: Duration = Duration::from_secs(10);

/// The least rate at which a client must send, counted while we wait for it and not while it waits for us.
#[derive(Debug)]
pub(crate) struct Pace<'a> {
    /// All bytes that came.
    progress: &'a Progress,
    /// Bytes a second; 0 takes any.
    rate: u64,
    waited: Duration,
    bytes: u64,
}

impl<'a> Pace<'a> {
    /// At least `rate` bytes a second; what comes is added to `progress`.
    pub(crate) fn new(rate: u64, progress: &'a Progress) -> Self {
        Pace { progress, rate, waited: Duration::ZERO, bytes: 0 }
    }

    async fn receive(
        &mut self,
        input: &mut Input<'_>,
        body: &mut Body,
        buffer: Buffer,
    ) -> Result<(usize, Buffer), Interrupted> {
        if self.rate == 0 {
            let (result, buffer) = body.receive(input, buffer).await;
            let count = result?;
            self.progress.add(count as u64);
            return Ok((count, buffer));
        }
        let begun = Instant::now();
        let received = timeout(RATE_PERIOD, body.receive(input, buffer)).await;
        let (result, buffer) = received.map_err(|_| Interrupted::Slow)?;
        let count = result?;
        self.progress.add(count as u64);
        self.waited += begun.elapsed();
        self.bytes += count as u64;
        if self.waited >= RATE_PERIOD {
            if self.bytes < self.rate.saturating_mul(RATE_PERIOD.as_secs()) {
                return Err(Interrupted::Slow);
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok((count, buffer))
    }
}

fn check_size(ticket: &UploadTicket, size: u64) -> Result<(), Interrupted> {
    if let Some(expected) = ticket.expected_size
        && size > expected
    {
        let message = format!("Size exceeds: expected {expected} bytes, got {size} bytes");
        return Err(Interrupted::Size(Error::bad_request(message)));
    }
    if size > ticket.size_max {
        let message = "The incoming image is too large: The provided image is too large.";
        return Err(Interrupted::Size(Error::new(Kind::TooLarge, message)));
    }
    Ok(())
}

fn check_complete(ticket: &UploadTicket, size: u64) -> Result<(), Interrupted> {
    match ticket.expected_size {
        Some(expected) if size < expected => {
            let message = format!("Size mismatch: expected {expected} bytes, got {size} bytes");
            Err(Interrupted::Size(Error::bad_request(message)))
        }
        _ => Ok(()),
    }
}
