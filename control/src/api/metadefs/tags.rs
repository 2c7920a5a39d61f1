//! `/v2/metadefs/namespaces/{namespace}/tags` and `…/tags/{tag}`.

use common::Result;
use http::StatusCode;
use serde_json::{Value, json};

use super::{body, query, view};
use crate::api::call::Call;
use crate::api::reply::Reply;

/// The header that has new tags stand beside old ones.
const APPEND: &str = "x-openstack-append";

/// What it says then, in any case.
const YES: [&str; 6] = ["1", "t", "true", "on", "y", "yes"];

/// `GET /v2/metadefs/namespaces/{namespace}/tags`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    let wanted = query::tags(&call.query()?)?;
    let tags = call.app().list_metadef_tags(call.caller, call.param(0)?, wanted).await?;
    Ok(names(StatusCode::OK, tags.iter().map(|tag| tag.name.as_str())))
}

/// `POST /v2/metadefs/namespaces/{namespace}/tags`
pub(crate) async fn create_several(call: &Call<'_>) -> Result<Reply> {
    let sent = body::object(call, &call.api.schemas.metadefs.new_tags, body::READ_ONLY_TIMES)?;
    let tags = body::tags(&sent)?;
    let made = call.app().create_metadef_tags(call.caller, call.param(0)?, tags, appends(call)).await?;
    Ok(names(StatusCode::CREATED, made.iter().map(String::as_str)))
}

/// `POST /v2/metadefs/namespaces/{namespace}/tags/{tag}`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let name = call.param(1)?;
    let check = call.api.schemas.metadefs.tag.validate(&json!({"name": name}));
    let made = call.app().create_metadef_tag(call.caller, call.param(0)?, name, check).await?;
    Ok(Reply::json(StatusCode::CREATED, &view::tag(&made)))
}

/// `GET /v2/metadefs/namespaces/{namespace}/tags/{tag}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let tag = call.app().show_metadef_tag(call.caller, call.param(0)?, call.param(1)?).await?;
    Ok(Reply::json(StatusCode::OK, &view::tag(&tag)))
}

/// `PUT /v2/metadefs/namespaces/{namespace}/tags/{tag}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let sent = body::object(call, &call.api.schemas.metadefs.tag, body::READ_ONLY_TIMES)?;
    let renamed = body::name(&sent)?;
    let tag = call.app().rename_metadef_tag(call.caller, call.param(0)?, call.param(1)?, renamed).await?;
    Ok(Reply::json(StatusCode::OK, &view::tag(&tag)))
}

fn names<'n>(status: StatusCode, names: impl Iterator<Item = &'n str>) -> Reply {
    let tags: Vec<Value> = names.map(|name| json!({"name": name})).collect();
    Reply::json(status, &json!({"tags": tags}))
}

fn appends(call: &Call<'_>) -> bool {
    let said = call.parts.headers.get(APPEND).and_then(|value| value.to_str().ok()).unwrap_or_default();
    YES.contains(&said.trim().to_ascii_lowercase().as_str())
}
