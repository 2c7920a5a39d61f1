//! A name server that says what a test makes it say, for one process and its children.
//!
//! Source of the messages: RFC 1035, section 4.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

/// Where it listens: resolvers ask on port 53 alone, and all of 127/8 is this machine's. Other processes run the same tests.
fn own_address() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 53, high, low)
}

/// Types of records: addresses of IP 4 and 6.
const A: u16 = 1;
const AAAA: u16 = 28;

/// Starts it, until the process ends. `answer` gets a name and how often it was asked for before. What comes back is put before a command
/// that shall ask it, with files in `home`.
pub(crate) fn start(home: &Path, answer: impl Fn(&str, usize) -> Vec<IpAddr> + Send + 'static) -> Vec<String> {
    let address = own_address();
    let socket = UdpSocket::bind((address, 53)).expect("port 53: tests/run runs as root");
    std::thread::spawn(move || {
        let mut asked: HashMap<String, usize> = HashMap::new();
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let Some((name, kind, end)) = question(&query[..length]) else { continue };
            let times = asked.entry(name.clone()).or_default();
            let addresses = answer(&name, *times);
            *times += usize::from(kind == A);
            let _ = socket.send_to(&reply(&query[..end], kind, &addresses), client);
        }
    });
    let file = home.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {address}\n")).expect("writing");
    let script = format!("mount --bind {} /etc/resolv.conf && exec \"$@\"", file.display());
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// The name and the type that are asked for, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    (at + 4 <= query.len()).then(|| (labels.join("."), kind, at + 4))
}

/// The answer to the question `asked`, which the resolver may not keep.
fn reply(asked: &[u8], kind: u16, addresses: &[IpAddr]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut reply = asked.to_vec();
    // A response, recursion available, no error; one question, as many answers, nothing else.
    reply[2..4].copy_from_slice(&[0x81, 0x80]);
    reply[4..12].copy_from_slice(&[0, 1, 0, u8::try_from(data.len()).expect("few"), 0, 0, 0, 0]);
    for address in data {
        // The name of the question; class IN; time to live 0.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0]);
        reply.extend(u16::try_from(address.len()).expect("4 or 16").to_be_bytes());
        reply.extend(address);
    }
    reply
}
