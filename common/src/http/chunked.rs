//! The chunked transfer coding, decoded as a state machine over whatever bytes have arrived.
//!
//! Source: RFC 9112 section 7.1. Strict: line ends are CR LF, sizes are bare hexadecimal digits, extensions and trailers
//! follow their grammar, so that no bytes pass for either that another reader would take for a request. Both are read
//! and dropped.

/// Most bytes of the extensions of one chunk.
pub const EXTENSION_BYTES_MAX: usize = 1024;

/// Most bytes of the extensions of all chunks of a body: they cost as much to read as data and bring nothing.
pub const EXTENSIONS_BYTES_MAX: usize = 64 * 1024;

/// Most bytes of trailers after the last chunk.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Most hexadecimal digits of a chunk size: what fits in 63 bits.
const SIZE_DIGITS_MAX: u32 = 15;

/// A body that is not in the chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunked body is malformed: {0}")]
pub struct Malformed(&'static str);

/// What the next bytes of the stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first `skip` bytes were framing; up to `data` bytes of the body follow them.
    Data {
        /// Framing bytes to drop.
        skip: usize,
        /// Body bytes that may follow, possibly more than have arrived.
        data: u64,
    },
    /// The first `skip` bytes were framing, and more framing must arrive.
    More {
        /// Framing bytes to drop.
        skip: usize,
    },
    /// The first `skip` bytes were framing and the body is complete.
    Done {
        /// Framing bytes to drop.
        skip: usize,
    },
}

/// Where in the coding the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u32 },
    Extension { seen: usize, part: Part },
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart { seen: usize },
    TrailerName { seen: usize },
    TrailerValue { seen: usize },
    TrailerLf { seen: usize },
    LastLf,
    Done,
}

/// Where in a chunk's extensions, `;name=value;name="value";name`, the stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// After `;`: a name must follow.
    Begin,
    Name,
    /// White space after a name: `=` or `;` must follow.
    Named,
    /// After `=`: a value must follow.
    Equals,
    Value,
    Quoted,
    /// After a backslash within quotes.
    Escaped,
    /// After the quotes.
    Closed,
    /// White space after a value: `;` must follow.
    Ended,
}

