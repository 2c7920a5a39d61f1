//! Namespaces themselves.

use common::catalog::{Changes, ListedNamespace, NamespaceColumn, NamespaceQuery, Order, Queries, TagQuery, Viewer};
use common::identity::Identity;
use common::model::metadef::{Association, Kind, Namespace, NamespaceFields, NewNamespace, Object, Property, Tag};
use common::{Error, Result};

use super::{App, Sight, absent, check_text, find, find_to_show, look, refuse_protected, told};
use crate::app::fields;

/// A page that a caller wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Only namespaces with this visibility.
    pub(crate) visibility: Option<String>,
    /// Only those with any of these resource types.
    pub(crate) resource_types: Option<Vec<String>>,
    /// The column that decides the order first.
    pub(crate) column: NamespaceColumn,
    /// Whether the smallest comes first.
    pub(crate) ascending: bool,
    /// Name of the last namespace of the page before.
    pub(crate) marker: Option<String>,
    /// Namespaces at most.
    pub(crate) limit: usize,
}

/// One page of namespaces.
#[derive(Debug)]
pub(crate) struct NamespaceList {
    /// The namespaces.
    pub(crate) namespaces: Vec<ListedNamespace>,
    /// The marker of the next page, if there may be one.
    pub(crate) next_marker: Option<String>,
}

/// A namespace with everything that hangs on it.
#[derive(Debug)]
pub(crate) struct Whole {
    /// The namespace.
    pub(crate) namespace: Namespace,
    /// Its resource types.
    pub(crate) associations: Vec<Association>,
    /// Its objects.
    pub(crate) objects: Vec<Object>,
    /// Its properties.
    pub(crate) properties: Vec<Property>,
    /// Its tags, the newest first.
    pub(crate) tags: Vec<Tag>,
}

/// Which parts a request for a new namespace has: each needs a rule of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts {
    /// `resource_type_associations`
    pub(crate) associations: bool,
    /// `objects`
    pub(crate) objects: bool,
    /// `properties`
    pub(crate) properties: bool,
    /// `tags`
    pub(crate) tags: bool,
}

impl Parts {
    fn rules(self) -> impl Iterator<Item = &'static str> {
        let rules = [
            (true, "add_metadef_namespace"),
            (self.associations, "add_metadef_resource_type_association"),
            (self.objects, "add_metadef_object"),
            (self.properties, "add_metadef_property"),
            (self.tags, "add_metadef_tag"),
        ];
        rules.into_iter().filter_map(|(is_asked, rule)| is_asked.then_some(rule))
    }
}

impl App {
    /// Namespaces that the caller may see.
    ///
    /// # Errors
    /// 403 and 404 by policy, and for a marker that the caller cannot see or that is not there.
    pub(crate) async fn list_namespaces(&self, caller: &Identity, wanted: Wanted) -> Result<NamespaceList> {
        for rule in ["get_metadef_namespaces", "list_metadef_resource_types"] {
            self.authority.enforce_namespace(rule, caller, None)?;
        }
        let limit = wanted.limit;
        let asking = caller.clone();
        let mut namespaces = self.db.read(move |catalog| catalog.namespaces(&query(catalog, &asking, wanted)?)).await?;
        namespaces.retain(|one| self.authority.allows_namespace("get_metadef_namespace", caller, Some(&one.namespace)));
        let is_full = namespaces.len() == limit;
        let next_marker = namespaces.last().filter(|_| is_full).map(|one| one.namespace.name.clone());
        Ok(NamespaceList { namespaces, next_marker })
    }

