//! The calls of the Images API (v2) that a load is made of.

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::{Fault, Outcome};
use super::keystone::message;
use super::pattern::Writer;
use super::session::Session;
use super::wire::Wire;
use crate::http::Head;
use crate::payload::Digests;

/// The property that marks images of this tool; its value is the id of the run.
pub(super) const PROPERTY: &str = "vitrine_bench";
/// What names of images of this tool begin with.
pub(super) const PREFIX: &str = "vitrine-bench-";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

/// An image, as far as loads look at it.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// UUID.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// `queued`, `active`, …
    pub status: String,
    /// Size in bytes, once there is data.
    pub size: Option<u64>,
    /// MD5 in hexadecimal, once there is data.
    pub checksum: Option<String>,
    /// Name of the algorithm of `os_hash_value`.
    pub os_hash_algo: Option<String>,
    /// Digest in hexadecimal, once there is data.
    pub os_hash_value: Option<String>,
    /// The run that has made it.
    #[serde(default)]
    pub vitrine_bench: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Its images.
    pub images: Vec<Image>,
    /// Path of the next page.
    #[serde(default)]
    pub next: Option<String>,
}

/// Sends a request with the token of the session, and once more with a new token if it is refused with 401.
pub(super) fn with_token(
    session: &Session,
    wire: &mut Wire,
    headers: &[(&str, &str)],
    mut send: impl FnMut(&mut Wire, &[(&str, &str)]) -> Outcome<Head>,
) -> Outcome<Head> {
    let mut attempt = |wire: &mut Wire, token: Option<&str>| {
        let mut all = headers.to_vec();
        all.extend(token.map(|token| ("X-Auth-Token", token)));
        send(wire, &all)
    };
    let token = session.token()?;
    let head = attempt(wire, token.as_deref())?;
    if head.status != 401 {
        return Ok(head);
    }
    match session.instead_of(token.as_ref())? {
        Some(other) => {
            // Whatever it says: if it cannot be read, the connection is closed.
            drop(wire.body(&head));
            attempt(wire, Some(&other))
        }
        None => Ok(head),
    }
}

/// Reads an answer's body and checks its status.
pub(super) fn expect(wire: &mut Wire, head: &Head, statuses: &[u16]) -> Outcome<Vec<u8>> {
    let body = wire.body(head)?;
    if statuses.contains(&head.status) { Ok(body) } else { Err(Fault::Status(head.status, message(&body))) }
}

fn call(
    session: &Session,
    wire: &mut Wire,
    (method, path): (&str, &str),
    content: Option<(&str, &Value)>,
    statuses: &[u16],
) -> Outcome<Vec<u8>> {
    let body = content.map(|(_, body)| body.to_string());
    let kind = content.map(|(kind, _)| ("Content-Type", kind));
    let head = with_token(session, wire, kind.as_slice(), |wire, headers| {
        wire.request(method, path, headers, body.as_ref().map(String::as_bytes))
    })?;
    expect(wire, &head, statuses)
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|error| Fault::Protocol(format!("not what the API promises: {error}")))
}

/// Registers the image `id`, raw and bare, marked as one of this run.
pub(super) fn create(session: &Session, wire: &mut Wire, id: &str, name: &str, run: &str) -> Outcome<Image> {
    let body = json!({
        "id": id,
        "name": name,
        "disk_format": "raw",
        "container_format": "bare",
        PROPERTY: run,
    });
    decode(&call(session, wire, ("POST", "/v2/images"), Some(("application/json", &body)), &[201])?)
}

/// Sends the data of an image.
pub(super) fn upload(session: &Session, wire: &mut Wire, id: &str, size: u64, data: &mut Writer) -> Outcome<()> {
    let headers = [("Content-Type", "application/octet-stream")];
    let path = format!("/v2/images/{id}/file");
    let head = with_token(session, wire, &headers, |wire, headers| wire.send("PUT", &path, headers, size, data))?;
    expect(wire, &head, &[204]).map(drop)
}

/// Shows an image.
pub(super) fn show(session: &Session, wire: &mut Wire, id: &str) -> Outcome<Image> {
    decode(&call(session, wire, ("GET", &format!("/v2/images/{id}")), None, &[200])?)
}

/// One page of a list; `path` is the query or a path that a page has given.
pub(super) fn list(session: &Session, wire: &mut Wire, path: &str) -> Outcome<Page> {
    decode(&call(session, wire, ("GET", path), None, &[200])?)
}

/// Replaces the name of an image.
pub(super) fn rename(session: &Session, wire: &mut Wire, id: &str, name: &str) -> Outcome<Image> {
    let body = json!([{"op": "replace", "path": "/name", "value": name}]);
    decode(&call(session, wire, ("PATCH", &format!("/v2/images/{id}")), Some((PATCH, &body)), &[200])?)
}

/// Deletes an image; one that is not there is fine if `gone_is_fine`.
pub(super) fn delete(session: &Session, wire: &mut Wire, id: &str, gone_is_fine: bool) -> Outcome<()> {
    let statuses: &[u16] = if gone_is_fine { &[204, 404] } else { &[204] };
    call(session, wire, ("DELETE", &format!("/v2/images/{id}")), None, statuses).map(drop)
}

/// Checks what the service says of data whose size and digests are known.
pub(super) fn verify(image: &Image, size: u64, digests: Option<&Digests>) -> Outcome<()> {
    let wrong = |what: &str, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
        Err(Fault::Wrong(format!("image {}: {what} is {found:?} and should be {expected:?}", image.id)))
    };
    if image.status != "active" {
        return wrong("status", &image.status, &"active");
    }
    if image.size != Some(size) {
        return wrong("size", &image.size, &size);
    }
    let Some(digests) = digests else { return Ok(()) };
    if let Some(checksum) = &image.checksum
        && *checksum != digests.md5
    {
        return wrong("checksum", checksum, &digests.md5);
    }
    match (image.os_hash_algo.as_deref(), &image.os_hash_value) {
        (Some("sha512"), Some(value)) if *value != digests.sha512 => wrong("os_hash_value", value, &digests.sha512),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_about_an_upload_is_found() {
        let digests = Digests { md5: "m".into(), sha512: "s".into() };
        let truth = Image {
            id: "i".into(),
            name: None,
            status: "active".into(),
            size: Some(3),
            checksum: Some("m".into()),
            os_hash_algo: Some("sha512".into()),
            os_hash_value: Some("s".into()),
            vitrine_bench: None,
        };
        assert_eq!(verify(&truth, 3, Some(&digests)), Ok(()));
        let lies: [fn(&mut Image); 4] = [
            |image| image.status = "queued".into(),
            |image| image.size = Some(4),
            |image| image.checksum = Some("n".into()),
            |image| image.os_hash_value = Some("t".into()),
        ];
        for lie in lies {
            let mut image = truth.clone();
            lie(&mut image);
            assert!(matches!(verify(&image, 3, Some(&digests)), Err(Fault::Wrong(_))), "{image:?}");
        }
        // Another algorithm cannot be compared and is no lie.
        let other = Image { os_hash_algo: Some("blake2b".into()), os_hash_value: Some("x".into()), ..truth };
        assert_eq!(verify(&other, 3, Some(&digests)), Ok(()));
    }
}