/// The decoder of one body. Feed it with [`Decoder::step`] and tell it with [`Decoder::consumed`] how many bytes of
/// data were taken.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    left: u64,
    /// Bytes of extensions so far.
    extensions: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the first chunk's size.
    pub fn new() -> Self {
        Decoder { state: State::Size { value: 0, digits: 0 }, left: 0, extensions: 0 }
    }

    /// Body bytes left in the current chunk.
    pub fn data_left(&self) -> u64 {
        self.left
    }

    /// Takes `count` bytes of data out of the current chunk. More than [`Decoder::data_left`] counts as all of it.
    pub fn consumed(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 && self.state == State::Data {
            self.state = State::DataCr;
        }
    }

    /// Reads framing from the front of `bytes` until data or the end is reached.
    ///
    /// # Errors
    /// [`Malformed`]: the connection cannot be trusted any further.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Malformed> {
        let mut skip = 0;
        loop {
            match self.state {
                State::Data => return Ok(Step::Data { skip, data: self.left }),
                State::Done => return Ok(Step::Done { skip }),
                _ => {}
            }
            let Some(&byte) = bytes.get(skip) else { return Ok(Step::More { skip }) };
            skip += 1;
            self.state = self.advance(byte)?;
        }
    }

    fn advance(&mut self, byte: u8) -> Result<State, Malformed> {
        Ok(match self.state {
            State::Size { value, digits } => self.size(value, digits, byte)?,
            State::Extension { seen, part } => self.extension(seen, part, byte)?,
            State::SizeLf => {
                expect(byte, b'\n', "no line feed after a chunk size")?;
                if self.left == 0 { State::TrailerStart { seen: 0 } } else { State::Data }
            }
            State::DataCr => {
                expect(byte, b'\r', "a chunk is longer than its size")?;
                State::DataLf
            }
            State::DataLf => {
                expect(byte, b'\n', "no line feed after a chunk")?;
                State::Size { value: 0, digits: 0 }
            }
            State::TrailerStart { .. } if byte == b'\r' => State::LastLf,
            State::TrailerStart { seen } => trailer_name(seen, false, byte)?,
            State::TrailerName { seen } => trailer_name(seen, true, byte)?,
            State::TrailerValue { seen } => trailer_value(seen, byte)?,
            State::TrailerLf { seen } => {
                expect(byte, b'\n', "no line feed after a trailer")?;
                State::TrailerStart { seen }
            }
            State::LastLf => {
                expect(byte, b'\n', "no line feed after the last chunk")?;
                State::Done
            }
            state @ (State::Data | State::Done) => state,
        })
    }

    fn size(&mut self, value: u64, digits: u32, byte: u8) -> Result<State, Malformed> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(Malformed("a chunk size is too large"));
            }
            return Ok(State::Size { value: value * 16 + u64::from(digit), digits: digits + 1 });
        }
        if digits == 0 {
            return Err(Malformed("a chunk size is not hexadecimal"));
        }
        self.left = value;
        match byte {
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::Extension { seen: 1, part: Part::Begin }),
            _ => Err(Malformed("a chunk size is not hexadecimal")),
        }
    }

    fn extension(&mut self, seen: usize, part: Part, byte: u8) -> Result<State, Malformed> {
        self.extensions += 1;
        if seen >= EXTENSION_BYTES_MAX || self.extensions > EXTENSIONS_BYTES_MAX {
            return Err(Malformed("the chunk extensions are too long"));
        }
        let part = match (part, byte) {
            (Part::Name | Part::Value | Part::Closed, b'\r') => return Ok(State::SizeLf),
            (Part::Name | Part::Named | Part::Value | Part::Closed | Part::Ended, b';') => Part::Begin,
            (Part::Name | Part::Named, b'=') => Part::Equals,
            (Part::Equals, b'"') => Part::Quoted,
            (Part::Quoted, b'"') => Part::Closed,
            (Part::Quoted, b'\\') => Part::Escaped,
            (Part::Quoted | Part::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Part::Quoted,
            (Part::Begin | Part::Equals, b' ' | b'\t') => part,
            (Part::Name | Part::Named, b' ' | b'\t') => Part::Named,
            (Part::Value | Part::Closed | Part::Ended, b' ' | b'\t') => Part::Ended,
            (Part::Begin | Part::Name, byte) if is_token(byte) => Part::Name,
            (Part::Equals | Part::Value, byte) if is_token(byte) => Part::Value,
            _ => return Err(Malformed("a chunk extension is not one")),
        };
        Ok(State::Extension { seen: seen + 1, part })
    }
}

/// A byte of a trailer's name, or the colon after it; `begun`: it is not the first.
fn trailer_name(seen: usize, begun: bool, byte: u8) -> Result<State, Malformed> {
    if seen >= TRAILER_BYTES_MAX {
        return Err(Malformed("the trailers are too long"));
    }
    match byte {
        b':' if begun => Ok(State::TrailerValue { seen: seen + 1 }),
        byte if is_token(byte) => Ok(State::TrailerName { seen: seen + 1 }),
        _ => Err(Malformed("a trailer has no name")),
    }
}

