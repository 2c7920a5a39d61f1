//! Tokens of Keystone (Identity API v3, `POST /v3/auth/tokens`) and the catalog that comes with them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::settings::Settings;
use super::target::Target;
use super::url::Url;
use super::wire::Wire;
use crate::error::{Error, Result};

/// How long Keystone may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A token and what was said with it.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: String,
    pub(super) expires: Option<Timestamp>,
    catalog: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    token: Body,
}

#[derive(Debug, Deserialize)]
struct Body {
    expires_at: Option<String>,
    #[serde(default)]
    catalog: Vec<Service>,
}

impl Body {
    /// When the token ends; one without a readable end is used until it is refused.
    fn expires(&self) -> Option<Timestamp> {
        self.expires_at.as_deref()?.parse().ok()
    }
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> &str {
        self.region_id.as_deref().or(self.region.as_deref()).unwrap_or_default()
    }
}

/// Keystone, and who asks it.
#[derive(Debug)]
pub(super) struct Identity {
    target: Arc<Target>,
    settings: Settings,
}

impl Identity {
    /// The Identity service of `auth_url`.
    ///
    /// # Errors
    /// The URL is none, or its host has no address.
    pub(super) fn new(settings: &Settings, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let mut url = Url::parse(settings.need("auth_url")?).map_err(Error::Setup)?.without_version();
        url.path.push_str("/v3");
        Ok(Self { target: Arc::new(Target::new(url, tls, PATIENCE)?), settings: settings.clone() })
    }

    /// Asks for a new token.
    ///
    /// # Errors
    /// Keystone is away or refuses, or the settings do not say who asks.
    pub(super) fn token(&self, stop: &Arc<AtomicBool>) -> Result<Granted> {
        let body = request(&self.settings)?.to_string();
        let mut wire = Wire::new(self.target.clone(), stop.clone(), Arc::default());
        let headers = [("Content-Type", "application/json")];
        let at = |fault: Fault| Error::Setup(format!("Keystone: {fault}"));
        let head = wire.request("POST", "/auth/tokens", &headers, Some(body.as_bytes())).map_err(at)?;
        let token = wire.header("X-Subject-Token");
        let text = wire.body(&head).map_err(at)?;
        let url = &self.target.url;
        match (head.status, token) {
            (200 | 201, Some(token)) => {
                let answer: Answer = serde_json::from_slice(&text)
                    .map_err(|error| Error::Answer(format!("Keystone at {url}: {error}")))?;
                Ok(Granted { token, expires: answer.token.expires(), catalog: answer.token.catalog })
            }
            (401, _) => {
                let who = ["username", "user_id", "application_credential_id", "application_credential_name"];
                let who = who.iter().find_map(|key| self.settings.get(key)).unwrap_or("the token");
                Err(Error::Setup(format!("Keystone at {url} refuses '{who}' (401): {}", message(&text))))
            }
            (status, _) => Err(Error::Setup(format!("Keystone at {url} answers {status}: {}", message(&text)))),
        }
    }
}

/// What an error of OpenStack says, in at most one line of 200 characters.
pub(super) fn message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let text = json.as_ref().and_then(|json| json.pointer("/error/message").or_else(|| json.pointer("/message")));
    let text = text.and_then(Value::as_str).map_or_else(|| strip_tags(&String::from_utf8_lossy(body)), str::to_owned);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(200).collect()
}

