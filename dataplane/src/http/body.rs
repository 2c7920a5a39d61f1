//! The body of a request, or of another server's answer, out of its framing.

use std::io;

use common::Error;
use common::error::Kind;
use common::http::chunked::{Decoder, Step};
use common::http::head;

use super::input::Input;
use crate::io::{Buffer, Semaphore};

/// Bytes of a body that needs no turn: nearly all of them.
pub(crate) const SMALL_BODY_BYTES: usize = 64 * 1024;

/// A body that is being received.
#[derive(Debug)]
pub(crate) struct Body {
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// Bytes left.
    Length(u64),
    Chunked(Decoder),
    /// All that comes until the connection ends.
    UntilEnd,
    Done,
}

/// Why a body did not arrive.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection ended or broke first.
    Lost(io::Error),
    /// The framing is malformed.
    Malformed(Error),
}

impl Body {
    /// The body that `framing` announces.
    pub(crate) fn new(framing: head::Body) -> Self {
        let framing = match framing {
            head::Body::None => Framing::Done,
            head::Body::Length(length) => Framing::Length(length),
            head::Body::Chunked => Framing::Chunked(Decoder::new()),
        };
        Body { framing }
    }

    /// A body that ends with its connection, as answers may.
    pub(crate) fn until_end() -> Self {
        Body { framing: Framing::UntilEnd }
    }

    /// Whether all of it was taken: only then can another request follow on the connection.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.framing, Framing::Done)
    }

    /// Receives into the unfilled rest of `buffer`; `Ok(0)` once the body is complete.
    pub(crate) async fn receive(
        &mut self,
        input: &mut Input<'_>,
        mut buffer: Buffer,
    ) -> (Result<usize, BodyError>, Buffer) {
        let available = match self.available(input).await {
            Ok(0) => return (Ok(0), buffer),
            Ok(available) => available,
            Err(error) => return (Err(error), buffer),
        };
        if !input.bytes().is_empty() {
            let here = clamp(available).min(input.bytes().len());
            let count = buffer.fill(&input.bytes()[..here]);
            input.take(count);
            self.took(count);
            return (Ok(count), buffer);
        }
        let result;
        (result, buffer) = input.conn().recv_at_most(buffer, clamp(available)).await;
        match result {
            Ok(0) if matches!(self.framing, Framing::UntilEnd) => {
                self.framing = Framing::Done;
                (Ok(0), buffer)
            }
            Ok(0) => (Err(BodyError::Lost(io::ErrorKind::UnexpectedEof.into())), buffer),
            Ok(count) => {
                self.took(count);
                (Ok(count), buffer)
            }
            Err(error) => (Err(BodyError::Lost(error)), buffer),
        }
    }

    /// The whole body, if it has at most `bytes_max` bytes. One of more than [`SMALL_BODY_BYTES`] waits for one of the
    /// turns in `large`, which bound the memory of all.
    pub(crate) async fn collect(
        &mut self,
        input: &mut Input<'_>,
        bytes_max: usize,
        large: &Semaphore,
    ) -> Result<Vec<u8>, BodyError> {
        let mut collected = Vec::new();
        let mut turn = None;
        self.check_announced(bytes_max)?;
        loop {
            let available = self.available(input).await?;
            if available == 0 {
                return Ok(collected);
            }
            if input.bytes().is_empty() && input.receive(None).await.map_err(BodyError::Lost)? == 0 {
                return Err(BodyError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let count = clamp(available).min(input.bytes().len());
            if collected.len() + count > bytes_max {
                return Err(BodyError::Malformed(too_large(bytes_max)));
            }
            if collected.len() + count > SMALL_BODY_BYTES && turn.is_none() {
                turn = Some(large.acquire().await);
            }
            collected.extend_from_slice(&input.bytes()[..count]);
            input.take(count);
            self.took(count);
        }
    }

    /// Refuses a body whose announced length is more than `bytes_max`.
    pub(crate) fn check_announced(&self, bytes_max: usize) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(length) if length > bytes_max as u64 => Err(BodyError::Malformed(too_large(bytes_max))),
            _ => Ok(()),
        }
    }

    /// How many bytes of data come next, after any framing was read; 0 at the end of the body.
    async fn available(&mut self, input: &mut Input<'_>) -> Result<u64, BodyError> {
        loop {
            let step = match &mut self.framing {
                Framing::Done => return Ok(0),
                Framing::Length(left) => return Ok(*left),
                Framing::UntilEnd => return Ok(u64::MAX),
                Framing::Chunked(decoder) => decoder
                    .step(input.bytes())
                    .map_err(|error| BodyError::Malformed(Error::bad_request(error.to_string())))?,
            };
            match step {
                Step::Data { skip, data } => {
                    input.take(skip);
                    return Ok(data);
                }
                Step::Done { skip } => {
                    input.take(skip);
                    self.framing = Framing::Done;
                    return Ok(0);
                }
                Step::More { skip } => {
                    input.take(skip);
                    if input.receive(None).await.map_err(BodyError::Lost)? == 0 {
                        return Err(BodyError::Lost(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
        }
    }

    fn took(&mut self, count: usize) {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.saturating_sub(count as u64);
                if *left == 0 {
                    self.framing = Framing::Done;
                }
            }
            Framing::Chunked(decoder) => decoder.consumed(count as u64),
            Framing::UntilEnd | Framing::Done => {}
        }
    }
}

fn too_large(bytes_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("The request body is larger than {bytes_max} bytes."))
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
