//! `/v2/metadefs/namespaces/{namespace}/properties` and `…/properties/{property}`.

use common::Result;
use common::model::metadef::Property;
use http::StatusCode;
use serde_json::json;

use super::{body, query, view};
use crate::api::call::Call;
use crate::api::reply::Reply;

/// `GET /v2/metadefs/namespaces/{namespace}/properties`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let properties = call.app().list_properties(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"properties": view::properties(&properties, "")})))
}

/// `POST /v2/metadefs/namespaces/{namespace}/properties`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    let made = call.app().create_property(call.caller, call.param(0)?, decode(call)?).await?;
    Ok(Reply::json(StatusCode::CREATED, &view::property(&made)))
}

/// `GET /v2/metadefs/namespaces/{namespace}/properties/{property}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    let resource_type = query::resource_type(&call.query()?);
    let property = call.app().show_property(call.caller, call.param(0)?, call.param(1)?, resource_type).await?;
    Ok(Reply::json(StatusCode::OK, &view::property(&property)))
}

/// `PUT /v2/metadefs/namespaces/{namespace}/properties/{property}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let updated = call.app().update_property(call.caller, call.param(0)?, call.param(1)?, decode(call)?).await?;
    Ok(Reply::json(StatusCode::OK, &view::property(&updated)))
}

fn decode(call: &Call<'_>) -> Result<Property> {
    body::property(&body::object(call, &call.api.schemas.metadefs.property, body::READ_ONLY_TIMES)?)
}
