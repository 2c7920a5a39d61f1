//! Data that others have, read where it is.

use std::io;

use ::http::StatusCode;
use common::http::range::ByteRange;

use super::{Source, StoreError};
use crate::control_client::is_away;
use crate::fetch::{self, FetchError};
use crate::shard::Shard;

/// Whether `url` can be a place of such a store.
pub(super) fn holds(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Asks for what lies at `url`.
pub(super) async fn open(shard: &Shard, url: &str, range: Option<ByteRange>) -> Result<Source, StoreError> {
    match fetch::get(shard, url, range).await {
        Ok(answer) => Ok(Source::Web(Box::new(answer))),
        Err(FetchError::Status(StatusCode::NOT_FOUND | StatusCode::GONE)) => Err(StoreError::NotFound),
        Err(FetchError::Refused(error)) if is_away(&error) => Err(StoreError::Exhausted(io::Error::other(error))),
        Err(FetchError::Broken(error)) => match StoreError::from(error) {
            StoreError::Exhausted(error) => Err(StoreError::Exhausted(error)),
            other => Err(StoreError::Away(other.to_string())),
        },
        Err(error) => Err(StoreError::Away(error.to_string())),
    }
}
