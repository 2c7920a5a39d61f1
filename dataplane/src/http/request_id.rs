//! The id under which a request is logged and answered.

use std::cell::RefCell;

use common::http::head::Head;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::{Builder, Uuid};

/// What every id begins with.
const PREFIX: &str = "req-";

/// The id of a request: the client's where it sent one that is short and harmless enough to be written into a header
/// and a log, else a new one. `length_max`: characters of the longest one accepted.
pub(crate) fn of(head: &Head, length_max: usize) -> String {
    match head.header_named("x-openstack-request-id") {
        Some(id) if !id.is_empty() && id.len() <= length_max && id.bytes().all(is_harmless) => {
            if id.starts_with(PREFIX) { id.to_owned() } else { format!("{PREFIX}{id}") }
        }
        _ => new(),
    }
}

/// A new id.
pub(crate) fn new() -> String {
    format!("{PREFIX}{}", random())
}

/// Ids that the system is asked to fill with one call.
const IDS_PER_CALL: usize = 64;

/// A random UUID. What is drawn for many of them costs a thread one call of the system.
fn random() -> Uuid {
    thread_local! {
        static DRAWN: RefCell<Vec<[u8; 16]>> = const { RefCell::new(Vec::new()) };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.is_empty() {
            let mut bytes = [0; 16 * IDS_PER_CALL];
            if SystemRandom::new().fill(&mut bytes).is_err() {
                return Uuid::new_v4();
            }
            drawn.extend_from_slice(bytes.as_chunks().0);
        }
        drawn.pop().map_or_else(Uuid::new_v4, |bytes| Builder::from_random_bytes(bytes).into_uuid())
    })
}

fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)
}

#[cfg(test)]
mod tests {
    use common::http::head::{Limits, parse};

    use super::*;

    fn id(header: &str) -> String {
        let limits = Limits { head_bytes_max: 4096, header_count_max: 10, target_bytes_max: 100 };
        let wire = format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n");
        of(&parse(wire.as_bytes(), &limits).expect("parses"), 64)
    }

    #[test]
    fn harmless_ids_are_kept_and_others_replaced() {
        assert_eq!(id("X-Openstack-Request-Id: req-abc\r\n"), "req-abc");
        assert_eq!(id("X-Openstack-Request-Id: abc\r\n"), "req-abc");
        for bad in ["", "a b", "<script>", &"x".repeat(65)] {
            let made = id(&format!("X-Openstack-Request-Id: {bad}\r\n"));
            assert_eq!(made.len(), PREFIX.len() + 36, "{made}");
        }
        assert_ne!(id(""), id(""));
    }

    #[test]
    fn no_two_are_the_same() {
        let made: std::collections::HashSet<String> = (0..3 * IDS_PER_CALL).map(|_| new()).collect();
        assert_eq!(made.len(), 3 * IDS_PER_CALL);
    }
}
