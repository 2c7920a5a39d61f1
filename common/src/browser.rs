//! Requests that come from web pages.
//!
//! A browser sends what any page tells it to wherever the browser's machine reaches, a service on 127.0.0.1 included. A
//! token keeps such requests out, for no page can guess one. Where there is no authentication two headers do, which pages
//! cannot write:
//!
//! * `Origin` says which page sends the request. Only pages of this server itself and those of `[cors] allowed_origin` may.
//! * `Host` says by which name the page found this server. A page whose own name is made to lead here (DNS rebinding)
//!   counts as this server's for the browser; so on a loopback address the name must be one that only this machine or the
//!   configuration gives.
//!
//! In every mode, pages of `[cors] allowed_origin` are told that they may read the answers, as oslo.middleware's filter does.

use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;

use crate::config::{Browsers, Config, Flavor};
use crate::{Error, Result};

/// Headers that every page may send (the Fetch standard's safelist, as oslo.middleware has it).
const SIMPLE_HEADERS: [&str; 8] = [
    "accept",
    "accept-language",
    "content-type",
    "cache-control",
    "content-language",
    "expires",
    "last-modified",
    "pragma",
];

/// Stands for all origins in `[cors] allowed_origin`.
const ANY: &str = "*";

/// What browsers may do here.
#[derive(Debug)]
pub struct Doorkeeper {
    browsers: Browsers,
    checks_origin: bool,
    checks_host: bool,
}

/// The headers of a request that matter here, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visit<'a> {
    /// The method.
    pub method: &'a str,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Access-Control-Request-Method`.
    pub wanted_method: Option<&'a str>,
    /// `Access-Control-Request-Headers`.
    pub wanted_headers: Option<&'a str>,
}

impl Doorkeeper {
    /// As configured. The port is none of its business.
    pub fn new(config: &Config) -> Self {
        let is_open = config.auth.flavor == Flavor::None;
        let is_local = config.listen.api.ip().is_loopback();
        Doorkeeper { browsers: config.browsers.clone(), checks_origin: is_open, checks_host: is_open && is_local }
    }

    /// Lets a request in; the header lines that its answer has besides, whatever the answer is (empty: none).
    ///
    /// # Errors
    /// 403 for a page that is not allowed, and for a name that is not this server's.
    pub fn admit(&self, visit: &Visit<'_>) -> Result<String> {
        if self.checks_host && !visit.host.is_none_or(|value| self.is_our_name(value)) {
            return Err(Error::forbidden(
                "This server does not know itself by the name in the Host header, and without authentication it answers \
                 to no other. Use its address, or set public_endpoint to the URL that clients use.",
            ));
        }
        let Some(origin) = visit.origin else { return Ok(String::new()) };
        let allowed = self.allowed(origin);
        let is_preflight = visit.method == "OPTIONS";
        if self.checks_origin && !is_preflight && allowed.is_none() && !is_same(origin, visit.host) {
            return Err(Error::forbidden(
                "Web pages of other servers may not use this one, which has no authentication. Name the page's origin in \
                 [cors] allowed_origin to allow it.",
            ));
        }
        Ok(match allowed {
            Some(allowed) if is_preflight => self.preflight(visit, allowed).unwrap_or_default(),
            Some(allowed) => self.lines_of_answer(allowed),
            None => String::new(),
        })
    }

    fn is_our_name(&self, value: &str) -> bool {
        let name = host(value).trim_end_matches('.').to_ascii_lowercase();
        // Nobody can make an address of his lead here, nor a name without a dot: such names are not in the public DNS.
        let is_address = IpAddr::from_str(name.trim_matches(['[', ']'])).is_ok();
        is_address || !name.contains('.') || name.ends_with(".localhost") || self.browsers.server_names.contains(&name)
    }

    /// What the browser is told of the origin, if it is allowed.
    fn allowed<'o>(&self, origin: &'o str) -> Option<&'o str> {
        let names = |wanted: &str| self.browsers.allowed_origins.iter().any(|known| known.as_str() == wanted);
        if names(origin) {
            return Some(origin);
        }
        names(ANY).then_some(ANY)
    }

    fn lines_of_answer(&self, allowed: &str) -> String {
        let mut lines = self.first_lines(allowed);
        if !self.browsers.expose_headers.is_empty() {
            let _ = write!(lines, "Access-Control-Expose-Headers: {}\r\n", self.browsers.expose_headers.join(","));
        }
        lines
    }

    /// The answer to a browser that asks first; `None` if what it asks for is not allowed.
    fn preflight(&self, visit: &Visit<'_>, allowed: &str) -> Option<String> {
        let method = visit.wanted_method?;
        if !self.browsers.allow_methods.iter().any(|known| known == method) {
            return None;
        }
        let wanted: Vec<&str> =
            visit.wanted_headers.unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let is_allowed = |name: &str| {
            let configured = self.browsers.allow_headers.iter().map(String::as_str);
            configured.chain(SIMPLE_HEADERS).any(|known| known.eq_ignore_ascii_case(name))
        };
        if !wanted.iter().all(|name| is_allowed(name)) {
            return None;
        }
        let mut lines = self.first_lines(allowed);
        if self.browsers.max_age_seconds > 0 {
            let _ = write!(lines, "Access-Control-Max-Age: {}\r\n", self.browsers.max_age_seconds);
        }
        let _ = write!(lines, "Access-Control-Allow-Methods: {method}\r\n");
        if !wanted.is_empty() {
            let _ = write!(lines, "Access-Control-Allow-Headers: {}\r\n", wanted.join(","));
        }
        Some(lines)
    }

    fn first_lines(&self, allowed: &str) -> String {
        let mut lines = format!("Vary: Origin\r\nAccess-Control-Allow-Origin: {allowed}\r\n");
        if self.browsers.allow_credentials {
            lines.push_str("Access-Control-Allow-Credentials: true\r\n");
        }
        lines
    }
}

