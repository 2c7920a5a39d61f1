//! HTTP-F01 to F09: where a body ends. Each rule is tried on a request that control answers and on image data.

use super::cases::{Answered, BAD, Case, Cut, IMAGE, Refused, Want, case, patch, request, run};
use super::shared;

/// The media type line of image data.
const OCTETS: &str = "Content-Type: application/octet-stream";

/// An upload.
fn put(lines: &[&str], body: &[u8]) -> Vec<u8> {
    let mut all = vec![OCTETS];
    all.extend_from_slice(lines);
    request(&format!("PUT /v2/images/{IMAGE}/file HTTP/1.1"), &all, body)
}

/// `lines` and `body` as both requests.
fn both(name: &str, lines: &[&str], body: &[u8], want: Want) -> [Case; 2] {
    let (changed, stored) = match want {
        Answered(_) => (Answered(&[404]), Answered(&[204])),
        other => (other, other),
    };
    [
        case(format!("patch: {name}"), patch(lines, body), changed),
        case(format!("upload: {name}"), put(lines, body), stored),
    ]
}

const CHUNKED: &str = "Transfer-Encoding: chunked";

/// The document `[]` in one chunk.
const DOCUMENT: &[u8] = b"2\r\n[]\r\n0\r\n\r\n";

/// Either body is fine.
const FINE: Want = Answered(&[]);

#[test]
fn http_f01_length_and_coding_together() {
    let mut cases = Vec::new();
    for length in ["12", "2", "0", "5"] {
        let length = format!("Content-Length: {length}");
        cases.extend(both(&format!("{length} first"), &[&length, CHUNKED], DOCUMENT, Refused(BAD)));
        cases.extend(both(&format!("{length} last"), &[CHUNKED, &length], DOCUMENT, Refused(BAD)));
    }
    cases.extend(both("other codings", &["Content-Length: 2", "Transfer-Encoding: identity"], b"[]", Refused(BAD)));
    cases.extend(both("other case", &["content-length: 2", "TRANSFER-ENCODING: CHUNKED"], DOCUMENT, Refused(BAD)));
    cases.extend(both("a clean length", &["Content-Length: 2"], b"[]", FINE));
    cases.extend(both("clean chunks", &[CHUNKED], DOCUMENT, FINE));
    run(&shared(), &cases);
}

#[test]
fn http_f02_several_lengths() {
    let mut cases = Vec::new();
    for (first, second) in [("2", "3"), ("3", "2"), ("2", "2"), ("2", "0"), ("", "2")] {
        let lines = [format!("Content-Length: {first}"), format!("Content-Length: {second}")];
        cases.extend(both(&format!("{first} and {second}"), &[&lines[0], &lines[1]], b"[] ", Refused(BAD)));
    }
    for list in ["2, 3", "2,2", "2, 2", "2,", ",2", "2;3", "2 2"] {
        cases.extend(both(list, &[&format!("Content-Length: {list}")], b"[] ", Refused(BAD)));
    }
    run(&shared(), &cases);
}

#[test]
fn http_f03_what_is_no_length() {
    let values = [
        "+2",
        "-1",
        "-0",
        "2x",
        "0x2",
        "0o2",
        "1_0",
        "1 0",
        "",
        "99999999999999999999",
        "18446744073709551616",
        "2.0",
        "2e0",
        "\"2\"",
        "\u{b2}",
        "\u{ff12}",
        "x",
        "2\x0b",
        "\x0c2",
    ];
    let mut cases: Vec<Case> = values
        .iter()
        .flat_map(|value| both(value, &[&format!("Content-Length: {value}")], b"[]", Refused(BAD)))
        .collect();
    for value in ["\t2\t", "  2  ", "02", "0000000002"] {
        cases.extend(both(value, &[&format!("Content-Length:{value}")], b"[]", FINE));
    }
    // The largest number is one, and more than anybody takes.
    cases.extend(both("2^64 - 1", &["Content-Length: 18446744073709551615"], b"[]", Refused(&[400, 413])));
    run(&shared(), &cases);
}