    /// A namespace with everything that hangs on it.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn show_namespace(&self, caller: &Identity, name: String) -> Result<Whole> {
        const RULES: &[&str] = &[
            "get_metadef_namespace",
            "list_metadef_resource_types",
            "get_metadef_objects",
            "get_metadef_properties",
            "get_metadef_tags",
        ];
        self.with_namespace(caller, name, find_to_show, RULES, |catalog, namespace| {
            Ok(Whole {
                associations: catalog.associations(namespace.id)?,
                objects: catalog.objects(namespace.id)?,
                properties: catalog.properties(namespace.id)?,
                tags: catalog.metadef_tags(namespace.id, &TagQuery::default())?,
                namespace: namespace.clone(),
            })
        })
        .await
    }

    /// Makes a namespace with all that is to hang on it, or nothing.
    ///
    /// # Errors
    /// 403 and 404 by policy, 409 when a name is taken, 400 for bad values.
    pub(crate) async fn create_namespace(
        &self,
        caller: &Identity,
        new: NewNamespace,
        parts: Parts,
    ) -> Result<Namespace> {
        parts.rules().try_for_each(|rule| self.authority.enforce_namespace(rule, caller, None))?;
        told("create metadata namespace", check_new(&new))?;
        self.db.write(move |catalog| catalog.create_namespace(&new)).await
    }

    /// Gives a namespace these values, all of them.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when its new name is taken, 400 for bad values.
    pub(crate) async fn update_namespace(
        &self,
        caller: &Identity,
        name: String,
        fields: NamespaceFields,
    ) -> Result<Namespace> {
        self.change_namespace(caller, name, find, &["modify_metadef_namespace"], move |catalog, namespace| {
            told("update metadata namespace", check_fields(&fields))?;
            catalog.update_namespace(namespace.id, &fields)
        })
        .await
    }

    /// Removes a namespace with everything that hangs on it.
    ///
    /// # Errors
    /// 404, 403 by policy and when it is protected.
    pub(crate) async fn delete_namespace(&self, caller: &Identity, name: String) -> Result<()> {
        self.clear(caller, name, &["delete_metadef_namespace"], |catalog, id| catalog.delete_namespace(id)).await
    }

    /// Removes everything of a kind that hangs on a namespace.
    ///
    /// # Errors
    /// 404, 403 by policy and when the namespace is protected.
    pub(crate) async fn delete_metadef_items(&self, caller: &Identity, name: String, kind: Kind) -> Result<()> {
        let rules: &[&str] = match kind {
            Kind::Tag => &["delete_metadef_namespace", "delete_metadef_tags"],
            Kind::Object | Kind::Property => &["delete_metadef_namespace"],
        };
        self.clear(caller, name, rules, move |catalog, id| catalog.delete_items(kind, id)).await
    }

    async fn clear(
        &self,
        caller: &Identity,
        name: String,
        rules: &'static [&'static str],
        remove: impl FnOnce(&Changes<'_>, i64) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.change_namespace(caller, name, find, rules, |catalog, namespace| {
            refuse_protected(namespace, "namespace", &namespace.name)?;
            remove(catalog, namespace.id)
        })
        .await
    }
}

fn query(catalog: &Queries<'_>, caller: &Identity, wanted: Wanted) -> Result<NamespaceQuery> {
    let marker = wanted.marker.map(|marker| marked(catalog, caller, &marker)).transpose()?;
    Ok(NamespaceQuery {
        viewer: Viewer { project: caller.project_id.clone(), is_admin: caller.is_admin },
        visibility: wanted.visibility,
        resource_types: wanted.resource_types,
        order: Order { column: wanted.column, ascending: wanted.ascending, marker },
        limit: wanted.limit,
    })
}

fn marked(catalog: &Queries<'_>, caller: &Identity, name: &str) -> Result<i64> {
    if name.is_empty() {
        // The original takes it for the number of a row.
        return Err(Error::not_found("Metadata definition namespace not found for id="));
    }
    match look(catalog, caller, name)? {
        Sight::Seen(namespace) => Ok(namespace.id),
        Sight::Hidden => {
            Err(Error::forbidden(format!("Forbidding request, metadata definition namespace={name} is not visible.")))
        }
        Sight::Absent => Err(absent(name)),
    }
}

fn check_fields(fields: &NamespaceFields) -> Result<()> {
    check_text("namespace", Some(&fields.name))?;
    check_text("display_name", fields.display_name.as_deref())?;
    check_text("description", fields.description.as_deref())?;
    check_text("owner", Some(&fields.owner))
}

fn check_new(new: &NewNamespace) -> Result<()> {
    check_fields(&new.fields)?;
    new.associations.iter().try_for_each(super::associations::check_fields)?;
    new.objects.iter().try_for_each(super::items::check_object)?;
    new.tags.iter().try_for_each(|name| fields::refuse_four_byte("name", name))?;
    new.properties.iter().try_for_each(super::items::check_property)
}
