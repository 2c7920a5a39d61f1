//! Changes of extra properties that may be protected. To whoever may not read a property, it is not there.

use common::Result;
use common::authorise::Authority;
use common::catalog::{Filter, ListQuery, NewImage};
use common::identity::Identity;
use common::model::Image;
use common::protect::Action;

use super::fields;
use super::patch::{self, Change, Op};

/// Refuses a new image with a property that the caller may not create.
///
/// # Errors
/// 403 with the property's name.
pub(crate) fn check_new(authority: &Authority, caller: &Identity, new: &NewImage) -> Result<()> {
    let refused = new.properties.iter().find(|(name, _)| !authority.allows_property(Action::Create, name, caller));
    refused.map_or(Ok(()), |(name, _)| Err(fields::reserved(name)))
}

/// As [`patch::apply_field`], if the caller may.
///
/// # Errors
/// The same, and 403 for a protected property.
pub(crate) fn apply_field(
    authority: &Authority,
    caller: &Identity,
    image: &mut Image,
    name: &str,
    change: &Change,
) -> Result<()> {
    if patch::is_base(name) {
        return patch::apply_field(image, name, change);
    }
    let allows = |action| authority.allows_property(action, name, caller);
    let is_present = image.property(name).is_some();
    let is_seen = is_present && allows(Action::Read);
    let action = match change.op {
        Op::Replace | Op::Remove if !is_seen => return Err(patch::absent(name)),
        Op::Add if is_seen && change.refuse_present => return patch::apply_field(image, name, change),
        Op::Add if !is_seen => Action::Create,
        Op::Add | Op::Replace => Action::Update,
        Op::Remove => Action::Delete,
    };
    if !allows(action) {
        return Err(fields::reserved(name));
    }
    // One that is there and not seen is written over.
    patch::apply_field(image, name, &Change { refuse_present: change.refuse_present && is_seen, ..change.clone() })
}

/// Has filters on properties that the caller may not read match nothing.
pub(crate) fn hide_filters(authority: &Authority, caller: &Identity, query: &mut ListQuery) {
    for filter in &mut query.filters {
        if let Filter::Property { name, .. } = filter
            && !authority.allows_property(Action::Read, name, caller)
        {
            *filter = Filter::Never;
        }
    }
}
