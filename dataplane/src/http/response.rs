//! Heads of responses of others.

use std::io;

use http::StatusCode;

/// Header fields of a response.
const HEADERS_MAX: usize = 96;

/// Header fields, names in lower case.
pub(crate) type Fields = Vec<(String, Vec<u8>)>;

/// Reads the head of a response: its status, its fields, and its length in bytes. `None` while it is not whole.
///
/// # Errors
/// `InvalidData` for what is no such head.
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<(StatusCode, Fields, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    let status =
        response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| malformed("no status"))?;
    let headers =
        response.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    Ok(Some((status, headers, used)))
}

/// The value of the field `name`, in lower case.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_slice())
}

/// The error for a response that cannot be understood.
pub(crate) fn malformed(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed response: {problem}"))
}
