//! Bodies in chunks (RFC 9112, section 7.1), decoded from memory: only small answers come this way.

use crate::error::{Error, Result};

/// Decodes the chunked body at the start of `bytes`: its content, and how many bytes it took. `None` if it is not
/// complete yet. Trailer fields are skipped.
///
/// # Errors
/// A chunk's size or end is malformed.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>> {
    let mut content = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        // The parser takes a line without any digit for a size of zero.
        if rest.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
            return Err(Error::Http("a chunk without a size".into()));
        }
        let size = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((used, size))) => {
                at += used;
                usize::try_from(size).map_err(|_| Error::Http("a chunk larger than memory".into()))?
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Error::Http("a malformed chunk size".into())),
        };
        let rest = bytes.get(at..).unwrap_or_default();
        if size == 0 {
            return Ok(trailer(rest).map(|used| (content, at + used)));
        }
        let Some((chunk, rest)) = rest.split_at_checked(size) else { return Ok(None) };
        match rest.first_chunk() {
            Some(b"\r\n") => content.extend_from_slice(chunk),
            Some(_) => return Err(Error::Http("a chunk that does not end where it should".into())),
            None => return Ok(None),
        }
        at += size + 2;
    }
}

/// Length of the trailer section up to and including the empty line that ends it.
fn trailer(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"4\r\nWiki\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn decodes_chunks_with_extension_and_trailer() -> Result<()> {
        let mut text = BODY.to_vec();
        text.extend_from_slice(b"HTTP/1.1 next");
        assert_eq!(decode(&text)?, Some((b"Wiki0123456789".to_vec(), BODY.len())));
        assert_eq!(decode(b"0\r\n\r\n")?, Some((Vec::new(), 5)));
        Ok(())
    }

    #[test]
    fn every_shorter_piece_is_incomplete() -> Result<()> {
        for end in 0..BODY.len() {
            assert_eq!(decode(&BODY[..end])?, None, "{end}");
        }
        Ok(())
    }

    #[test]
    fn refuses_malformed_chunks() {
        for text in [&b"x\r\n"[..], b"4\r\nWikiXX", b"fffffffffffffffff\r\n", b"\r\n"] {
            assert!(decode(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
