//! `/v2/tasks` and `/v2/images/{image}/tasks`.

use common::catalog::{TaskColumn, TaskQuery};
use common::http::query;
use common::model::{Task, TaskKind, TaskStatus};
use common::time::Timestamp;
use common::{Error, Result};
use http::StatusCode;
use http::header::LOCATION;
use serde_json::{Value, json};
use uuid::Uuid;

use super::call::{Call, base_url};
use super::reply::Reply;
use crate::app::task_imports::WantedTask;

/// `GET /v2/images/{image}/tasks`
pub(crate) async fn of_image(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let tasks = call.app().tasks_of_image(call.caller, call.param(0)?).await?;
    let tasks: Vec<Value> = tasks.iter().map(row).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"tasks": tasks})))
}

/// `POST /v2/tasks`
pub(crate) async fn create(call: &Call<'_>) -> Result<Reply> {
    call.app().require_tasks_access(call.caller)?;
    let mut body = call.json()?;
    let required = |name: &str| Error::bad_request(format!("Task '{name}' is required"));
    let kind = body.get("type").ok_or_else(|| required("type"))?;
    let input = body.get("input").ok_or_else(|| required("input"))?;
    if kind != TaskKind::Import.as_str() {
        let shown = kind.to_string().replace('"', "'");
        let text = format!("Provided object does not match schema 'task': {shown} is not one of ['import']");
        return Err(Error::bad_request(text));
    }
    let Value::Object(fields) = input else {
        let shown = input.to_string().replace('"', "'");
        let text = format!("Provided object does not match schema 'task': {shown} is not of type 'object'");
        return Err(Error::bad_request(text));
    };
    let image = match fields.get("image_properties") {
        Some(Value::Object(properties)) => super::images::decode_new(call, properties),
        _ => Err(Error::bad_request("image_properties of the input must be an object.")),
    };
    let wanted = WantedTask {
        image,
        input: body["input"].take(),
        request_id: super::request_id(&call.parts.headers).map(str::to_owned),
    };
    let task = call.app().create_task(call.caller, wanted).await?;
    let location = format!("{}/v2/tasks/{}", base_url(&call.parts.headers, &call.app().config), task.id);
    Ok(Reply::json(StatusCode::CREATED, &whole(task)).header(LOCATION, &location))
}

/// `GET /v2/tasks`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    call.app().require_tasks_access(call.caller)?;
    call.refuse_body()?;
    let params = call.query()?;
    let api = &call.app().config.api;
    let query = decode(&params, api.page_default, api.page_max)?;
    let limit = query.limit;
    let tasks = call.app().tasks(call.caller, query).await.map_err(|error| match error.kind {
        common::Kind::NotFound => Error::bad_request(error.message),
        _ => error,
    })?;
    let next = tasks.last().filter(|_| tasks.len() == limit).map(|task| task.id.clone());
    let kept: Vec<(String, String)> = params.into_iter().filter(|(name, _)| name != "marker").collect();
    let mut document = json!({
        "tasks": tasks.iter().map(stub).collect::<Vec<_>>(),
        "first": link(&kept, None),
        "schema": "/v2/schemas/tasks",
    });
    if let Some(marker) = next {
        document["next"] = json!(link(&kept, Some(&marker)));
    }
    Ok(Reply::json(StatusCode::OK, &document))
}

/// `GET /v2/tasks/{task}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let task = call.app().task(call.caller, call.param(0)?).await?;
    Ok(Reply::json(StatusCode::OK, &whole(task)))
}

/// All that a task tells of itself.
fn whole(task: Task) -> Value {
    let mut view = stub(&task);
    view["input"] = task.input;
    view["result"] = task.result;
    view["message"] = json!(task.message);
    for (name, value) in [("image_id", task.image_id), ("request_id", task.request_id), ("user_id", task.user_id)] {
        if let Some(value) = value {
            view[name] = json!(value);
        }
    }
    view
}

/// `DELETE /v2/tasks/{task}`: for nobody, in Glance as well.
pub(crate) fn delete(call: &Call<'_>) -> Result<Reply> {
    call.app().require_tasks_access(call.caller)?;
    let text = "This operation is currently not permitted on Glance Tasks. They are auto deleted after reaching the time \
                based on their expires_at property.";
    Err(Error::new(common::Kind::MethodNotAllowed, text).header("Allow", "GET"))
}

fn decode(params: &[(String, String)], page_default: usize, page_max: usize) -> Result<TaskQuery> {
    let mut query = TaskQuery {
        owner: None,
        equal: Vec::new(),
        sort: TaskColumn::CreatedAt,
        ascending: false,
        marker: None,
        limit: page_default,
    };
    let column = |name: &str| TaskColumn::ALL.into_iter().find(|column| column.as_str() == name);
    for (name, value) in params {
        match name.as_str() {
            "limit" => {
                let number: i64 =
                    value.trim().parse().map_err(|_| Error::bad_request("limit param must be an integer"))?;
                query.limit =
                    usize::try_from(number).map_err(|_| Error::bad_request("limit param must be positive"))?;
            }
            "marker" => {
                // No task has the empty one.
                if !value.is_empty() && Uuid::parse_str(value).is_err() {
                    return Err(Error::bad_request("Invalid marker format"));
                }
                query.marker = Some(value.clone());
            }
            "sort_key" => {
                let unknown = || Error::bad_request("Sort key supplied was not valid.");
                query.sort = column(value).ok_or_else(unknown)?;
            }
            "sort_dir" => {
                query.ascending = match value.as_str() {
                    "asc" => true,
                    "desc" => false,
                    _ => return Err(Error::bad_request(format!("Invalid sort direction: {value}"))),
                };
            }
            "status" if !value.is_empty() && value.parse::<TaskStatus>().is_err() => {
                return Err(Error::bad_request(format!("Invalid status value: {value}")));
            }
            "type" if !value.is_empty() && value != "import" => {
                return Err(Error::bad_request(format!("Invalid type value: {value}")));
            }
            // Names that no task has filter nothing.
            name => query.equal.extend(column(name).map(|column| (column, value.clone()))),
        }
    }
    query.limit = query.limit.min(page_max);
    Ok(query)
}

fn link(params: &[(String, String)], marker: Option<&str>) -> String {
    let pairs = params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let query = query::write_query(pairs.chain(marker.map(|marker| ("marker", marker))));
    if query.is_empty() { "/v2/tasks".to_owned() } else { format!("/v2/tasks?{query}") }
}

/// A task as lists show it.
fn stub(task: &Task) -> Value {
    let mut view = json!({
        "id": task.id,
        "type": task.kind.as_str(),
        "status": task.status.as_str(),
        "owner": task.owner,
        "created_at": task.created_at.to_api(),
        "updated_at": task.updated_at.to_api(),
        "self": format!("/v2/tasks/{}", task.id),
        "schema": "/v2/schemas/task",
    });
    if let Some(expires_at) = task.expires_at {
        view["expires_at"] = json!(expires_at.to_api());
    }
    view
}

/// A task as the original shows it below its image: the row itself.
fn row(task: &Task) -> Value {
    let time = |time: Timestamp| time.to_sql().replace(' ', "T");
    json!({
        "id": task.id,
        "type": task.kind.as_str(),
        "status": task.status.as_str(),
        "owner": task.owner,
        "expires_at": task.expires_at.map(time),
        "created_at": time(task.created_at),
        "updated_at": time(task.updated_at),
        "deleted_at": Value::Null,
        "deleted": false,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "user_id": task.user_id,
        "input": task.input,
        "result": task.result,
        "message": task.message,
    })
}
