//! What both planes of Vitrine share.
//!
//! Nothing here starts a thread or opens a socket: this crate holds the image model, the catalog (all SQL), the
//! policy language, the configuration, HTTP/1.1 grammar and the messages that cross the boundary between the planes.
#![forbid(unsafe_code)]

pub mod access;
pub mod authorise;
pub mod browser;
pub mod catalog;
pub mod config;
pub mod error;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod model;
pub mod outbound;
pub mod policy;
pub mod protect;
pub mod rbd;
pub mod rpc;
pub mod time;

pub use error::{Error, Kind, Result};
