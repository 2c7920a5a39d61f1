//! `/v2/images/{image}/members` and `/v2/images/{image}/members/{member}`.

use common::model::MemberStatus;
use common::{Error, Result};
use http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::Reply;
use super::representation;
use crate::app::fields;

/// `GET /v2/images/{image}/members`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let members = call.app().list_members(call.caller, call.param(0)?).await?;
    let members: Vec<Value> = members.iter().map(representation::member).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"members": members, "schema": "/v2/schemas/members"})))
}

/// `POST /v2/images/{image}/members`
pub(crate) async fn add(call: &Call<'_>) -> Result<Reply> {
    let project = decode_member(&call.json()?)?;
    let member = call.app().add_member(call.caller, call.param(0)?, project).await?;
    Ok(Reply::json(StatusCode::OK, &representation::member(&member)))
}

/// `GET /v2/images/{image}/members/{member}`
pub(crate) async fn show(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    let member = call.app().show_member(call.caller, call.param(0)?, call.param(1)?).await?;
    Ok(Reply::json(StatusCode::OK, &representation::member(&member)))
}

/// `PUT /v2/images/{image}/members/{member}`
pub(crate) async fn update(call: &Call<'_>) -> Result<Reply> {
    let wanted = decode_status(&call.json()?)?;
    // A status that does not exist is refused only once the caller is known to be allowed to answer.
    let status = move || {
        wanted.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let [a, b, c] = MemberStatus::ALL.map(MemberStatus::as_str);
            Error::bad_request(format!("Incorrect request: Status must be \"{a}\", \"{b}\" or \"{c}\"."))
        })
    };
    let member = call.app().answer_member(call.caller, call.param(0)?, call.param(1)?, status).await?;
    Ok(Reply::json(StatusCode::OK, &representation::member(&member)))
}

/// `DELETE /v2/images/{image}/members/{member}`
pub(crate) async fn remove(call: &Call<'_>) -> Result<Reply> {
    call.refuse_body()?;
    call.app().remove_member(call.caller, call.param(0)?, call.param(1)?).await?;
    // Unlike all other 204s of the original, this one has no content type.
    Ok(Reply::bare(StatusCode::NO_CONTENT))
}

fn decode_member(body: &Value) -> Result<String> {
    let form = || Error::bad_request("Expected a member in the form: {\"member\": \"image_id\"}");
    let member = match body.as_object() {
        Some(object) => object.get("member").ok_or_else(|| Error::bad_request("Member to be added not specified"))?,
        None => return Err(form()),
    };
    let project = match member {
        Value::Null => "",
        Value::String(text) => text,
        _ => return Err(form()),
    };
    if project.is_empty() {
        return Err(Error::bad_request("Member can't be empty"));
    }
    if project.chars().nth(fields::TEXT_CHARS_MAX).is_some() {
        return Err(Error::bad_request("Member can't be longer than 255 characters"));
    }
    fields::refuse_four_byte("member", project)?;
    Ok(project.to_owned())
}

fn decode_status(body: &Value) -> Result<Value> {
    match body.as_object() {
        Some(object) => object.get("status").cloned().ok_or_else(|| Error::bad_request("Status not specified")),
        None => Err(Error::bad_request("Expected a status in the form: {\"status\": \"status\"}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_projects_of_bounded_length() {
        assert_eq!(decode_member(&json!({"member": "p2"})), Ok("p2".to_owned()));
        let refused = [
            (json!([]), "Expected a member in the form: {\"member\": \"image_id\"}"),
            (json!({}), "Member to be added not specified"),
            (json!({"member": ""}), "Member can't be empty"),
            (json!({"member": null}), "Member can't be empty"),
            (json!({"member": 5}), "Expected a member in the form: {\"member\": \"image_id\"}"),
            (json!({"member": "x".repeat(256)}), "Member can't be longer than 255 characters"),
            (json!({"member": "\u{1f600}"}), "Member can't contain 4 byte unicode characters."),
        ];
        for (body, text) in refused {
            assert_eq!(decode_member(&body).expect_err(text).message, text, "{body}");
        }
    }
}
