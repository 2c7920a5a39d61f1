//! The range of a download, against a model that counts in 128 bits.

use common::Kind;
use common::http::range::{ByteRange, wanted};

/// Three lines: bytes of the image, `Range`, `Content-Range`. A line that is not there is a header that is not there.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let size = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let (range, content_range) = (lines.next(), lines.next());
    let model = match (range, content_range) {
        (Some(range), _) => model_range(range, size).map(Some),
        (None, Some(range)) => model_content_range(range, size).map(Some),
        (None, None) => Ok(None),
    };
    compare(wanted(range, content_range, size), model, size);
    // The old header alone.
    if let Some(range) = content_range {
        compare(wanted(None, Some(range), size), model_content_range(range, size).map(Some), size);
    }
}

/// First and last byte, both included.
type Span = (u64, u64);

fn compare(found: common::Result<Option<ByteRange>>, model: Result<Option<Span>, u16>, size: u64) {
    match (found, model) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some(range)), Ok(Some((first, last)))) => {
            assert_eq!((range.start, range.end - 1), (first, last));
            assert!(!range.is_empty() && range.len() == last - first + 1 && range.end <= size);
            assert_eq!(range.content_range(size), format!("bytes {first}-{last}/{size}"));
        }
        (Err(error), Err(status)) => {
            assert_eq!(error.status().as_u16(), status);
            let told = error.headers.contains(&("Content-Range".to_owned(), format!("bytes */{size}")));
            assert_eq!(told, error.kind == Kind::RangeNotSatisfiable);
        }
        (found, model) => panic!("{found:?} instead of {model:?}"),
    }
}

fn model_range(value: &str, size: u64) -> Result<Span, u16> {
    let last_byte = i128::from(size) - 1;
    let equals = value.find('=').ok_or(416_u16)?;
    if !value[..equals].trim().eq_ignore_ascii_case("bytes") {
        return Err(416);
    }
    let set = value[equals + 1..].trim();
    if set.contains(',') {
        return Err(400);
    }
    let dash = set.find('-').ok_or(416_u16)?;
    let (first, last) = match (set[..dash].trim(), set[dash + 1..].trim()) {
        ("", count) => match digits(count).ok_or(416_u16)? {
            0 => (0, last_byte),
            count => ((last_byte + 1 - count).max(0), last_byte),
        },
        (first, "") => (digits(first).ok_or(416_u16)?, last_byte),
        (first, last) => {
            let (first, last) = (digits(first).ok_or(416_u16)?, digits(last).ok_or(416_u16)?);
            if first > last {
                return Err(416);
            }
            (first, last.min(last_byte))
        }
    };
    span(first, last, last_byte)
}

fn model_content_range(value: &str, size: u64) -> Result<Span, u16> {
    let last_byte = i128::from(size) - 1;
    let span_and_length = value.trim().strip_prefix("bytes ").ok_or(416_u16)?;
    let slash = span_and_length.find('/').ok_or(416_u16)?;
    let bytes = &span_and_length[..slash];
    let dash = bytes.find('-').ok_or(416_u16)?;
    let (first, last) = (digits(&bytes[..dash]).ok_or(416_u16)?, digits(&bytes[dash + 1..]).ok_or(416_u16)?);
    let length = match &span_and_length[slash + 1..] {
        "*" => i128::MAX,
        length => digits(length).ok_or(416_u16)?,
    };
    if last > last_byte || last >= length { Err(416) } else { span(first, last, last_byte) }
}

fn span(first: i128, last: i128, last_byte: i128) -> Result<Span, u16> {
    if first > last || last > last_byte {
        return Err(416);
    }
    Ok((u64::try_from(first).map_err(|_| 416_u16)?, u64::try_from(last).map_err(|_| 416_u16)?))
}

/// A number in decimal digits; what does not fit in 127 bits is the largest that does.
fn digits(text: &str) -> Option<i128> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(i128::MAX))
}
