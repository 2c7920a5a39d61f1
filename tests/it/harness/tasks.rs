//! Tasks about an image.

use std::time::Duration;

use serde_json::Value;

use super::{Server, eventually};

/// What a task may take in a test that shares its processors with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The tasks of an image, once the last of them is over.
#[track_caller]
pub(crate) fn tasks(server: &Server, id: &str) -> Vec<Value> {
    let over = eventually(PATIENCE, || {
        let tasks = server.get(&format!("/v2/images/{id}/tasks")).expect(200).json()["tasks"].as_array()?.clone();
        let is_over = matches!(tasks.last()?["status"].as_str()?, "success" | "failure");
        is_over.then_some(tasks)
    });
    over.unwrap_or_else(|| panic!("the task does not end:\n{}", server.log()))
}

/// The last of them.
#[track_caller]
pub(crate) fn last_task(server: &Server, id: &str) -> Value {
    tasks(server, id).pop().expect("tasks() waits for one")
}
