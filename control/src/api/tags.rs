//! `/v2/images/{image}/tags/{tag}`.

use common::Result;
use serde_json::json;

use super::call::Call;
use super::reply::Reply;
use crate::app::fields;

/// `PUT /v2/images/{image}/tags/{tag}`
pub(crate) async fn add(call: &Call<'_>) -> Result<Reply> {
    let (image, tag) = (call.param(0)?, call.param(1)?);
    call.api.image_schema.validate_element("tags", &json!(tag))?;
    fields::refuse_four_byte_value(&tag)?;
    call.refuse_body()?;
    call.app().add_tag(call.caller, image, tag).await?;
    Ok(Reply::no_content())
}

/// `DELETE /v2/images/{image}/tags/{tag}`
pub(crate) async fn remove(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().remove_tag(call.caller, call.param(0)?, call.param(1)?).await?;
    Ok(Reply::no_content())
}
