//! `/v2/images/{image}/import`.

use common::identity::Proof;
use common::{Error, Result};
use serde_json::{Map, Value};

use super::call::Call;
use super::reply::Reply;
use crate::app::imports::{Wanted, WantedStores};
use crate::imports::Method;

/// The header that names a store.
const STORE_HEADER: &str = "x-image-meta-store";

/// `POST /v2/images/{image}/import`
pub(crate) async fn import(call: &Call<'_>) -> Result<Reply> {
    let Value::Object(body) = call.json()? else {
        return Err(Error::bad_request("Import request requires a 'method' field."));
    };
    let header = call.parts.headers.get(STORE_HEADER).and_then(|value| value.to_str().ok());
    let mut wanted = decode(body, header, &call.app().config.api.enabled_import_methods)?;
    wanted.request_id = super::request_id(&call.parts.headers).map(str::to_owned);
    wanted.proof = super::proof(&call.parts.headers);
    call.app().import_image(call.caller, call.param(0)?, wanted).await?;
    Ok(Reply::accepted())
}

/// What the body asks for; `header` is [`STORE_HEADER`]'s value, `enabled` the methods of the site.
///
/// # Errors
/// 400 that names the field.
pub(crate) fn decode(body: Map<String, Value>, header: Option<&str>, enabled: &[String]) -> Result<Wanted> {
    let field = |name: &str| Error::bad_request(format!("Import request requires a '{name}' field."));
    let method = body.get("method").ok_or_else(|| field("method"))?;
    // The original fails on a method that is no object.
    let name = method.get("name").ok_or_else(|| field("name"))?;
    let method = name
        .as_str()
        .filter(|name| enabled.iter().any(|enabled| enabled == name))
        .and_then(|name| Method::ALL.into_iter().find(|method| method.as_str() == name))
        .ok_or_else(|| {
            let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            Error::bad_request(format!("Unknown import method name '{name}'."))
        })?;
    let all_must_succeed = flag(&body, "all_stores_must_succeed", true)?;
    let all_stores = flag(&body, "all_stores", false)?;
    let stores = stores(&body, all_stores, header);
    Ok(Wanted {
        method,
        stores,
        all_must_succeed,
        body: Value::Object(body),
        request_id: None,
        proof: Proof::default(),
    })
}

fn flag(body: &Map<String, Value>, name: &str, default: bool) -> Result<bool> {
    match body.get(name) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Error::bad_request(format!("'{name}' must be boolean value only"))),
    }
}

fn stores(body: &Map<String, Value>, all: bool, header: Option<&str>) -> Result<WantedStores> {
    if all {
        if body.contains_key("stores") || header.is_some() {
            let text = "All_stores parameter can't be used with x-image-meta-store header or stores parameter";
            return Err(Error::bad_request(text));
        }
        return Ok(WantedStores::All);
    }
    match (body.get("stores"), header) {
        (Some(_), Some(_)) => {
            let text = "Stores parameter and x-image-meta-store header can't be both specified";
            Err(Error::bad_request(text))
        }
        (Some(Value::Array(stores)), None) if !stores.is_empty() => {
            let names: Option<Vec<String>> = stores.iter().map(|store| store.as_str().map(str::to_owned)).collect();
            names.map(WantedStores::Named).ok_or_else(no_list)
        }
        (Some(_), None) => Err(no_list()),
        (None, Some(store)) => Ok(WantedStores::Named(vec![store.to_owned()])),
        (None, None) => Ok(WantedStores::Default),
    }
}

fn no_list() -> Error {
    Error::bad_request("'stores' must be a list of at least one store id")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(body: Value, header: Option<&str>) -> std::result::Result<Wanted, String> {
        let Value::Object(body) = body else { panic!("an object") };
        let enabled = ["glance-direct", "copy-image", "web-download"].map(str::to_owned);
        decode(body, header, &enabled).map_err(|error| error.message)
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, text) in [
            (json!({}), "Import request requires a 'method' field."),
            (json!({"method": {}}), "Import request requires a 'name' field."),
            (json!({"method": "glance-direct"}), "Import request requires a 'name' field."),
            (json!({"method": {"name": "x"}}), "Unknown import method name 'x'."),
            (json!({"method": {"name": 5}}), "Unknown import method name '5'."),
            (json!({"method": {"name": "copy-image"}, "all_stores": "yes"}), "'all_stores' must be boolean value only"),
            (
                json!({"method": {"name": "copy-image"}, "all_stores_must_succeed": 1}),
                "'all_stores_must_succeed' must be boolean value only",
            ),
        ] {
            assert_eq!(decoded(body, None).expect_err("refused"), text);
        }
        for stores in [json!("a"), json!([1]), json!([])] {
            let wanted =
                decoded(json!({"method": {"name": "copy-image"}, "stores": stores}), None).expect("told later");
            let text = wanted.stores.expect_err("refused").message;
            assert_eq!(text, "'stores' must be a list of at least one store id");
        }
    }

    #[test]
    fn stores_are_named_in_one_way() {
        let method = json!({"name": "copy-image"});
        let stores = |rest: Value, header| {
            let mut body = rest;
            body["method"] = method.clone();
            decoded(body, header).and_then(|wanted| wanted.stores.map_err(|error| error.message))
        };
        let named = |names: &[&str]| Ok(WantedStores::Named(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(stores(json!({}), None), Ok(WantedStores::Default));
        assert_eq!(stores(json!({}), Some("a")), named(&["a"]));
        assert_eq!(stores(json!({"stores": ["a", "b"]}), None), named(&["a", "b"]));
        assert_eq!(stores(json!({"all_stores": true}), None), Ok(WantedStores::All));
        assert!(stores(json!({"stores": ["a"]}), Some("a")).is_err());
        assert!(stores(json!({"all_stores": true}), Some("a")).is_err());
        assert!(stores(json!({"all_stores": true, "stores": ["a"]}), None).is_err());
    }
}
