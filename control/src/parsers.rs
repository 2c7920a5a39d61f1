//! What clients send, read without a server: the API's parsers as fuzzing and micro-benchmarks reach them, and the certificates of
//! those who sign images.

use common::catalog::{ListQuery, Viewer};
use common::config;
use common::{Error, Result};

use crate::api::imports;
use crate::api::json_patch;
use crate::api::list_query::{self, Pages};
use crate::api::schema::ImageSchema;
use crate::signature;

/// Reads patches of an image, as `PATCH /v2/images/{id}` does.
pub struct PatchReader {
    schema: ImageSchema,
}

impl PatchReader {
    /// A reader for a site with the formats that `api` allows.
    pub fn new(api: &config::Api) -> Self {
        PatchReader { schema: ImageSchema::new(api) }
    }

    /// The changes that a body of this `Content-Type` asks for, each as a text.
    ///
    /// # Errors
    /// As the request would be answered: 400, 403 or 415.
    pub fn read(&self, content_type: Option<&str>, body: &[u8]) -> Result<Vec<String>> {
        let dialect = json_patch::dialect(content_type)?;
        let body = serde_json::from_slice(body).map_err(|_| Error::bad_request("Malformed JSON in request body."))?;
        let changes = json_patch::decode(&body, dialect, &self.schema)?;
        Ok(changes.iter().map(|change| format!("{} {:?} {}", change.op, change.target, change.value)).collect())
    }
}

/// What the decoded parameters of `GET /v2/images` ask for. `page_default` and `page_max`: images of a page.
///
/// # Errors
/// 400 that names the parameter.
pub fn list_query(
    params: &[(String, String)],
    viewer: Viewer,
    page_default: usize,
    page_max: usize,
) -> Result<ListQuery> {
    list_query::parse(params, viewer, Pages { default: page_default, max: page_max })
}

/// The links of a page of that list: `first`, and `next` when there is a marker for it.
pub fn list_links(params: &[(String, String)], next_marker: Option<&str>) -> (String, Option<String>) {
    list_query::links("/v2/images", params, next_marker)
}

/// What the body of `POST /v2/images/{id}/import` asks for, as a text: the method, the stores, and whether all must succeed. `header` is
/// the value of `x-image-meta-store`, `enabled` the methods of the site.
///
/// # Errors
/// 400 that names the field.
pub fn import_request(body: &[u8], header: Option<&str>, enabled: &[String]) -> Result<String> {
    let body = serde_json::from_slice(body).map_err(|_| Error::bad_request("Malformed JSON in request body."))?;
    let wanted = imports::decode(body, header, enabled)?;
    Ok(format!("{} {:?} {}", wanted.method.as_str(), wanted.stores?, wanted.all_must_succeed))
}

/// Whether `signature` is one of `digest` (of `hash`, as `img_signature_hash_method` names it) by the key of `certificate`, PEM or DER.
///
/// # Errors
/// A certificate or a key that is not understood, and an unknown hash: what its user is told.
pub fn signature(certificate: &[u8], hash: &str, digest: &[u8], signature: &[u8]) -> std::result::Result<bool, String> {
    signature::verifies(certificate, hash, digest, signature).map_err(|refusal| refusal.to_string())
}