/// The host of an authority (`host:port`, whatever follows a `/` left out). An IPv6 address keeps its brackets.
pub fn host(authority: &str) -> &str {
    let authority = authority.split('/').next().unwrap_or("").trim();
    match authority.find(']') {
        Some(end) if authority.starts_with('[') => &authority[..=end],
        _ => authority.split(':').next().unwrap_or(""),
    }
}

/// Whether a page of `origin` is one of the server that it calls `host`.
fn is_same(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn doorkeeper(lines: &str) -> Doorkeeper {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("glance-api.conf");
        std::fs::write(&file, lines).expect("written");
        let (config, _) = Config::load(&[file], &Overrides::default()).expect("a good configuration");
        Doorkeeper::new(&config)
    }

    fn visit<'a>(host: &'a str, origin: Option<&'a str>) -> Visit<'a> {
        Visit { method: "POST", host: Some(host), origin, ..Visit::default() }
    }

    const KEYSTONE: &str = "[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\nauth_type = token\ntoken = t\n\
         auth_url = http://k\n";

    #[test]
    fn names_that_lead_here_only_by_somebody_elses_will_are_refused() {
        let open = doorkeeper("[DEFAULT]\npublic_endpoint = https://Images.example:443/image\n");
        for host in [
            "127.0.0.1:9292",
            "127.0.0.1",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "[::1]:9292",
            "[::1]",
            "10.0.0.7:80",
            "vitrine",
            "a:9292",
            "x.localhost",
            "images.example",
            "images.example:9292",
            "",
        ] {
            assert_eq!(open.admit(&visit(host, None)).as_deref(), Ok(""), "{host}");
        }
        assert!(open.admit(&Visit::default()).is_ok(), "no browser leaves Host out");
        for host in
            ["evil.example", "evil.example:9292", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example."]
        {
            assert_eq!(open.admit(&visit(host, None)).map_err(|e| e.status().as_u16()), Err(403), "{host}");
        }
        let secured = doorkeeper(KEYSTONE);
        assert!(secured.admit(&visit("evil.example", Some("http://evil.example"))).is_ok(), "tokens keep pages out");
        let remote = doorkeeper("[DEFAULT]\nbind_host = 0.0.0.0\n[control]\nallow_remote_unauthenticated = true\n");
        assert!(remote.admit(&visit("images.example", None)).is_ok(), "others give it its names");
        assert!(remote.admit(&visit("images.example", Some("http://evil.example"))).is_err());
    }

    #[test]
    fn pages_of_others_need_permission() {
        let open = doorkeeper("[cors]\nallowed_origin = https://horizon.example,http://localhost:8080\n");
        let at = |origin| open.admit(&visit("127.0.0.1:9292", Some(origin)));
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:9293", "http://127.0.0.1", "127.0.0.1:9292"]
        {
            assert_eq!(at(origin).map_err(|error| error.status().as_u16()), Err(403), "{origin}");
        }
        assert_eq!(at("http://127.0.0.1:9292").as_deref(), Ok(""), "a page of our own");
        let lines = at("https://horizon.example").expect("allowed");
        assert!(
            lines.starts_with("Vary: Origin\r\nAccess-Control-Allow-Origin: https://horizon.example\r\n"),
            "{lines}"
        );
        assert!(lines.contains("Access-Control-Allow-Credentials: true\r\n"), "{lines}");
        assert!(lines.contains("Access-Control-Expose-Headers: X-Image-Meta-Checksum,X-Auth-Token,"), "{lines}");
        let all = doorkeeper("[cors]\nallowed_origin = *\nallow_credentials = false\nexpose_headers =\n");
        let lines = all.admit(&visit("localhost", Some("null"))).expect("allowed");
        assert!(lines.starts_with("Vary: Origin\r\nAccess-Control-Allow-Origin: *\r\n"), "{lines}");
        assert!(!lines.contains("Credentials"), "{lines}");
    }

    #[test]
    fn a_browser_that_asks_first_is_told() {
        let secured = doorkeeper(&format!("{KEYSTONE}[cors]\nallowed_origin = https://horizon.example\n"));
        let ask = |origin, method, headers| {
            let visit =
                Visit { method: "OPTIONS", wanted_method: method, wanted_headers: headers, ..visit("i", origin) };
            secured.admit(&visit).expect("never refused")
        };
        let origin = Some("https://horizon.example");
        assert_eq!(
            ask(origin, Some("PUT"), Some("x-auth-token, Content-Type")),
            "Vary: Origin\r\nAccess-Control-Allow-Origin: https://horizon.example\r\n\
             Access-Control-Allow-Credentials: true\r\nAccess-Control-Max-Age: 3600\r\n\
             Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: x-auth-token,Content-Type\r\n"
        );
        assert!(!ask(origin, Some("GET"), None).contains("Allow-Headers"));
        assert_eq!(ask(origin, Some("PUT"), Some("X-Evil")), "");
        assert_eq!(ask(origin, Some("BREW"), None), "");
        assert_eq!(ask(origin, None, None), "", "just OPTIONS");
        assert_eq!(ask(Some("http://evil.example"), Some("PUT"), None), "");
    }
}
