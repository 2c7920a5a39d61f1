//! Data that others have, read where it is.

use common::http::range::ByteRange;

use super::{Source, StoreError};
use crate::fetch::{self, Wanted};
use crate::shard::Shard;

/// Whether `url` can be a place of such a store.
pub(super) fn holds(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Asks for what lies at `url`.
pub(super) async fn open(shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
    let answer = fetch::get(shard, Wanted { range, ..Wanted::all(url) }).await?;
    Ok(Source::Web(Box::new(answer)))
}
