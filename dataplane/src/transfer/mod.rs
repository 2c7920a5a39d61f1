//! Image bytes between clients and stores, and from place to place.

pub(crate) mod download;
pub(crate) mod examine;
pub(crate) mod job;
mod origin;
pub(crate) mod path;
pub(crate) mod receive;
mod relay;
pub(crate) mod reservation;
pub(crate) mod rework;
pub(crate) mod upload;
pub(crate) mod writes;
