//! The rules that there are, with the texts they have unless a policy file says otherwise: those of Glance 33.

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleDefault {
    /// Its name in policy files.
    pub name: &'static str,
    /// Its built-in text.
    pub check: &'static str,
    /// An older built-in text, which holds too when `[oslo_policy] enforce_new_defaults` is false.
    pub older: Option<&'static str>,
    /// Whether only tokens that are scoped to a project pass.
    pub project_scope: bool,
    /// What it guards.
    pub doc: &'static str,
}

const fn rule(name: &'static str, check: &'static str, doc: &'static str) -> RuleDefault {
    RuleDefault { name, check, older: None, project_scope: true, doc }
}

impl RuleDefault {
    const fn older(mut self, check: &'static str) -> RuleDefault {
        self.older = Some(check);
        self
    }

    /// Only other rules refer to it.
    const fn building_block(mut self) -> RuleDefault {
        self.project_scope = false;
        self
    }
}

const ADMIN: &str = "rule:context_is_admin";
const METADEF_ADMIN: &str = "rule:metadef_admin";
const DEFAULT: &str = "rule:default";
const ADMIN_OR_MEMBER: &str = "rule:context_is_admin or (role:member and project_id:%(project_id)s)";
const ADMIN_OR_READER: &str = "rule:context_is_admin or (role:reader and project_id:%(project_id)s)";
const ADMIN_OR_MEMBER_WHO_SEES_IT: &str = "rule:context_is_admin or (role:member and (project_id:%(project_id)s or \
    project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or \
    'shared':%(visibility)s))";
const ADMIN_OR_READER_OF_NAMESPACE: &str = "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or \
    'public':%(visibility)s))";
const ADMIN_OR_READER_OF_MEMBERS: &str = "rule:context_is_admin or role:reader and (project_id:%(project_id)s or \
    project_id:%(member_id)s)";
const METADEF_DEFAULT: &str = "rule:metadef_default";