#[test]
fn http_f04_codings() {
    let values = [
        "xchunked",
        "chunked, identity",
        "gzip, chunked",
        "chunked, chunked",
        "identity",
        "",
        "chunked;q=1",
        "chunked; a=b",
        ",chunked",
        "chunked,",
        "\x0bchunked",
        "chunked\x0c",
        "\"chunked\"",
        "chunke",
        "chunkedd",
        "gzip",
        "deflate",
        "trailers",
        "chun ked",
        "\u{e9}",
    ];
    let refused: Want = Refused(&[400, 501]);
    let mut cases: Vec<Case> = values
        .iter()
        .flat_map(|value| both(value, &[&format!("Transfer-Encoding: {value}")], DOCUMENT, refused))
        .collect();
    cases.extend(both("folded", &["Transfer-Encoding:", " chunked"], DOCUMENT, refused));
    cases.extend(both("twice", &[CHUNKED, CHUNKED], DOCUMENT, refused));
    cases.extend(both("twice, different", &["Transfer-Encoding: identity", CHUNKED], DOCUMENT, refused));
    for value in ["CHUNKED", "Chunked", "\tchunked ", "chunked"] {
        cases.extend(both(value, &[&format!("Transfer-Encoding:{value}")], DOCUMENT, FINE));
    }
    run(&shared(), &cases);
}

#[test]
fn http_f05_chunks_to_an_older_version() {
    let old = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").replace("HTTP/1.1", "HTTP/1.0");
    run(
        &shared(),
        &[
            case("patch", old(patch(&[CHUNKED], DOCUMENT)), Refused(BAD)),
            case("upload", old(put(&[CHUNKED], DOCUMENT)), Refused(BAD)),
            case("identity", old(patch(&["Transfer-Encoding: identity"], b"[]")), Refused(BAD)),
            case("a length is fine", old(patch(&["Content-Length: 2"], b"[]")), Refused(&[404])),
        ],
    );
}

fn chunks(name: &str, body: impl AsRef<[u8]>, want: Want) -> [Case; 2] {
    both(name, &[CHUNKED], body.as_ref(), want)
}

#[test]
fn http_f06_what_is_no_chunk_size() {
    let sizes = [
        "0x2",
        "+2",
        "-2",
        "2_0",
        " 2",
        "\t2",
        "2 ",
        "2\t",
        "",
        "ffffffffffffffff",
        "10000000000000002",
        "ffffffffffffffff0",
        "0000000000000000000002",
        "g",
        "2.",
        "2,",
        "\u{ff12}",
        "\x002",
        "2\x00",
    ];
    let mut cases: Vec<Case> =
        sizes.iter().flat_map(|size| chunks(size, format!("{size}\r\n[]\r\n0\r\n\r\n"), Refused(BAD))).collect();
    cases.extend(chunks("a bad second size", "2\r\n[]\r\nzz\r\n\r\n", Refused(BAD)));
    cases.extend(chunks("a bad last size", "2\r\n[]\r\n0x0\r\n\r\n", Refused(BAD)));
    for size in ["2", "02", "000000000000002"] {
        cases.extend(chunks(size, format!("{size}\r\n[]\r\n00\r\n\r\n"), FINE));
    }
    // In either case, and of two digits.
    cases.extend(chunks("upper case", format!("1A\r\n[{}]\r\n0\r\n\r\n", " ".repeat(24)), FINE));
    run(&shared(), &cases);
}

#[test]
fn http_f07_chunk_extensions() {
    let with = |extension: &str| format!("2{extension}\r\n[]\r\n0\r\n\r\n");
    let bad = [
        ";",
        ";;a",
        ";=b",
        ";a=",
        ";a b",
        ";a=b c",
        ";a=\"b",
        ";a=\"b\"c",
        ";a@b",
        ";a=b;",
        ";a\0b",
        ";a\nb",
        ";a\rb",
        ";a=\"\r\n\"",
        ";a ",
        ";a=\x7f",
        "a",
        " ;a\x01",
    ];
    let mut cases: Vec<Case> =
        bad.iter().flat_map(|extension| chunks(&format!("{extension:?}"), with(extension), Refused(BAD))).collect();
    for extension in [";a", ";a=b", ";a=\"b c;\\\" \u{e9}\"", "; a = b ; c", ";a;b=c;d=\"e\""] {
        cases.extend(chunks(&format!("{extension:?}"), with(extension), FINE));
    }
    cases.extend(chunks("on the last chunk", "2\r\n[]\r\n0;a=b\r\n\r\n", FINE));
    cases.extend(chunks("just short enough", with(&format!(";{}", "a".repeat(1000))), FINE));
    cases.extend(chunks("64 KB", with(&format!(";a={}", "b".repeat(65_536))), Refused(BAD)));
    let each = |count: usize| {
        let chunk = format!("1;{}\r\n \r\n", "a".repeat(900));
        format!("2\r\n[]\r\n{}0\r\n\r\n", chunk.repeat(count))
    };
    cases.extend(chunks("on every chunk", each(20), FINE));
    cases.extend(chunks("more than there may be in all", each(100), Refused(BAD)));
    run(&shared(), &cases);
}

