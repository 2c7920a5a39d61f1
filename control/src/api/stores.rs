//! `/v2/stores/{store}/{image}`.

use common::Result;

use super::call::Call;
use super::reply::Reply;

/// `DELETE /v2/stores/{store}/{image}`
pub(crate) async fn remove(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().remove_from_store(call.caller, call.param(0)?, call.param(1)?).await?;
    Ok(Reply::no_content())
}
