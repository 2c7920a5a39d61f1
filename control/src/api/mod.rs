//! The REST API: from a request to its handler, and from what the handler says to a response.
//!
//! An endpoint is found from its URL: the route table (`common::http::routes`) names the [`Route`], [`Api::route`]
//! names its handler in the module of the resource, which decodes, calls `app` and encodes.

mod actions;
mod cache;
mod call;
mod healthcheck;
mod images;
pub(crate) mod imports;
mod info;
pub(crate) mod json_patch;
pub(crate) mod list_query;
mod locations;
mod members;
mod metadefs;
mod reply;
mod representation;
pub(crate) mod schema;
mod stores;
mod tags;
mod tasks;
mod versions;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use common::authorise::NOT_FOUND_TEXT;
use common::http::routes::{self, Resolution, Route};
use common::identity::{Identity, Proof};
use common::model::metadef::Kind as Item;
use common::{Error, Kind, Result};
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};

use crate::app::App;
use crate::app::actions::Action;
use crate::auth::{self, Authenticator};
use crate::metrics::RequestMetrics;
use call::{Call, accept};
use reply::Reply;
use schema::{Documents, ImageSchema};

/// The id of a request, on the way in and on the way out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// Label of requests for paths that are not in the route table.
const UNKNOWN_ROUTE: &str = "unknown";

/// The API of one site.
pub(crate) struct Api {
    app: App,
    authenticator: Arc<Authenticator>,
    metrics: RequestMetrics,
    image_schema: ImageSchema,
    schemas: Documents,
}

