//! `/v2/images/{image}/locations`.

use common::Result;
use http::StatusCode;
use serde_json::Value;

use super::call::Call;
use super::reply::Reply;
use super::representation;
use super::schema::validate_new_location;
use crate::app::locations::NewLocation;

/// `POST /v2/images/{image}/locations`
pub(crate) async fn add(call: &Call<'_>) -> Result<Reply> {
    let body = call.json()?;
    validate_new_location(&body)?;
    let request_id = super::request_id(&call.parts.headers).map(str::to_owned);
    call.app().add_location(call.caller, call.param(0)?, decode_new(&body), request_id).await?;
    Ok(Reply::accepted())
}

/// A body that fits the schema.
fn decode_new(body: &Value) -> NewLocation {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let digest = body.get("validation_data").and_then(|data| {
        let (algorithm, value) = (data.get("os_hash_algo")?, data.get("os_hash_value")?);
        Some((text(algorithm), text(value)))
    });
    NewLocation { url: text(&body["url"]), digest }
}

/// `GET /v2/images/{image}/locations`
pub(crate) async fn list(call: &Call<'_>) -> Result<Reply> {
    // A body means nothing, but it must be one.
    if !call.body.is_empty() {
        call.json()?;
    }
    let locations = call.app().list_locations(call.caller, call.param(0)?).await?;
    let view: Vec<Value> = locations.iter().map(representation::location).collect();
    Ok(Reply::json(StatusCode::OK, &Value::from(view)))
}
