//! The chunked coding, over pieces as a socket gives them.

use common::http::chunked::{Decoder, Step};

use crate::runner::{Amount, Runner};

/// Bytes that arrive at a time.
const ARRIVAL_BYTES: usize = 64 << 10;

/// Measures.
pub(crate) fn cases(runner: &mut Runner) {
    let bytes = runner.size(1 << 20, 64 << 10);
    for (name, chunk) in
        [("chunked/chunks of 64 KiB", 64 << 10), ("chunked/chunks of 1 KiB", 1024), ("chunked/chunks of 16 B", 16)]
    {
        runner.case(name, Amount::Bytes(bytes as u64), || {
            let wire = encode(bytes, chunk);
            move || assert_eq!(decode(&wire), bytes)
        });
    }
}

fn encode(bytes: usize, chunk: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..bytes / chunk {
        wire.extend(format!("{chunk:x}\r\n").into_bytes());
        wire.resize(wire.len() + chunk, b'x');
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

/// Bytes of the body. They stay where they are, as in an upload.
fn decode(wire: &[u8]) -> usize {
    let (mut decoder, mut body) = (Decoder::new(), 0);
    for mut arrived in wire.chunks(ARRIVAL_BYTES) {
        loop {
            match decoder.step(arrived).expect("a good body") {
                Step::Done { .. } => return body,
                Step::More { .. } => break,
                Step::Data { skip, data } => {
                    let take = usize::try_from(data).unwrap_or(usize::MAX).min(arrived.len() - skip);
                    decoder.consumed(take as u64);
                    body += take;
                    arrived = &arrived[skip + take..];
                    if arrived.is_empty() {
                        break;
                    }
                }
            }
        }
    }
    panic!("the body has no end");
}
