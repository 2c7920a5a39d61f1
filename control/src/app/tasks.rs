//! Tasks, to be looked at.

use common::authorise::NOT_FOUND_TEXT;
use common::catalog::TaskQuery;
use common::identity::Identity;
use common::model::Task;
use common::{Error, Kind, Result};

use super::{App, Seen, reworded};

impl App {
    /// Refuses whoever may not use the tasks API.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn require_tasks_access(&self, caller: &Identity) -> Result<()> {
        self.authority.enforce("tasks_api_access", caller, &())
    }

    /// The tasks about an image that belong to the caller's project; all of them for administrators.
    ///
    /// # Errors
    /// 404.
    pub(crate) async fn tasks_of_image(&self, caller: &Identity, id: String) -> Result<Vec<Task>> {
        let (authority, caller) = (self.authority.clone(), caller.clone());
        self.db
            .read(move |catalog| {
                let hidden = |error| reworded(error, Kind::NotFound, || NOT_FOUND_TEXT.to_owned());
                let seen = Seen::find(catalog, &caller, &id).map_err(hidden)?;
                seen.require(&authority, "get_image", &caller)?;
                let mut tasks = catalog.tasks_of_image(&seen.image.id)?;
                tasks.retain(|task| is_visible(&caller, task));
                Ok(tasks)
            })
            .await
    }

    /// The task `id`.
    ///
    /// # Errors
    /// 403 by policy, 404.
    pub(crate) async fn task(&self, caller: &Identity, id: String) -> Result<Task> {
        self.require_tasks_access(caller)?;
        let caller = caller.clone();
        self.db
            .read(move |catalog| {
                let found = catalog.task(&id)?.filter(|task| is_visible(&caller, task));
                found.ok_or_else(|| Error::not_found(format!("Could not find task {id}")))
            })
            .await
    }

    /// One page of tasks.
    ///
    /// # Errors
    /// 400 for a marker that is no task.
    pub(crate) async fn tasks(&self, caller: &Identity, query: TaskQuery) -> Result<Vec<Task>> {
        let owner = (!caller.is_admin).then(|| caller.project_id.clone().unwrap_or_default());
        let query = TaskQuery { owner, ..query };
        self.db.read(move |catalog| catalog.tasks(&query)).await
    }
}

fn is_visible(caller: &Identity, task: &Task) -> bool {
    caller.is_admin || caller.project_id.as_deref() == Some(task.owner.as_str())
}
