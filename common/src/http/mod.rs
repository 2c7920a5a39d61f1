//! HTTP/1.1 as both planes speak it: grammar and tables, no I/O.

pub mod chunked;
pub mod conditional;
pub mod errors;
pub mod head;
pub mod query;
pub mod range;
pub mod routes;
