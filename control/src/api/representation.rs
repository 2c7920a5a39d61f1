//! An image and a member as clients read them.

use common::config::{Api, Stores};
use common::identity::Identity;
use common::model::{Image, Location, Member, Status};
use serde_json::{Map, Value, json};

/// Properties that are never shown.
const HIDDEN: [&str; 2] = ["os_glance_stage_host", "os_glance_hash_op_host"];

/// The status of locations that hold data.
const LIVE: &str = "active";

/// The image, in the order of keys that the original has.
pub(crate) fn image(image: &Image, caller: &Identity, api: &Api, stores: &Stores) -> Value {
    let mut view = Map::new();
    for (name, value) in &image.properties {
        if !HIDDEN.contains(&name.as_str()) {
            view.insert(name.clone(), json!(value));
        }
    }
    put_base(&mut view, image);
    // What a deactivated image consists of is for administrators only.
    let locations = match image.status {
        Status::Deactivated if !caller.is_admin => Vec::new(),
        _ => by_weight(image, stores),
    };
    if api.show_multiple_locations {
        let all: Vec<Value> =
            locations.iter().map(|place| json!({"url": place.url, "metadata": place.metadata})).collect();
        view.insert("locations".to_owned(), json!(all));
    }
    if let Some(first) = locations.first().filter(|_| api.show_image_direct_url) {
        view.insert("direct_url".to_owned(), json!(first.url));
    }
    let path = format!("/v2/images/{}", image.id);
    view.insert("tags".to_owned(), json!(image.tags));
    view.insert("file".to_owned(), json!(format!("{path}/file")));
    view.insert("self".to_owned(), json!(path));
    view.insert("schema".to_owned(), json!("/v2/schemas/image"));
    if stores.multi {
        let names: Vec<&str> = locations.iter().filter_map(|place| place.store()).collect();
        if !names.is_empty() {
            view.insert("stores".to_owned(), json!(names.join(",")));
        }
    }
    Value::Object(view)
}

fn put_base(view: &mut Map<String, Value>, image: &Image) {
    let base = json!({
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility.as_str(),
        "size": image.size,
        "virtual_size": image.virtual_size,
        "status": image.status.as_str(),
        "checksum": image.checksum,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": image.owner,
        "os_hidden": image.hidden,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "id": image.id,
        "created_at": image.created_at.to_api(),
        "updated_at": image.updated_at.to_api(),
    });
    if let Value::Object(base) = base {
        view.extend(base);
    }
}

/// The places where data lies, those in the heaviest store first.
fn by_weight<'a>(image: &'a Image, stores: &Stores) -> Vec<&'a Location> {
    let weight = |place: &Location| {
        let id = place.store().unwrap_or(&stores.default);
        stores.list.iter().find(|store| store.id == id).map_or(0, |store| store.weight)
    };
    let mut places: Vec<&Location> = image.locations.iter().filter(|place| place.status == LIVE).collect();
    places.sort_by_key(|place| std::cmp::Reverse(weight(place)));
    places
}

/// A member.
pub(crate) fn member(member: &Member) -> Value {
    json!({
        "member_id": member.member,
        "image_id": member.image_id,
        "status": member.status.as_str(),
        "created_at": member.created_at.to_api(),
        "updated_at": member.updated_at.to_api(),
        "schema": "/v2/schemas/member",
    })
}
