//! Where the data of images lies: which store a location is in, what clients may add, and who sees it all.

use std::cmp::Reverse;

use common::catalog::{Changes, IMPORT_LOCK, NewTask, new_id};
use common::config::{StoreConfig, StoreKind, Stores};
use common::identity::Identity;
use common::model::{Image, Location, Status, TaskKind};
use common::{Error, Kind, Result};
use serde_json::json;

use super::digests::{digest_bytes, hexadecimal_bytes};
use super::patch::{Change, Op, Target};
use super::patch_locations::{Place, Sizes};
use super::{App, Seen, to_the_end};
use crate::imports::{Method, Plan};
use crate::kinds::{self, is_web, scheme, schemes};

/// Schemes of URLs that no client may add: what they lead to depends on the machine or on its configuration, and need
/// not be the client's.
const RESTRICTED_SCHEMES: [&str; 3] = ["file", "filesystem", "swift+config"];

/// The role of other services of the cloud.
const SERVICE_ROLE: &str = "service";

/// The store whose places look like `url`.
pub(crate) fn store_by_url<'c>(stores: &'c Stores, url: &str) -> Option<&'c StoreConfig> {
    // A cluster that was never met may have any.
    let sure = stores.list.iter().find(|store| kinds::surely_holds(&store.kind, url));
    sure.or_else(|| stores.list.iter().find(|store| kinds::holds(&store.kind, url)))
}

/// The store that holds the data of `location`: the one that it names, or, for what was written when there was only
/// one, the one whose places look like it.
pub(crate) fn store_of<'c>(stores: &'c Stores, location: &Location) -> Option<&'c StoreConfig> {
    let named = location.store().and_then(|id| stores.list.iter().find(|store| store.id == id));
    named.or_else(|| store_by_url(stores, &location.url))
}

/// The store in which a client may say that data lies at `url`; `None` where it may not. Which of the addresses of others may be asked
/// is for the [gate](crate::outbound::Gate).
pub(crate) fn store_for_clients<'c>(stores: &'c Stores, url: &str) -> Option<&'c StoreConfig> {
    let scheme = scheme(url)?;
    if RESTRICTED_SCHEMES.contains(&scheme.as_str()) {
        return None;
    }
    // Another spelling would not be recognised as the place of the image that has it.
    if !kinds::is_canonical(url) {
        return None;
    }
    let by_scheme = || stores.list.iter().find(|store| schemes(&store.kind).contains(&scheme.as_str()));
    store_by_url(stores, url).or_else(by_scheme)
}

/// The locations that hold data, those in the heaviest store first.
pub(crate) fn in_order<'i>(image: &'i Image, stores: &Stores) -> Vec<&'i Location> {
    let mut locations: Vec<&Location> = image.locations.iter().filter(|location| location.is_live()).collect();
    locations.sort_by_key(|location| Reverse(store_of(stores, location).map_or(0, |store| store.weight)));
    locations
}

/// Puts the image's locations in the order in which clients see and count them.
pub(crate) fn sort(image: &mut Image, stores: &Stores) {
    image.locations.sort_by_key(|location| Reverse(store_of(stores, location).map_or(0, |store| store.weight)));
}

impl App {
    /// All locations of an image, for services; of a deactivated one for administrators alone.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn list_locations(&self, caller: &Identity, id: String) -> Result<Vec<Location>> {
        let (authority, caller, config) = (self.authority.clone(), caller.clone(), self.config.clone());
        self.db
            .look_up(move |catalog| {
                let seen = Seen::find(catalog, &caller, &id)?;
                seen.require(&authority, "fetch_image_location", &caller)?;
                if seen.image.status == Status::Deactivated && !caller.is_admin {
                    return Ok(Vec::new());
                }
                Ok(in_order(&seen.image, &config.stores).into_iter().cloned().collect())
            })
            .await
    }

    /// Asks the stores for the sizes of the places that `changes` would add to the image. Nothing is asked for a caller
    /// who may not change it so.
    ///
    /// # Errors
    /// Those of the changes, as far as they do not depend on the sizes; 503 while a store does not answer.
    pub(crate) async fn sizes_of_new_locations(
        &self,
        caller: &Identity,
        id: &str,
        changes: &[Change],
    ) -> Result<Sizes> {
        let brings_one = |change: &Change| {
            matches!(change.target, Target::Locations { .. }) && matches!(change.op, Op::Add | Op::Replace)
        };
        if !changes.iter().any(brings_one) {
            return Ok(Sizes::default());
        }
        let (app, caller, id, changes) = (self.clone(), caller.clone(), id.to_owned(), changes.to_vec());
        let unknown = self.db.read(move |catalog| {
            let mut seen = Seen::find(catalog, &caller, &id)?;
            let mut sizes = Sizes::default();
            let tried = changes.iter().try_for_each(|change| app.apply(&caller, &mut seen, change, &mut sizes));
            // What fails later than at the first unknown place may not fail at all, once the place is known to be bad.
            if sizes.unknown().is_empty() { tried.map(|()| Vec::new()) } else { Ok(sizes.unknown().to_vec()) }
        });
        let mut sizes = Sizes::default();
        for place in unknown.await? {
            let size = self.size_at(&place).await?;
            sizes.note(place, size);
            if size == 0 {
                // The change fails there.
                break;
            }
        }
        Ok(sizes)
    }

    /// Bytes at a place; 0 when nothing is there, nobody may ask, or others, who were asked, gave no answer of use.
    async fn size_at(&self, place: &Place) -> Result<u64> {
        let is_web = is_web(&place.url);
        if is_web && !self.gate.admits(&place.url).await? {
            return Ok(0);
        }
        match self.imports.size_at(&place.store, &place.url).await {
            // The client named them and waits, where a job would ask again. What is away of ours says when to come back.
            Err(error) if is_web && error.kind == Kind::Unavailable && error.headers.is_empty() => Ok(0),
            size => size,
        }
    }
}

