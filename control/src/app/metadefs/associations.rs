//! Resource types, and which namespaces are about them.

use common::identity::Identity;
use common::model::metadef::{Association, AssociationFields, ResourceType};
use common::{Error, Result};

use super::{App, check_text, find, refuse_protected, told};

impl App {
    /// Every resource type of the cloud.
    ///
    /// # Errors
    /// 404 by policy.
    pub(crate) async fn list_resource_types(&self, caller: &Identity) -> Result<Vec<ResourceType>> {
        self.authority.enforce_namespace("list_metadef_resource_types", caller, None)?;
        self.db.read(|catalog| catalog.resource_types()).await
    }

    /// The resource types of a namespace.
    ///
    /// # Errors
    /// 404, 403 by policy.
    pub(crate) async fn list_associations(&self, caller: &Identity, namespace: String) -> Result<Vec<Association>> {
        let (authority, asking) = (self.authority.clone(), caller.clone());
        self.with_namespace(caller, namespace, find, &["list_metadef_resource_types"], move |catalog, namespace| {
            // Asked of each in turn it would be the same question.
            if !authority.allows_namespace("get_metadef_resource_type", &asking, Some(namespace)) {
                return Ok(Vec::new());
            }
            catalog.associations(namespace.id)
        })
        .await
    }

    /// Associates a namespace with a resource type, which is made where nobody has named it yet.
    ///
    /// # Errors
    /// 404, 403 by policy, 409 when it is already, 400 for bad values.
    pub(crate) async fn create_association(
        &self,
        caller: &Identity,
        namespace: String,
        new: AssociationFields,
    ) -> Result<Association> {
        let rules = &["add_metadef_resource_type_association"];
        self.change_namespace(caller, namespace, find, rules, move |catalog, namespace| {
            told("create metadata resource type association", check_fields(&new))?;
            catalog.create_association(namespace, &new)?;
            let made = catalog.association(namespace.id, &new.name)?;
            made.ok_or_else(|| Error::internal("catalog: a new association is not there"))
        })
        .await
    }

    /// Ends the association of a namespace with a resource type.
    ///
    /// # Errors
    /// 404, 403 by policy and when the namespace is protected.
    pub(crate) async fn delete_association(&self, caller: &Identity, namespace: String, name: String) -> Result<()> {
        let rules = &["remove_metadef_resource_type_association"];
        self.change_namespace(caller, namespace, find, rules, move |catalog, namespace| {
            // What is not there is told before what is protected; a refusal undoes the removal.
            if !catalog.delete_association(namespace.id, &name)? {
                return Err(Error::not_found(format!("Failed to find resource type {name} to delete")));
            }
            refuse_protected(namespace, "resource-type-association", &name)
        })
        .await
    }
}

/// Refuses characters that no column of existing databases holds.
pub(super) fn check_fields(new: &AssociationFields) -> Result<()> {
    check_text("name", Some(&new.name))?;
    check_text("prefix", new.prefix.as_deref())?;
    check_text("properties_target", new.properties_target.as_deref())
}