/// All rules.
pub const RULES: &[RuleDefault] = &[
    rule("default", "", "what stands in for a rule that does not exist").older(ADMIN).building_block(),
    rule("context_is_admin", "role:admin", "who is an administrator everywhere").building_block(),
    rule("service_api", "role:service or role:admin", "who is another service of the cloud").building_block(),
    rule(
        "add_image",
        "rule:context_is_admin or (role:member and project_id:%(project_id)s and \
        project_id:%(owner)s)",
        "make an image",
    )
    .older(DEFAULT),
    rule("delete_image", ADMIN_OR_MEMBER, "remove an image").older(DEFAULT),
    rule(
        "get_image",
        "rule:context_is_admin or (role:reader and (project_id:%(project_id)s or \
        project_id:%(member_id)s or 'community':%(visibility)s or 'public':%(visibility)s or \
        'shared':%(visibility)s))",
        "see an image",
    )
    .older(DEFAULT),
    rule("get_images", ADMIN_OR_READER, "list images").older(DEFAULT),
    rule("modify_image", ADMIN_OR_MEMBER, "change an image").older(DEFAULT),
    rule("publicize_image", ADMIN, "make an image public"),
    rule("communitize_image", ADMIN_OR_MEMBER, "make an image readable by everybody who knows it").older(DEFAULT),
    rule("download_image", ADMIN_OR_MEMBER_WHO_SEES_IT, "read the data").older(DEFAULT),
    rule("download_from_store", ADMIN_OR_MEMBER_WHO_SEES_IT, "read the data from a store of one's choice"),
    rule("upload_image", ADMIN_OR_MEMBER, "write the data").older(DEFAULT),
    rule("delete_image_location", ADMIN, "remove a location").older(DEFAULT),
    rule("get_image_location", ADMIN_OR_READER, "see where the data is").older(DEFAULT),
    rule("set_image_location", ADMIN_OR_MEMBER, "say where the data is").older(DEFAULT),
    rule(
        "add_image_location",
        "rule:service_api or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
        "add a location by its URL",
    ),
    rule("fetch_image_location", "rule:service_api", "see all locations with their URLs"),
    rule("add_member", ADMIN_OR_MEMBER, "share an image with a project").older(DEFAULT),
    rule("delete_member", ADMIN_OR_MEMBER, "stop sharing an image with a project").older(DEFAULT),
    rule("get_member", ADMIN_OR_READER_OF_MEMBERS, "see one project that an image is shared with").older(DEFAULT),
    rule("get_members", ADMIN_OR_READER_OF_MEMBERS, "list the projects that an image is shared with").older(DEFAULT),
    rule(
        "modify_member",
        "rule:context_is_admin or (role:member and project_id:%(member_id)s)",
        "accept or reject a shared image",
    )
    .older(DEFAULT),
    rule("manage_image_cache", ADMIN, "all of the cache, by its older interface"),
    rule("deactivate", ADMIN_OR_MEMBER, "keep everybody from the data for now").older(DEFAULT),
    rule("reactivate", ADMIN_OR_MEMBER, "let everybody at the data again").older(DEFAULT),
    rule("copy_image", ADMIN, "copy the data to further stores"),
    rule("list_cached_nodes", ADMIN, "see which nodes have an image in their cache"),
    rule("get_task", DEFAULT, "see a task").older(DEFAULT),
    rule("get_tasks", DEFAULT, "list tasks").older(DEFAULT),
    rule("add_task", DEFAULT, "start a task").older(DEFAULT),
    rule("modify_task", DEFAULT, "change a task; nothing asks for it"),
    rule("tasks_api_access", ADMIN, "use tasks at all"),
    rule("metadef_default", "", "stands behind the older defaults of metadata definitions").building_block(),
    rule("metadef_admin", ADMIN, "who may change metadata definitions").building_block(),
    rule("get_metadef_namespace", ADMIN_OR_READER_OF_NAMESPACE, "see a namespace of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("get_metadef_namespaces", ADMIN_OR_READER, "see namespaces of metadata definitions").older(METADEF_DEFAULT),
    rule("modify_metadef_namespace", METADEF_ADMIN, "change a namespace of metadata definitions"),
    rule("add_metadef_namespace", METADEF_ADMIN, "add a namespace of metadata definitions"),
    rule("delete_metadef_namespace", METADEF_ADMIN, "remove a namespace of metadata definitions"),
    rule("get_metadef_object", ADMIN_OR_READER_OF_NAMESPACE, "see an object of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("get_metadef_objects", ADMIN_OR_READER_OF_NAMESPACE, "see the objects of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("modify_metadef_object", METADEF_ADMIN, "change an object of metadata definitions"),
    rule("add_metadef_object", METADEF_ADMIN, "add an object of metadata definitions"),
    rule("delete_metadef_object", METADEF_ADMIN, "remove an object of metadata definitions"),
    rule(
        "list_metadef_resource_types",
        ADMIN_OR_READER_OF_NAMESPACE,
        "list the resource types of metadata definitions",
    )
    .older(METADEF_DEFAULT),
    rule("get_metadef_resource_type", ADMIN_OR_READER_OF_NAMESPACE, "see a resource type of metadata definitions")
        .older(METADEF_DEFAULT),
    rule(
        "add_metadef_resource_type_association",
        METADEF_ADMIN,
        "add a resource type association of metadata definitions",
    ),
    rule(
        "remove_metadef_resource_type_association",
        METADEF_ADMIN,
        "remove a resource type association of metadata definitions",
    ),
    rule("get_metadef_property", ADMIN_OR_READER_OF_NAMESPACE, "see a property of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("get_metadef_properties", ADMIN_OR_READER_OF_NAMESPACE, "see the properties of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("modify_metadef_property", METADEF_ADMIN, "change a property of metadata definitions"),
    rule("add_metadef_property", METADEF_ADMIN, "add a property of metadata definitions"),
    rule("remove_metadef_property", METADEF_ADMIN, "remove a property of metadata definitions"),
    rule("get_metadef_tag", ADMIN_OR_READER_OF_NAMESPACE, "see a tag of metadata definitions").older(METADEF_DEFAULT),
    rule("get_metadef_tags", ADMIN_OR_READER_OF_NAMESPACE, "see the tags of metadata definitions")
        .older(METADEF_DEFAULT),
    rule("modify_metadef_tag", METADEF_ADMIN, "change a tag of metadata definitions"),
    rule("add_metadef_tag", METADEF_ADMIN, "add a tag of metadata definitions"),
    rule("add_metadef_tags", METADEF_ADMIN, "replace all tags of metadata definitions"),
    rule("delete_metadef_tag", METADEF_ADMIN, "remove a tag of metadata definitions"),
    rule("delete_metadef_tags", METADEF_ADMIN, "remove all tags of metadata definitions"),
    rule("cache_image", ADMIN, "queue an image for the cache").older("rule:manage_image_cache"),
    rule("cache_list", ADMIN, "see what is cached").older("rule:manage_image_cache"),
    rule("cache_delete", ADMIN, "remove an image from the cache").older("rule:manage_image_cache"),
    rule("cache_clean", ADMIN, "remove what failed to be cached"),
    rule("cache_prune", ADMIN, "bring the cache down to its size"),
    rule("stores_info_detail", "rule:context_is_admin or rule:service_api", "see the stores with their settings")
        .older(ADMIN),
];
