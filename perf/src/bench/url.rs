//! Addresses of services: `http://host:port/path` and `https://…`, nothing else.

use std::fmt;

/// An absolute URL without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Port, the scheme's own if none was given.
    pub port: u16,
    /// Path without a slash at its end; empty for the root.
    pub path: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| format!("'{text}' is no endpoint: {why} (accepted: http[s]://HOST[:PORT][/PATH])");
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(refuse("it does not begin with http:// or https://"));
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refuse("it holds a blank"));
        }
        if rest.contains(['?', '#', '@']) {
            return Err(refuse("it holds a user, a query or a fragment"));
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or_else(|| refuse("the bracket is not closed"))?,
            None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
        };
        if host.is_empty() {
            return Err(refuse("it names no host"));
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => {
                digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| refuse("the port is no port"))?
            }
            None if port.is_empty() => 80 + u16::from(tls) * (443 - 80),
            None => return Err(refuse("the port is no port")),
        };
        Ok(Self { tls, host: host.to_owned(), port, path: path.trim_end_matches('/').to_owned() })
    }

    /// The same without a version (`/v2`, `/v2.1`, `/v3` …) at the end of its path.
    #[must_use]
    pub fn without_version(mut self) -> Self {
        if let Some((front, last)) = self.path.rsplit_once('/') {
            let version = last.strip_prefix('v').unwrap_or_default();
            if version.starts_with(|c: char| c.is_ascii_digit())
                && version.chars().all(|c| c == '.' || c.is_ascii_digit())
            {
                self.path = front.trim_end_matches('/').to_owned();
            }
        }
        self
    }

    /// Host and port as the `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_ports_and_paths() {
        for (text, host, port, path) in [
            ("http://images", "images", 80, ""),
            ("https://images.example/", "images.example", 443, ""),
            ("http://127.0.0.1:9292/image/", "127.0.0.1", 9292, "/image"),
            ("https://[::1]:8443/v3", "::1", 8443, "/v3"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.host.as_str(), url.port, url.path.as_str()), (host, port, path));
            assert_eq!(Url::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        for text in [
            "",
            "127.0.0.1:9292",
            "ftp://x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:99999",
            "http://[::1",
            "http://[::1]x",
            "http://u@x",
            "http://x/?a",
            "http://x/a b",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_version_is_taken_off() {
        let path = |text| Url::parse(text).expect(text).without_version().path;
        assert_eq!(path("http://x/v2"), "");
        assert_eq!(path("http://x/image/v2.1/"), "/image");
        assert_eq!(path("http://x/image"), "/image");
        assert_eq!(path("http://x/vault"), "/vault");
    }
}
