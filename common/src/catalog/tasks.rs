//! Tasks: Glance's tables `tasks` and `task_info`.

use rusqlite::{Row, ToSql};
use serde_json::Value;

use super::fault::{corrupt, failed};
use super::rows::{self, json_column};
use super::{Changes, Queries};
use crate::model::{Task, TaskKind, TaskStatus};
use crate::time::Timestamp;
use crate::{Error, Result};

/// A task to be made; its status will be `pending`.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// A fresh UUID.
    pub id: String,
    /// What it does.
    pub kind: TaskKind,
    /// The project that asks for it.
    pub owner: String,
    /// The image it is about.
    pub image_id: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// Who asks.
    pub user_id: Option<String>,
    /// What is asked for.
    pub input: Value,
}

/// Which tasks a list shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskQuery {
    /// Only those of this project.
    pub owner: Option<String>,
    /// Only those with these values.
    pub equal: Vec<(TaskColumn, String)>,
    /// The first column that decides the order; `created_at` and the id follow.
    pub sort: TaskColumn,
    /// Whether the smallest comes first.
    pub ascending: bool,
    /// The task after which the page begins.
    pub marker: Option<String>,
    /// Tasks of the page at most.
    pub limit: usize,
}

/// A column that lists of tasks are sorted and filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskColumn {
    /// `id`
    Id,
    /// `type`
    Type,
    /// `status`
    Status,
    /// `owner`
    Owner,
    /// `expires_at`
    ExpiresAt,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
    /// `image_id`
    ImageId,
    /// `request_id`
    RequestId,
    /// `user_id`
    UserId,
}

impl TaskColumn {
    /// All of them.
    pub const ALL: [TaskColumn; 10] = [
        TaskColumn::Id,
        TaskColumn::Type,
        TaskColumn::Status,
        TaskColumn::Owner,
        TaskColumn::ExpiresAt,
        TaskColumn::CreatedAt,
        TaskColumn::UpdatedAt,
        TaskColumn::ImageId,
        TaskColumn::RequestId,
        TaskColumn::UserId,
    ];

    /// The name in the API and in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskColumn::Id => "id",
            TaskColumn::Type => "type",
            TaskColumn::Status => "status",
            TaskColumn::Owner => "owner",
            TaskColumn::ExpiresAt => "expires_at",
            TaskColumn::CreatedAt => "created_at",
            TaskColumn::UpdatedAt => "updated_at",
            TaskColumn::ImageId => "image_id",
            TaskColumn::RequestId => "request_id",
            TaskColumn::UserId => "user_id",
        }
    }
}

const COLUMNS: &str = "tasks.id, tasks.type, tasks.status, tasks.owner, tasks.expires_at, tasks.created_at, \
     tasks.updated_at, tasks.image_id, tasks.request_id, tasks.user_id, task_info.input, task_info.result, \
     task_info.message";

const FROM: &str = "FROM tasks LEFT JOIN task_info ON task_info.task_id = tasks.id";

/// A task that has expired counts as deleted, whether or not it is marked so by now.
const LIVE: &str = "tasks.deleted = 0 AND (tasks.expires_at IS NULL OR tasks.expires_at >= ?1)";

impl Queries<'_> {
    /// The task `id`.
    pub fn task(&self, id: &str) -> Result<Option<Task>> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE {LIVE} AND tasks.id = ?2");
        self.one(&sql, [&Timestamp::now().to_sql(), id], task)
    }

    /// The tasks about the image `image_id`, in the order of their making.
    pub fn tasks_of_image(&self, image_id: &str) -> Result<Vec<Task>> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE {LIVE} AND tasks.image_id = ?2 ORDER BY tasks.rowid");
        self.all(&sql, [&Timestamp::now().to_sql(), image_id], task)
    }

    /// One page of tasks. 404 when there is no task of the marker's id.
    pub fn tasks(&self, query: &TaskQuery) -> Result<Vec<Task>> {
        let now = Timestamp::now().to_sql();
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let mut values: Vec<&dyn ToSql> = vec![&now];
        let mut sql = format!("SELECT {COLUMNS} {FROM} WHERE {LIVE}");
        if let Some(owner) = &query.owner {
            values.push(owner);
            sql.push_str(&format!(" AND tasks.owner = ?{}", values.len()));
        }
        for (column, value) in &query.equal {
            values.push(value);
            sql.push_str(&format!(" AND tasks.{} = ?{}", column.as_str(), values.len()));
        }
        let (sort, direction) = (query.sort.as_str(), if query.ascending { "ASC" } else { "DESC" });
        if let Some(marker) = &query.marker {
            if self.task(marker)?.is_none() {
                return Err(Error::not_found(format!("Task with the given id {marker} was not found")));
            }
            values.push(marker);
            let (place, than) = (values.len(), if query.ascending { ">" } else { "<" });
            sql.push_str(&format!(
                " AND (ifnull(tasks.{sort}, ''), tasks.created_at, tasks.id) {than} \
                 (SELECT ifnull({sort}, ''), created_at, id FROM tasks WHERE id = ?{place})"
            ));
        }
        values.push(&limit);
        sql.push_str(&format!(
            " ORDER BY ifnull(tasks.{sort}, '') {direction}, tasks.created_at {direction}, tasks.id {direction} LIMIT ?{}",
            values.len()
        ));
        self.all(&sql, values.as_slice(), task)
    }
}

