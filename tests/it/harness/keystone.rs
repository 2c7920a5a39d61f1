//! A stand-in for Keystone that knows a few tokens, for what must be seen on the wire of a server with authentication. What
//! Keystone itself does is tested against the real one, in `tests/clients`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Limits by resource.
type Limits = Arc<Mutex<Vec<(String, i64)>>>;

/// Where no server is.
const NOWHERE: &str = "http://127.0.0.1:1";

/// It runs until the process ends.
pub(crate) struct Keystone {
    address: SocketAddr,
    limits: Limits,
}

impl Keystone {
    /// Starts one. The token `right` is a member's of the project `p1`, as is `roles=a,b` with these roles instead;
    /// everything else is unknown. No limit is registered.
    pub(crate) fn start() -> Keystone {
        Keystone::with_services(NOWHERE, NOWHERE)
    }

    /// The same, whose catalog has a key manager in the region `one`, and in the region `Two` an Image service.
    pub(crate) fn with_services(key_manager: &str, images: &str) -> Keystone {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let catalog = catalog(key_manager, images);
        let limits = Limits::default();
        let known = limits.clone();
        answer_all(listener, move |request| {
            let subject = request.header("x-subject-token");
            let (status, body) = match (request.method.as_str(), subject.strip_prefix("roles=")) {
                ("POST", _) => ("201 Created", document("service")),
                _ if is_about_limits(&request.path) => ("200 OK", about_limits(&request.path, &known).to_string()),
                _ if request.path == "/v3/auth/catalog" => ("200 OK", catalog.clone()),
                (_, Some(roles)) => ("200 OK", document(roles)),
                (_, None) if subject == "right" => ("200 OK", document("member,reader")),
                (_, None) => ("404 Not Found", "{}".to_owned()),
            };
            (status, body.into_bytes())
        });
        Keystone { address, limits }
    }

    /// One with these registered limits.
    pub(crate) fn with_limits(limits: &[(&str, i64)]) -> Keystone {
        let keystone = Keystone::start();
        limits.iter().for_each(|(name, limit)| keystone.limit(name, *limit));
        keystone
    }

    /// Registers a limit, or changes it.
    pub(crate) fn limit(&self, name: &str, limit: i64) {
        let mut limits = self.limits.lock().expect("no panic inside");
        limits.retain(|(known, _)| known != name);
        limits.push((name.to_owned(), limit));
    }

    /// A configuration that takes quotas from it, asked for with every request, and no tokens.
    pub(crate) fn limits_config(&self) -> String {
        format!(
            "[DEFAULT]\nuse_keystone_limits = true\n[control]\nkeystone_limits_cache_seconds = 0\n[oslo_limit]\n\
             auth_url = http://{}\nauth_type = password\nuser_id = u\npassword = secret\nsystem_scope = all\n\
             endpoint_id = e1\n",
            self.address
        )
    }

    /// A configuration that uses it.
    pub(crate) fn config(&self) -> String {
        format!(
            "[paste_deploy]\nflavor = keystone\n[keystone_authtoken]\nauth_url = http://{0}\nwww_authenticate_uri = http://{0}\n\
             auth_type = password\nusername = glance\npassword = secret\nproject_name = service\n\
             user_domain_name = Default\nproject_domain_name = Default\n",
            self.address
        )
    }
}

/// A request to a stand-in.
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names in small letters.
    headers: Vec<(String, String)>,
}

impl Request {
    /// The header `name`, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Answers whatever is asked of `listener`, on threads of its own: a status, and a body.
pub(crate) fn answer_all(
    listener: TcpListener,
    answer: impl Fn(&Request) -> (&'static str, Vec<u8>) + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> (&'static str, Vec<u8>)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut words = first.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request { method, path, headers: Vec::new() };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = request.header("content-length").parse().unwrap_or(0);
        let _ = reader.read_exact(&mut vec![0; length]);
        let (status, body) = answer(&request);
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Subject-Token: ours\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// A catalog with a key manager, whose public address in the region `one` alone is right.
fn catalog(key_manager: &str, images: &str) -> String {
    let endpoint = |interface: &str, region: &str, url: &str| serde_json::json!({"interface": interface, "region": region, "region_id": region, "url": url});
    let key_managers = [
        endpoint("internal", "one", NOWHERE),
        endpoint("public", "two", NOWHERE),
        endpoint("public", "one", key_manager),
    ];
    let images =
        [endpoint("public", "one", NOWHERE), endpoint("internal", "Two", NOWHERE), endpoint("public", "Two", images)];
    serde_json::json!({"catalog": [
        {"type": "image", "name": "glance", "endpoints": images},
        {"type": "key-manager", "name": "barbican", "endpoints": key_managers},
    ]})
    .to_string()
}

fn document(roles: &str) -> String {
    let roles: Vec<_> = roles.split(',').map(|name| serde_json::json!({"id": name, "name": name})).collect();
    serde_json::json!({"token": {
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "user": {"id": "u1", "name": "u", "domain": {"id": "default"}},
        "project": {"id": "p1", "name": "p", "domain": {"id": "default"}},
        "roles": roles,
    }})
    .to_string()
}

/// Whether a request is one for limits, or for what they are for.
fn is_about_limits(path: &str) -> bool {
    ["/limits", "/registered_limits", "/endpoints/"].iter().any(|part| path.contains(part))
}

/// What such a request is answered with.
fn about_limits(request: &str, limits: &Limits) -> Value {
    if request.contains("/limits/model") {
        return json!({"model": {"name": "flat"}});
    }
    if request.contains("/endpoints/") {
        return json!({"endpoint": {"id": "e1", "service_id": "s1", "region_id": "r1"}});
    }
    let limits = limits.lock().expect("no panic inside");
    let registered: Vec<Value> = limits
        .iter()
        .map(|(name, limit)| json!({"resource_name": name, "default_limit": limit, "service_id": "s1"}))
        .collect();
    json!({"registered_limits": registered, "limits": []})
}
