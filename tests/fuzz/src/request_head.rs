//! Request heads: any arrival gives the same answer, what is taken is unambiguous, and reads the same when written anew.

use common::http::head::{self, Body, Head, Limits, Scanner};
use common::{Error, Kind};

const LIMITS: Limits = Limits { head_bytes_max: 1024, header_count_max: 16, target_bytes_max: 256 };

/// Longest input that is cut at every place: the work grows with the square of it.
const EVERY_CUT_BYTES_MAX: usize = 200;

/// A request as its bytes.
pub fn run(wire: &[u8]) {
    let whole = arrive(wire, [wire.len()]);
    same(&whole, &arrive(wire, 1..=wire.len()), "byte by byte");
    let step = if wire.len() <= EVERY_CUT_BYTES_MAX { 1 } else { 61 };
    for cut in (1..wire.len()).step_by(step) {
        same(&whole, &arrive(wire, [cut, wire.len()]), &format!("cut at {cut}"));
        // What is no complete head must be an error, whatever it is.
        let _ = head::parse(&wire[..cut], &LIMITS);
    }
    match whole {
        Ok(Some((head, used))) => check(&head, &wire[..used]),
        Ok(None) => assert!(wire.len() <= LIMITS.head_bytes_max + 4, "a head grows without bounds"),
        Err(error) => refusal(&error),
    }
    if let Err(error) = head::parse(wire, &LIMITS) {
        refusal(&error);
    }
}

type Outcome = Result<Option<(Head, usize)>, Error>;

/// Reads a head of which first `ends[0]` bytes have arrived, then `ends[1]`, and so on.
fn arrive(wire: &[u8], ends: impl IntoIterator<Item = usize>) -> Outcome {
    let mut scanner = Scanner::default();
    for end in ends {
        if let Some((start, end)) = scanner.advance(&wire[..end], &LIMITS)? {
            return head::parse(&wire[start..end], &LIMITS).map(|head| Some((head, end)));
        }
    }
    Ok(None)
}

fn same(whole: &Outcome, cut: &Outcome, how: &str) {
    match (whole, cut) {
        (Ok(None), Ok(None)) => {}
        (Ok(Some((a, a_used))), Ok(Some((b, b_used)))) => {
            assert_eq!(a_used, b_used, "{how}");
            assert_eq!(fields(a), fields(b), "{how}");
        }
        (Err(a), Err(b)) => assert_eq!(a, b, "{how}"),
        (a, b) => panic!("{how}: {b:?} instead of {a:?}"),
    }
}

fn fields(head: &Head) -> impl PartialEq + std::fmt::Debug + '_ {
    let flags = (head.body, head.keep_alive, head.expects_continue, head.http_1_0);
    (&head.method, &head.path, &head.query, &head.headers, flags)
}

/// What no two readers may take differently.
fn check(head: &Head, wire: &[u8]) {
    assert!(wire.ends_with(b"\r\n\r\n"), "the head ends before its empty line");
    assert!(head.headers.len() <= LIMITS.header_count_max);
    assert!(head.target().len() <= LIMITS.target_bytes_max);
    assert!(!head.method.is_empty());
    assert!(head.path.starts_with('/') || head.path == "*");
    assert!(head.target().bytes().all(|byte| byte.is_ascii_graphic()));
    for value in head.headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
    let count = |name: &str| head.headers.get_all(name).iter().count();
    for once in ["host", "content-length", "transfer-encoding", "content-type", "range", "expect", "x-auth-token"] {
        assert!(count(once) <= 1, "{once} comes more than once");
    }
    assert!(head.http_1_0 || count("host") == 1, "HTTP/1.1 without Host");
    match head.body {
        Body::Chunked => {
            assert!(!head.http_1_0 && count("content-length") == 0);
            assert_eq!(head.header_named("transfer-encoding").map(|v| v.trim().to_lowercase()), Some("chunked".into()));
        }
        Body::Length(length) => {
            assert!(length > 0 && count("transfer-encoding") == 0);
            assert_eq!(head.header_named("content-length").and_then(|value| value.trim().parse().ok()), Some(length));
        }
        Body::None => assert_eq!(count("transfer-encoding"), 0),
    }
    let again = arrive(&written(head), [written(head).len()]);
    match again {
        Ok(Some((again, _))) => assert_eq!(fields(head), fields(&again), "written anew"),
        other => panic!("written anew it is {other:?}"),
    }
}

fn written(head: &Head) -> Vec<u8> {
    let version = if head.http_1_0 { "1.0" } else { "1.1" };
    let mut wire = format!("{} {} HTTP/{version}\r\n", head.method, head.target()).into_bytes();
    for (name, value) in &head.headers {
        wire.extend(name.as_str().as_bytes());
        // Without a blank, so that it is never longer than what came.
        wire.push(b':');
        wire.extend(value.as_bytes());
        wire.extend(b"\r\n");
    }
    wire.extend(b"\r\n");
    wire
}

fn refusal(error: &Error) {
    let named =
        [Kind::BadRequest, Kind::UriTooLong, Kind::HeadersTooLarge, Kind::ExpectationFailed, Kind::VersionNotSupported];
    assert!(named.contains(&error.kind), "{error:?}");
}
