//! HTTP/1.1 on a connection: reading requests, framing bodies, writing responses; and reading those of others.

pub(crate) mod body;
pub(crate) mod extra;
pub(crate) mod input;
pub(crate) mod reply;
pub(crate) mod request_id;
pub(crate) mod response;
