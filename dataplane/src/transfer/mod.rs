//! Image bytes between clients and stores, and from place to place.

pub(crate) mod download;
pub(crate) mod examine;
pub(crate) mod job;
pub(crate) mod path;
pub(crate) mod receive;
pub(crate) mod rework;
pub(crate) mod upload;
pub(crate) mod writes;