#[test]
fn http_f08_data_and_its_ends() {
    let mut cases = Vec::new();
    let bad = [
        ("longer than its size", "2\r\n[]]\r\n0\r\n\r\n"),
        ("longer by a line", "2\r\n[]\r\n]\r\n0\r\n\r\n"),
        ("shorter than its size", "3\r\n[]\r\n0\r\n\r\n"),
        ("no end of data", "2\r\n[]0\r\n\r\n"),
        ("LF after data", "2\r\n[]\n0\r\n\r\n"),
        ("CR after data", "2\r\n[]\r0\r\n\r\n"),
        ("LF after a size", "2\n[]\r\n0\r\n\r\n"),
        ("CR after a size", "2\r[]\r\n0\r\n\r\n"),
        ("LF only", "2\n[]\n0\n\n"),
        ("LF at the end", "2\r\n[]\r\n0\r\n\n"),
        ("CR CR at the end", "2\r\n[]\r\n0\r\n\r\r\n"),
    ];
    for (name, body) in bad {
        cases.extend(chunks(name, body, Refused(BAD)));
    }
    // The connection ends first: there is nobody to answer, or nothing to say but that.
    for (name, lines, body) in [
        ("no last chunk", CHUNKED, "2\r\n[]\r\n"),
        ("no end of the last chunk", CHUNKED, "2\r\n[]\r\n0\r\n"),
        ("cut in data", CHUNKED, "5\r\n[]"),
        ("cut in a size", CHUNKED, "2\r\n[]\r\n1"),
        ("cut in a trailer", CHUNKED, "2\r\n[]\r\n0\r\nX-A: b"),
        ("nothing", CHUNKED, ""),
        ("cut short of its length", "Content-Length: 5", "[]"),
        ("nothing of its length", "Content-Length: 5", ""),
    ] {
        cases.extend(both(name, &[lines], body.as_bytes(), Cut(BAD)));
    }
    run(&shared(), &cases);
}

#[test]
fn http_f09_trailers() {
    let with = |trailers: &str| format!("2\r\n[]\r\n0\r\n{trailers}\r\n");
    let mut cases = Vec::new();
    for trailer in [
        "Content-Length: 9",
        "Transfer-Encoding: gzip",
        "Host: elsewhere",
        "Authorization: x",
        "X-Auth-Token: x",
        "X-Roles: admin",
        "Content-Type: text/plain",
        "X-Image-Meta-Store: nowhere",
        "X-A:",
        "X-A: b\r\nX-B: c",
    ] {
        cases.extend(chunks(trailer, with(&format!("{trailer}\r\n")), FINE));
    }
    for trailer in [
        "nothing",
        "X-A : b",
        ": b",
        " folded",
        "X-A: b\r\n c",
        "GET /smuggled HTTP/1.1",
        "X-A: \0",
        "X\u{e9}: b",
        "X-A: b\nX-B: c",
    ] {
        cases.extend(chunks(trailer, with(&format!("{trailer}\r\n")), Refused(BAD)));
    }
    cases.extend(chunks("10,000", with(&"X-A: b\r\n".repeat(10_000)), Refused(BAD)));
    cases.extend(chunks("one of 100 KB", with(&format!("X-A: {}\r\n", "b".repeat(100_000))), Refused(BAD)));
    cases.extend(both(
        "announced",
        &[CHUNKED, "Trailer: Content-Length"],
        with("Content-Length: 9\r\n").as_bytes(),
        FINE,
    ));
    run(&shared(), &cases);
}
