//! `/v2/metadefs/resource_types`, `/v2/metadefs/namespaces/{namespace}/resource_types` and `…/resource_types/{resource_type}`.

use common::Result;
use http::StatusCode;
use serde_json::{Value, json};

use super::{body, view};
use crate::api::call::Call;
use crate::api::reply::Reply;

/// `GET /v2/metadefs/resource_types`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let types = call.app().list_resource_types(call.caller).await?;
    let types: Vec<Value> = types.iter().map(view::resource_type).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"resource_types": types})))
}

/// `GET /v2/metadefs/namespaces/{namespace}/resource_types`
pub(crate) async fn of_namespace(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let found = call.app().list_associations(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &json!({"resource_type_associations": view::associations(&found)})))
}

/// `POST /v2/metadefs/namespaces/{namespace}/resource_types`
pub(crate) async fn associate(call: &Call<'_>) -> Result<Reply> {
    let sent = body::object(call, &call.api.schemas.metadefs.association, body::READ_ONLY_TIMES)?;
    let made = call.app().create_association(call.caller, call.param(0)?, body::association(&sent)?).await?;
    Ok(Reply::json(StatusCode::CREATED, &view::association(&made)))
}

/// `DELETE /v2/metadefs/namespaces/{namespace}/resource_types/{resource_type}`
pub(crate) async fn dissociate(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().delete_association(call.caller, call.param(0)?, call.param(1)?).await?;
    Ok(Reply::no_content())
}
