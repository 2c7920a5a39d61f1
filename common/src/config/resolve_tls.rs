//! TLS towards clients: the options as one thing, or nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::resolve::absolute;
use super::resolved::{ClientAuth, Tls};
use super::settings::Settings;

const GROUP: &str = "dataplane";

/// How clients are served over TLS. `None` without certificate and key, or when there is a problem that says why.
pub(super) fn resolve(settings: &Settings<'_>) -> Option<Tls> {
    let file = |name| settings.text(GROUP, name).map(|path| absolute(settings, Path::new(&path)));
    let (cert_file, key_file, client_ca_file) =
        (file("tls_cert_file"), file("tls_key_file"), file("tls_client_ca_file"));
    let client_auth = client_auth(settings, client_ca_file.as_ref());
    let (v1_2, v1_3) = versions(settings);
    let handshake_timeout = Duration::from_secs(settings.count(GROUP, "tls_handshake_timeout_seconds"));
    let kernel = settings.text(GROUP, "tls_kernel").as_deref() != Some("off");
    let (cert_file, key_file) = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => (cert_file, key_file),
        (Some(cert_file), None) => return alone(settings, "tls_cert_file", &cert_file, "tls_key_file"),
        (None, Some(key_file)) => return alone(settings, "tls_key_file", &key_file, "tls_cert_file"),
        (None, None) => {
            if client_auth != ClientAuth::None {
                // Whoever asks for clients' certificates must not get plain HTTP by an oversight.
                let (name, value) = match client_ca_file {
                    Some(path) => ("tls_client_ca_file", path.display().to_string()),
                    None => ("tls_client_auth", "required".to_owned()),
                };
                settings.bad(GROUP, &[GROUP], name, &value, "this beside tls_cert_file and tls_key_file");
            }
            return None;
        }
    };
    Some(Tls { cert_file, key_file, client_ca_file, client_auth, v1_2, v1_3, handshake_timeout, kernel })
}

/// One of the two files was named without the other.
fn alone(settings: &Settings<'_>, name: &'static str, path: &Path, missing: &str) -> Option<Tls> {
    settings.bad(GROUP, &[GROUP], name, &path.display().to_string(), &format!("this together with {missing}"));
    None
}

fn client_auth(settings: &Settings<'_>, ca_file: Option<&PathBuf>) -> ClientAuth {
    let chosen = match settings.text(GROUP, "tls_client_auth").as_deref() {
        Some("none") => ClientAuth::None,
        Some("optional") => ClientAuth::Optional,
        Some("required") => ClientAuth::Required,
        // As in Glance: naming the authority is asking for certificates.
        _ if ca_file.is_some() => ClientAuth::Required,
        _ => ClientAuth::None,
    };
    if chosen != ClientAuth::None && ca_file.is_none() {
        let value = if chosen == ClientAuth::Required { "required" } else { "optional" };
        settings.bad(GROUP, &[GROUP], "tls_client_auth", value, "none, unless tls_client_ca_file is set");
    }
    chosen
}

/// Whether 1.2 and 1.3 are spoken.
fn versions(settings: &Settings<'_>) -> (bool, bool) {
    let listed = settings.list(GROUP, "tls_versions");
    let known = listed.iter().all(|version| matches!(version.as_str(), "1.2" | "1.3"));
    if !known || listed.is_empty() {
        settings.bad(GROUP, &[GROUP], "tls_versions", &listed.join(","), "1.2, 1.3, or both separated by a comma");
    }
    let has = |version: &str| listed.iter().any(|listed| listed == version);
    (has("1.2"), has("1.3"))
}
