//! One pass over the bytes of an upload: received into a buffer, and from that same buffer hashed, inspected and
//! written. A byte is never copied on the way.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use common::Error;
use common::config::Api;
use common::error::Kind;
use common::rpc::{Findings, UploadTicket};

use super::examine::Examiner;
use super::reservation::Reservation;
use super::writes::Writes;
use crate::hash::Pool;
use crate::http::body::{Body, BodyError};
use crate::http::input::Input;
use crate::io::{BUFFER_BYTES, Buffer, BufferPool, Frozen, Progress, timeout, yield_now};
use crate::store::{StoreError, Writer};

/// What the bytes of an upload came to.
pub(crate) struct Received {
    /// How many there were.
    pub(crate) size: u64,
    /// What was found out, where the ticket asks for it.
    pub(crate) findings: Option<Findings>,
}

/// Why an upload ended early.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// The client went away or broke the framing.
    Client(BodyError),
    /// The client sends too slowly.
    Slow,
    /// More or fewer bytes than promised or allowed, or others than the image claims.
    Refused(Error),
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

/// Receives the whole body into `writer`. `buffers`: how many of [`BUFFER_BYTES`] may be on their way at once.
///
/// # Errors
/// [`Interrupted`]; what was written stays with the writer.
pub(crate) async fn receive(
    (ticket, mut reservation): (&UploadTicket, Reservation<'_>),
    buffers: NonZeroUsize,
    hashes: &Pool<Frozen>,
    api: &Api,
    writer: &Writer<'_>,
    (input, body): (&mut Input<'_>, &mut Body),
    mut pace: Pace<'_>,
) -> Result<Received, Interrupted> {
    let pool = BufferPool::new(buffers.get())?;
    let examination = ticket.examination.as_ref();
    let mut examiner = examination.map(|wanted| Examiner::new(wanted, hashes, buffers)).transpose()?;
    let mut writes = Writes::new(writer, buffers.get());
    let mut size = 0;
    loop {
        // The next buffer arrives while those before it are hashed and written.
        let buffer = writes.buffer(&pool).await?;
        let buffer = writes.beside(fill(buffer, input, body, &mut pace)).await?;
        if buffer.is_empty() {
            break;
        }
        let offset = size;
        size += buffer.len() as u64;
        check_size(ticket.expected_size, ticket.size_max, size)?;
        writes.beside(async { reservation.cover(size).await.map_err(Interrupted::Refused) }).await?;
        let last = buffer.len() < BUFFER_BYTES;
        let frozen = buffer.freeze();
        if let Some(examiner) = &mut examiner {
            examiner.feed(&frozen)?;
        }
        writes.start(frozen, offset).await?;
        if last {
            break;
        }
    }
    check_complete(ticket.expected_size, size)?;
    let findings = match examiner {
        Some(examiner) => Some(writes.beside(examiner.finish(size, api)).await?),
        None => None,
    };
    writes.finish().await?;
    Ok(Received { size, findings })
}

/// `buffer` full, or with what is left of the body.
pub(super) async fn fill(
    mut buffer: Buffer,
    input: &mut Input<'_>,
    body: &mut Body,
    pace: &mut Pace<'_>,
) -> Result<Buffer, Interrupted> {
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

/// Refuses more bytes than promised or allowed.
pub(crate) fn check_size(expected: Option<u64>, size_max: u64, size: u64) -> Result<(), Interrupted> {
    if let Some(expected) = expected
        && size > expected
    {
        let message = format!("Size exceeds: expected {expected} bytes, got {size} bytes");
        return Err(Interrupted::Refused(Error::bad_request(message)));
    }
    if size > size_max {
        let message = "The incoming image is too large: The provided image is too large.";
        return Err(Interrupted::Refused(Error::new(Kind::TooLarge, message)));
    }
    Ok(())
}

/// Refuses fewer bytes than promised.
pub(crate) fn check_complete(expected: Option<u64>, size: u64) -> Result<(), Interrupted> {
    match expected {
        Some(expected) if size < expected => {
            let message = format!("Size mismatch: expected {expected} bytes, got {size} bytes");
            Err(Interrupted::Refused(Error::bad_request(message)))
        }
        _ => Ok(()),
    }
}
