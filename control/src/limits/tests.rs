//! Against a Keystone that knows a few limits, does not answer, or knows nothing of us.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use common::catalog::{Catalog, Located, NewImage, Purpose};
use common::config::Overrides;
use common::{Error, Kind};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const IMAGE: &str = "3050cc3d-ed3a-4a6c-8282-bcd0a6190aa8";
const MIB: u64 = 1 << 20;

/// What Keystone knows, and what it was asked.
struct Fake {
    model: &'static str,
    registered: Vec<(&'static str, i64)>,
    /// Of the project `p1`.
    own: Vec<(&'static str, i64)>,
    asked: Vec<String>,
    delay: Duration,
    broken: Option<StatusCode>,
    logins: usize,
}

type FakeState = Arc<Mutex<Fake>>;

async fn answer(State(fake): State<FakeState>, request: Request) -> Response {
    let delay = fake.lock().expect("not poisoned").delay;
    tokio::time::sleep(delay).await;
    let mut fake = fake.lock().expect("not poisoned");
    if request.method() == Method::POST {
        fake.logins += 1;
        let token = json!({"token": {"expires_at": "2126-01-01T00:00:00Z"}}).to_string();
        return (StatusCode::CREATED, [("x-subject-token", format!("own-{}", fake.logins))], token).into_response();
    }
    let target = request.uri().to_string();
    fake.asked.push(target.clone());
    if let Some(status) = fake.broken {
        return status.into_response();
    }
    if request.headers().get("x-auth-token").is_none_or(|token| *token != format!("own-{}", fake.logins)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let place = json!({"id": "e1", "service_id": "s1", "region_id": "R 1"});
    let limit = |kind: &str, all: &[(&str, i64)]| -> Value {
        all.iter().map(|(name, limit)| json!({"resource_name": name, kind: limit})).collect()
    };
    let ours = query.starts_with("service_id=s1&region_id=R+1");
    let document = match (path, query) {
        ("/v3/limits/model", "") => json!({"model": {"name": fake.model, "description": ""}}),
        ("/v3/endpoints/e1", "") => json!({"endpoint": place}),
        ("/v3/services", "type=image") => json!({"services": [{"id": "s1"}]}),
        ("/v3/services", _) => json!({"services": [{"id": "s1"}, {"id": "s2"}]}),
        ("/v3/endpoints", "service_id=s1&region_id=R+1&interface=internal") => json!({"endpoints": [place]}),
        ("/v3/endpoints", _) => json!({"endpoints": []}),
        ("/v3/registered_limits", _) if ours => json!({"registered_limits": limit("default_limit", &fake.registered)}),
        ("/v3/limits", _) if ours && query.ends_with("&project_id=p1") => {
            json!({"limits": limit("resource_limit", &fake.own)})
        }
        ("/v3/limits", _) if ours => json!({"limits": []}),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    document.to_string().into_response()
}

struct World {
    limits: Limits,
    fake: FakeState,
    dir: tempfile::TempDir,
}

impl World {
    /// `lines`: of `[oslo_limit]`; `control`: of `[control]`.
    async fn new(lines: &str, control: &str) -> Self {
        let fake = Arc::new(Mutex::new(Fake {
            model: "flat",
            registered: vec![("image_size_total", 5), ("image_count_total", 2), ("image_count_uploading", -1)],
            own: vec![("image_size_total", 3)],
            asked: Vec::new(),
            delay: Duration::ZERO,
            broken: None,
            logins: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().expect("a directory");
        let text = format!(
            "[DEFAULT]\nuse_keystone_limits = true\n[control]\n{control}\n[oslo_limit]\nauth_url = http://{address}/v3\n\
             auth_type = password\nuser_id = u\npassword = s\nsystem_scope = all\n{lines}\n"
        );
        let limits = Limits::new(&config(&dir, &text)).expect("no files");
        World { limits, fake, dir }
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().expect("not poisoned")
    }

    fn catalog(&self) -> Catalog {
        Catalog::open(&self.dir.path().join("catalog.sqlite")).expect("a catalog")
    }

    async fn share(&self, project: &str) -> Share {
        self.limits.of(Some(project)).await.expect("Keystone answers")
    }

    async fn refused(&self) -> Error {
        self.limits.of(Some("p1")).await.expect_err("refused")
    }
}

fn config(dir: &tempfile::TempDir, text: &str) -> Config {
    let file = dir.path().join("glance-api.conf");
    std::fs::write(&file, text).expect("written");
    Config::load(&[file], &Overrides::default()).expect("a good configuration").0
}

/// Limits as `/v2/info/usage` shows them.
fn limits(share: &Share, catalog: &Catalog) -> Vec<i64> {
    let usage = share.usage(&catalog.queries()).expect("reads").expect("unified");
    usage.iter().map(|one| one.limit).collect()
}

/// An active image of `p1` with so many bytes.
fn store(catalog: &Catalog, id: &str, size: u64) {
    let stored = catalog.write(|tx| {
        tx.create_image(&NewImage { owner: Some("p1".to_owned()), ..NewImage::new(id) })?;
        let data = Located { size: Some(size), checksum: None, hash_algo: None, hash_value: None };
        tx.activate_located(id, &data)?;
        tx.add_location(id, "swift://a", &serde_json::Map::new())
    });
    stored.expect("stored");
}

fn text(outcome: Result<()>) -> String {
    outcome.map_or_else(|error| error.message.rsplit_once('\n').expect("lines").1.to_owned(), |()| "fine".to_owned())
}

#[tokio::test]
async fn limits_are_those_of_the_project_else_the_registered_ones_else_nothing() {
    let world = World::new("endpoint_id = e1", "").await;
    let catalog = world.catalog();
    assert_eq!(limits(&world.share("p1").await, &catalog), [3, 0, 2, -1]);
    assert_eq!(limits(&world.share("p2").await, &catalog), [5, 0, 2, -1]);
    let everybody = world.limits.of(None).await.expect("answers");
    assert_eq!(limits(&everybody, &catalog), [5, 0, 2, -1]);
    let asked = std::mem::take(&mut world.fake().asked);
    let wanted = [
        "/v3/limits/model",
        "/v3/endpoints/e1",
        "/v3/registered_limits?service_id=s1&region_id=R+1",
        "/v3/limits?service_id=s1&region_id=R+1&project_id=p1",
        "/v3/limits?service_id=s1&region_id=R+1&project_id=p2",
    ];
    assert_eq!(asked, wanted);
    world.share("p1").await;
    assert!(world.fake().asked.is_empty(), "all is remembered");
    assert_eq!(world.fake().logins, 1);
}

#[tokio::test]
async fn the_endpoint_is_found_by_its_service() {
    let lookup = "endpoint_service_type = image\nendpoint_region_name = R 1\nendpoint_interface = internalURL";
    let world = World::new(lookup, "").await;
    assert_eq!(limits(&world.share("p1").await, &world.catalog()), [3, 0, 2, -1]);
    for (lines, what) in [
        ("endpoint_service_name = image", "2 of the service"),
        ("endpoint_service_type = image", "0 of the endpoint"),
        ("endpoint_id = other", "answered 404"),
    ] {
        let error = World::new(lines, "").await.refused().await;
        assert_eq!(error.kind, Kind::Internal);
        assert!(error.cause.as_deref().is_some_and(|cause| cause.contains(what)), "{lines}: {error}");
        assert!(!error.message.contains("oslo"), "{error}");
    }
    let world = World::new("endpoint_id = e1", "").await;
    world.fake().model = "strict_two_level";
    assert!(world.refused().await.cause.is_some_and(|cause| cause.contains("strict_two_level")));
}

#[tokio::test]
async fn changes_count_soon_and_our_token_is_renewed() {
    let world = World::new("endpoint_id = e1", "keystone_limits_cache_seconds = 0").await;
    let catalog = world.catalog();
    assert_eq!(limits(&world.share("p1").await, &catalog)[0], 3);
    world.fake().own = vec![("image_size_total", 4)];
    world.fake().logins = 7;
    assert_eq!(limits(&world.share("p1").await, &catalog)[0], 4);
    assert_eq!(world.fake().logins, 8);
}

#[tokio::test]
async fn many_ask_once() {
    let world = World::new("endpoint_id = e1", "").await;
    world.fake().delay = Duration::from_millis(20);
    let all: Vec<_> = (0..32)
        .map(|_| {
            let limits = world.limits.clone();
            tokio::spawn(async move { limits.of(Some("p1")).await.is_ok() })
        })
        .collect();
    for one in all {
        assert!(one.await.expect("ends"));
    }
    assert_eq!(world.fake().asked.len(), 4);
}

#[tokio::test]
async fn a_keystone_that_is_away_holds_up_nobody_for_long_and_no_upload_under_way() {
    let world = World::new("endpoint_id = e1", "keystone_timeout_seconds = 1\nkeystone_limits_cache_seconds = 0").await;
    let share = world.share("p1").await;
    world.fake().delay = Duration::from_secs(60);
    let begun = Instant::now();
    assert_eq!(world.refused().await.kind, Kind::Unavailable);
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(world.refused().await.kind, Kind::Unavailable);
    assert!(begun.elapsed() < Duration::from_millis(500), "nobody waits again: {:?}", begun.elapsed());
    assert_eq!(world.limits.of_running(Some("p1")).await, Ok(share));
    assert_eq!(world.limits.of_running(Some("p2")).await.expect_err("never heard of").kind, Kind::Unavailable);
    world.fake().delay = Duration::ZERO;
    world.fake().broken = Some(StatusCode::FORBIDDEN);
    tokio::time::sleep(crate::keystone::AWAY_HOLDS).await;
    assert_eq!(world.refused().await.kind, Kind::Internal, "an operator must mend it");
    world.fake().broken = None;
    world.share("p1").await;
}

#[tokio::test]
async fn not_all_may_wait() {
    let world = World::new("endpoint_id = e1", "max_connections = 8").await;
    world.fake().delay = Duration::from_millis(100);
    let all: Vec<_> = (0..6)
        .map(|number| {
            let limits = world.limits.clone();
            tokio::spawn(async move { limits.of(Some(&format!("p{number}"))).await.is_ok() })
        })
        .collect();
    let mut answered = 0;
    for one in all {
        answered += usize::from(one.await.expect("ends"));
    }
    assert_eq!(answered, 2);
}

#[test]
fn keystone_is_not_asked_about_places_that_clients_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let quota = "[DEFAULT]\nuser_storage_quota = 10\n";
    let limits = Limits::new(&config(&dir, quota)).expect("no files");
    assert_eq!(limits.of_located(Some("p1")), Share::new(Some("p1"), Rule::Storage(10)));
    let account = "[oslo_limit]\nauth_url = http://127.0.0.1:1\nauth_type = token\ntoken = t\nendpoint_id = e\n";
    let unified = format!("{quota}use_keystone_limits = true\n{account}");
    let limits = Limits::new(&config(&dir, &unified)).expect("no files");
    assert_eq!(limits.of_located(Some("p1")), Share::new(Some("p1"), Rule::Unlimited));
}

#[tokio::test]
async fn whole_mib_are_compared_as_glance_does() {
    let world = World::new("endpoint_id = e1", "").await;
    let (catalog, share) = (world.catalog(), world.share("p1").await);
    let check = |purpose, size| text(share.check_data(&catalog.queries(), purpose, size));
    assert_eq!(check(Purpose::Store, Some(4 * MIB - 1)), "fine");
    let over = "Project p1 is over a limit for [Resource image_size_total is over limit of 3 due to current usage 0 and delta 4]";
    assert_eq!(check(Purpose::Store, Some(4 * MIB)), over);
    let staged = "Project p1 is over a limit for [Resource image_stage_total is over limit of 0 due to current usage 0 and delta 1]";
    assert_eq!(check(Purpose::Staging, Some(MIB)), staged);
    assert_eq!(check(Purpose::Staging, Some(MIB - 1)), "fine");
    store(&catalog, IMAGE, 3 * MIB + 7);
    assert_eq!(check(Purpose::Store, None), "fine", "at the limit");
    assert!(check(Purpose::Store, Some(MIB)).contains("limit of 3 due to current usage 3 and delta 1"));
    let other = "aaaaaaaa-ed3a-4a6c-8282-bcd0a6190aa8";
    assert_eq!(text(share.check_images(&catalog.queries())), "fine");
    store(&catalog, other, MIB);
    assert!(check(Purpose::Store, None).contains("limit of 3 due to current usage 4 and delta 0"));
    assert!(
        text(share.check_images(&catalog.queries()))
            .contains("image_count_total is over limit of 2 due to current usage 2 and delta 1")
    );
    assert_eq!(text(share.check_moving(&catalog.queries())), "fine", "-1 is no limit");
    let usage = share.usage(&catalog.queries()).expect("reads").expect("unified");
    let usage: Vec<_> = usage.iter().map(|one| (one.resource, one.usage)).collect();
    let wanted =
        [("image_size_total", 4), ("image_stage_total", 0), ("image_count_total", 2), ("image_count_uploading", 0)];
    assert_eq!(usage, wanted);
}

#[test]
fn storage_counts_every_location() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = Catalog::open(&directory.path().join("catalog.sqlite")).expect("a new catalog");
    store(&catalog, IMAGE, 30);
    catalog.write(|tx| tx.add_location(IMAGE, "swift://b", &serde_json::Map::new())).expect("added");
    let check = |project, quota: Option<u64>, added| {
        let rule = quota.map_or(Rule::Unlimited, Rule::Storage);
        Share::new(project, rule).check_located(&catalog.queries(), added)
    };
    assert_eq!(check(Some("p1"), Some(100), 40), Ok(()));
    let text = "Denying attempt to upload image because it exceeds the quota: The size of the data 41 will exceed \
                the limit. 40 bytes remaining.";
    assert_eq!(check(Some("p1"), Some(100), 41), Err(Error::new(Kind::TooLarge, text)));
    assert!(check(Some("p1"), Some(50), 1).is_err_and(|error| error.message.ends_with(" -10 bytes remaining.")));
    for (project, quota) in [(Some("p1"), None), (None, Some(41)), (Some("p2"), Some(41))] {
        assert_eq!(check(project, quota, 41), Ok(()), "{project:?} {quota:?}");
    }
}
