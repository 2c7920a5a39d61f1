//! The gate for addresses that users name: what passes reads the same again, goes where the text says, and no spelling of an address that
//! is not public passes unless its host is listed.

use std::net::{IpAddr, Ipv4Addr};

use common::outbound::{Filter, Refused, Target, is_public};

/// The one host of a filter that lists any.
const LISTED: &str = "mirror.lan";

/// A URL, or two with a line feed between: where the second is a redirect of the first.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let targets: Vec<Target> = text.splitn(2, '\n').filter_map(admitted).collect();
    if let [first, second] = &targets[..] {
        let same = (first.scheme, &first.host, first.port) == (second.scheme, &second.host, second.port);
        assert_eq!(first.is_same_origin(second), same);
    }
}

fn admitted(url: &str) -> Option<Target> {
    let ports = Filter {
        allowed_schemes: vec!["http".to_owned(), "https".to_owned()],
        allowed_ports: vec![80, 443],
        ..Filter::default()
    };
    let hosts = Filter { allowed_hosts: vec![LISTED.to_owned()], ..Filter::default() };
    let open = Filter::default();
    if let Ok(target) = ports.admit(url) {
        assert!([80, 443].contains(&target.port));
        assert!(open.admit(url).is_ok(), "more rules, and it passes");
    }
    if let Ok(target) = hosts.admit(url) {
        assert_eq!(target.host, LISTED);
    }
    match open.admit(url) {
        Ok(target) => {
            check(url, &target, &open);
            Some(target)
        }
        Err(refused) => {
            let text = refused.to_string();
            assert!(!text.is_empty() && !text.contains(url) || url.len() < 4, "{text}");
            // Without rules only the text and the address can be at fault.
            assert!(matches!(refused, Refused::Malformed(_) | Refused::Address), "{refused:?}");
            None
        }
    }
}

fn check(url: &str, target: &Target, open: &Filter) {
    // The authority as written stands between the slashes and what follows, and has no user.
    let rest = url.split_once("://").expect("a scheme").1;
    let written = rest.split(['/', '?', '#']).next().expect("an authority").to_ascii_lowercase();
    assert!(!written.contains('@') && written.is_ascii());
    let plain = target.host.parse::<IpAddr>().is_err();
    assert!(
        !plain || written == target.host || written.starts_with(&format!("{}:", target.host)),
        "{written} {target:?}"
    );
    assert!(
        target.path.starts_with('/')
            && target.path.bytes().all(|byte| byte.is_ascii_graphic())
            && !target.path.contains('#')
    );
    // It reads the same again.
    let again = format!("{}://{}{}", target.scheme.as_str(), target.authority(), target.path);
    assert_eq!(Target::parse(&again).as_ref(), Ok(target), "{again}");
    let address = target.address().or_else(|| lenient(&target.host).map(IpAddr::V4));
    if let Some(address) = address {
        assert!(is_public(address), "{url} goes to {address}");
        assert!(target.address().is_some(), "{url} is an address to some readers");
    }
    for inside in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fd00::1"]
    {
        let inside = inside.parse().expect("an address");
        assert!(!open.admits_address(target, inside), "{url} may be connected to {inside}");
    }
}

/// An IPv4 address as `inet_aton` reads it: one to four numbers, decimal, octal or hexadecimal, the last of which fills the rest.
fn lenient(host: &str) -> Option<Ipv4Addr> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some("") => Some(0),
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let numbers: Vec<u32> = host.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]).map(|(part, shift)| part << shift).sum::<u32>();
    let room = u64::from(u32::MAX) >> (8 * first.len());
    (u64::from(*last) <= room).then(|| Ipv4Addr::from(high | last))
}
