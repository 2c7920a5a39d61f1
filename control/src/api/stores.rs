//! `/v2/stores/{store}/{image}`.

use common::authorise::NOT_FOUND_TEXT;
use common::{Error, Result};

use super::call::Call;
use super::reply::Reply;

/// `DELETE /v2/stores/{store}/{image}`
pub(crate) async fn remove(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}
