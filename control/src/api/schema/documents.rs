//! The schema documents of everything but images, and all of them as served.

use serde_json::{Map, Value, json};

use super::check::UUID_PATTERN;
use super::{ImageSchema, MetadefSchemas};

/// Every schema document, written once at start.
pub(crate) struct Documents {
    /// Of an image.
    pub(crate) image: String,
    /// Of a list of images.
    pub(crate) images: String,
    /// Of a member.
    pub(crate) member: String,
    /// Of a list of members.
    pub(crate) members: String,
    /// Of a task.
    pub(crate) task: String,
    /// Of a list of tasks.
    pub(crate) tasks: String,
    /// Of metadata definitions.
    pub(crate) metadefs: MetadefSchemas,
}

impl Documents {
    /// The documents of this site.
    pub(crate) fn new(image: &ImageSchema) -> Self {
        let image = image.document();
        let member = member();
        Documents {
            images: collection("images", &image, true).to_string(),
            members: collection("members", &member, false).to_string(),
            tasks: collection("tasks", &task(true), false).to_string(),
            task: task(false).to_string(),
            member: member.to_string(),
            image: image.to_string(),
            metadefs: MetadefSchemas::new(),
        }
    }
}

/// A list of `item`; `paged`: with links to its first and next page.
fn collection(name: &str, item: &Value, paged: bool) -> Value {
    let mut properties = Map::new();
    properties.insert(name.to_owned(), json!({"type": "array", "items": item}));
    let mut links = Vec::new();
    if paged {
        for link in ["first", "next"] {
            properties.insert(link.to_owned(), json!({"type": "string"}));
            links.push(json!({"rel": link, "href": format!("{{{link}}}")}));
        }
    }
    properties.insert("schema".to_owned(), json!({"type": "string"}));
    links.push(json!({"rel": "describedby", "href": "{schema}"}));
    json!({"name": name, "properties": properties, "links": links})
}

fn member() -> Value {
    json!({
        "name": "member",
        "properties": {
            "member_id": {"type": "string", "description": "Project that the image is offered to."},
            "image_id": {"type": "string", "description": "The image.", "pattern": UUID_PATTERN},
            "created_at": {"type": "string", "description": "When it was offered, ISO 8601 in UTC."},
            "updated_at": {"type": "string", "description": "When the answer last changed, ISO 8601 in UTC."},
            "status": {
                "type": "string",
                "description": "What the project made of the offer.",
                "enum": ["pending", "accepted", "rejected"],
            },
            "schema": {"readOnly": true, "type": "string"},
        },
    })
}

/// A task; `brief`: as it stands in a list.
fn task(brief: bool) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let text_or_null = |description: &str| json!({"type": ["null", "string"], "description": description});
    let object_or_null = |description: &str| json!({"type": ["null", "object"], "description": description});
    let mut properties = json!({
        "id": {"type": "string", "description": "UUID of the task.", "pattern": UUID_PATTERN},
        "type": {
            "type": "string",
            "description": "What the task does.",
            "enum": ["import", "api_image_import", "location_import"],
        },
        "status": {
            "type": "string",
            "description": "How far the task is.",
            "enum": ["pending", "processing", "success", "failure"],
        },
        "input": object_or_null("What the task was given."),
        "result": object_or_null("What came of the task."),
        "owner": text("Project that owns the task."),
        "message": text("Words for people on the task's course."),
        "image_id": text("Image that the task works on."),
        "request_id": text("Request that began the task."),
        "user_id": text("User who began the task."),
        "expires_at": text_or_null("When the task's record is removed, ISO 8601 in UTC."),
        "created_at": text("When the task began, ISO 8601 in UTC."),
        "updated_at": text("When the task last changed, ISO 8601 in UTC."),
        "self": {"readOnly": true, "type": "string"},
        "schema": {"readOnly": true, "type": "string"},
    });
    if brief && let Some(properties) = properties.as_object_mut() {
        for detail in ["input", "result", "message"] {
            properties.shift_remove(detail);
        }
    }
    json!({"name": "task", "properties": properties})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_they_list() {
        let documents = Documents::new(&crate::api::schema::image::tests::schema());
        let images: Value = serde_json::from_str(&documents.images).expect("JSON");
        let image: Value = serde_json::from_str(&documents.image).expect("JSON");
        assert_eq!(images["properties"]["images"]["items"], image);
        assert_eq!(images["links"][1], json!({"rel": "next", "href": "{next}"}));
        let members: Value = serde_json::from_str(&documents.members).expect("JSON");
        assert_eq!(members["links"], json!([{"rel": "describedby", "href": "{schema}"}]));
        let tasks: Value = serde_json::from_str(&documents.tasks).expect("JSON");
        assert!(tasks["properties"]["tasks"]["items"]["properties"].get("input").is_none());
    }
}