/// A location that an image shall have, by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLocation {
    /// Where the data lies.
    pub(crate) url: String,
    /// What it has to be: the name of a digest, and its value in hexadecimal.
    pub(crate) digest: Option<(String, String)>,
}

impl NewLocation {
    /// Refuses a digest that cannot be one.
    fn check_digest(&self) -> Result<()> {
        let Some((algorithm, value)) = &self.digest else { return Ok(()) };
        let Some(bytes) = hexadecimal_bytes(value) else {
            return Err(Error::bad_request(format!("os_hash_value ({value}) is not a valid hexadecimal value")));
        };
        match digest_bytes(algorithm) {
            Some(wanted) if wanted != bytes => Err(Error::bad_request(format!(
                "os_hash_value: ({value}) is not the correct size for ({algorithm}) (should be ({wanted}) bytes)"
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether some store takes data that lies at `http:` and `https:` URLs, the only ones that users may name.
fn takes_http(stores: &Stores) -> bool {
    stores.list.iter().any(|store| store.kind == StoreKind::Http)
}

impl App {
    /// Has a job give the image its location: it is on record when this returns.
    ///
    /// # Errors
    /// In Glance's order: 404, 409 unless the image is queued, 403 by policy and for users without a store for their
    /// URLs, 400 for a digest that cannot be one and for a URL that may not be asked for, 409 while another job has the image.
    pub(crate) async fn add_location(
        &self,
        caller: &Identity,
        id: String,
        new: NewLocation,
        request_id: Option<String>,
    ) -> Result<()> {
        let (authority, caller, config) = (self.authority.clone(), caller.clone(), self.config.clone());
        let is_open = match is_web(&new.url) && self.may_add_location(&caller, &id).await {
            true => self.gate.admits(&new.url).await?,
            false => !is_web(&new.url),
        };
        let record = move |catalog: &Changes<'_>| {
            let seen = Seen::find(catalog, &caller, &id)?;
            let status = seen.image.status;
            if status != Status::Queued {
                let text = format!("It's not allowed to add locations if image status is {status}.");
                return Err(Error::conflict(text));
            }
            seen.require(&authority, "add_image_location", &caller)?;
            let is_service = caller.roles.iter().chain(&caller.service_roles).any(|role| role == SERVICE_ROLE);
            let is_for_users = new.url.starts_with("http") && takes_http(&config.stores);
            if !is_service && !is_for_users {
                let text = "http store must be enabled to use location API by normal user.";
                return Err(Error::forbidden(text));
            }
            new.check_digest()?;
            if !is_open {
                let text = format!("URI for add location does not pass filtering: {}", new.url);
                return Err(Error::bad_request(text));
            }
            require_no_job(&seen.image)?;
            record_location_import(catalog, &caller, &seen.image, new, request_id)
        };
        let (db, imports) = (self.db.clone(), self.imports.clone());
        to_the_end(async move {
            imports.start(db.write(record).await?);
            Ok(())
        })
        .await
    }
}

impl App {
    /// Whether the caller could add a location, as far as that has to be known before a name is looked up for it.
    async fn may_add_location(&self, caller: &Identity, id: &str) -> bool {
        let (authority, caller, id) = (self.authority.clone(), caller.clone(), id.to_owned());
        let found = self.db.look_up(move |catalog| {
            let seen = Seen::find(catalog, &caller, &id)?;
            seen.require(&authority, "add_image_location", &caller)
        });
        found.await.is_ok()
    }
}

/// Refuses an image that a job has.
fn require_no_job(image: &Image) -> Result<()> {
    match image.property(IMPORT_LOCK) {
        Some(_) => Err(Error::conflict("Image has active task")),
        None => Ok(()),
    }
}

/// Records the job that gives `image` its location, in the caller's transaction, so that it holds the image exactly when the client
/// is told so. Its id.
fn record_location_import(
    catalog: &Changes<'_>,
    caller: &Identity,
    image: &Image,
    new: NewLocation,
    request_id: Option<String>,
) -> Result<String> {
    let job_id = new_id();
    if !catalog.lock_for_import(&image.id, &job_id)? {
        return Err(Error::conflict("Image has active task"));
    }
    let validation = match &new.digest {
        Some((algorithm, value)) => json!({"os_hash_algo": algorithm, "os_hash_value": value}),
        None => json!({}),
    };
    catalog.create_task(&NewTask {
        id: job_id.clone(),
        kind: TaskKind::LocationImport,
        owner: caller.project_id.clone().unwrap_or_default(),
        image_id: Some(image.id.clone()),
        request_id,
        user_id: Some(caller.user_id.clone()).filter(|user| !user.is_empty()),
        input: json!({"image_id": image.id, "loc_url": new.url, "validation_data": validation}),
    })?;
    let plan = Plan { uri: Some(new.url), digest: new.digest, ..Plan::new(Method::Location, Vec::new(), true) };
    catalog.create_job(&job_id, &image.id, &plan.to_record()?)?;
    Ok(job_id)
}

/// The error for a location that clients may not add, or where nothing lies.
pub(crate) fn invalid_location() -> Error {
    Error::bad_request("Invalid location")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use common::config::{DataDir, FileStore};
    use serde_json::json;

    use super::*;
    use crate::app::patch::tests::image as plain_image;

    fn store(id: &str, dir: &str, weight: i64) -> StoreConfig {
        let dirs = vec![DataDir { path: PathBuf::from(dir), priority: 0 }];
        let file = FileStore { dirs, file_mode: None, thin_provisioning: false, chunk_bytes: 65536 };
        StoreConfig { id: id.to_owned(), kind: StoreKind::File(file), weight, description: None }
    }

    fn stores() -> Stores {
        let list = vec![store("slow", "/slow", 0), store("fast", "/fast", 10)];
        let staging = store("os_glance_staging_store", "/staging", 0);
        Stores { multi: true, default: "slow".to_owned(), list, staging }
    }

    fn location(url: &str, metadata: serde_json::Value, status: &str) -> Location {
        let metadata = metadata.as_object().expect("an object").clone();
        Location { id: 1, url: url.to_owned(), metadata, status: status.to_owned() }
    }

    #[test]
    fn a_location_is_in_the_store_that_it_names_or_looks_like() {
        let stores = stores();
        let id = |url: &str, metadata| store_of(&stores, &location(url, metadata, "active")).map(|s| s.id.as_str());
        assert_eq!(id("file:///fast/x", json!({"store": "slow"})), Some("slow"));
        assert_eq!(id("file:///fast/x", json!({})), Some("fast"));
        assert_eq!(id("filesystem:///fast/x", json!({"store": "renamed"})), Some("fast"));
        for foreign in ["file:///faster/x", "file:///fast/below/x", "file:/fast/x", "/fast/x", "http:///fast/x", ""] {
            assert_eq!(id(foreign, json!({})), None, "{foreign}");
        }
    }

    #[test]
    fn clients_may_not_name_files() {
        let stores = stores();
        for url in
            ["file:///fast/x", "FILE:///fast/x", "filesystem:///fast/x", "swift+config://a/b/c", "http://h/x", "x"]
        {
            assert_eq!(store_for_clients(&stores, url), None, "{url}");
        }
    }

    #[test]
    fn a_job_has_its_image_for_itself() {
        let mut image = plain_image();
        assert_eq!(require_no_job(&image), Ok(()));
        image.properties.push((IMPORT_LOCK.to_owned(), "task".to_owned()));
        assert_eq!(require_no_job(&image).map_err(|error| error.kind), Err(common::Kind::Conflict));
    }

    #[test]
    fn the_heaviest_store_comes_first_and_what_is_going_is_left_out() {
        let locations = vec![
            location("file:///slow/x", json!({}), "active"),
            location("file:///gone/x", json!({"store": "fast"}), "pending_delete"),
            location("file:///fast/x", json!({}), "active"),
        ];
        let image = Image { locations, ..plain_image() };
        let urls: Vec<&str> = in_order(&image, &stores()).iter().map(|location| location.url.as_str()).collect();
        assert_eq!(urls, ["file:///fast/x", "file:///slow/x"]);
    }
}
