//! The few calls of the Images API (v2) that a measurement needs around the ones it measures.

use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, Result};
use crate::http::{Connection, Head};
use crate::payload::Digests;

/// An image, as far as measurements look at it.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// UUID.
    pub id: String,
    /// `queued`, `active`, …
    pub status: String,
    /// Size in bytes, once there is data.
    pub size: Option<u64>,
    /// MD5 in hexadecimal, once there is data.
    pub checksum: Option<String>,
    /// SHA-512 in hexadecimal (with the default settings), once there is data.
    pub os_hash_value: Option<String>,
}

#[derive(Deserialize)]
struct List {
    images: Vec<Image>,
}

/// Registers an image without data: a raw disk with a few properties and tags, as real ones have.
///
/// # Errors
/// The server does not answer `201` with an image.
pub fn create(connection: &mut Connection, name: &str) -> Result<Image> {
    let body = json!({
        "name": name,
        "disk_format": "raw",
        "container_format": "bare",
        "min_ram": 512,
        "tags": ["perf", "disposable"],
        "os_distro": "debian",
        "os_version": "12",
        "hw_disk_bus": "virtio",
        "architecture": "x86_64",
    });
    let text = body.to_string();
    let head = connection.request("POST", "/v2/images", Some(("application/json", text.as_bytes())))?;
    decode(&expect(connection, &head, 201, "create")?, "create")
}

/// Shows an image.
///
/// # Errors
/// The server does not answer `200` with an image.
pub fn show(connection: &mut Connection, id: &str) -> Result<Image> {
    let head = connection.request("GET", &format!("/v2/images/{id}"), None)?;
    decode(&expect(connection, &head, 200, "show")?, "show")
}

/// How many images one page of at most `limit` holds.
///
/// # Errors
/// The server does not answer `200` with a list.
pub fn count(connection: &mut Connection, limit: usize) -> Result<usize> {
    let head = connection.request("GET", &list_target(limit), None)?;
    let list: List = decode(&expect(connection, &head, 200, "list")?, "list")?;
    Ok(list.images.len())
}

/// Deletes an image.
///
/// # Errors
/// The server does not answer `204`.
pub fn delete(connection: &mut Connection, id: &str) -> Result<()> {
    let head = connection.request("DELETE", &format!("/v2/images/{id}"), None)?;
    expect(connection, &head, 204, "delete").map(drop)
}

/// Path and query of a list of at most `limit` images.
#[must_use]
pub fn list_target(limit: usize) -> String {
    format!("/v2/images?limit={limit}")
}

/// Path of an image's data.
#[must_use]
pub fn data_target(id: &str) -> String {
    format!("/v2/images/{id}/file")
}

/// Checks that an image is active and says of its data what is true.
///
/// # Errors
/// Status, size or a digest differs.
pub fn verify(image: &Image, size: u64, digests: &Digests) -> Result<()> {
    if image.status != "active" {
        return Err(Error::Answer(format!("image {} is {} after its upload", image.id, image.status)));
    }
    let same = image.size == Some(size)
        && image.checksum.as_deref() == Some(&digests.md5)
        && image.os_hash_value.as_deref() == Some(&digests.sha512);
    if same {
        return Ok(());
    }
    Err(Error::Bytes(format!("the server states {image:?}; true are {size} bytes and {digests:?}")))
}

/// Reads an answer's body and checks its status.
///
/// # Errors
/// The status is another one; the message then holds the beginning of the body.
pub fn expect(connection: &mut Connection, head: &Head, status: u16, what: &str) -> Result<Vec<u8>> {
    /// How much of an unexpected body is worth showing, in characters.
    const SHOWN: usize = 300;
    let body = connection.read_body(head)?;
    if head.status == status {
        return Ok(body);
    }
    let shown: String = String::from_utf8_lossy(&body).chars().take(SHOWN).collect();
    let address = connection.endpoint();
    Err(Error::Answer(format!("{what} on {address}: {} instead of {status}: {shown}", head.status)))
}

fn decode<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Error::Answer(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests() -> Digests {
        Digests { md5: "m".into(), sha512: "s".into() }
    }

    fn image() -> Image {
        Image {
            id: "i".into(),
            status: "active".into(),
            size: Some(3),
            checksum: Some("m".into()),
            os_hash_value: Some("s".into()),
        }
    }

    #[test]
    fn a_true_image_passes_and_each_lie_is_found() {
        assert!(verify(&image(), 3, &digests()).is_ok());
        let lies: [fn(&mut Image); 4] = [
            |image| image.status = "queued".into(),
            |image| image.size = Some(4),
            |image| image.checksum = None,
            |image| image.os_hash_value = Some("t".into()),
        ];
        for lie in lies {
            let mut image = image();
            lie(&mut image);
            assert!(verify(&image, 3, &digests()).is_err(), "{image:?}");
        }
    }
}
