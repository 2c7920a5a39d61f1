//! Data that others have, read where it is.

use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

use common::http::range::ByteRange;

use super::contract::{Capabilities, Contract, Pending, Placement, Writing};
use super::{Source, StoreError};
use crate::fetch::{self, Wanted};
use crate::io::Frozen;
use crate::metrics;
use crate::shard::Shard;

/// The driver. Whom we may ask is for control to say.
#[derive(Debug)]
pub(super) struct HttpStore;

impl Contract for HttpStore {
    type Writer = Infallible;

    fn capabilities(&self) -> Capabilities {
        Capabilities::READ_ONLY
    }

    fn has_place(&self, url: &str) -> bool {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        matches!(scheme.as_deref(), Some("http" | "https"))
    }

    async fn open(&self, shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
        let answer = fetch::get(shard, Wanted { range, ..Wanted::all(url) }).await?;
        Ok(Source::Web(Box::new(answer)))
    }

    async fn new_place(&self, _: &str) -> Result<String, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn create(&self, _: Placement<'_>) -> Result<Infallible, StoreError> {
        Err(StoreError::ReadOnly)
    }

    async fn discard(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// What others have stays theirs.
    async fn remove(&self, _: &str, _: Option<&str>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Nothing is ever written.
impl Writing for Infallible {
    type Pending = Infallible;

    fn path(&self) -> metrics::Path {
        match *self {}
    }

    fn local_path(&self) -> Option<&Path> {
        match *self {}
    }

    async fn start_write(&self, _: Frozen, _: u64) -> Result<Option<Infallible>, StoreError> {
        match *self {}
    }

    async fn commit(&self, _: u64) -> Result<(), StoreError> {
        match *self {}
    }
}

impl Pending for Infallible {
    fn started(&self) -> Option<Instant> {
        match *self {}
    }

    async fn done(&mut self) -> Result<(), StoreError> {
        match *self {}
    }
}
