//! `/v2/metadefs/namespaces` and `/v2/metadefs/namespaces/{namespace}`.

use common::Result;
use common::http::query::write_segment;
use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Map, Value, json};

use super::{body, query, view};
use crate::api::call::{Call, base_url};
use crate::api::list_query;
use crate::api::reply::Reply;

/// `GET /v2/metadefs/namespaces`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    let params = call.query()?;
    let wanted = query::namespaces(&params, &call.app().config.api)?;
    let list = call.app().list_namespaces(call.caller, wanted).await?;
    let (first, next) = list_query::links(view::NAMESPACES, &params, list.next_marker.as_deref());
    let shown = list.namespaces.iter().map(|one| view::listed_namespace(&one.namespace, &one.associations));
    let mut document = json!({"namespaces": shown.collect::<Vec<Value>>()});
    if let Some(next) = next {
        document["next"] = json!(next);
    }
    document["schema"] = json!("/v2/schemas/metadefs/namespaces");
    document["first"] = json!(first);
    Ok(Reply::json(StatusCode::OK, &document))
}

/// `POST /v2/metadefs/namespaces`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    let object = body::object(call, &call.api.schemas.metadefs.namespace, body::READ_ONLY)?;
    let owner = owner(&object).map_or_else(|| project(call), str::to_owned);
    let (new, parts, told) = body::new_namespace(&object, owner)?;
    let made = call.app().create_namespace(call.caller, new, parts).await?;
    let path = view::namespace_path(&write_segment(&made.name));
    let location = format!("{}{path}", base_url(&call.parts.headers, &call.app().config));
    Ok(Reply::json(StatusCode::CREATED, &view::namespace(&made, told)).header(LOCATION, &location))
}

/// `GET /v2/metadefs/namespaces/{namespace}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let resource_type = query::resource_type_of_namespace(&call.query()?)?;
    let whole = call.app().show_namespace(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &view::whole_namespace(&whole, resource_type.as_deref())))
}

/// `PUT /v2/metadefs/namespaces/{namespace}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let object = body::object(call, &call.api.schemas.metadefs.namespace, body::READ_ONLY)?;
    // Parts are looked at and left alone, but what a new namespace could not have is no part of an old one.
    body::new_namespace(&object, String::new())?;
    let owner = owner(&object).filter(|owner| !owner.is_empty()).map_or_else(|| project(call), str::to_owned);
    let fields = body::namespace(&object, owner);
    let updated = call.app().update_namespace(call.caller, call.param(0)?, fields).await?;
    Ok(Reply::json(StatusCode::OK, &view::namespace(&updated, Map::new())))
}

/// `DELETE /v2/metadefs/namespaces/{namespace}`
pub(crate) async fn delete(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().delete_namespace(call.caller, call.param(0)?).await?;
    Ok(Reply::no_content())
}

fn owner(object: &Map<String, Value>) -> Option<&str> {
    object.get("owner").and_then(Value::as_str)
}

fn project(call: &Call<'_>) -> String {
    call.caller.project_id.clone().unwrap_or_default()
}
