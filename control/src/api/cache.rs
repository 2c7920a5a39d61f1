//! `/v2/cache…`, and the older `/v2/cached_images` and `/v2/queued_images`.

use common::authorise::NOT_FOUND_TEXT;
use common::{Error, Result};
use http::{Method, StatusCode};
use serde_json::json;

use super::call::Call;
use super::reply::Reply;

/// The header that says what of the cache is to be cleared; without it, all.
const TARGET_HEADER: &str = "x-image-cache-clear-target";

/// `GET /v2/cache`
pub(crate) fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().require_cache(call.caller, "cache_list")?;
    Ok(Reply::json(StatusCode::OK, &json!({"cached_images": [], "queued_images": []})))
}

/// `DELETE /v2/cache`
pub(crate) fn clear(call: &Call<'_>) -> Result<Reply> {
    call.app().require_cache(call.caller, "cache_delete")?;
    let target = call.parts.headers.get(TARGET_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !["", "cache", "queue"].iter().any(|known| target.eq_ignore_ascii_case(known)) {
        let text = format!("If provided '{TARGET_HEADER}' must be 'cache', 'queue' or empty string.");
        return Err(Error::bad_request(text));
    }
    Ok(Reply::no_content())
}

/// `PUT /v2/cache/{image}`
pub(crate) async fn cache(call: &Call<'_>) -> Result<Reply> {
    call.app().cache_image(call.caller, call.param(0)?).await?;
    Ok(Reply::accepted())
}

/// `DELETE /v2/cache/{image}`
pub(crate) async fn uncache(call: &Call<'_>) -> Result<Reply> {
    call.app().uncache_image(call.caller, call.param(0)?).await?;
    Ok(Reply::no_content())
}

/// `POST /v2/cache/clean`
pub(crate) fn clean(call: &Call<'_>) -> Result<Reply> {
    call.app().require_cache(call.caller, "cache_clean")?;
    Ok(Reply::done())
}

/// `POST /v2/cache/prune`
pub(crate) fn prune(call: &Call<'_>) -> Result<Reply> {
    call.app().require_cache(call.caller, "cache_prune")?;
    Ok(Reply::json(StatusCode::OK, &json!({"total_files_pruned": 0, "total_bytes_pruned": 0})))
}

/// `GET /v2/cache/nodes/{image}`
pub(crate) async fn nodes(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().find_in_caches(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &json!([])))
}

/// `/v2/cached_images` and `/v2/queued_images`: what is there, or that nothing of it was removed.
pub(crate) fn older_list(call: &Call<'_>, name: &str) -> Result<Reply> {
    call.app().require_older_cache(call.caller)?;
    match call.parts.method {
        Method::GET => Ok(Reply::json(StatusCode::OK, &json!({name: []}))),
        Method::DELETE => Ok(Reply::json(StatusCode::OK, &json!({"num_deleted": 0}))),
        _ => Err(Error::not_found(NOT_FOUND_TEXT)),
    }
}

/// One image in one of these, of which nobody looks whether it is there.
pub(crate) fn older_image(call: &Call<'_>, methods: &[Method]) -> Result<Reply> {
    call.app().require_older_cache(call.caller)?;
    if !methods.contains(&call.parts.method) {
        return Err(Error::not_found(NOT_FOUND_TEXT));
    }
    Ok(Reply::json(StatusCode::OK, &json!(null)))
}
