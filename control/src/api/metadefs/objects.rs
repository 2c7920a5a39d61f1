//! `/v2/metadefs/namespaces/{namespace}/objects` and `…/objects/{object}`.

use common::Result;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{body, query, view};
use crate::api::call::Call;
use crate::api::reply::Reply;

/// `GET /v2/metadefs/namespaces/{namespace}/objects`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    query::check_objects(&call.query()?)?;
    let namespace = call.param(0)?;
    let objects = call.app().list_objects(call.caller, namespace.clone()).await?;
    let objects: Vec<Value> = objects.iter().map(|object| view::object(&namespace, object, "")).collect();
    // Without the slash that other documents have.
    Ok(Reply::json(StatusCode::OK, &json!({"objects": objects, "schema": "v2/schemas/metadefs/objects"})))
}

/// `POST /v2/metadefs/namespaces/{namespace}/objects`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    let sent = decode(call)?;
    for definition in sent.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values) {
        call.api.schemas.metadefs.inner_property.validate(definition)?;
    }
    let (namespace, fields) = (call.param(0)?, body::object_fields(&sent)?);
    let made = call.app().create_object(call.caller, namespace.clone(), fields).await?;
    Ok(Reply::json(StatusCode::CREATED, &view::written_object(&namespace, &made, &sent)))
}

/// `GET /v2/metadefs/namespaces/{namespace}/objects/{object}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let namespace = call.param(0)?;
    let object = call.app().show_object(call.caller, namespace.clone(), call.param(1)?).await?;
    Ok(Reply::json(StatusCode::OK, &view::object(&namespace, &object, "")))
}

/// `PUT /v2/metadefs/namespaces/{namespace}/objects/{object}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let sent = decode(call)?;
    let (namespace, fields) = (call.param(0)?, body::object_fields(&sent)?);
    let updated = call.app().update_object(call.caller, namespace.clone(), call.param(1)?, fields).await?;
    Ok(Reply::json(StatusCode::OK, &view::written_object(&namespace, &updated, &sent)))
}

fn decode(call: &Call<'_>) -> Result<Map<String, Value>> {
    body::object(call, &call.api.schemas.metadefs.object, body::READ_ONLY)
}
