//! The data plane: the front door of the service, and every image byte.
//!
//! One thread per core, each with its own listener, its own executor and its own read-only view of the catalog; cores
//! share nothing that is written per request. The way of a request: [`connection`] reads its head and finds its route;
//! image data is served by `transfer`, everything else goes to control by `forward`.
//!
//! Unsafe code stands in `io/raw.rs`, `io/ring.rs` and `hash/simd.rs` alone.

mod admin;
pub mod bench;
mod boot;
mod connection;
mod control_client;
mod fetch;
mod forward;
mod futures;
pub mod hash;
mod http;
mod identity;
pub mod inspect;
pub mod io;
mod metrics;
mod places;
mod plugins;
mod rpc_server;
mod shard;
mod spread;
mod store;
mod tls;
mod transfer;
mod uploads;

pub use boot::{StartError, run};
