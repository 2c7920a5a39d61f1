//! A small blocking HTTP/1.1 client over one connection: enough for measuring, and cheap enough not to be measured.

mod chunked;
mod connection;
mod head;

pub use connection::{Connection, Endpoint};
pub use head::{HEAD_MAX, Head};