impl Api {
    /// The API over `app`.
    pub(crate) fn new(app: App, authenticator: Arc<Authenticator>, metrics: RequestMetrics) -> Self {
        let image_schema = ImageSchema::new(&app.config.api);
        let schemas = Documents::new(&image_schema);
        Api { app, authenticator, metrics, image_schema, schemas }
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(self: &Arc<Self>, parts: &Parts, body: Result<&[u8]>) -> Response<Body> {
        let begun = Instant::now();
        let offered = versions::offered(&self.app.config);
        let resolution = routes::resolve(parts.method.as_str(), parts.uri.path(), accept(&parts.headers), offered);
        let label = label(&resolution);
        let outcome = match body {
            Ok(body) => self.serve(parts, body, resolution).await,
            Err(error) => Err(error),
        };
        let reply = outcome.unwrap_or_else(|error| {
            log(&error, parts, label);
            Reply::error(&error, accept(&parts.headers))
        });
        self.metrics.count(label, parts.method.as_str(), reply.status.as_u16(), begun.elapsed());
        reply.into_response(parts.method == Method::HEAD)
    }

    async fn serve(self: &Arc<Self>, parts: &Parts, body: &[u8], resolution: Resolution) -> Result<Reply> {
        if parts.method == Method::OPTIONS {
            return Ok(Reply::bare(StatusCode::OK));
        }
        let (route, params) = match resolution {
            Resolution::Found(route, params) => (Some(route), params),
            Resolution::WrongMethod { route: Route::Healthcheck | Route::HealthcheckHead, allow } => {
                return Err(wrong_method(&parts.method, &allow));
            }
            // Whether a path exists is for callers who are known.
            Resolution::WrongMethod { allow, .. } => {
                self.identify(&parts.headers).await?;
                let error = with_request_id(wrong_method(&parts.method, &allow), &parts.headers);
                return Err(error);
            }
            Resolution::NotFound => (None, Vec::new()),
            Resolution::Undecodable => return Err(Error::bad_request("The path is not UTF-8.")),
        };
        if let Some(reply) = route.and_then(|route| self.serve_anybody(route, &parts.headers)) {
            return Ok(reply);
        }
        let caller = self.identify(&parts.headers).await?;
        let reply = match route {
            Some(route) => {
                let call = Call { api: self, caller: &caller, parts, params: &params, body };
                self.serve_caller(route, &call).await
            }
            None => Err(Error::not_found(NOT_FOUND_TEXT)),
        };
        match (reply, request_id(&parts.headers)) {
            (Ok(reply), Some(id)) => Ok(reply.header(REQUEST_ID, id)),
            (Err(error), _) => Err(with_request_id(error, &parts.headers)),
            (reply, None) => reply,
        }
    }

    /// The routes that ask for no proof.
    fn serve_anybody(&self, route: Route, headers: &HeaderMap) -> Option<Reply> {
        let config = &self.app.config;
        match route {
            Route::Root => Some(versions::show(headers, config, StatusCode::MULTIPLE_CHOICES)),
            Route::Versions | Route::VersionTwo => Some(versions::show(headers, config, StatusCode::OK)),
            Route::Healthcheck => Some(healthcheck::check(&config.health, accept(headers), false)),
            Route::HealthcheckHead => Some(healthcheck::check(&config.health, None, true)),
            _ => None,
        }
    }

    /// The routes of known callers.
    async fn serve_caller(&self, route: Route, call: &Call<'_>) -> Result<Reply> {
        if auth::is_anonymous(call.caller) && call.parts.method != Method::GET {
            return Err(Error::forbidden("Callers without a token may only read."));
        }
        let metadefs = &self.schemas.metadefs;
        match route {
            Route::ListImages => images::list(call).await,
            Route::CreateImage => images::create(call).await,
            Route::ShowImage => images::show(call).await,
            Route::UpdateImage => images::update(call).await,
            Route::DeleteImage => images::delete(call).await,
            Route::ImportImage => imports::import(call).await,
            Route::ListImageTasks => tasks::of_image(call).await,
            Route::AddLocation => locations::add(call).await,
            Route::ListLocations => locations::list(call).await,
            Route::RemoveFromStore => stores::remove(call).await,
            Route::CreateTask => tasks::create(call).await,
            Route::ListTasks => tasks::list(call).await,
            Route::ShowTask => tasks::show(call).await,
            Route::DeleteTask => tasks::delete(call),
            Route::DeactivateImage => actions::act(call, Action::Deactivate).await,
            Route::ReactivateImage => actions::act(call, Action::Reactivate).await,
            Route::AddTag => tags::add(call).await,
            Route::RemoveTag => tags::remove(call).await,
            Route::ListMembers => members::list(call).await,
            Route::AddMember => members::add(call).await,
            Route::ShowMember => members::show(call).await,
            Route::UpdateMember => members::update(call).await,
            Route::RemoveMember => members::remove(call).await,
            Route::InfoImport => info::import(call),
            Route::InfoStores => info::stores(call),
            Route::InfoStoresDetail => info::stores_detail(call),
            Route::InfoUsage => info::usage(call).await,
            Route::ShowCache => cache::show(call),
            Route::ClearCache => cache::clear(call),
            Route::CleanCache => cache::clean(call),
            Route::PruneCache => cache::prune(call),
            Route::CacheNodes => cache::nodes(call).await,
            Route::CacheImage => cache::cache(call).await,
            Route::UncacheImage => cache::uncache(call).await,
            Route::CachedImages => cache::older_list(call, "cached_images"),
            Route::CachedImage => cache::older_image(call, &[Method::DELETE]),
            Route::QueuedImages => cache::older_list(call, "queued_images"),
            Route::QueuedImage => cache::older_image(call, &[Method::PUT, Method::DELETE]),
            Route::SchemaImage => schema_document(call, &self.schemas.image),
            Route::SchemaImages => schema_document(call, &self.schemas.images),
            Route::SchemaMember => schema_document(call, &self.schemas.member),
            Route::SchemaMembers => schema_document(call, &self.schemas.members),
            Route::SchemaTask => schema_document(call, &self.schemas.task),
            Route::SchemaTasks => schema_document(call, &self.schemas.tasks),
            Route::SchemaNamespace => schema_document(call, &metadefs.namespace.to_string()),
            Route::SchemaNamespaces => schema_document(call, &metadefs.namespaces),
            Route::SchemaObject => schema_document(call, &metadefs.object.to_string()),
            Route::SchemaObjects => schema_document(call, &metadefs.objects),
            Route::SchemaProperty => schema_document(call, &metadefs.property.to_string()),
            Route::SchemaProperties => schema_document(call, &metadefs.properties),
            Route::SchemaTag => schema_document(call, &metadefs.tag.to_string()),
            Route::SchemaTags => schema_document(call, &metadefs.tags),
            Route::SchemaResourceType => schema_document(call, &metadefs.association.to_string()),
            Route::SchemaResourceTypes => schema_document(call, &metadefs.associations),
            Route::ListNamespaces => metadefs::namespaces::list(call).await,
            Route::CreateNamespace => metadefs::namespaces::create(call).await,
            Route::ShowNamespace => metadefs::namespaces::show(call).await,
            Route::UpdateNamespace => metadefs::namespaces::update(call).await,
            Route::DeleteNamespace => metadefs::namespaces::delete(call).await,
            Route::ListObjects => metadefs::objects::list(call).await,
            Route::CreateObject => metadefs::objects::create(call).await,
            Route::DeleteObjects => metadefs::delete_items(call, Item::Object).await,
            Route::ShowObject => metadefs::objects::show(call).await,
            Route::UpdateObject => metadefs::objects::update(call).await,
            Route::DeleteObject => metadefs::delete_item(call, Item::Object).await,
            Route::ListProperties => metadefs::properties::list(call).await,
            Route::CreateProperty => metadefs::properties::create(call).await,
            Route::DeleteProperties => metadefs::delete_items(call, Item::Property).await,
            Route::ShowProperty => metadefs::properties::show(call).await,
            Route::UpdateProperty => metadefs::properties::update(call).await,
            Route::DeleteProperty => metadefs::delete_item(call, Item::Property).await,
            Route::ListNamespaceTags => metadefs::tags::list(call).await,
            Route::CreateNamespaceTags => metadefs::tags::create_several(call).await,
            Route::DeleteNamespaceTags => metadefs::delete_items(call, Item::Tag).await,
            Route::ShowNamespaceTag => metadefs::tags::show(call).await,
            Route::CreateNamespaceTag => metadefs::tags::create(call).await,
            Route::UpdateNamespaceTag => metadefs::tags::update(call).await,
            Route::DeleteNamespaceTag => metadefs::delete_item(call, Item::Tag).await,
            Route::ListAssociations => metadefs::resource_types::of_namespace(call).await,
            Route::CreateAssociation => metadefs::resource_types::associate(call).await,
            Route::DeleteAssociation => metadefs::resource_types::dissociate(call).await,
            Route::ListResourceTypes => metadefs::resource_types::list(call).await,
            Route::UploadImage
            | Route::StageImage
            | Route::DownloadImage
            | Route::Root
            | Route::Versions
            | Route::VersionTwo
            | Route::Healthcheck
            | Route::HealthcheckHead => Err(Error::internal(format!("{route:?} is not served here"))),
        }
    }

    async fn identify(&self, headers: &HeaderMap) -> Result<Identity> {
        self.authenticator.identify(&proof(headers)).await
    }
}

/// What a request brings along to prove who sends it.
fn proof(headers: &HeaderMap) -> Proof {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Proof { token: text("x-auth-token"), service_token: text("x-service-token") }
}

/// `GET /v2/schemas/…`
fn schema_document(call: &Call<'_>, document: &str) -> Result<Reply> {
    call.refuse_body()?;
    Ok(Reply::json_text(document))
}

fn label(resolution: &Resolution) -> &'static str {
    match resolution {
        Resolution::Found(route, _) | Resolution::WrongMethod { route, .. } => route.label(),
        Resolution::NotFound | Resolution::Undecodable => UNKNOWN_ROUTE,
    }
}

fn wrong_method(method: &Method, allow: &str) -> Error {
    let text = format!("The method {method} is not allowed for this resource.");
    Error::new(Kind::MethodNotAllowed, text).header("Allow", allow)
}

/// The data plane gives every request an id; without one the answer has none either.
fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID).and_then(|value| value.to_str().ok())
}

fn with_request_id(error: Error, headers: &HeaderMap) -> Error {
    match request_id(headers) {
        Some(id) => error.header(REQUEST_ID.as_str(), id),
        None => error,
    }
}

fn log(error: &Error, parts: &Parts, label: &str) {
    let id = request_id(&parts.headers).unwrap_or("-");
    let method = &parts.method;
    // Without a cause it is told elsewhere, or is nobody's fault: a queue that is full, a service known to be away.
    if error.status().is_server_error() && error.cause.is_some() {
        tracing::error!(request_id = id, %method, route = label, "{error}");
    } else {
        tracing::debug!(request_id = id, %method, route = label, "{error}");
    }
}
