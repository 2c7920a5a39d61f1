//! An answer whose body is the image data.

use std::io;

use common::http::head::Body as Framing;
use common::http::range::ByteRange;

use crate::http::body::Body;
use crate::http::input::Input;
use crate::http::response::{self, Fields, malformed};
use crate::io::Conn;

/// The answer of another server.
#[derive(Debug)]
pub(crate) struct Answer {
    conn: Conn,
    rest: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    /// Where the body begins in what lies there.
    start: u64,
}

impl Answer {
    /// The answer with these header fields on `conn`; `rest` came behind them.
    ///
    /// # Errors
    /// `InvalidData` when the length of the body can be read in two ways.
    pub(super) fn whole(conn: Conn, fields: &Fields, rest: Vec<u8>) -> io::Result<Self> {
        let (length, chunked) = framing(fields)?;
        Ok(Answer { conn, rest, length, chunked, start: 0 })
    }

    /// The same for an answer that has `range` only.
    ///
    /// # Errors
    /// `InvalidData` also when it is another range.
    pub(super) fn of_range(conn: Conn, fields: &Fields, rest: Vec<u8>, range: ByteRange) -> io::Result<Self> {
        let expected = format!("bytes {}-{}/", range.start, range.end - 1);
        let given = response::value(fields, "content-range").unwrap_or_default();
        if !given.starts_with(expected.as_bytes()) {
            return Err(malformed("another range than the one that was asked for"));
        }
        Ok(Answer { start: range.start, ..Answer::whole(conn, fields, rest)? })
    }

    /// Whether the body says where it ends, other than by the end of its connection.
    pub(super) fn tells_its_end(&self) -> bool {
        self.chunked || self.length.is_some()
    }

    /// Bytes of the body, where the server says so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Where the body begins in what lies there: servers need not know ranges.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes that came behind the head, to be read first; once.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    /// What arrives, beginning with `rest`, and the body in it.
    pub(crate) fn read(&self, rest: Vec<u8>) -> (Input<'_>, Body) {
        let body = match self.length {
            _ if self.chunked => Body::new(Framing::Chunked),
            // An empty body is over before it begins.
            Some(0) => Body::new(Framing::None),
            Some(length) => Body::new(Framing::Length(length)),
            None => Body::until_end(),
        };
        (Input::with(&self.conn, rest), body)
    }
}

/// How long the body is (RFC 9112 §6.3), and whether it is chunked.
fn framing(fields: &Fields) -> io::Result<(Option<u64>, bool)> {
    let mut lengths = fields.iter().filter(|(name, _)| name == "content-length").map(|(_, value)| value);
    let length = match lengths.next() {
        None => None,
        Some(first) if lengths.all(|other| other == first) => Some(number(first)?),
        Some(_) => return Err(malformed("two lengths")),
    };
    match (response::value(fields, "transfer-encoding"), length) {
        (None, length) => Ok((length, false)),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok((None, true)),
        (Some(_), None) => Err(malformed("an unknown transfer coding")),
        (Some(_), Some(_)) => Err(malformed("a length and a transfer coding")),
    }
}

fn number(digits: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("a length that is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> io::Result<(Option<u64>, bool)> {
        framing(&fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
    }

    #[test]
    fn a_body_has_one_length() {
        assert_eq!(of(&[("content-length", "5")]).unwrap(), (Some(5), false));
        assert_eq!(of(&[("content-length", "5"), ("content-length", "5")]).unwrap(), (Some(5), false));
        assert_eq!(of(&[("transfer-encoding", "Chunked")]).unwrap(), (None, true));
        assert_eq!(of(&[]).unwrap(), (None, false));
        for bad in [
            &[("content-length", "5"), ("content-length", "6")][..],
            &[("content-length", "+5")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
