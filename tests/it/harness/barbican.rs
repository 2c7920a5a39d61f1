//! A stand-in for Barbican that has a few secrets, for what must be seen of a server that verifies signatures. Barbican itself is
//! met in `tests/clients`.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::keystone::answer_all;

/// By its id: what kind of secret it is, and its payload.
type Secrets = HashMap<String, (String, Vec<u8>)>;

/// It runs until the process ends.
pub(crate) struct Barbican {
    pub(crate) address: SocketAddr,
    secrets: Arc<Mutex<Secrets>>,
}

impl Barbican {
    /// Starts one that shows its secrets to the holder of the token `right`.
    pub(crate) fn start() -> Barbican {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let secrets: Arc<Mutex<Secrets>> = Arc::default();
        let shown = Arc::clone(&secrets);
        answer_all(listener, move |request| {
            if request.header("x-auth-token") != "right" {
                return ("401 Unauthorized", b"{}".to_vec());
            }
            let path = request.path.strip_prefix("/v1/secrets/").unwrap_or_default();
            let secrets = shown.lock().expect("no panic inside");
            match (secrets.get(path), secrets.get(path.trim_end_matches("/payload"))) {
                (Some((kind, _)), _) => ("200 OK", described(kind)),
                (None, Some((_, payload))) if request.header("accept") == TYPE => ("200 OK", payload.clone()),
                (None, Some(_)) => ("406 Not Acceptable", b"{}".to_vec()),
                (None, None) => ("404 Not Found", b"{}".to_vec()),
            }
        });
        Barbican { address, secrets }
    }

    /// Takes a secret of this type; its id.
    pub(crate) fn put(&self, kind: &str, payload: &[u8]) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        let secret = (kind.to_owned(), payload.to_vec());
        self.secrets.lock().expect("no panic inside").insert(id.clone(), secret);
        id
    }
}

/// What Barbican's client gives a certificate.
const TYPE: &str = "application/octet-stream";

fn described(kind: &str) -> Vec<u8> {
    json!({"secret_type": kind, "content_types": {"default": TYPE}, "status": "ACTIVE"}).to_string().into_bytes()
}