impl Changes<'_> {
    /// Makes a task.
    pub fn create_task(&self, new: &NewTask) -> Result<()> {
        let now = Timestamp::now().to_sql();
        self.execute(
            "INSERT INTO tasks (id, type, status, owner, created_at, updated_at, deleted, image_id, request_id, user_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0, ?6, ?7, ?8)",
            &[
                &new.id,
                &new.kind.as_str(),
                &TaskStatus::Pending.as_str(),
                &new.owner,
                &now,
                &new.image_id,
                &new.request_id,
                &new.user_id,
            ],
        )?;
        self.execute(
            "INSERT INTO task_info (task_id, input, message) VALUES (?1, ?2, '')",
            &[&new.id, &json_column(&new.input)?],
        )
        .map(|_| ())
    }

    /// The task begins, unless it has.
    pub fn begin_task(&self, id: &str) -> Result<()> {
        self.execute(
            "UPDATE tasks SET status = ?2, updated_at = ?3 WHERE id = ?1 AND status = ?4",
            &[&id, &TaskStatus::Processing.as_str(), &Timestamp::now().to_sql(), &TaskStatus::Pending.as_str()],
        )
        .map(|_| ())
    }

    /// Says how a task goes that is not over.
    pub fn tell_task(&self, id: &str, message: &str) -> Result<()> {
        let changed = self.execute(
            "UPDATE tasks SET updated_at = ?2 WHERE id = ?1 AND status IN ('pending', 'processing')",
            &[&id, &Timestamp::now().to_sql()],
        )?;
        if changed > 0 {
            self.execute("UPDATE task_info SET message = ?2 WHERE task_id = ?1", &[&id, &message])?;
        }
        Ok(())
    }

    /// Ends a task, unless it is over: `Ok` is its result, `Err` why it failed. It is forgotten at `expires`.
    pub fn end_task(&self, id: &str, outcome: std::result::Result<&Value, &str>, expires: Timestamp) -> Result<()> {
        let status = if outcome.is_ok() { TaskStatus::Success } else { TaskStatus::Failure };
        let changed = self.execute(
            "UPDATE tasks SET status = ?2, updated_at = ?3, expires_at = ?4 \
             WHERE id = ?1 AND status IN ('pending', 'processing')",
            &[&id, &status.as_str(), &Timestamp::now().to_sql(), &expires.to_sql()],
        )?;
        if changed == 0 {
            return Ok(());
        }
        match outcome {
            Ok(result) => {
                self.execute("UPDATE task_info SET result = ?2 WHERE task_id = ?1", &[&id, &json_column(result)?])?
            }
            Err(message) => self.execute("UPDATE task_info SET message = ?2 WHERE task_id = ?1", &[&id, &message])?,
        };
        Ok(())
    }

    /// Marks tasks as deleted that have expired.
    pub fn expire_tasks(&self) -> Result<usize> {
        self.execute(
            "UPDATE tasks SET deleted = 1, deleted_at = ?1 WHERE deleted = 0 AND expires_at < ?1",
            &[&Timestamp::now().to_sql()],
        )
    }
}

fn task(row: &Row<'_>) -> Result<Task> {
    let created_at = rows::timestamp(row, 5)?.ok_or_else(|| corrupt("tasks.created_at", "NULL"))?;
    let message: Option<String> = row.get(12).map_err(failed)?;
    Ok(Task {
        id: row.get(0).map_err(failed)?,
        kind: rows::parsed(row, 1, "tasks.type")?,
        status: rows::parsed(row, 2, "tasks.status")?,
        owner: row.get(3).map_err(failed)?,
        expires_at: rows::timestamp(row, 4)?,
        created_at,
        updated_at: rows::timestamp(row, 6)?.unwrap_or(created_at),
        image_id: row.get(7).map_err(failed)?,
        request_id: row.get(8).map_err(failed)?,
        user_id: row.get(9).map_err(failed)?,
        input: document(row, 10)?,
        result: document(row, 11)?,
        message: message.unwrap_or_default(),
    })
}

/// A JSON column; what is no JSON reads as nothing, like NULL.
fn document(row: &Row<'_>, index: usize) -> Result<Value> {
    let text: Option<String> = row.get(index).map_err(failed)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null))
}
