use super::*;

const LIMITS: Limits = Limits { head_bytes_max: 4096, header_count_max: 20, target_bytes_max: 1024 };

/// Feeds `wire` in pieces of `piece` bytes; the head and how many bytes it took.
fn read(wire: &[u8], piece: usize) -> Result<Option<(Head, usize)>> {
    let mut scanner = Scanner::default();
    let mut have = 0;
    while have < wire.len() {
        have = (have + piece).min(wire.len());
        if let Some((start, end)) = scanner.advance(&wire[..have], &LIMITS)? {
            return parse(&wire[start..end], &LIMITS).map(|head| Some((head, end)));
        }
    }
    Ok(None)
}

fn refused(wire: &str) -> Kind {
    let mut kinds: Vec<_> = [1, 3, wire.len()]
        .into_iter()
        .map(|piece| match read(wire.as_bytes(), piece) {
            Err(error) => error.kind,
            Ok(other) => panic!("{wire:?} was taken: {other:?}"),
        })
        .collect();
    kinds.dedup();
    assert_eq!(kinds.len(), 1, "{wire:?} is refused differently by its arrival");
    kinds[0]
}

fn taken(wire: &str) -> Head {
    for piece in [1, 5] {
        assert!(read(wire.as_bytes(), piece).expect("taken").is_some());
    }
    read(wire.as_bytes(), wire.len()).expect("taken").expect("complete").0
}

#[test]
fn a_plain_request() {
    let head = taken(
        "PUT /v2/images/x/file?a=b HTTP/1.1\r\nHost: h:9292\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\r\n",
    );
    assert_eq!(
        (head.method.as_str(), head.path.as_str(), head.query.as_deref()),
        ("PUT", "/v2/images/x/file", Some("a=b"))
    );
    assert_eq!(head.body, Body::Length(12));
    assert!(head.keep_alive && head.expects_continue && !head.http_1_0);
    assert_eq!(head.target(), "/v2/images/x/file?a=b");
    let (_, used) = read(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nGET", 9).expect("taken").expect("complete");
    assert_eq!(used, 31);
}

#[test]
fn connections_and_versions() {
    assert!(!taken("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n").keep_alive);
    let old = taken("GET / HTTP/1.0\r\n\r\n");
    assert!(old.http_1_0 && !old.keep_alive);
    assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), Kind::VersionNotSupported);
    assert_eq!(taken("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").body, Body::None);
    assert_eq!(taken("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked \r\n\r\n").body, Body::Chunked);
}

#[test]
fn targets() {
    assert_eq!(taken("GET http://h:1/a?b HTTP/1.1\r\nHost: h:1\r\n\r\n").path, "/a");
    assert_eq!(taken("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path, "*");
    for target in ["*", "a", "/a#b", "/\\", "/\u{e9}", "http://other/", "http://u@h/", "h:80"] {
        assert_eq!(refused(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")), Kind::BadRequest, "{target}");
    }
    assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(5000))), Kind::UriTooLong);
}

#[test]
fn lines_and_fields() {
    for wire in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: \u{1}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\nRange: bytes=1-2\r\n\r\n",
    ] {
        assert_eq!(refused(wire), Kind::BadRequest, "{wire:?}");
    }
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(20));
    assert_eq!(refused(&many), Kind::HeadersTooLarge);
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "b".repeat(5000));
    assert_eq!(refused(&long), Kind::HeadersTooLarge);
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5x",
        "Content-Length: 1_0",
        "Content-Length: 1 0",
        "Content-Length:",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(refused(&format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")), Kind::BadRequest, "{fields}");
    }
    assert_eq!(refused("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Kind::BadRequest);
    let wire = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n";
    assert_eq!(refused(wire), Kind::ExpectationFailed);
    let underscored = taken("PUT / HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\n\r\n");
    assert_eq!(underscored.body, Body::None);
}

proptest::proptest! {
    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(0u8.., 0..300), piece in 1usize..40) {
        let _ = read(&noise, piece);
    }

    #[test]
    fn mutations_are_read_alike_in_any_pieces(at in 0usize..60, byte in 0u8.., piece in 1usize..60) {
        let mut wire = b"PUT /v2/images HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".to_vec();
        let at = at % wire.len();
        wire[at] = byte;
        let whole = read(&wire, wire.len()).map(|head| head.map(|(head, used)| (head.body, head.path, used)));
        let split = read(&wire, piece).map(|head| head.map(|(head, used)| (head.body, head.path, used)));
        proptest::prop_assert_eq!(whole, split);
    }
}
