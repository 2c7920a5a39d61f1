//! What the tests share: a server under test, a plain HTTP client, data with known digests.

pub(crate) mod barbican;
pub(crate) mod ceph;
pub(crate) mod client;
pub(crate) mod data;
pub(crate) mod deaths;
#[cfg(feature = "installed")]
pub(crate) mod dns;
#[cfg(feature = "installed")]
pub(crate) mod internet;
pub(crate) mod keystone;
pub(crate) mod locations;
pub(crate) mod origin;
pub(crate) mod packed;
pub(crate) mod server;
pub(crate) mod steps;
pub(crate) mod tasks;
pub(crate) mod tls;

use std::time::{Duration, Instant};

pub(crate) use client::{Connection, Response};
pub(crate) use server::Server;

/// Asks `probe` until it gives a value, for at most `limit`; `None` when it never did.
pub(crate) fn eventually<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A number from the environment, or `default`.
pub(crate) fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
