//! Heads of answers (RFC 9112, sections 4 and 6).

use crate::error::{Error, Result};

/// Largest head of an answer that is read, in bytes.
pub const HEAD_MAX: usize = 16 * 1024;
/// Most header fields in a head.
const FIELDS_MAX: usize = 64;

/// What matters of the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Size of the head itself, in bytes.
    pub size: usize,
    /// `Content-Length`, if given, in bytes.
    pub length: Option<u64>,
    /// Whether the body is chunked.
    pub chunked: bool,
    /// Whether the server closes the connection after the body.
    pub close: bool,
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` if it is not complete yet.
    ///
    /// # Errors
    /// The bytes are no head of an answer, or one larger than [`HEAD_MAX`], or its length is no number.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        let parsed = answer.parse(bytes).map_err(|error| Error::Http(error.to_string()))?;
        let (httparse::Status::Complete(size), Some(status)) = (parsed, answer.code) else {
            if bytes.len() >= HEAD_MAX {
                return Err(Error::Http(format!("a head of more than {HEAD_MAX} bytes")));
            }
            return Ok(None);
        };
        // HTTP/1.0 closes unless it says otherwise.
        let mut head = Self { status, size, length: None, chunked: false, close: answer.version == Some(0) };
        for field in answer.headers.iter() {
            head.take(field)?;
        }
        Ok(Some(head))
    }

    fn take(&mut self, field: &httparse::Header<'_>) -> Result<()> {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let number = number.ok_or_else(|| Error::Http("a Content-Length that is no number".into()))?;
            if self.length.is_some_and(|length| length != number) {
                return Err(Error::Http("two Content-Lengths that differ".into()));
            }
            self.length = Some(number);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            self.chunked = last_is(value, b"chunked");
        } else if field.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.close = true;
                } else if option.eq_ignore_ascii_case(b"keep-alive") {
                    self.close = false;
                }
            }
        }
        Ok(())
    }

    /// Whether an answer with this head has no body, whatever its fields say (the request was not `HEAD`).
    #[must_use]
    pub fn is_bodiless(&self) -> bool {
        self.status < 200 || self.status == 204 || self.status == 304
    }

    /// Whether the request was refused or has failed.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.status >= 400
    }
}

fn last_is(list: &[u8], name: &[u8]) -> bool {
    list.rsplit(|byte| *byte == b',').next().is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters() -> Result<()> {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: y\r\nConnection: keep-alive\r\n\r\nbody";
        let head = Head::parse(text)?;
        let expected = Head { status: 200, size: text.len() - 4, length: Some(12), chunked: false, close: false };
        assert_eq!(head, Some(expected));
        Ok(())
    }

    #[test]
    fn every_shorter_piece_is_incomplete() -> Result<()> {
        let text = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(Head::parse(&text[..end])?, None, "{end}");
        }
        assert!(Head::parse(text)?.is_some_and(|head| head.is_bodiless()));
        Ok(())
    }

    #[test]
    fn reads_how_the_body_ends() -> Result<()> {
        let close = |text: &[u8]| Head::parse(text).map(|head| head.is_some_and(|head| head.close));
        assert!(close(b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n")?);
        assert!(close(b"HTTP/1.0 200 OK\r\n\r\n")?);
        assert!(!close(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n")?);
        assert!(!close(b"HTTP/1.1 200 OK\r\n\r\n")?);
        let chunked = Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n")?;
        assert!(chunked.is_some_and(|head| head.chunked));
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_head() {
        for text in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: twelve\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ] {
            assert!(Head::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let mut text = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        text.resize(HEAD_MAX, b'y');
        assert!(Head::parse(&text).is_err());
    }
}