fn trailer_value(seen: usize, byte: u8) -> Result<State, Malformed> {
    if seen >= TRAILER_BYTES_MAX {
        return Err(Malformed("the trailers are too long"));
    }
    match byte {
        b'\r' => Ok(State::TrailerLf { seen: seen + 1 }),
        b'\t' | b' '..=b'~' | 0x80.. => Ok(State::TrailerValue { seen: seen + 1 }),
        _ => Err(Malformed("a trailer holds a control character")),
    }
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn expect(byte: u8, want: u8, problem: &'static str) -> Result<(), Malformed> {
    if byte == want { Ok(()) } else { Err(Malformed(problem)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `wire` fed in pieces of `piece` bytes; the body, and how many bytes were left over.
    fn decode(wire: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let mut decoder = Decoder::new();
        let mut body = Vec::new();
        let mut window: Vec<u8> = Vec::new();
        let mut fed = 0;
        loop {
            match decoder.step(&window)? {
                Step::Done { skip } => {
                    return Ok(Some((body, window.len() - skip + wire.len() - fed)));
                }
                Step::Data { skip, data } => {
                    window.drain(..skip);
                    let take = window.len().min(usize::try_from(data).unwrap_or(usize::MAX));
                    body.extend(window.drain(..take));
                    decoder.consumed(take as u64);
                    if take > 0 {
                        continue;
                    }
                }
                Step::More { skip } => {
                    window.drain(..skip);
                }
            }
            if fed == wire.len() {
                return Ok(None);
            }
            let next = (fed + piece).min(wire.len());
            window.extend(&wire[fed..next]);
            fed = next;
        }
    }

    #[test]
    fn bodies_decode_however_they_arrive() {
        let wire = b"4\r\nWiki\r\n5;a=\"b;c\"\r\npedia\r\n0\r\nTrailer: x\r\n\r\nGET";
        for piece in 1..=wire.len() {
            assert_eq!(decode(wire, piece), Ok(Some((b"Wikipedia".to_vec(), 3))), "{piece}");
        }
        assert_eq!(decode(b"5\r\nhel", 64), Ok(None));
        assert_eq!(decode(b"0\r\n\r\n", 1), Ok(Some((Vec::new(), 0))));
    }

    #[test]
    fn malformed_bodies_are_refused() {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(EXTENSION_BYTES_MAX));
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1000));
        let many = format!("{}0\r\n\r\n", chunk.repeat(EXTENSIONS_BYTES_MAX / 1000 + 1));
        let trailers = format!("0\r\n{}\r\n\r\n", "T: x\r\n".repeat(TRAILER_BYTES_MAX));
        let cases: &[&[u8]] = &[
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"-5\r\n",
            b"5_0\r\n",
            b" 5\r\nhello\r\n",
            b"5 \r\nhello\r\n",
            b"\r\n",
            b"11111111111111111\r\n",
            b"5;\r\nhello\r\n",
            b"5;\0\r\nhello\r\n",
            b"5;a\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"0\r\n\0\r\n",
            b"5\rhello",
            b"0\r\n\r0",
            b"5;=b\r\nhello\r\n",
            b"5;a=\r\nhello\r\n",
            b"5;a b\r\nhello\r\n",
            b"5;a=b c\r\nhello\r\n",
            b"5;a=\"b\r\nhello\r\n",
            b"5;a=\"b\"c\r\nhello\r\n",
            b"5;a@b\r\nhello\r\n",
            b"5;a \r\nhello\r\n",
            b"5;a=b \r\nhello\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            b"0\r\n: x\r\n\r\n",
            b"0\r\n folded\r\n\r\n",
            b"0\r\nT : x\r\n\r\n",
            long.as_bytes(),
            many.as_bytes(),
            trailers.as_bytes(),
        ];
        for wire in cases {
            for piece in [1, 7, wire.len()] {
                assert!(decode(wire, piece).is_err(), "{:?}", String::from_utf8_lossy(wire));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_chunking_gives_the_body(chunks in proptest::collection::vec(proptest::collection::vec(0u8.., 1..50), 0..8), piece in 1usize..40) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            proptest::prop_assert_eq!(decode(&wire, piece), Ok(Some((chunks.concat(), 0))));
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(0u8.., 0..200), piece in 1usize..40) {
            let _ = decode(&noise, piece);
        }
    }
}
