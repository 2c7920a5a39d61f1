//! `/v2/images/{image}/actions/…`.

use common::Result;

use super::call::Call;
use super::reply::Reply;
use crate::app::actions::Action;

/// `POST /v2/images/{image}/actions/deactivate` and `…/reactivate`
pub(crate) async fn act(call: &Call<'_>, action: Action) -> Result<Reply> {
    call.refuse_body()?;
    call.app().act(call.caller, call.param(0)?, action).await?;
    Ok(Reply::no_content())
}
