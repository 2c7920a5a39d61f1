//! Glance's tables at revision `2024_1_contract01`, in SQLite's dialect. Never changed by us: Glance's own migrations
//! decide what stands here.

/// Makes all tables and indexes in an empty database.
pub(super) const DDL: &str = "
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE images (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    name VARCHAR(255),
    size INTEGER,
    status VARCHAR(30) NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL,
    disk_format VARCHAR(20),
    container_format VARCHAR(20),
    checksum VARCHAR(32),
    owner VARCHAR(255),
    min_disk INTEGER NOT NULL,
    min_ram INTEGER NOT NULL,
    protected BOOLEAN DEFAULT 0 NOT NULL,
    virtual_size INTEGER,
    visibility VARCHAR(9) DEFAULT 'shared' NOT NULL,
    os_hidden BOOLEAN DEFAULT 0 NOT NULL,
    os_hash_algo VARCHAR(64),
    os_hash_value VARCHAR(128)
);
CREATE INDEX checksum_image_idx ON images (checksum);
CREATE INDEX visibility_image_idx ON images (visibility);
CREATE INDEX ix_images_deleted ON images (deleted);
CREATE INDEX owner_image_idx ON images (owner);
CREATE INDEX created_at_image_idx ON images (created_at);
CREATE INDEX updated_at_image_idx ON images (updated_at);
CREATE INDEX os_hidden_image_idx ON images (os_hidden);
CREATE INDEX os_hash_value_image_idx ON images (os_hash_value);

CREATE TABLE image_properties (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id VARCHAR(36) NOT NULL REFERENCES images (id),
    name VARCHAR(255) NOT NULL,
    value TEXT,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL CHECK (deleted IN (0, 1)),
    CONSTRAINT ix_image_properties_image_id_name UNIQUE (image_id, name)
);
CREATE INDEX ix_image_properties_image_id ON image_properties (image_id);
CREATE INDEX ix_image_properties_deleted ON image_properties (deleted);

CREATE TABLE image_tags (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id VARCHAR(36) NOT NULL REFERENCES images (id),
    value VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL CHECK (deleted IN (0, 1))
);
CREATE INDEX ix_image_tags_image_id ON image_tags (image_id);
CREATE INDEX ix_image_tags_image_id_tag_value ON image_tags (image_id, value);

CREATE TABLE image_locations (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id VARCHAR(36) NOT NULL REFERENCES images (id),
    value TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL CHECK (deleted IN (0, 1)),
    meta_data TEXT,
    status VARCHAR(30) DEFAULT 'active' NOT NULL
);
CREATE INDEX ix_image_locations_image_id ON image_locations (image_id);
CREATE INDEX ix_image_locations_deleted ON image_locations (deleted);

CREATE TABLE image_members (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id VARCHAR(36) NOT NULL REFERENCES images (id),
    member VARCHAR(255) NOT NULL,
    can_share BOOLEAN NOT NULL CHECK (can_share IN (0, 1)),
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL CHECK (deleted IN (0, 1)),
    status VARCHAR(20) DEFAULT 'pending' NOT NULL,
    CONSTRAINT image_members_image_id_member_deleted_at_key UNIQUE (image_id, member, deleted_at)
);
CREATE INDEX ix_image_members_deleted ON image_members (deleted);
CREATE INDEX ix_image_members_image_id ON image_members (image_id);
CREATE INDEX ix_image_members_image_id_member ON image_members (image_id, member);

CREATE TABLE tasks (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    type VARCHAR(30) NOT NULL,
    status VARCHAR(30) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    expires_at DATETIME,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    deleted_at DATETIME,
    deleted BOOLEAN NOT NULL CHECK (deleted IN (0, 1)),
    image_id VARCHAR(36),
    request_id VARCHAR(64),
    user_id VARCHAR(64)
);
CREATE INDEX ix_tasks_type ON tasks (type);
CREATE INDEX ix_tasks_status ON tasks (status);
CREATE INDEX ix_tasks_owner ON tasks (owner);
CREATE INDEX ix_tasks_deleted ON tasks (deleted);
CREATE INDEX ix_tasks_updated_at ON tasks (updated_at);
CREATE INDEX ix_tasks_image_id ON tasks (image_id);

CREATE TABLE task_info (
    task_id VARCHAR(36) NOT NULL PRIMARY KEY REFERENCES tasks (id),
    input TEXT,
    result TEXT,
    message TEXT
);

CREATE TABLE node_reference (
    node_reference_id INTEGER NOT NULL PRIMARY KEY,
    node_reference_url VARCHAR(255) NOT NULL,
    CONSTRAINT uq_node_reference_node_reference_url UNIQUE (node_reference_url)
);

CREATE TABLE cached_images (
    id INTEGER NOT NULL PRIMARY KEY,
    image_id VARCHAR(36) NOT NULL,
    last_accessed DATETIME NOT NULL,
    last_modified DATETIME NOT NULL,
    size BIGINT NOT NULL,
    hits INTEGER NOT NULL,
    checksum VARCHAR(32),
    node_reference_id INTEGER NOT NULL REFERENCES node_reference (node_reference_id),
    CONSTRAINT ix_cached_images_image_id_node_reference_id UNIQUE (image_id, node_reference_id)
);

