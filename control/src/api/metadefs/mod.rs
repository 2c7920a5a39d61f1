//! `/v2/metadefs/…`: metadata definitions.
//!
//! `body` decodes what clients send, `query` what they ask for, `view` encodes what they read; the other modules hold the
//! handlers.

mod body;
pub(crate) mod namespaces;
pub(crate) mod objects;
pub(crate) mod properties;
mod query;
pub(crate) mod resource_types;
pub(crate) mod tags;
mod view;

use common::Result;
use common::model::metadef::Kind;

use super::call::Call;
use super::reply::Reply;

/// `DELETE /v2/metadefs/namespaces/{namespace}/objects`, `…/properties` and `…/tags`
pub(crate) async fn delete_items(call: &Call<'_>, kind: Kind) -> Result<Reply> {
    call.refuse_body()?;
    call.app().delete_metadef_items(call.caller, call.param(0)?, kind).await?;
    Ok(Reply::no_content())
}

/// `DELETE /v2/metadefs/namespaces/{namespace}/objects/{object}`, `…/properties/{property}` and `…/tags/{tag}`
pub(crate) async fn delete_item(call: &Call<'_>, kind: Kind) -> Result<Reply> {
    call.refuse_body()?;
    call.app().delete_metadef_item(call.caller, call.param(0)?, kind, call.param(1)?).await?;
    Ok(Reply::no_content())
}
