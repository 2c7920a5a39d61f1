//! `/v2/info/…`.

use common::Result;
use common::config::{Config, StoreConfig};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::Call;
use super::reply::Reply;
use crate::imports::Method;
use crate::kinds;

/// The import methods that clients may use, in the order of the configuration.
pub(crate) fn import_methods(config: &Config) -> Vec<&str> {
    let enabled = config.api.enabled_import_methods.iter().map(String::as_str);
    enabled.filter(|name| Method::ALL.iter().any(|method| method.as_str() == *name)).collect()
}

/// `GET /v2/info/import`
pub(crate) fn import(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    // Installers compare the description as a text.
    let methods = json!({"description": "Import methods available.", "type": "array", "value": import_methods(&call.app().config)});
    Ok(Reply::json(StatusCode::OK, &json!({"import-methods": methods})))
}

/// `GET /v2/info/stores`
pub(crate) fn stores(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let default = &call.app().config.stores.default;
    let stores: Vec<Value> = call.app().stores()?.iter().map(|one| Value::Object(store(one, default))).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"stores": stores})))
}

/// `GET /v2/info/stores/detail`
pub(crate) fn stores_detail(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let default = &call.app().config.stores.default;
    let detail = |one: &StoreConfig| {
        let mut view = store(one, default);
        let (kind, properties) = kinds::describe(&one.kind);
        view.insert("type".to_owned(), json!(kind));
        view.insert("properties".to_owned(), properties);
        view.insert("weight".to_owned(), json!(one.weight));
        Value::Object(view)
    };
    let stores: Vec<Value> = call.app().stores_detail(call.caller)?.iter().map(detail).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"stores": stores})))
}

/// `GET /v2/info/usage`: empty without unified limits.
pub(crate) async fn usage(call: &Call<'_>) -> Result<Reply> {
    let all = call.app().usage(call.caller).await?;
    let all: Map<String, Value> =
        all.iter().map(|one| (one.resource.to_owned(), json!({"usage": one.usage, "limit": one.limit}))).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"usage": all})))
}

/// A store as everybody sees it. Flags are texts, and absent when they do not hold.
fn store(store: &StoreConfig, default: &str) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("id".to_owned(), json!(store.id));
    if let Some(description) = &store.description {
        view.insert("description".to_owned(), json!(description));
    }
    if store.id == default {
        view.insert("default".to_owned(), json!("true"));
    }
    if !store.kind.is_writable() {
        view.insert("read-only".to_owned(), json!("true"));
    }
    view
}
