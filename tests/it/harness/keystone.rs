//! A stand-in for Keystone that knows a few tokens, for what must be seen on the wire of a server with authentication. What
//! Keystone itself does is tested against the real one, in `tests/clients`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Limits by resource.
type Limits = Arc<Mutex<Vec<(String, i64)>>>;

/// It runs until the process ends.
pub(crate) struct Keystone {
    address: SocketAddr,
    limits: Limits,
}

impl Keystone {
    /// Starts one. The token `right` is a member's of the project `p1`, as is `roles=a,b` with these roles instead;
    /// everything else is unknown. No limit is registered.
    pub(crate) fn start() -> Keystone {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let limits = Limits::default();
        let known = limits.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let known = known.clone();
                std::thread::spawn(move || serve(stream, &known));
            }
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

fn serve(stream: TcpStream, limits: &Limits) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    let mut stream = stream;
    loop {
        let (mut first, mut length, mut subject) = (String::new(), 0, String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "x-subject-token" => value.trim().clone_into(&mut subject),
                _ => {}
            }
        }
        let _ = reader.read_exact(&mut vec![0; length]);
        let (status, body) = match first.starts_with("POST ") {
            true => ("201 Created", document("service")),
            false if !first.contains("/auth/tokens") => ("200 OK", catalogue(&first, limits).to_string()),
            false => match subject.strip_prefix("roles=") {
                Some(roles) => ("200 OK", document(roles)),
                None if subject == "right" => ("200 OK", document("member,reader")),
                None => ("404 Not Found", "{}".to_owned()),
            },
        };
        let reply = format!(
            "HTTP/1.1 {status}\r\nX-Subject-Token: ours\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn document(roles: &str) -> String {
    let roles: Vec<_> = roles.split(',').map(|name| json!({"id": name, "name": name})).collect();
    json!({"token": {
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "user": {"id": "u1", "name": "u", "domain": {"id": "default"}},
        "project": {"id": "p1", "name": "p", "domain": {"id": "default"}},
        "roles": roles,
    }})
    .to_string()
}

/// What a request other than for a token is answered with.
fn catalogue(request: &str, limits: &Limits) -> Value {
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
