//! The part of an image that a request asks for.
//!
//! Source: Glance's reading of `Range` and of the `Content-Range` request header that old clients send. One range
//! only; a unit other than bytes, a malformed value and a start beyond the end are refused, an end beyond it is cut.

use crate::error::{Error, Kind, Result};

/// A slice of an image: `start` inclusive, `end` exclusive, both in bytes, `start < end <= size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Bytes in the slice.
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Never: a range holds at least one byte.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The value of the response's `Content-Range`, for an image of `size` bytes.
    pub fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

const MULTIPLE: &str =
    "Requests with multiple ranges are not supported in Glance. You may make multiple single-range requests instead.";

/// The slice that the headers of a download ask for; `None`: the whole image. `size`: bytes of the image.
///
/// # Errors
/// 400 for several ranges, 416 for what is malformed or lies outside.
pub fn wanted(range: Option<&str>, content_range: Option<&str>, size: u64) -> Result<Option<ByteRange>> {
    match (range, content_range) {
        (Some(value), _) => parse_range(value, size).map(Some),
        (None, Some(value)) => parse_content_range(value, size).map(Some),
        (None, None) => Ok(None),
    }
}

fn parse_range(value: &str, size: u64) -> Result<ByteRange> {
    let set = byte_set(value.trim()).ok_or_else(|| invalid(size))?;
    if set.contains(',') {
        return Err(Error::bad_request(MULTIPLE));
    }
    let (first, last) = set.split_once('-').ok_or_else(|| invalid(size))?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let suffix = number(last).ok_or_else(|| invalid(size))?;
        if size == 0 {
            return Err(bad_start(size));
        }
        // As Glance does: a suffix of nothing is the whole image.
        let start = if suffix == 0 { 0 } else { size.saturating_sub(suffix) };
        return Ok(ByteRange { start, end: size });
    }
    let start = number(first).ok_or_else(|| invalid(size))?;
    let end = match last {
        "" => u64::MAX,
        last => match number(last) {
            Some(last) if last >= start => last.saturating_add(1),
            _ => return Err(invalid(size)),
        },
    };
    slice(start, end, size)
}

/// What follows `bytes=`. Units are alike in capitals and small letters (RFC 9110), and clients write spaces there.
fn byte_set(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    unit.trim_end().eq_ignore_ascii_case("bytes").then_some(set.trim_start())
}

/// `bytes FIRST-LAST/LENGTH`, where LENGTH may be `*`.
fn parse_content_range(value: &str, size: u64) -> Result<ByteRange> {
    let parse = || {
        let (span, length) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let fits = length == "*" || last < number(length)?;
        (fits && first <= last).then_some((first, last))
    };
    let (first, last) = parse().ok_or_else(|| refused("Invalid Content-Range header.", size))?;
    if last >= size {
        let end = i128::from(size) - 1;
        let text = "Invalid stop position in Content-Range header. The stop position MUST be in the inclusive range";
        return Err(refused(&format!("{text} [0, {end}]."), size));
    }
    slice(first, last + 1, size)
}

fn slice(start: u64, end: u64, size: u64) -> Result<ByteRange> {
    if start >= size {
        return Err(bad_start(size));
    }
    Ok(ByteRange { start, end: end.min(size) })
}

/// Decimal digits only; a number too large for 64 bits is as good as the largest.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn invalid(size: u64) -> Error {
    refused("Invalid Range header.", size)
}

fn bad_start(size: u64) -> Error {
    let last = i128::from(size) - 1;
    refused(
        &format!("Invalid start position in Range header. Start position MUST be in the inclusive range [0, {last}]."),
        size,
    )
}

fn refused(message: &str, size: u64) -> Error {
    Error::new(Kind::RangeNotSatisfiable, message).header("Content-Range", format!("bytes */{size}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(value: &str, size: u64) -> Result<(u64, u64)> {
        wanted(Some(value), None, size).map(|range| range.map_or((0, 0), |range| (range.start, range.end)))
    }

    #[test]
    fn single_ranges() {
        for (value, want) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-", (0, 10)),
            ("bytes=3-5", (3, 6)),
            ("bytes=9-", (9, 10)),
            ("bytes=0-99", (0, 10)),
            ("bytes=-1", (9, 10)),
            ("bytes=-10", (0, 10)),
            ("bytes=-11", (0, 10)),
            ("bytes=-0", (0, 10)),
            ("bytes=0-99999999999999999999999999999999", (0, 10)),
            ("BYTES=3-5", (3, 6)),
            ("bytes = 3 - 5", (3, 6)),
        ] {
            assert_eq!(range(value, 10), Ok(want), "{value}");
        }
    }

    #[test]
    fn refused_ranges() {
        let malformed =
            ["bytes=", "bytes=a-b", "bytes 0-1", "items=0-1", "bytes=5-4", "bytes=--1", "bytes=+1-2", "0-1"];
        for value in malformed.into_iter().chain(["bytes=10-", "bytes=99999999999999999999999-"]) {
            let error = range(value, 10).expect_err(value);
            assert_eq!(error.kind, Kind::RangeNotSatisfiable, "{value}");
            assert_eq!(error.headers, [("Content-Range".to_owned(), "bytes */10".to_owned())]);
        }
        let beyond = range("bytes=99999999999999999999999-", 10).expect_err("beyond");
        assert!(beyond.message.starts_with("Invalid start position"), "{}", beyond.message);
        assert_eq!(range("bytes=0-0", 0).expect_err("empty").kind, Kind::RangeNotSatisfiable);
        assert_eq!(range("bytes=0-1,3-4", 10).expect_err("two").kind, Kind::BadRequest);
    }

    #[test]
    fn the_old_request_header() {
        assert_eq!(wanted(None, Some("bytes 2-4/10"), 10).expect("fine"), Some(ByteRange { start: 2, end: 5 }));
        assert_eq!(wanted(None, Some("bytes 2-4/*"), 10).expect("fine"), Some(ByteRange { start: 2, end: 5 }));
        let malformed = "Invalid Content-Range header.";
        let beyond =
            "Invalid stop position in Content-Range header. The stop position MUST be in the inclusive range [0, 9].";
        for (value, text) in [
            ("bytes 2-10/10", malformed),
            ("bytes */10", malformed),
            ("bytes 4-2/10", malformed),
            ("2-4/10", malformed),
            ("bytes 2-10/20", beyond),
            ("bytes 2-10/*", beyond),
        ] {
            assert_eq!(wanted(None, Some(value), 10).expect_err(value).message, text, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_range_lies_within_the_image(value in "bytes=[0-9]{0,22}-[0-9]{0,22}", size in 0u64..) {
            if let Ok(Some(range)) = wanted(Some(&value), None, size) {
                proptest::prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
