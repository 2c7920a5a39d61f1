//! Chunked bodies: any arrival gives the same body and the same end, and it is the one that a model over the whole slice
//! gives.

use common::http::chunked::{Decoder, LINE_BYTES_MAX, Step, TRAILER_BYTES_MAX};

/// Longest input that is cut at every place: the work grows with the square of it.
const EVERY_CUT_BYTES_MAX: usize = 300;

/// A body as its bytes.
pub fn run(wire: &[u8]) {
    let mut body = Vec::new();
    let end = model(wire, &mut body);
    let wanted = (end, body);
    assert_eq!(decode(wire, [wire.len()]), wanted, "in one piece");
    assert_eq!(decode(wire, 1..=wire.len()), wanted, "byte by byte");
    let step = if wire.len() <= EVERY_CUT_BYTES_MAX { 1 } else { 97 };
    for cut in (1..wire.len()).step_by(step) {
        assert_eq!(decode(wire, [cut, wire.len()]), wanted, "cut at {cut}");
    }
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// More must arrive.
    Incomplete,
    /// The body was complete after so many bytes.
    Complete(usize),
    Malformed,
}

/// Decodes a body of which first `ends[0]` bytes have arrived, then `ends[1]`, and so on.
fn decode(wire: &[u8], ends: impl IntoIterator<Item = usize>) -> (End, Vec<u8>) {
    let mut decoder = Decoder::new();
    let (mut body, mut at) = (Vec::new(), 0);
    for end in ends {
        loop {
            match decoder.step(&wire[at..end]) {
                Err(_) => return (End::Malformed, body),
                Ok(Step::Done { skip }) => return (End::Complete(at + skip), body),
                Ok(Step::More { skip }) => {
                    at += skip;
                    assert_eq!(at, end, "framing is left behind");
                    break;
                }
                Ok(Step::Data { skip, data }) => {
                    at += skip;
                    assert!(data > 0 && data == decoder.data_left());
                    let take = usize::try_from(data).unwrap_or(usize::MAX).min(end - at);
                    body.extend(&wire[at..at + take]);
                    decoder.consumed(take as u64);
                    at += take;
                    if at == end {
                        break;
                    }
                }
            }
        }
    }
    (End::Incomplete, body)
}

/// RFC 9112 section 7.1 read from a slice, with the limits of the product.
fn model(wire: &[u8], body: &mut Vec<u8>) -> End {
    let mut at = 0;
    loop {
        let digits = wire[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 15 {
            return End::Malformed;
        }
        let size = wire[at..at + digits]
            .iter()
            .fold(0, |size, digit| size * 16 + u64::from(char::from(*digit).to_digit(16).unwrap_or_default()));
        at += digits;
        match wire.get(at) {
            None => return End::Incomplete,
            Some(b'\r') if digits > 0 => {}
            Some(b';') if digits > 0 => match line(&wire[at + 1..], LINE_BYTES_MAX - 1, true) {
                Ok(length) if length > 0 => at += 1 + length,
                Ok(_) | Err(End::Malformed) => return End::Malformed,
                Err(end) => return end,
            },
            Some(_) => return End::Malformed,
        }
        if let Err(end) = literal(wire, &mut at, b"\r\n") {
            return end;
        }
        if size == 0 {
            return trailers(wire, at);
        }
        let data = usize::try_from(size).unwrap_or(usize::MAX).min(wire.len() - at);
        body.extend(&wire[at..at + data]);
        at += data;
        if data as u64 != size {
            return End::Incomplete;
        }
        if let Err(end) = literal(wire, &mut at, b"\r\n") {
            return end;
        }
    }
}

fn trailers(wire: &[u8], mut at: usize) -> End {
    let mut left = TRAILER_BYTES_MAX;
    loop {
        if wire.get(at).is_none_or(|byte| *byte == b'\r') {
            return literal(wire, &mut at, b"\r\n").err().unwrap_or(End::Complete(at));
        }
        let length = match line(&wire[at..], left, false) {
            Ok(length) => length,
            Err(end) => return end,
        };
        at += length;
        // The carriage return counts, the line feed does not.
        left -= length + 1;
        if let Err(end) = literal(wire, &mut at, b"\r\n") {
            return end;
        }
    }
}

/// Bytes before the carriage return at the front of `wire`; with it they may be `limit`. With `quotes`, one inside double
/// quotes is a control character like any other.
fn line(wire: &[u8], limit: usize, quotes: bool) -> Result<usize, End> {
    let mut quoted = false;
    for (count, byte) in wire.iter().enumerate() {
        if count == limit {
            return Err(End::Malformed);
        }
        match byte {
            b'\r' if !quoted => return Ok(count),
            b'"' => quoted = quotes && !quoted,
            0..=8 | 10..=31 | 0x7f => return Err(End::Malformed),
            _ => {}
        }
    }
    Err(End::Incomplete)
}

fn literal(wire: &[u8], at: &mut usize, text: &[u8]) -> Result<(), End> {
    for want in text {
        match wire.get(*at) {
            None => return Err(End::Incomplete),
            Some(byte) if byte == want => *at += 1,
            Some(_) => return Err(End::Malformed),
        }
    }
    Ok(())
}
