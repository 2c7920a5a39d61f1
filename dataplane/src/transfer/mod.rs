//! Image bytes between clients and stores.

pub(crate) mod download;
pub(crate) mod path;
pub(crate) mod receive;
pub(crate) mod upload;
