//! Chunked bodies: any arrival gives the same body and the same end; where there are neither extensions nor trailers, whose
//! grammar has tests of its own, it is the one that a model over the whole slice gives.

use common::http::chunked::{Decoder, Step};

/// Longest input that is cut at every place: the work grows with the square of it.
const EVERY_CUT_BYTES_MAX: usize = 300;

/// A body as its bytes.
pub fn run(wire: &[u8]) {
    let wanted = decode(wire, [wire.len()]);
    let mut body = Vec::new();
    if let Some(end) = model(wire, &mut body) {
        assert_eq!(wanted, (end, body), "in one piece");
    }
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

/// RFC 9112 section 7.1 read from a slice; `None` where an extension or a trailer begins.
fn model(wire: &[u8], body: &mut Vec<u8>) -> Option<End> {
    let mut at = 0;
    loop {
        let digits = wire[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 15 {
            return Some(End::Malformed);
        }
        let size = wire[at..at + digits]
            .iter()
            .fold(0, |size, digit| size * 16 + u64::from(char::from(*digit).to_digit(16).unwrap_or_default()));
        at += digits;
        match wire.get(at) {
            None => return Some(End::Incomplete),
            Some(b'\r') if digits > 0 => {}
            Some(b';' | b' ' | b'\t') if digits > 0 => return None,
            Some(_) => return Some(End::Malformed),
        }
        if let Err(end) = literal(wire, &mut at, b"\r\n") {
            return Some(end);
        }
        if size == 0 {
            return match wire.get(at) {
                None | Some(b'\r') => Some(literal(wire, &mut at, b"\r\n").err().unwrap_or(End::Complete(at))),
                Some(_) => None,
            };
        }
        let data = usize::try_from(size).unwrap_or(usize::MAX).min(wire.len() - at);
        body.extend(&wire[at..at + data]);
        at += data;
        if data as u64 != size {
            return Some(End::Incomplete);
        }
        if let Err(end) = literal(wire, &mut at, b"\r\n") {
            return Some(end);
        }
    }
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
