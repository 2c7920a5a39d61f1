//! The parameters of lists.

use common::catalog::{NamespaceColumn, TagColumn};
use common::config::Api;
use common::{Error, Result};

use crate::api::list_query::{Params, last, parse_limit};
use crate::app::metadefs::{Wanted, WantedTags};

/// What a list of namespaces may be of.
const VISIBILITIES: &[&str] = &["public", "private"];

/// What a list of what hangs on a namespace may name, which changes nothing.
const INNER_VISIBILITIES: &[&str] = &["public", "private", "shared"];

/// A list of namespaces.
///
/// # Errors
/// 400 in the words of the original.
pub(super) fn namespaces(params: &Params, api: &Api) -> Result<Wanted> {
    let limit = last(params, "limit").map_or(Ok(api.page_default), parse_limit)?;
    let ascending = ascending(params)?;
    let visibility = visibility(params, VISIBILITIES)?;
    let resource_types = last(params, "resource_types").map(|names| names.split(',').map(str::to_owned).collect());
    Ok(Wanted {
        visibility,
        resource_types,
        column: namespace_column(params)?,
        ascending,
        marker: last(params, "marker").map(str::to_owned),
        limit: limit.min(api.page_max),
    })
}

/// The resource type for which a namespace or a property is shown; `None` where none is named.
///
/// # Errors
/// 400 for a visibility that there is not, though it changes nothing.
pub(super) fn resource_type_of_namespace(params: &Params) -> Result<Option<String>> {
    visibility(params, VISIBILITIES)?;
    Ok(resource_type(params))
}

/// As [`resource_type_of_namespace`], of a property.
pub(super) fn resource_type(params: &Params) -> Option<String> {
    last(params, "resource_type").filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Checks the parameters of a list of objects, of which none changes anything.
///
/// # Errors
/// 400 in the words of the original.
pub(super) fn check_objects(params: &Params) -> Result<()> {
    ascending(params)?;
    visibility(params, INNER_VISIBILITIES)?;
    match last(params, "limit").map(parse_limit).transpose()? {
        Some(0) => Err(Error::bad_request("limit param must be positive")),
        _ => Ok(()),
    }
}

/// A list of tags.
///
/// # Errors
/// 400 in the words of the original.
pub(super) fn tags(params: &Params) -> Result<WantedTags> {
    let ascending = ascending(params)?;
    visibility(params, INNER_VISIBILITIES)?;
    let given = |name| last(params, name).filter(|value| !value.is_empty());
    let column = match last(params, "sort_key") {
        // Numbers of rows go with the time of making.
        None | Some("id" | "namespace_id") => TagColumn::CreatedAt,
        Some(key) => {
            TagColumn::ALL.into_iter().find(|column| column.as_str() == key).ok_or_else(|| unknown_key(key))?
        }
    };
    Ok(WantedTags {
        column,
        ascending,
        marker: given("marker").map(str::to_owned),
        limit: given("limit").map(parse_limit).transpose()?,
    })
}

fn namespace_column(params: &Params) -> Result<NamespaceColumn> {
    match last(params, "sort_key") {
        // Numbers of rows go with the time of making.
        None | Some("id") => Ok(NamespaceColumn::CreatedAt),
        Some(key) => {
            NamespaceColumn::ALL.into_iter().find(|column| column.as_str() == key).ok_or_else(|| unknown_key(key))
        }
    }
}

fn unknown_key(key: &str) -> Error {
    Error::bad_request(format!("Invalid sort key: {key}"))
}

fn ascending(params: &Params) -> Result<bool> {
    match last(params, "sort_dir") {
        Some("asc") => Ok(true),
        None | Some("desc") => Ok(false),
        Some(other) => Err(Error::bad_request(format!("Invalid sort direction: {other}"))),
    }
}

fn visibility(params: &Params, known: &[&str]) -> Result<Option<String>> {
    match last(params, "visibility") {
        None | Some("") => Ok(None),
        Some(value) if known.contains(&value) => Ok(Some(value.to_owned())),
        Some(value) => Err(Error::bad_request(format!("Invalid visibility value: {value}"))),
    }
}
