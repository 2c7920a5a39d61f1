//! librados and librbd: the only unsafe code of the rbd driver.
//!
//! The libraries are opened when a store needs them, so that one binary runs with and without Ceph. The declarations are those of
//! `rados/librados.h` and `rbd/librbd.h` of Ceph 16 and later; the test in `headers.rs` lets a C compiler compare them with the headers.
//! What other modules see is safe: handles that are destroyed in the right order, and operations that keep their memory.
#![allow(unsafe_code)]

mod aio;
mod handles;
mod table;

pub(super) use aio::{Operation, Operations, PIECES, close};
pub(super) use handles::{Failed, Image, Pool, Rados, Step};
pub(super) use table::{FEATURE_EXCLUSIVE_LOCK, FEATURE_FAST_DIFF, FEATURE_LAYERING, Library};

#[cfg(test)]
mod headers;
