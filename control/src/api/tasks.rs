//! `/v2/tasks` and `/v2/images/{image}/tasks`.

use common::authorise::NOT_FOUND_TEXT;
use common::{Error, Result};

use super::call::Call;
use super::reply::Reply;

/// `GET /v2/images/{image}/tasks`
pub(crate) async fn of_image(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}

/// `GET /v2/tasks`
pub(crate) async fn list(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}

/// `POST /v2/tasks`
pub(crate) async fn create(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}

/// `GET /v2/tasks/{task}`
pub(crate) async fn show(_call: &Call<'_>) -> Result<Reply> {
    Err(Error::not_found(NOT_FOUND_TEXT))
}
