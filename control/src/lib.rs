//! The control plane of Vitrine: the Image API, policy, and the only writer of the catalog.
//!
//! | Module | What is there |
//! |---|---|
//! | `server` | the socket, one request at a time: HTTP to `api`, messages to `rpc_server` |
//! | `api` | the REST API: decode, call `app`, encode; one module per resource |
//! | `app` | authorise, decide, call the catalog; no HTTP, no SQL |
//! | `auth` | who is calling: nobody asked, or Keystone |
//! | `keystone` | sessions with Keystone: HTTP, a token of our own |
//! | `limits` | what projects may have: the configuration's quota, or Keystone's unified limits |
//! | `db` | the catalog's connections and the one writer |
//! | `uploads`, `rpc_server` | what the data plane asks: uploads, identities, metrics |
//! | `kinds` | what kinds of stores there are, and what that means here |
//! | `imports` | imports from their request to the end of their task |
//! | `signature`, `key_manager` | signed images, and the key manager that has the signers' certificates |
//! | `dataplane_client` | what we ask of the data plane |
//! | `metrics` | Prometheus |
//! | `parsers` | the parsers of `api` for fuzzing and benchmarks |
#![forbid(unsafe_code)]

mod api;
mod app;
pub mod auth;
mod dataplane_client;
mod db;
mod imports;
mod key_manager;
mod keystone;
mod kinds;
mod limits;
mod metrics;
mod outbound;
pub mod parsers;
mod rpc_server;
mod server;
mod signature;
mod uploads;

pub use server::{StartError, run};
