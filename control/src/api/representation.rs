//! An image and a member as clients read them.

use common::config::{Api, Stores};
use common::identity::Identity;
use common::model::{Image, Location, Member, Status};
use serde_json::{Map, Value, json};

use crate::app::locations::{in_order, store_of};

/// Properties that are never shown.
const HIDDEN: [&str; 2] = ["os_glance_stage_host", "os_glance_hash_op_host"];

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
        _ => in_order(image, stores),
    };
    if api.show_multiple_locations {
        let all: Vec<Value> = locations.iter().map(|place| location(place)).collect();
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
        // What was written when there was one store names none.
        let name = |place: &Location| store_of(stores, place).map(|store| store.id.clone());
        let names: Vec<String> =
            locations.iter().filter_map(|place| name(place).or_else(|| place.store().map(str::to_owned))).collect();
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

/// One place where data lies.
pub(crate) fn location(location: &Location) -> Value {
    json!({"url": location.url, "metadata": location.metadata})
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::patch::tests::image as plain_image;
    use common::config::{Config, Overrides, StoreConfig};

    /// Two stores, of which `slow` was made first and `fast` weighs more; everything is shown.
    fn site() -> (Api, Stores) {
        let (config, _) = Config::load(&[], &Overrides::default()).expect("the defaults are right");
        let api = Api { show_image_direct_url: true, show_multiple_locations: true, ..config.api };
        let template = config.stores.list.first().expect("one store").clone();
        let store = |id: &str, weight| StoreConfig { id: id.to_owned(), weight, ..template.clone() };
        let list = vec![store("slow", 0), store("fast", 10)];
        (api, Stores { multi: true, default: "slow".to_owned(), list, ..config.stores })
    }

    fn stored_image() -> Image {
        let place = |id: i64, store: &str, status: &str| Location {
            id,
            url: format!("file:///{store}/x"),
            metadata: json!({"store": store}).as_object().expect("an object").clone(),
            status: status.to_owned(),
        };
        let locations =
            vec![place(1, "slow", "active"), place(2, "gone", "pending_delete"), place(3, "fast", "active")];
        Image { status: Status::Active, locations, ..plain_image() }
    }

    #[test]
    fn the_heaviest_store_comes_first() {
        let (api, stores) = site();
        let view = image(&stored_image(), &Identity::default(), &api, &stores);
        assert_eq!(view["stores"], "fast,slow");
        assert_eq!(view["direct_url"], "file:///fast/x");
        assert_eq!(view["locations"][1], json!({"url": "file:///slow/x", "metadata": {"store": "slow"}}));
        assert_eq!(view["locations"].as_array().map(Vec::len), Some(2));
        let view = image(&plain_image(), &Identity::default(), &api, &stores);
        assert_eq!(view["locations"], json!([]));
        assert!(view.get("stores").is_none() && view.get("direct_url").is_none(), "{view}");
    }

    #[test]
    fn a_deactivated_image_hides_where_it_lies() {
        let (api, stores) = site();
        let deactivated = Image { status: Status::Deactivated, ..stored_image() };
        let view = image(&deactivated, &Identity::default(), &api, &stores);
        assert_eq!(view["locations"], json!([]));
        assert!(view.get("stores").is_none() && view.get("direct_url").is_none(), "{view}");
        let admin = Identity { is_admin: true, ..Identity::default() };
        assert_eq!(image(&deactivated, &admin, &api, &stores)["stores"], "fast,slow");
    }

    #[test]
    fn the_servers_notes_are_not_shown() {
        let (api, mut stores) = site();
        stores.multi = false;
        let mut noted = stored_image();
        noted.properties.push(("os_glance_stage_host".to_owned(), "h".to_owned()));
        noted.properties.push(("os_glance_failed_import".to_owned(), String::new()));
        let view = image(&noted, &Identity::default(), &api, &stores);
        assert!(view.get("os_glance_stage_host").is_none() && view.get("stores").is_none(), "{view}");
        assert_eq!(view["os_glance_failed_import"], "");
        assert_eq!(view["own"], "1");
    }
}
