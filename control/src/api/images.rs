//! `/v2/images` and `/v2/images/{image}`.

use common::catalog::{NewImage, Viewer, new_id};
use common::model::Image;
use common::{Error, Result};
use http::StatusCode;
use http::header::{HeaderName, LOCATION};
use serde::Serialize;
use serde_json::{Map, Value};

use super::call::{Call, base_url};
use super::json_patch;
use super::list_query::{self, Pages};
use super::reply::Reply;
use super::representation::View;
use crate::app::{fields, patch};

/// The import methods that work, for clients that choose one after creating an image.
const IMPORT_METHODS: HeaderName = HeaderName::from_static("openstack-image-import-methods");

/// The stores that there are, the same.
const STORE_IDS: HeaderName = HeaderName::from_static("openstack-image-store-ids");

/// Fields that a new image may not bring along, looked for before anything else.
const NEVER_IN_CREATE: [&str; 5] = ["direct_url", "self", "file", "schema", "stores"];

/// Fields of a new image that only the server sets, looked for once the values are known to be right.
const READ_ONLY_IN_CREATE: [&str; 6] = ["created_at", "updated_at", "status", "checksum", "size", "virtual_size"];

/// Fields that clients of old releases send; they come to nothing.
const IGNORED_IN_CREATE: [&str; 2] = ["os_hash_algo", "os_hash_value"];

/// A page of a list, as clients read it.
#[derive(Serialize)]
struct List<'a> {
    images: Vec<View<'a>>,
    first: String,
    schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// `GET /v2/images`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    let api = &call.app().config.api;
    let params = call.query()?;
    let viewer = Viewer { project: call.caller.project_id.clone(), is_admin: call.caller.is_admin };
    let query = list_query::parse(&params, viewer, Pages { default: api.page_default, max: api.page_max })?;
    let page = call.app().list_images(call.caller, query).await?;
    let (first, next) = list_query::links("/v2/images", &params, page.next_marker.as_deref());
    let images = page.images.iter().map(|image| view(call, image)).collect();
    Ok(Reply::json(StatusCode::OK, &List { images, first, schema: "/v2/schemas/images", next }))
}

/// `POST /v2/images`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    let Value::Object(body) = call.json()? else {
        return Err(Error::bad_request("Provided object does not match schema 'image': a list is not an image."));
    };
    let new = decode_new(call, &body)?;
    let image = call.app().create_image(call.caller, new).await?;
    let config = &call.app().config;
    let location = format!("{}/v2/images/{}", base_url(&call.parts.headers, config), image.id);
    let mut reply = Reply::json(StatusCode::CREATED, &view(call, &image)).header(LOCATION, &location);
    let methods = super::info::import_methods(config);
    if !methods.is_empty() {
        reply = reply.header(IMPORT_METHODS, &methods.join(","));
    }
    if config.stores.multi {
        let ids: Vec<&str> = config.stores.list.iter().map(|store| store.id.as_str()).collect();
        reply = reply.header(STORE_IDS, &ids.join(","));
    }
    Ok(reply)
}

/// The image that `body` asks for.
///
/// # Errors
/// 400 and 403 for fields that are not as the schema says, or not for clients.
pub(super) fn decode_new(call: &Call<'_>, body: &Map<String, Value>) -> Result<NewImage> {
    if let Some(name) = NEVER_IN_CREATE.iter().find(|name| body.contains_key(**name)) {
        return Err(fields::read_only(name));
    }
    call.api.image_schema.validate(body)?;
    let mut new = NewImage { owner: call.caller.project_id.clone(), ..NewImage::new("") };
    for (name, value) in body {
        decode_field(&mut new, name, value)?;
    }
    // After the names of all properties, as the original does.
    if let Some(name) = READ_ONLY_IN_CREATE.iter().find(|name| body.contains_key(**name)) {
        return Err(fields::read_only(name));
    }
    if body.contains_key("locations") {
        return Err(fields::reserved("locations"));
    }
    if new.id.is_empty() {
        new.id = new_id();
    }
    Ok(new)
}

fn decode_field(new: &mut NewImage, name: &str, value: &Value) -> Result<()> {
    match name {
        "id" => new.id = fields::text(name, value)?.unwrap_or_default(),
        "name" => new.name = fields::text(name, value)?,
        "owner" => new.owner = fields::text(name, value)?.filter(|owner| !owner.is_empty()),
        "visibility" => new.visibility = patch::visibility(value)?,
        "protected" => new.protected = value.as_bool().unwrap_or_default(),
        "os_hidden" => new.hidden = value.as_bool().unwrap_or_default(),
        "disk_format" => new.disk_format = fields::text(name, value)?,
        "container_format" => new.container_format = fields::text(name, value)?,
        "min_disk" => new.min_disk = fields::minimum(name, value)?,
        "min_ram" => new.min_ram = fields::minimum(name, value)?,
        "tags" => new.tags = fields::tags(value)?,
        "locations" => {}
        _ if READ_ONLY_IN_CREATE.contains(&name) || IGNORED_IN_CREATE.contains(&name) => {}
        _ => {
            fields::refuse_long_property(name)?;
            fields::refuse_reserved(name)?;
            new.properties.push((name.to_owned(), fields::property(name, value)?));
        }
    }
    Ok(())
}

/// `GET /v2/images/{image}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let image = call.app().show_image(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &view(call, &image)))
}

/// `PATCH /v2/images/{image}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let dialect = json_patch::dialect(call.content_type())?;
    let changes = json_patch::decode(&call.json()?, dialect, &call.api.image_schema)?;
    let image = call.app().update_image(call.caller, call.param(0)?, changes).await?;
    Ok(Reply::json(StatusCode::OK, &view(call, &image)))
}

/// `DELETE /v2/images/{image}`
pub(crate) async fn delete(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().delete_image(call.caller, call.param(0)?).await?;
    Ok(Reply::no_content())
}

fn view<'i>(call: &Call<'_>, image: &'i Image) -> View<'i> {
    let config = &call.app().config;
    let image = call.app().authority.readable(call.caller, image);
    View::new(image, call.caller, &config.api, &config.stores)
}