/// The text of a small page of HTML, as WSGI servers make it of errors.
fn strip_tags(page: &str) -> String {
    let page = page.split_once("<body").map_or(page, |(_, body)| body.split_once('>').map_or(body, |(_, text)| text));
    let mut text = String::new();
    let mut inside = false;
    for c in page.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

/// The request for a token.
fn request(settings: &Settings) -> Result<Value> {
    let kind = settings.get("auth_type").unwrap_or("").trim_start_matches("v3");
    let credential = settings.get("application_credential_secret").is_some();
    let identity = match kind {
        "applicationcredential" => application_credential(settings)?,
        "" if credential => application_credential(settings)?,
        "token" => token(settings)?,
        "" if settings.get("password").is_none() && settings.get("token").is_some() => token(settings)?,
        "" | "password" => password(settings)?,
        other => {
            return Err(Error::Setup(format!(
                "auth_type '{other}' is not supported: none, password, v3applicationcredential and token are"
            )));
        }
    };
    let mut auth = json!({ "identity": identity });
    // An application credential carries its scope.
    if identity_method(&auth) != Some("application_credential")
        && let Some(scope) = scope(settings)
    {
        auth["scope"] = scope;
    }
    Ok(json!({ "auth": auth }))
}

fn identity_method(auth: &Value) -> Option<&str> {
    auth.pointer("/identity/methods/0").and_then(Value::as_str)
}

fn user(settings: &Settings) -> Result<Value> {
    if let Some(id) = settings.get("user_id") {
        return Ok(json!({ "id": id }));
    }
    let name = settings.need("username")?;
    let domain = domain(settings, "user_domain").unwrap_or_else(|| json!({ "id": "default" }));
    Ok(json!({ "name": name, "domain": domain }))
}

fn domain(settings: &Settings, prefix: &str) -> Option<Value> {
    let id = settings.get(&format!("{prefix}_id")).map(|id| json!({ "id": id }));
    id.or_else(|| settings.get(&format!("{prefix}_name")).map(|name| json!({ "name": name })))
}

fn password(settings: &Settings) -> Result<Value> {
    let mut user = user(settings)?;
    user["password"] = json!(settings.need("password")?);
    Ok(json!({ "methods": ["password"], "password": { "user": user } }))
}

fn token(settings: &Settings) -> Result<Value> {
    Ok(json!({ "methods": ["token"], "token": { "id": settings.need("token")? } }))
}

fn application_credential(settings: &Settings) -> Result<Value> {
    let secret = settings.need("application_credential_secret")?;
    let credential = if let Some(id) = settings.get("application_credential_id") {
        json!({ "id": id, "secret": secret })
    } else {
        let name = settings.need("application_credential_name")?;
        json!({ "name": name, "secret": secret, "user": user(settings)? })
    };
    Ok(json!({ "methods": ["application_credential"], "application_credential": credential }))
}

fn scope(settings: &Settings) -> Option<Value> {
    if let Some(id) = settings.get("project_id") {
        return Some(json!({ "project": { "id": id } }));
    }
    if let Some(name) = settings.get("project_name") {
        let domain = domain(settings, "project_domain").unwrap_or_else(|| json!({ "id": "default" }));
        return Some(json!({ "project": { "name": name, "domain": domain } }));
    }
    if settings.get("system_scope").is_some() {
        return Some(json!({ "system": { "all": true } }));
    }
    domain(settings, "domain").map(|domain| json!({ "domain": domain }))
}

/// The Image service of a catalog, in the region and by the interface of the settings.
///
/// # Errors
/// There is none; the text says which there are.
pub(super) fn image_endpoint(granted: &Granted, settings: &Settings) -> Result<Url> {
    let region = settings.get("region_name");
    let interface = settings.get("interface").unwrap_or("public").trim_end_matches("URL");
    let all =
        || granted.catalog.iter().filter(|service| service.kind == "image").flat_map(|service| &service.endpoints);
    let matches = |each: &&Endpoint| {
        each.interface.trim_end_matches("URL") == interface && region.is_none_or(|region| region == each.region())
    };
    if let Some(found) = all().find(matches) {
        return Url::parse(&found.url).map_err(Error::Setup).map(Url::without_version);
    }
    let there: Vec<String> = all().map(|each| format!("{} in region {}", each.interface, each.region())).collect();
    Err(Error::Setup(format!(
        "the catalog has no {interface} endpoint of type image{}; it has: {}",
        region.map(|region| format!(" in region {region}")).unwrap_or_default(),
        if there.is_empty() { "none (is the token scoped to a project?)".to_owned() } else { there.join(", ") }
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_pairs(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn each_way_to_ask_for_a_token() {
        let asked = request(&settings(&[
            ("username", "u"),
            ("password", "p"),
            ("user_domain_name", "Default"),
            ("project_name", "demo"),
        ]));
        let expected = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user":
                {"name": "u", "domain": {"name": "Default"}, "password": "p"}}},
            "scope": {"project": {"name": "demo", "domain": {"id": "default"}}}}});
        assert_eq!(asked.expect("a request"), expected);

        let credential =
            [("application_credential_id", "i"), ("application_credential_secret", "s"), ("project_id", "x")];
        let expected = json!({"auth": {"identity": {"methods": ["application_credential"],
            "application_credential": {"id": "i", "secret": "s"}}}});
        assert_eq!(request(&settings(&credential)).expect("a request"), expected);

        let token = request(&settings(&[("auth_type", "v3token"), ("token", "t"), ("project_id", "x")]));
        let expected = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": "t"}},
            "scope": {"project": {"id": "x"}}}});
        assert_eq!(token.expect("a request"), expected);
        assert!(request(&settings(&[("auth_type", "v3oidcpassword")])).is_err());
        assert!(request(&settings(&[("username", "u")])).is_err());
    }

    #[test]
    fn the_catalog_is_searched_by_region_and_interface() {
        let catalog = json!({"token": {"expires_at": "2026-11-26T09:00:00.000000Z", "catalog": [
            {"type": "identity", "endpoints": [{"interface": "public", "region": "one", "url": "http://k"}]},
            {"type": "image", "endpoints": [
                {"interface": "public", "region": "one", "region_id": "one", "url": "http://one:9292/v2/"},
                {"interface": "internal", "region": "two", "region_id": "two", "url": "http://two:9292/image"}]}]}});
        let answer: Answer = serde_json::from_value(catalog).expect("a catalog");
        let granted = Granted { token: "t".into(), expires: answer.token.expires(), catalog: answer.token.catalog };
        let find = |pairs: &[(&str, &str)]| image_endpoint(&granted, &settings(pairs)).map(|url| url.to_string());
        assert_eq!(find(&[]).ok().as_deref(), Some("http://one:9292"));
        assert_eq!(find(&[("interface", "internalURL")]).ok().as_deref(), Some("http://two:9292/image"));
        let error = find(&[("region_name", "two")]).expect_err("no such endpoint").to_string();
        assert!(error.contains("internal in region two"), "{error}");
    }

    #[test]
    fn errors_are_said_in_one_line() {
        assert_eq!(
            message(br#"{"error": {"code": 401, "message": "The request\n you  made"}}"#),
            "The request you made"
        );
        let page = b"<html>\n<head><title>x</title></head><body><h1>403 Forbidden</h1>no <br /> way</body></html>";
        assert_eq!(message(page), "403 Forbidden no way");
    }
}
