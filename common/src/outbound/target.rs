//! A URL in its plain form, taken apart.
//!
//! Stricter than RFC 3986 and than the URL standard of browsers: what two readers could read differently is refused, and nothing is
//! repaired. No user, no backslash, no octet that is not visible ASCII; a host is a name, four decimal numbers, or an IPv6 address in
//! brackets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the longest URL.
const URL_BYTES_MAX: usize = 8192;

/// Bytes of the longest name (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

/// Bytes of the longest part of a name.
const LABEL_BYTES_MAX: usize = 63;

/// What can be fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With it.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that it implies.
    pub fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub scheme: Scheme,
    /// The host in lower case: a name, or an address without brackets.
    pub host: String,
    /// The port, named or implied.
    pub port: u16,
    /// Path and query, for the request line.
    pub path: String,
}

/// What is wrong with the text of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedUrl {
    /// Neither `http://` nor `https://`.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// Too long, or with octets that do not belong into a URL.
    #[error("it is too long, or holds characters that do not belong into a URL")]
    Characters,
    /// A user or a password before the host.
    #[error("it names a user")]
    User,
    /// No host, or one in an odd spelling.
    #[error("the host is neither a name nor an address in its usual form")]
    Host,
    /// No number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl Target {
    /// Takes `url` apart. A fragment is dropped.
    ///
    /// # Errors
    /// [`MalformedUrl`].
    pub fn parse(url: &str) -> Result<Self, MalformedUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(MalformedUrl::Scheme)?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(scheme))
            .ok_or(MalformedUrl::Scheme)?;
        let odd = |byte: u8| !byte.is_ascii_graphic() || br#"\"<>^`{|}"#.contains(&byte);
        if url.len() > URL_BYTES_MAX || rest.bytes().any(odd) {
            return Err(MalformedUrl::Characters);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(MalformedUrl::User);
        }
        let (host, port) = split_port(authority)?;
        let host = host_of(host).ok_or(MalformedUrl::Host)?;
        let port = match port {
            None => scheme.port(),
            Some(text) if !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|port| *port > 0).ok_or(MalformedUrl::Port)?
            }
            Some(_) => return Err(MalformedUrl::Port),
        };
        let tail = tail.split('#').next().unwrap_or_default();
        let path = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        Ok(Target { scheme, host, port, path })
    }

    /// The address, if the host is none but that.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The host and, where it is not the scheme's, the port: for the field `Host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL that `reference` stands for in an answer from here (RFC 3986 §5.2, but dots in paths stay for the server).
    pub fn join(&self, reference: &str) -> String {
        let scheme = self.scheme.as_str();
        let head = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if head.contains(':') {
            return reference.to_owned();
        }
        if reference.starts_with("//") {
            return format!("{scheme}:{reference}");
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let base = match reference.chars().next() {
            Some('/') => "",
            Some('?' | '#') | None => path,
            Some(_) => &path[..=path.rfind('/').unwrap_or(0)],
        };
        format!("{scheme}://{}{base}{reference}", self.authority())
    }

    /// Whether `other` is the same scheme, host and port.
    pub fn is_same_origin(&self, other: &Target) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), MalformedUrl> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, behind) = rest.split_once(']').ok_or(MalformedUrl::Host)?;
        let bracketed = &authority[..inside.len() + 2];
        return match behind.strip_prefix(':') {
            Some(port) => Ok((bracketed, Some(port))),
            None if behind.is_empty() => Ok((bracketed, None)),
            None => Err(MalformedUrl::Host),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn host_of(host: &str) -> Option<String> {
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // A zone would name an interface of this machine.
        return inside.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(address.to_string());
    }
    let name = host.to_ascii_lowercase();
    let good = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(plain)
    };
    // What ends in a number is an address to some readers: 127.1, 2130706433, 0x7f000001.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|first: char| first.is_ascii_digit());
    (name.len() <= NAME_BYTES_MAX && name.split('.').all(good) && !is_number).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_urls_are_taken_apart() {
        let target = Target::parse("HTTPS://Images.Example:8443/a/b?c=d#e").expect("plain");
        assert_eq!((target.scheme, target.host.as_str(), target.port), (Scheme::Https, "images.example", 8443));
        assert_eq!((target.path.as_str(), target.authority().as_str()), ("/a/b?c=d", "images.example:8443"));
        let bare = Target::parse("http://[2001:DB8::1]?q").expect("plain");
        assert_eq!((bare.host.as_str(), bare.port, bare.path.as_str()), ("2001:db8::1", 80, "/?q"));
        assert_eq!(bare.authority(), "[2001:db8::1]");
        assert!(bare.address().is_some() && target.address().is_none());
        assert!(!bare.is_same_origin(&target) && target.is_same_origin(&target.clone()));
    }

    #[test]
    fn references_are_joined() {
        let base = Target::parse("https://a.example:8443/b/c?d").expect("plain");
        for (reference, url) in [
            ("/x?y", "https://a.example:8443/x?y"),
            ("x", "https://a.example:8443/b/x"),
            ("../x", "https://a.example:8443/b/../x"),
            ("?y", "https://a.example:8443/b/c?y"),
            ("", "https://a.example:8443/b/c"),
            ("//b.example/x", "https://b.example/x"),
            ("http://b.example/", "http://b.example/"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("gopher:x", "gopher:x"),
            ("x/y:z", "https://a.example:8443/b/x/y:z"),
        ] {
            assert_eq!(base.join(reference), url, "{reference}");
        }
    }

    #[test]
    fn odd_spellings_are_refused() {
        for (url, why) in [
            ("images.example/x", MalformedUrl::Scheme),
            ("file:///etc/passwd", MalformedUrl::Scheme),
            ("gopher://x/", MalformedUrl::Scheme),
            ("http:/images.example", MalformedUrl::Scheme),
            ("http://", MalformedUrl::Host),
            ("http:///x", MalformedUrl::Host),
            ("http://good@127.0.0.1/", MalformedUrl::User),
            ("http://good:pw@images.example/", MalformedUrl::User),
            ("http://good#@bad/", MalformedUrl::Host),
            ("http://images.example\\@127.0.0.1/", MalformedUrl::Characters),
            ("http://images.example/\tx", MalformedUrl::Characters),
            ("http://images.example/ x", MalformedUrl::Characters),
            ("http://images\n.example/", MalformedUrl::Characters),
            ("http://１２７.0.0.1/", MalformedUrl::Characters),
            ("http://2130706433/", MalformedUrl::Host),
            ("http://0x7f000001/", MalformedUrl::Host),
            ("http://017700000001/", MalformedUrl::Host),
            ("http://127.1/", MalformedUrl::Host),
            ("http://127.0.0.1./", MalformedUrl::Host),
            ("http://0x7f.0.0.1/", MalformedUrl::Host),
            ("http://0177.0.0.1/", MalformedUrl::Host),
            ("http://images.example./", MalformedUrl::Host),
            ("http://a..b/", MalformedUrl::Host),
            ("http://::1/", MalformedUrl::Host),
            ("http://[::1/", MalformedUrl::Host),
            ("http://[fe80::1%25eth0]/", MalformedUrl::Host),
            ("http://[::1]x/", MalformedUrl::Host),
            ("http://images.example:/", MalformedUrl::Port),
            ("http://images.example:0/", MalformedUrl::Port),
            ("http://images.example:65536/", MalformedUrl::Port),
            ("http://images.example:8o/", MalformedUrl::Port),
            ("http://images.example:+80/", MalformedUrl::Port),
        ] {
            let got = match url {
                // The fragment ends the authority, and `good` is a host: what follows is never asked.
                "http://good#@bad/" => {
                    assert_eq!(Target::parse(url).expect("a host").host, "good");
                    continue;
                }
                _ => Target::parse(url),
            };
            assert_eq!(got, Err(why), "{url}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_reads_the_same_again(url in "https?://[a-z0-9.:@/?#\\[\\]%_-]{0,40}") {
            if let Ok(target) = Target::parse(&url) {
                let again = format!("{}://{}{}", target.scheme.as_str(), target.authority(), target.path);
                prop_assert_eq!(Target::parse(&again), Ok(target));
            }
        }

        #[test]
        fn nothing_panics(url in ".{0,60}") {
            let _ = Target::parse(&url);
        }
    }
}
