//! Metadata definitions. What hangs on a namespace is as visible as the namespace, and the rules ask about that too.

mod associations;
mod items;
mod namespaces;

use common::authorise::NOT_FOUND_TEXT;
use common::catalog::{Changes, Queries};
use common::identity::Identity;
use common::model::metadef::{Namespace, PUBLIC};
use common::{Error, Result};

use super::{App, fields};

pub(crate) use items::WantedTags;
pub(crate) use namespaces::{Parts, Wanted, Whole};

/// A namespace as far as a caller knows of it.
enum Sight {
    /// The caller can see it.
    Seen(Namespace),
    /// It is another project's.
    Hidden,
    /// There is none of this name.
    Absent,
}

fn look(catalog: &Queries<'_>, caller: &Identity, name: &str) -> Result<Sight> {
    Ok(match catalog.namespace(name)? {
        None => Sight::Absent,
        Some(namespace) if is_visible(caller, &namespace) => Sight::Seen(namespace),
        Some(_) => Sight::Hidden,
    })
}

fn is_visible(caller: &Identity, namespace: &Namespace) -> bool {
    caller.is_admin || namespace.visibility == PUBLIC || caller.is_project(Some(&namespace.owner))
}

/// How a namespace is found: all ways find the same ones, and say differently that there is none.
type Find = fn(&Queries<'_>, &Identity, &str) -> Result<Namespace>;

/// As most requests find a namespace.
fn find(catalog: &Queries<'_>, caller: &Identity, name: &str) -> Result<Namespace> {
    match look(catalog, caller, name)? {
        Sight::Seen(namespace) => Ok(namespace),
        Sight::Hidden | Sight::Absent => Err(not_found(name)),
    }
}

/// As those about its objects do.
fn find_for_objects(catalog: &Queries<'_>, caller: &Identity, name: &str) -> Result<Namespace> {
    match look(catalog, caller, name)? {
        Sight::Seen(namespace) => Ok(namespace),
        Sight::Hidden => Err(not_found(name)),
        Sight::Absent => Err(absent(name)),
    }
}

/// As the one that shows it does.
fn find_to_show(catalog: &Queries<'_>, caller: &Identity, name: &str) -> Result<Namespace> {
    match look(catalog, caller, name)? {
        Sight::Seen(namespace) => Ok(namespace),
        Sight::Hidden => Err(Error::not_found(NOT_FOUND_TEXT)),
        Sight::Absent => Err(absent(name)),
    }
}

fn not_found(name: &str) -> Error {
    Error::not_found(format!("Namespace {name} not found"))
}

fn absent(name: &str) -> Error {
    Error::not_found(format!("Metadata definition namespace={name} was not found."))
}

/// Refuses to remove something of a protected namespace.
fn refuse_protected(namespace: &Namespace, what: &str, name: &str) -> Result<()> {
    if namespace.protected {
        let text = format!("Metadata definition {what} {name} is protected and cannot be deleted.");
        return Err(Error::forbidden(text));
    }
    Ok(())
}

/// Puts what was being done before the reason why it cannot be done.
fn told(doing: &str, outcome: Result<()>) -> Result<()> {
    outcome.map_err(|error| {
        let message = format!("Couldn't {doing}: {}", error.message);
        Error { message, ..error }
    })
}

/// Refuses characters that no column of existing databases holds, in a field that may be there.
fn check_text(name: &str, text: Option<&str>) -> Result<()> {
    text.map_or(Ok(()), |text| fields::refuse_four_byte(name, text))
}

impl App {
    /// Does `work` with a namespace, of which `rules` must allow the caller something.
    async fn with_namespace<T: Send + 'static>(
        &self,
        caller: &Identity,
        name: String,
        find: Find,
        rules: &'static [&'static str],
        work: impl FnOnce(&Queries<'_>, &Namespace) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .read(move |catalog| {
                let namespace = find(catalog, &caller, &name)?;
                rules.iter().try_for_each(|rule| authority.enforce_namespace(rule, &caller, Some(&namespace)))?;
                work(catalog, &namespace)
            })
            .await
    }

    /// As [`App::with_namespace`], for work that changes something: all of it, or nothing.
    async fn change_namespace<T: Send + 'static>(
        &self,
        caller: &Identity,
        name: String,
        find: Find,
        rules: &'static [&'static str],
        work: impl FnOnce(&Changes<'_>, &Namespace) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .write(move |catalog| {
                let namespace = find(catalog, &caller, &name)?;
                rules.iter().try_for_each(|rule| authority.enforce_namespace(rule, &caller, Some(&namespace)))?;
                work(catalog, &namespace)
            })
            .await
    }
}
