//! Projects with which an image is shared.

use common::authorise::Authority;
use common::catalog::Queries;
use common::identity::Identity;
use common::model::{Member, MemberStatus, Visibility};
use common::{Error, Kind, Result};

use super::{App, Seen, quota, reworded};

const ONLY_SHARED: &str = "Only shared images have members.";

impl App {
    /// The members of an image, as far as the caller may see them.
    ///
    /// # Errors
    /// 404, 403 by policy and for images that are not shared.
    pub(crate) async fn list_members(&self, caller: &Identity, id: String) -> Result<Vec<Member>> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .read(move |catalog| {
                let seen = find(catalog, &caller, &id)?;
                require_shared(&seen, || format!("Not allowed to list members for image {id}: {ONLY_SHARED}"))?;
                require(&authority, "get_members", &caller, &seen)?;
                if !allows_member(&authority, &caller, &seen) {
                    return Ok(Vec::new());
                }
                let mut members = catalog.members(&id)?;
                members.retain(|member| is_shown(&caller, &seen, &member.member));
                Ok(members)
            })
            .await
    }

    /// One member.
    ///
    /// # Errors
    /// 404 for all that the caller may not see.
    pub(crate) async fn show_member(&self, caller: &Identity, id: String, project: String) -> Result<Member> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .look_up(move |catalog| {
                let seen = find(catalog, &caller, &id)?;
                require_shared(&seen, || ONLY_SHARED.to_owned()).map_err(hidden)?;
                member(catalog, &authority, &caller, &seen, &project).map_err(hidden)
            })
            .await
    }

    /// Offers the image to a project.
    ///
    /// # Errors
    /// 404, 403 by policy and for images that are not shared, 409 if it is a member, 413 over the quota.
    pub(crate) async fn add_member(&self, caller: &Identity, id: String, project: String) -> Result<Member> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        let limit = self.config.api.member_quota;
        self.db
            .write(move |catalog| {
                let seen = find(catalog, &caller, &id)?;
                require_shared(&seen, || format!("Not allowed to create members for image {id}."))?;
                require(&authority, "add_member", &caller, &seen)?;
                quota::check_members(catalog.members(&id)?.len() + 1, limit).map_err(|error| {
                    let text = format!("Image member limit exceeded for image {id}: {}:", error.message);
                    reworded(error, Kind::TooLarge, || text)
                })?;
                catalog.add_member(&id, &project)
            })
            .await
    }

    /// Answers an offer.
    ///
    /// # Errors
    /// 404, 403 by policy and for images that are not shared.
    pub(crate) async fn answer_member(
        &self,
        caller: &Identity,
        id: String,
        project: String,
        status: impl FnOnce() -> Result<MemberStatus> + Send + 'static,
    ) -> Result<Member> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .write(move |catalog| {
                let seen = find(catalog, &caller, &id)?;
                require_shared(&seen, || format!("Not allowed to update members for image {id}."))?;
                member(catalog, &authority, &caller, &seen, &project)?;
                require(&authority, "modify_member", &caller, &seen)?;
                let answered = catalog.set_member_status(&id, &project, status()?)?;
                answered.ok_or_else(|| no_member(&id, &project))
            })
            .await
    }

    /// Withdraws an offer.
    ///
    /// # Errors
    /// 404, 403 by policy and for images that are not shared.
    pub(crate) async fn remove_member(&self, caller: &Identity, id: String, project: String) -> Result<()> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .write(move |catalog| {
                let seen = find(catalog, &caller, &id)?;
                require_shared(&seen, || format!("Not allowed to delete members for image {id}."))?;
                member(catalog, &authority, &caller, &seen, &project)?;
                require(&authority, "delete_member", &caller, &seen)?;
                if catalog.delete_member(&id, &project)? { Ok(()) } else { Err(no_member(&id, &project)) }
            })
            .await
    }
}

fn find(catalog: &Queries<'_>, caller: &Identity, id: &str) -> Result<Seen> {
    Seen::find(catalog, caller, id)
        .map_err(|error| reworded(error, Kind::NotFound, || format!("Image {id} not found.")))
}

fn require_shared(seen: &Seen, text: impl FnOnce() -> String) -> Result<()> {
    if seen.image.visibility == Visibility::Shared { Ok(()) } else { Err(Error::forbidden(text())) }
}

/// Who may not get the image may not touch its members, whatever the rule says.
fn require(authority: &Authority, rule: &str, caller: &Identity, seen: &Seen) -> Result<()> {
    seen.require(authority, "get_image", caller)?;
    seen.require(authority, rule, caller)
}

fn allows_member(authority: &Authority, caller: &Identity, seen: &Seen) -> bool {
    require(authority, "get_member", caller, seen).is_ok()
}

/// The owner sees all members, a member only itself.
fn is_shown(caller: &Identity, seen: &Seen, project: &str) -> bool {
    caller.is_admin || caller.is_project(seen.image.owner.as_deref()) || caller.is_project(Some(project))
}

fn member(
    catalog: &Queries<'_>,
    authority: &Authority,
    caller: &Identity,
    seen: &Seen,
    project: &str,
) -> Result<Member> {
    require(authority, "get_member", caller, seen)?;
    let found = catalog.member(&seen.image.id, project)?.filter(|_| is_shown(caller, seen, project));
    found.ok_or_else(|| no_member(&seen.image.id, project))
}

fn no_member(id: &str, project: &str) -> Error {
    Error::not_found(format!("{project} not found in the member list of the image {id}."))
}

/// A refusal that would tell that there is something to refuse.
fn hidden(error: Error) -> Error {
    if error.kind == Kind::Forbidden { Error { kind: Kind::NotFound, ..error } } else { error }
}
