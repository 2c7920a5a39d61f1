//! Against a Keystone that answers as told, slowly or not at all.

use std::sync::{Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use common::config::{Config, Overrides};
use http::Method;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

/// What Keystone does, and what it was asked.
struct Fake {
    /// Our tokens so far; only the last is accepted.
    issued: usize,
    /// Subjects of validations.
    asked: Vec<String>,
    delay: Duration,
    /// Answers to everything, instead of the right one.
    broken: Option<StatusCode>,
    /// Whether our account is refused.
    refuses_us: bool,
}

type FakeState = Arc<Mutex<Fake>>;

async fn answer(State(fake): State<FakeState>, request: Request) -> Response {
    let delay = fake.lock().expect("not poisoned").delay;
    let (parts, _) = request.into_parts();
    let is_login = parts.method == Method::POST;
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (own, subject) = (text("x-auth-token"), text("x-subject-token"));
    if !is_login {
        fake.lock().expect("not poisoned").asked.push(subject.clone());
    }
    tokio::time::sleep(delay).await;
    let mut fake = fake.lock().expect("not poisoned");
    if let Some(status) = fake.broken {
        return status.into_response();
    }
    if is_login {
        fake.issued += 1;
        if fake.refuses_us {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let value = format!("own-{}", fake.issued);
        return (StatusCode::CREATED, [("x-subject-token", value)], document("2126-01-01T00:00:00Z")).into_response();
    }
    match subject.as_str() {
        _ if own != format!("own-{}", fake.issued) => StatusCode::UNAUTHORIZED.into_response(),
        "too long for its server" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
        subject if subject.starts_with("good") => document("2126-01-01T00:00:00Z").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn document(expires_at: &str) -> String {
    let roles = json!([{"name": "member"}]);
    json!({"token": {"expires_at": expires_at, "user": {"id": "u"}, "project": {"id": "p"}, "roles": roles}})
        .to_string()
}

struct World {
    keystone: Arc<Keystone>,
    fake: FakeState,
}

impl World {
    /// `control`: lines of that group; `auth`: of `[keystone_authtoken]`.
    async fn new(control: &str, auth: &str) -> Self {
        let fake = Arc::new(Mutex::new(Fake {
            issued: 0,
            asked: Vec::new(),
            delay: Duration::ZERO,
            broken: None,
            refuses_us: false,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("glance-api.conf");
        let account = "auth_type = password\nuser_id = u\npassword = s";
        let text = format!(
            "[paste_deploy]\nflavor = keystone\n[control]\n{control}\n[keystone_authtoken]\nauth_url = http://{address}\n\
             {account}\nhttp_request_max_retries = 0\n{auth}\n"
        );
        std::fs::write(&file, text).expect("written");
        let (config, _) = Config::load(&[file], &Overrides::default()).expect("a good configuration");
        let options = config.auth.keystone.clone().expect("the flavor");
        World { keystone: Arc::new(Keystone::new(Arc::new(options), &config.control).expect("no files")), fake }
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().expect("not poisoned")
    }

    async fn identify(&self, token: &str) -> Result<Known> {
        self.keystone.identify(&proof(token, None)).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.identify(token).await.map_or_else(|error| error.status().as_u16(), |_| 200)
    }

    /// All at the same time.
    async fn statuses(&self, tokens: impl Iterator<Item = String>) -> Vec<u16> {
        let tasks: Vec<_> = tokens
            .map(|token| {
                let keystone = self.keystone.clone();
                tokio::spawn(async move { keystone.identify(&proof(&token, None)).await })
            })
            .collect();
        let mut statuses = Vec::new();
        for task in tasks {
            let outcome = task.await.expect("ends");
            statuses.push(outcome.map_or_else(|error| error.status().as_u16(), |_| 200));
        }
        statuses
    }
}

fn proof(token: &str, service_token: Option<&str>) -> Proof {
    Proof { token: Some(token.to_owned()), service_token: service_token.map(str::to_owned) }
}

#[tokio::test]
async fn each_token_is_asked_about_once() {
    let world = World::new("", "").await;
    world.fake().delay = Duration::from_millis(30);
    let same = world.statuses(std::iter::repeat_n("good".to_owned(), 20)).await;
    assert_eq!(same, [200; 20]);
    let made_up = world.statuses(std::iter::repeat_n("made up".to_owned(), 20)).await;
    assert_eq!(made_up, [401; 20]);
    assert_eq!((world.status("good").await, world.status("made up").await), (200, 401));
    assert_eq!(world.status(&"x".repeat(TOKEN_BYTES_MAX + 1)).await, 401);
    assert_eq!(world.fake().asked, ["good", "made up"]);
}

#[tokio::test]
async fn our_own_token_is_renewed_once_for_all() {
    let world = World::new("", "").await;
    assert_eq!(world.status("good").await, 200);
    assert_eq!(world.fake().issued, 1);
    // As if it had been revoked.
    world.fake().issued = 10;
    world.fake().delay = Duration::from_millis(20);
    let statuses = world.statuses((0..20).map(|number| format!("good-{number}"))).await;
    assert_eq!(statuses, [200; 20]);
    assert_eq!(world.fake().issued, 11);

    // Refused, it is not asked for by everybody in turn.
    let world = World::new("", "").await;
    world.fake().refuses_us = true;
    world.fake().delay = Duration::from_millis(20);
    let statuses = world.statuses((0..20).map(|number| format!("good-{number}"))).await;
    assert_eq!(statuses, [503; 20]);
    assert_eq!(world.fake().issued, 1);
}

#[tokio::test]
async fn a_keystone_that_hangs_is_waited_for_once() {
    let world = World::new("keystone_timeout_seconds = 1", "http_request_max_retries = 5").await;
    assert_eq!(world.status("good").await, 200);
    world.fake().delay = Duration::from_secs(60);
    let begun = Instant::now();
    assert_eq!(world.status("good-1").await, 503);
    let waited = begun.elapsed();
    assert!(waited < Duration::from_millis(1900), "one deadline for all tries: {waited:?}");
    let begun = Instant::now();
    let statuses = world.statuses((0..50).map(|number| format!("good-2-{number}"))).await;
    assert_eq!(statuses, [503; 50]);
    assert!(begun.elapsed() < Duration::from_millis(500), "nobody waits again: {:?}", begun.elapsed());
    assert_eq!(world.status("good").await, 200, "who is known is known");
    world.fake().delay = Duration::ZERO;
    world.fake().asked.clear();
    tokio::time::sleep(crate::keystone::AWAY_HOLDS).await;
    assert_eq!(world.status("good-3").await, 200, "it is back");
    assert_eq!(world.fake().asked, ["good-3"]);
}

#[tokio::test]
async fn one_finds_out_whether_a_broken_keystone_is_back() {
    let world = World::new("", "").await;
    world.fake().broken = Some(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.status("good-1").await, 503);
    tokio::time::sleep(crate::keystone::AWAY_HOLDS).await;
    world.fake().asked.clear();
    world.fake().broken = None;
    world.fake().delay = Duration::from_millis(100);
    let mut statuses = world.statuses((0..10).map(|number| format!("good-2-{number}"))).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503, 503, 503, 503, 503, 503, 503, 503, 503]);
    assert_eq!(world.fake().asked.len(), 1);
    assert_eq!(world.status("good-3").await, 200);
}

#[tokio::test]
async fn a_bad_token_does_not_pass_for_a_bad_keystone() {
    let world = World::new("", "").await;
    assert_eq!(world.status("too long for its server").await, 401);
    assert_eq!(world.status("good").await, 200);
}

#[tokio::test]
async fn not_all_may_wait() {
    let world = World::new("max_connections = 8", "").await;
    assert_eq!(world.status("good").await, 200);
    world.fake().delay = Duration::from_millis(300);
    let begun = Instant::now();
    let mut statuses = world.statuses((0..6).map(|number| format!("good-{number}"))).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(world.status("good-7").await, 200);
}

#[tokio::test]
async fn an_identity_holds_for_what_is_left() {
    let world = World::new("", "token_cache_time = 2").await;
    let first = world.identify("good").await.expect("valid").holds_for;
    assert!(first > Duration::from_millis(1500) && first <= Duration::from_secs(2), "{first:?}");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let second = world.identify("good").await.expect("valid").holds_for;
    assert!(second <= first - Duration::from_millis(500), "{second:?} after {first:?}");
    // The younger answer does not lengthen the older one's life.
    let both = world.keystone.identify(&proof("good", Some("good-service"))).await.expect("valid");
    assert!(both.holds_for <= second, "{:?}", both.holds_for);
    assert_eq!(world.fake().asked, ["good", "good-service"]);
    tokio::time::sleep(second).await;
    assert_eq!(world.status("good").await, 200);
    assert_eq!(world.fake().asked.len(), 3, "asked again");
    let world = World::new("", "token_cache_time = -1").await;
    assert_eq!(world.identify("good").await.expect("valid").holds_for, Duration::ZERO);
}