CREATE TABLE metadef_namespaces (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace VARCHAR(80) NOT NULL,
    display_name VARCHAR(80),
    description TEXT,
    visibility VARCHAR(32),
    protected BOOLEAN CHECK (protected IN (0, 1)),
    owner VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    CONSTRAINT uq_metadef_namespaces_namespace UNIQUE (namespace)
);
CREATE INDEX ix_metadef_namespaces_owner ON metadef_namespaces (owner);

CREATE TABLE metadef_objects (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES metadef_namespaces (id),
    name VARCHAR(80) NOT NULL,
    description TEXT,
    required TEXT,
    json_schema TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    CONSTRAINT uq_metadef_objects_namespace_id_name UNIQUE (namespace_id, name)
);
CREATE INDEX ix_metadef_objects_name ON metadef_objects (name);

CREATE TABLE metadef_properties (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES metadef_namespaces (id),
    name VARCHAR(80) NOT NULL,
    json_schema TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    CONSTRAINT uq_metadef_properties_namespace_id_name UNIQUE (namespace_id, name)
);
CREATE INDEX ix_metadef_properties_name ON metadef_properties (name);

CREATE TABLE metadef_tags (
    id INTEGER NOT NULL PRIMARY KEY,
    namespace_id INTEGER NOT NULL REFERENCES metadef_namespaces (id),
    name VARCHAR(80) NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    CONSTRAINT uq_metadef_tags_namespace_id_name UNIQUE (namespace_id, name)
);
CREATE INDEX ix_metadef_tags_name ON metadef_tags (name);

CREATE TABLE metadef_resource_types (
    id INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    protected BOOLEAN NOT NULL CHECK (protected IN (0, 1)),
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    CONSTRAINT uq_metadef_resource_types_name UNIQUE (name)
);

CREATE TABLE metadef_namespace_resource_types (
    resource_type_id INTEGER NOT NULL REFERENCES metadef_resource_types (id),
    namespace_id INTEGER NOT NULL REFERENCES metadef_namespaces (id),
    properties_target VARCHAR(80),
    prefix VARCHAR(80),
    created_at DATETIME NOT NULL,
    updated_at DATETIME,
    PRIMARY KEY (resource_type_id, namespace_id)
);
CREATE INDEX ix_metadef_ns_res_types_namespace_id ON metadef_namespace_resource_types (namespace_id);
";

/// Every table with its columns: what an existing database must have. Further tables and columns are ignored.
pub(super) const COLUMNS: &[(&str, &[&str])] = &[
    (
        "images",
        &[
            "id",
            "name",
            "size",
            "status",
            "created_at",
            "updated_at",
            "deleted_at",
            "deleted",
            "disk_format",
            "container_format",
            "checksum",
            "owner",
            "min_disk",
            "min_ram",
            "protected",
            "virtual_size",
            "visibility",
            "os_hidden",
            "os_hash_algo",
            "os_hash_value",
        ],
    ),
    ("image_properties", &["id", "image_id", "name", "value", "created_at", "updated_at", "deleted_at", "deleted"]),
    ("image_tags", &["id", "image_id", "value", "created_at", "updated_at", "deleted_at", "deleted"]),
    (
        "image_locations",
        &["id", "image_id", "value", "created_at", "updated_at", "deleted_at", "deleted", "meta_data", "status"],
    ),
    (
        "image_members",
        &["id", "image_id", "member", "can_share", "created_at", "updated_at", "deleted_at", "deleted", "status"],
    ),
    (
        "tasks",
        &[
            "id",
            "type",
            "status",
            "owner",
            "expires_at",
            "created_at",
            "updated_at",
            "deleted_at",
            "deleted",
            "image_id",
            "request_id",
            "user_id",
        ],
    ),
    ("task_info", &["task_id", "input", "result", "message"]),
    ("node_reference", &["node_reference_id", "node_reference_url"]),
    (
        "cached_images",
        &["id", "image_id", "last_accessed", "last_modified", "size", "hits", "checksum", "node_reference_id"],
    ),
    (
        "metadef_namespaces",
        &[
            "id",
            "namespace",
            "display_name",
            "description",
            "visibility",
            "protected",
            "owner",
            "created_at",
            "updated_at",
        ],
    ),
    (
        "metadef_objects",
        &["id", "namespace_id", "name", "description", "required", "json_schema", "created_at", "updated_at"],
    ),
    ("metadef_properties", &["id", "namespace_id", "name", "json_schema", "created_at", "updated_at"]),
    ("metadef_tags", &["id", "namespace_id", "name", "created_at", "updated_at"]),
    ("metadef_resource_types", &["id", "name", "protected", "created_at", "updated_at"]),
    (
        "metadef_namespace_resource_types",
        &["resource_type_id", "namespace_id", "properties_target", "prefix", "created_at", "updated_at"],
    ),
];
