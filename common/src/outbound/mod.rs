//! Where requests that users cause may go: the one gate for every address that is not the operator's own.
//!
//! Glance's import filters (`[import_filtering_opts]`), and what they lack: the port counts also where the scheme implies it,
//! and the address that a name stands for is looked at, whoever owns the name. An address that is not public is open only to hosts
//! that the operator lists.

mod address;
mod target;

use std::net::IpAddr;

pub use address::is_public;
pub use target::{MalformedUrl, Scheme, Target};

/// What users may have fetched. Of each pair the list of what is forbidden counts only where the other is empty, as in Glance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Schemes that may be used.
    pub allowed_schemes: Vec<String>,
    /// Schemes that may not.
    pub disallowed_schemes: Vec<String>,
    /// Hosts that may be asked, by name or address; they may be anywhere.
    pub allowed_hosts: Vec<String>,
    /// Hosts that may not.
    pub disallowed_hosts: Vec<String>,
    /// Ports that may be used.
    pub allowed_ports: Vec<u16>,
    /// Ports that may not.
    pub disallowed_ports: Vec<u16>,
}

/// Why an address may not be asked. Users are told no more than that it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a URL in its plain form.
    #[error(transparent)]
    Malformed(#[from] MalformedUrl),
    /// The scheme is not allowed.
    #[error("the scheme is not allowed")]
    Scheme,
    /// The host is not allowed.
    #[error("the host is not allowed")]
    Host,
    /// The port is not allowed.
    #[error("the port is not allowed")]
    Port,
    /// The host is not a public one.
    #[error("the address is not public")]
    Address,
}

impl Filter {
    /// Takes `url` apart, if it may be asked for as far as its text tells. What a name stands for is asked by
    /// [`Filter::admits_address`], for each address before it is connected to.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, url: &str) -> Result<Target, Refused> {
        let target = Target::parse(url)?;
        let passes = |allowed: bool, allowed_any: bool, forbidden: bool| if allowed_any { allowed } else { !forbidden };
        let is_scheme = |scheme: &String| scheme.eq_ignore_ascii_case(target.scheme.as_str());
        if !passes(
            self.allowed_schemes.iter().any(is_scheme),
            !self.allowed_schemes.is_empty(),
            self.disallowed_schemes.iter().any(is_scheme),
        ) {
            return Err(Refused::Scheme);
        }
        if !passes(
            self.lists(&target.host),
            !self.allowed_hosts.is_empty(),
            self.disallowed_hosts.iter().any(|host| is_host(host, &target.host)),
        ) {
            return Err(Refused::Host);
        }
        if !passes(
            self.allowed_ports.contains(&target.port),
            !self.allowed_ports.is_empty(),
            self.disallowed_ports.contains(&target.port),
        ) {
            return Err(Refused::Port);
        }
        match target.address() {
            Some(address) if !self.admits_address(&target, address) => Err(Refused::Address),
            _ => Ok(target),
        }
    }

    /// Whether `address`, which `target`'s host stands for, may be connected to.
    pub fn admits_address(&self, target: &Target, address: IpAddr) -> bool {
        let lists = |hosts: &[String]| hosts.iter().any(|listed| is_address(listed, address));
        if self.lists(&target.host) {
            return true;
        }
        is_public(address) && (!self.allowed_hosts.is_empty() || !lists(&self.disallowed_hosts))
    }

    fn lists(&self, host: &str) -> bool {
        self.allowed_hosts.iter().any(|listed| is_host(listed, host))
    }
}

/// Whether the operator's `listed` means `host`, which is in lower case.
fn is_host(listed: &str, host: &str) -> bool {
    let listed = listed.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(host) => is_address(listed, host),
        Err(_) => listed.eq_ignore_ascii_case(host),
    }
}

/// Whether the operator's `listed` is this address, in whatever spelling.
fn is_address(listed: &str, address: IpAddr) -> bool {
    let listed = listed.trim_start_matches('[').trim_end_matches(']');
    listed.parse::<IpAddr>().is_ok_and(|listed| listed.to_canonical() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Glance's defaults.
    fn defaults() -> Filter {
        Filter {
            allowed_schemes: vec!["http".into(), "https".into()],
            allowed_ports: vec![80, 443],
            ..Filter::default()
        }
    }

    #[test]
    fn public_hosts_pass_and_the_implicit_port_counts() {
        let filter = defaults();
        for good in
            ["http://images.example/x", "https://images.example:443/x?y=1", "http://8.8.8.8", "HTTP://A.example/"]
        {
            assert!(filter.admit(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("ftp://images.example/x", Refused::Malformed(MalformedUrl::Scheme)),
            ("http://images.example:22/x", Refused::Port),
            ("http://127.0.0.1/", Refused::Address),
            ("http://[::1]/", Refused::Address),
            ("http://169.254.169.254/latest/meta-data", Refused::Address),
        ] {
            assert_eq!(filter.admit(bad), Err(why), "{bad}");
        }
        let only_tls = Filter { allowed_ports: vec![443], ..defaults() };
        assert_eq!(only_tls.admit("http://images.example/x"), Err(Refused::Port), "80, though it is not written");
    }

    #[test]
    fn lists_of_what_is_forbidden_count_where_nothing_is_listed_as_allowed() {
        let filter = Filter {
            disallowed_schemes: vec!["http".into()],
            disallowed_hosts: vec!["Evil.example".into()],
            disallowed_ports: vec![25],
            ..Filter::default()
        };
        assert!(filter.admit("https://good.example:8443/").is_ok());
        assert_eq!(filter.admit("http://good.example/"), Err(Refused::Scheme));
        assert_eq!(filter.admit("https://evil.example/"), Err(Refused::Host));
        assert_eq!(filter.admit("https://good.example:25/"), Err(Refused::Port));
        let forbidden = Filter { disallowed_hosts: vec!["8.8.4.4".into()], ..Filter::default() };
        assert!(forbidden.admit("http://8.8.8.8/").is_ok());
        assert!(forbidden.admit("http://8.8.4.4/").is_err() && forbidden.admit("http://[::ffff:8.8.4.4]/").is_err());
        let named = forbidden.admit("http://innocent.example/").expect("a name");
        assert!(!forbidden.admits_address(&named, "8.8.4.4".parse().expect("an address")), "by whatever name");
        let both = Filter { allowed_hosts: vec!["good.example".into()], ..filter };
        assert_eq!(both.admit("https://other.example/"), Err(Refused::Host));
        assert!(both.admit("https://good.example/").is_ok());
    }

    #[test]
    fn listed_hosts_may_be_anywhere() {
        let filter =
            Filter { allowed_hosts: vec!["127.0.0.1".into(), "mirror.lan".into(), "[::1]".into()], ..defaults() };
        for good in ["http://127.0.0.1/x", "http://[::1]/x", "http://[0:0::1]/x"] {
            assert!(filter.admit(good).is_ok(), "{good}");
        }
        let mirror = filter.admit("http://mirror.lan/x").expect("listed");
        let inside = "10.1.2.3".parse().expect("an address");
        assert!(filter.admits_address(&mirror, inside));
        let other = defaults().admit("http://images.example/x").expect("public");
        assert!(!defaults().admits_address(&other, inside), "whoever owns the name");
        assert!(defaults().admits_address(&other, "1.1.1.1".parse().expect("an address")));
    }
}
