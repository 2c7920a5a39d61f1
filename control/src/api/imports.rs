//! `/v2/images/{image}/import`.

use common::authorise::NOT_FOUND_TEXT;
use common::{Error, Result};

use super::call::Call;
use super::reply::Reply;

/// `POST /v2/images/{image}/import`
pub(crate) async fn import(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}
