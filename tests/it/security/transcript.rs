//! All that a server sent on one connection, read strictly: whatever RFC 9110 and 9112 forbid is a fault, and so is
//! what this service owes beyond them.

use std::fmt;

use crate::harness::client::find;

/// One answer.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names in lower case, in the order they came.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed it.
    Closed,
    /// It was reset.
    Reset,
    /// Nothing happened for too long.
    Hung,
}

/// A connection's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transcript {
    /// Interim answers that came before the first final one.
    pub(super) continued: usize,
    pub(super) answers: Vec<Answer>,
    pub(super) end: End,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it says that the connection ends.
    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The same without what differs from one request to the next: dates, ids and the times in documents.
    fn settled(mut self) -> Answer {
        self.headers.retain(|(name, _)| name != "date" && name != "x-openstack-request-id");
        self.headers.iter_mut().for_each(|(_, value)| *value = masked(value));
        self.body = masked(&self.text()).into_bytes();
        self.headers.sort();
        self
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.text())
    }
}

impl Transcript {
    /// Reads what came. `methods` are those of the requests, in order; further ones count as GET.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(bytes: &[u8], end: End, methods: &[&str]) -> Result<Transcript, String> {
        let mut transcript = Transcript { continued: 0, answers: Vec::new(), end };
        let mut rest = bytes;
        while !rest.is_empty() {
            let method = methods.get(transcript.answers.len()).copied().unwrap_or("GET");
            let (answer, used) = read_answer(rest, method)
                .map_err(|fault| format!("{fault}, in {:?}", String::from_utf8_lossy(&rest[..rest.len().min(2000)])))?;
            rest = &rest[used..];
            match answer.status {
                100 => transcript.continued += 1,
                _ => {
                    if transcript.answers.last().is_some_and(Answer::closes) {
                        return Err("an answer after one that closes the connection".to_owned());
                    }
                    transcript.answers.push(answer);
                }
            }
        }
        Ok(transcript)
    }

    /// The same without what differs from one request to the next.
    pub(super) fn settled(self) -> Transcript {
        Transcript { answers: self.answers.into_iter().map(Answer::settled).collect(), ..self }
    }
}

/// Ids and times replaced by as many `#`.
fn masked(text: &str) -> String {
    const SHAPES: [&str; 2] = ["xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "dddd-dd-ddTdd:dd:ddZ"];
    let mut bytes = text.as_bytes().to_vec();
    for shape in SHAPES.map(str::as_bytes) {
        for at in 0..bytes.len().saturating_sub(shape.len() - 1) {
            let fits = bytes[at..].iter().zip(shape).all(|(byte, want)| match want {
                b'x' => byte.is_ascii_hexdigit(),
                b'd' => byte.is_ascii_digit(),
                want => byte == want,
            });
            if fits {
                bytes[at..at + shape.len()].fill(b'#');
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_answer(bytes: &[u8], method: &str) -> Result<(Answer, usize), String> {
    let end = find(bytes, b"\r\n\r\n").ok_or("a head without end")?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "a head that is not UTF-8")?;
    let mut lines = text.split("\r\n");
    let status = read_status(lines.next().unwrap_or_default())?;
    let headers = lines.map(read_header).collect::<Result<Vec<_>, _>>()?;
    let mut answer = Answer { status, headers, body: Vec::new() };
    check_head(&answer)?;
    let rest = &bytes[end + 4..];
    let length = answer.header("content-length").map(read_length).transpose()?;
    let used = if status < 200 || status == 204 || status == 304 || method == "HEAD" {
        0
    } else if let Some(length) = length {
        answer.body = rest.get(..length).ok_or("a body shorter than its length")?.to_vec();
        length
    } else {
        return Err("an answer that neither has a length nor needs none".to_owned());
    };
    Ok((answer, end + 4 + used))
}

fn read_status(line: &str) -> Result<u16, String> {
    let fault = || format!("not a status line: {line:?}");
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(fault)?;
    let (digits, reason) = rest.split_once(' ').ok_or_else(fault)?;
    if digits.len() != 3 || reason.is_empty() || !reason.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Err(fault());
    }
    digits.parse().map_err(|_| fault())
}

fn read_header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(": ").ok_or_else(|| format!("not a header: {line:?}"))?;
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(in_name) || value.contains(char::is_control) || value.trim() != value {
        return Err(format!("not a header: {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

fn read_length(value: &str) -> Result<usize, String> {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    value.parse().ok().filter(|_| is_plain).ok_or_else(|| format!("not a length: {value:?}"))
}

fn check_head(answer: &Answer) -> Result<(), String> {
    let status = answer.status;
    for (name, _) in &answer.headers {
        if answer.headers.iter().filter(|(other, _)| other == name).count() > 1 && name != "link" {
            return Err(format!("{name} stands twice"));
        }
    }
    if answer.header("transfer-encoding").is_some() {
        return Err("nothing here is ever sent in chunks".to_owned());
    }
    if status < 200 {
        return if answer.headers.is_empty() { Ok(()) } else { Err("an interim answer with headers".to_owned()) };
    }
    let date = answer.header("date").ok_or("no Date")?;
    let is_date = date.len() == 29 && date.ends_with(" GMT") && date.as_bytes()[3] == b',';
    if !is_date {
        return Err(format!("not a date: {date:?}"));
    }
    if status == 204 && answer.header("content-length").is_some() {
        return Err("a 204 with a length".to_owned());
    }
    if status == 405 && answer.header("allow").is_none_or(str::is_empty) {
        return Err("a 405 without Allow".to_owned());
    }
    if status == 503 && answer.header("retry-after").is_none() {
        return Err("a 503 without Retry-After".to_owned());
    }
    // Outside of authentication every error can be found in the log.
    if status >= 400 && status != 401 && answer.header("x-openstack-request-id").is_none_or(str::is_empty) {
        return Err(format!("a {status} without a request id"));
    }
    Ok(())
}

#[test]
fn the_parser_itself_is_strict() {
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let read = |text: &str| Transcript::read(text.as_bytes(), End::Closed, &["GET"]);
    let fine = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{date}Content-Length: 2\r\n\r\nok");
    let transcript = read(&fine).expect("fine");
    assert_eq!(
        (transcript.continued, transcript.answers[0].status, transcript.answers[0].text().as_str()),
        (1, 200, "ok")
    );
    for (fault, text) in [
        ("no date", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("two lengths", format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 0\r\nContent-Length: 0\r\n\r\n")),
        ("no length", format!("HTTP/1.1 200 OK\r\n{date}\r\n")),
        ("short body", format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 3\r\n\r\nab")),
        ("204 with length", format!("HTTP/1.1 204 No Content\r\n{date}Content-Length: 0\r\n\r\n")),
        (
            "405 without Allow",
            format!("HTTP/1.1 405 No\r\n{date}x-openstack-request-id: r\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("bare LF", format!("HTTP/1.1 200 OK\n{date}Content-Length: 0\r\n\r\n")),
        ("error without id", format!("HTTP/1.1 400 Bad\r\n{date}Content-Length: 0\r\n\r\n")),
        (
            "after the close",
            format!("HTTP/1.1 200 OK\r\n{date}Connection: close\r\nContent-Length: 0\r\n\r\n").repeat(2),
        ),
    ] {
        assert!(read(&text).is_err(), "{fault} passed");
    }
    assert_eq!(
        masked("a 0123abcd-0000-1111-2222-0123456789ab b 2024-01-02T03:04:05Z"),
        format!("a {} b {}", "#".repeat(36), "#".repeat(20))
    );
}
