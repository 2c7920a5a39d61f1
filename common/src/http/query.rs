//! Percent-encoding in request targets.

/// Decodes one path segment: `%XX` only, `+` stays. `None` where the result is not UTF-8. An invalid escape is text.
pub fn decode_segment(segment: &str) -> Option<String> {
    decode(segment, false)
}

/// The parameters of a query string, decoded, in the order of the target. `None` where one is not UTF-8.
///
/// As `application/x-www-form-urlencoded`: `+` is a space, a key without `=` has an empty value, and empty pieces
/// between two `&` are passed over.
pub fn parse_query(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
            Some((decode(key, true)?, decode(value, true)?))
        })
        .collect()
}

/// Writes `pairs` as a query string that [`parse_query`] reads back.
pub fn write_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        encode(&mut query, key);
        query.push('=');
        encode(&mut query, value);
    }
    query
}

fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => match (bytes.get(at + 1).copied().and_then(hex), bytes.get(at + 2).copied().and_then(hex)) {
                (Some(high), Some(low)) => {
                    decoded.push(high * 16 + low);
                    at += 3;
                    continue;
                }
                _ => decoded.push(b'%'),
            },
            b'+' if plus_is_space => decoded.push(b' '),
            byte => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8(decoded).ok()
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn encode(query: &mut String, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b' ' => query.push('+'),
            byte => write_byte(query, byte, b""),
        }
    }
}

/// Writes `text` as a path segment that [`decode_segment`] reads back.
pub fn write_segment(text: &str) -> String {
    let mut segment = String::new();
    text.bytes().for_each(|byte| write_byte(&mut segment, byte, b"!$&'()*+,;=:@"));
    segment
}

/// Writes a byte as it is where it is one of `plain` or means nothing anywhere, else escaped.
fn write_byte(target: &mut String, byte: u8, plain: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || plain.contains(&byte) {
        target.push(char::from(byte));
        return;
    }
    target.push('%');
    target.push(char::from(HEX[usize::from(byte >> 4)]));
    target.push(char::from(HEX[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_written_as_they_are_read() {
        for name in ["OS::Compute", "a b", "50%", "ü/ö?#", ""] {
            assert_eq!(decode_segment(&write_segment(name)).as_deref(), Some(name));
        }
        assert_eq!(write_segment("OS::a b/ü"), "OS::a%20b%2F%C3%BC");
    }

    #[test]
    fn queries_decode() {
        let pairs = parse_query("name=a+b%2Bc&tag=x&tag=y&empty=&bare&&q=%zz").expect("utf-8");
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let want = [("name", "a b+c"), ("tag", "x"), ("tag", "y"), ("empty", ""), ("bare", ""), ("q", "%zz")];
        assert_eq!(pairs, want);
        assert_eq!(parse_query("a=%FF"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(pairs in proptest::collection::vec((".+", ".*"), 0..6)) {
            let query = write_query(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            proptest::prop_assert!(query.is_ascii());
            proptest::prop_assert_eq!(parse_query(&query), Some(pairs));
        }
    }
}
