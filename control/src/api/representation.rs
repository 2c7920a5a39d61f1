//! An image and a member as clients read them.

use std::borrow::Cow;

use common::config::{Api, Stores};
use common::identity::Identity;
use common::model::{Image, Location, Member, Status};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use crate::app::locations::{in_order, store_of};

/// Properties that are never shown.
const HIDDEN: [&str; 2] = ["os_glance_stage_host", "os_glance_hash_op_host"];

/// Names that every image shows, and that a property of the catalog cannot take.
const SHOWN_ALWAYS: [&str; 22] = [
    "name",
    "disk_format",
    "container_format",
    "visibility",
    "size",
    "virtual_size",
    "status",
    "checksum",
    "protected",
    "min_ram",
    "min_disk",
    "owner",
    "os_hidden",
    "os_hash_algo",
    "os_hash_value",
    "id",
    "created_at",
    "updated_at",
    "tags",
    "file",
    "self",
    "schema",
];

/// An image as a client reads it. It is written as JSON without a tree in between: lists hold thousands of values.
pub(crate) struct View<'a> {
    image: Cow<'a, Image>,
    /// Places that are shown, the first one first.
    locations: Option<Vec<Value>>,
    direct_url: Option<String>,
    stores: Option<String>,
}

impl<'a> View<'a> {
    /// What `caller` is shown of `image`, of which it may read everything.
    pub(crate) fn new(image: Cow<'a, Image>, caller: &Identity, api: &Api, stores: &Stores) -> Self {
        // What a deactivated image consists of is for administrators only.
        let places = match image.status {
            Status::Deactivated if !caller.is_admin => Vec::new(),
            _ => in_order(&image, stores),
        };
        let locations = api.show_multiple_locations.then(|| places.iter().map(|place| location(place)).collect());
        let direct_url = places.first().filter(|_| api.show_image_direct_url).map(|first| first.url.clone());
        // What was written when there was one store names none.
        let name = |place: &Location| {
            store_of(stores, place).map(|store| store.id.clone()).or_else(|| place.store().map(str::to_owned))
        };
        let names: Vec<String> =
            if stores.multi { places.iter().filter_map(|place| name(place)).collect() } else { Vec::new() };
        let stores = (!names.is_empty()).then(|| names.join(","));
        View { locations, direct_url, stores, image }
    }

    /// Whether a property of this name is shown.
    fn shows_property(&self, name: &str) -> bool {
        let is_taken = match name {
            "locations" => self.locations.is_some(),
            "direct_url" => self.direct_url.is_some(),
            "stores" => self.stores.is_some(),
            _ => SHOWN_ALWAYS.contains(&name),
        };
        !is_taken && !HIDDEN.contains(&name)
    }
}

impl Serialize for View<'_> {
    /// In the order of keys that the original has.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let image = &*self.image;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in image.properties.iter().filter(|(name, _)| self.shows_property(name)) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("name", &image.name)?;
        map.serialize_entry("disk_format", &image.disk_format)?;
        map.serialize_entry("container_format", &image.container_format)?;
        map.serialize_entry("visibility", image.visibility.as_str())?;
        map.serialize_entry("size", &image.size)?;
        map.serialize_entry("virtual_size", &image.virtual_size)?;
        map.serialize_entry("status", image.status.as_str())?;
        map.serialize_entry("checksum", &image.checksum)?;
        map.serialize_entry("protected", &image.protected)?;
        map.serialize_entry("min_ram", &image.min_ram)?;
        map.serialize_entry("min_disk", &image.min_disk)?;
        map.serialize_entry("owner", &image.owner)?;
        map.serialize_entry("os_hidden", &image.hidden)?;
        map.serialize_entry("os_hash_algo", &image.os_hash_algo)?;
        map.serialize_entry("os_hash_value", &image.os_hash_value)?;
        map.serialize_entry("id", &image.id)?;
        map.serialize_entry("created_at", &image.created_at.to_api())?;
        map.serialize_entry("updated_at", &image.updated_at.to_api())?;
        if let Some(locations) = &self.locations {
            map.serialize_entry("locations", locations)?;
        }
        if let Some(url) = &self.direct_url {
            map.serialize_entry("direct_url", url)?;
        }
        map.serialize_entry("tags", &image.tags)?;
        map.serialize_entry("file", &format_args!("/v2/images/{}/file", image.id))?;
        map.serialize_entry("self", &format_args!("/v2/images/{}", image.id))?;
        map.serialize_entry("schema", "/v2/schemas/image")?;
        if let Some(stores) = &self.stores {
            map.serialize_entry("stores", stores)?;
        }
        map.end()
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

    fn image(image: &Image, caller: &Identity, api: &Api, stores: &Stores) -> Value {
        serde_json::to_value(View::new(Cow::Borrowed(image), caller, api, stores)).expect("JSON")
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

    #[test]
    fn a_name_is_shown_once() {
        let (api, mut stores) = site();
        let mut odd = stored_image();
        for name in SHOWN_ALWAYS.iter().chain(&["stores", "locations", "direct_url"]) {
            odd.properties.push(((*name).to_owned(), "a property".to_owned()));
        }
        let text = |stores: &Stores| {
            serde_json::to_string(&View::new(Cow::Borrowed(&odd), &Identity::default(), &api, stores)).expect("JSON")
        };
        for name in SHOWN_ALWAYS.iter().chain(&["stores", "locations", "direct_url"]) {
            // Metadata of a location has no such key.
            assert_eq!(text(&stores).matches(&format!("\"{name}\":")).count(), 1, "{name}");
        }
        assert!(!text(&stores).contains("a property"), "{}", text(&stores));
        let view = image(&odd, &Identity::default(), &api, &stores);
        let keys = view.as_object().expect("an object").keys();
        let unknown: Vec<_> = keys.filter(|key| !SHOWN_ALWAYS.contains(&key.as_str())).collect();
        assert_eq!(unknown, ["own", "locations", "direct_url", "stores"], "all that is always shown is in the table");
        stores.multi = false;
        assert_eq!(image(&odd, &Identity::default(), &api, &stores)["stores"], "a property");
    }
}
