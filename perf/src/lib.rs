//! Load generator for Image services, and the side-by-side figures made with it.
//!
//! [`load`] drives one endpoint and counts; [`cpu`] says what that cost the server; [`compare`] starts Vitrine, nginx
//! and Glance, lets them take turns on the same work and prints one table. The client must never be the limit: bodies
//! are neither copied nor looked at while the clock runs, and are verified in a pass of their own.
#![forbid(unsafe_code)]

pub mod awake;
pub mod bench;
pub mod compare;
pub mod cpu;
pub mod digests;
pub mod disk;
pub mod error;
pub mod fill;
pub mod http;
pub mod images;
pub mod load;
pub mod machine;
pub mod memory;
pub mod payload;
pub mod priority;
pub mod report;
pub mod scenario;
pub mod servers;
pub mod size;
pub mod soak;
pub mod standstill;
pub mod stats;

pub use error::{Error, Result};
