//! `/v2/images/{image}/locations`.

use common::authorise::NOT_FOUND_TEXT;
use common::{Error, Result};

use super::call::Call;
use super::reply::Reply;

/// `POST /v2/images/{image}/locations`
pub(crate) async fn add(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}

/// `GET /v2/images/{image}/locations`
pub(crate) async fn list(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}
