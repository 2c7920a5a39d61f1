//! Format inspection: one verdict for any cut of the stream, and nothing more to see once it is settled.

use std::borrow::Cow;

use dataplane::inspect::{Format, Inspector, Verdict, decide};

/// Longest stream: a little more than the furthest place where a sound VHDX keeps its metadata.
const STREAM_BYTES_MAX: usize = 1200 << 10;

/// A stream, then up to 16 lengths of pieces and their number. After `z` the stream is written as pieces of a zeroed one,
/// each an offset (four bytes, big endian), a length (one byte) and as many bytes.
pub fn run(data: &[u8]) {
    let (stream, lengths) = decode(data);
    judge(&stream, lengths);
}

/// The stream that an input means, and the lengths.
pub(super) fn decode(data: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let (body, lengths) = split(data);
    match body.strip_prefix(b"z") {
        Some(writes) => (Cow::Owned(changed(Vec::new(), writes)), lengths),
        None => (Cow::Borrowed(body), lengths),
    }
}

/// An input without what stands at its end: up to 16 lengths and their number.
pub(super) fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = data.split_last() else { return (data, data) };
    rest.split_at(rest.len() - usize::from(count % 17).min(rest.len()))
}

/// Asserts that `stream` is judged alike however it is cut, and that the verdict makes sense; gives the verdict.
pub fn judge(stream: &[u8], lengths: &[u8]) -> Verdict {
    let whole = verdict(std::iter::once(stream));
    // Small pieces of a large stream would take most of the time, and its zeroes tell nothing.
    if stream.len() <= 4096 {
        assert_eq!(whole, verdict(super::pieces(stream, lengths)), "in pieces of {lengths:?}");
        assert_eq!(whole, verdict(stream.chunks(1)), "byte by byte");
    } else {
        let longer = 512 + usize::from(lengths.first().copied().unwrap_or(7)) * 97;
        assert_eq!(whole, verdict(stream.chunks(longer)), "in pieces of {longer}");
    }
    check(&whole, stream);
    whole
}

/// The verdict on a stream that comes in `pieces`; what comes after it is settled is spared, as in the product.
fn verdict<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Verdict {
    let (mut inspector, mut total) = (Inspector::new(), 0);
    let mut spared = None;
    for piece in pieces {
        total += piece.len() as u64;
        if inspector.is_settled() && spared.is_none() {
            spared = Some(inspector.finish(0));
        }
        inspector.feed(piece);
    }
    if let Some(spared) = spared {
        assert_eq!(spared, inspector.finish(0), "a settled verdict changes");
    }
    inspector.finish(total)
}

fn check(verdict: &Verdict, stream: &[u8]) {
    assert_eq!(verdict.total_bytes, stream.len() as u64);
    assert_eq!(verdict.format.is_none(), verdict.formats.len() > 1 && verdict.formats != [Format::Iso, Format::Gpt]);
    if let Some(size) = verdict.virtual_size {
        assert!(size > 0 || verdict.format == Some(Format::Raw));
        assert!(i64::try_from(size).is_ok(), "the catalog cannot hold {size}");
    }
    for claim in ["raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso", "ploop"] {
        match decide(verdict, claim, "bare", true, &[]) {
            Ok(_) => {
                let format = verdict.format.expect("an accepted stream has one format");
                assert!(format.name() == claim || claim == "raw" || format == Format::Raw);
                assert!(verdict.complete && verdict.failures.is_empty());
            }
            Err(refusal) => assert!(!refusal.message.is_empty()),
        }
    }
}

/// `stream` with these writes, each an offset (four bytes, big endian), a length (one byte) and as many bytes; zeroes between.
pub(super) fn changed(mut stream: Vec<u8>, mut writes: &[u8]) -> Vec<u8> {
    while let Some((head, rest)) = writes.split_first_chunk::<5>() {
        let [a, b, c, d, length] = *head;
        let offset = u32::from_be_bytes([a, b, c, d]) as usize % STREAM_BYTES_MAX;
        let (bytes, after) = rest.split_at(usize::from(length).min(rest.len()));
        let end = offset + bytes.len();
        stream.resize(stream.len().max(end), 0);
        stream[offset..end].copy_from_slice(bytes);
        writes = after;
    }
    stream
}
