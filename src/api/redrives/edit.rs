//! A letter that goes through its pipeline with another value.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::chosen::{Which, choose, no_id};
use crate::api::asked::{Name, Sent};
use crate::api::letters::shown::read;
use crate::api::problem::{Kind, Problem};
use crate::api::wire::{EditRequest, ProblemDocument, Redrive};
use crate::api::{App, author};
use crate::control::access::{Caller, Role};
use crate::control::redrives::Asked;
use crate::control::registry::{Difference, difference};
use crate::letters::place_of;
use crate::redrive::{Edit, To};
use crate::store::CommitError;

/// A value that is larger would not fit into the job that carries it.
const MAX_VALUE_BYTES: usize = 512 * 1024;

/// Sends a letter through its pipeline with another value, and keeps the difference.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/edit", tag = "dead letters", request_body = EditRequest,
    params(("id" = String, Path, example = "orders.dead-letter/0/0")),
    responses(
        (status = 201, body = Redrive, description = "Started."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub(super) async fn edit(
    State(app): State<App>,
    caller: Caller,
    Name(id): Name,
    Sent(request): Sent<EditRequest>,
) -> Result<Response, Problem> {
    let wrong = |field: &str, detail: String| Problem::new(Kind::InvalidRequest, detail).at(field);
    let value: Option<Bytes> = match (&request.value, &request.value_base64) {
        (Some(_), Some(_)) => {
            return Err(wrong(
                "value",
                "expected `value` or `value_base64`, not both".to_owned(),
            ));
        }
        (Some(text), None) => Some(text.clone().into()),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64);
            let bytes = bytes.map_err(|error| wrong("value_base64", format!("this is no base64: {error}")))?;
            Some(bytes.into())
        }
        (None, None) => None,
    };
    let size = value.as_ref().map_or(0, Bytes::len);
    if size > MAX_VALUE_BYTES {
        let detail = format!("found {size} bytes, expected at most {MAX_VALUE_BYTES}");
        return Err(Problem::new(Kind::TooLarge, detail).at("value"));
    }
    let (place, offset) = place_of(&id).ok_or_else(|| no_id(&id))?;
    let which = Which {
        pipeline: None,
        ids: vec![id.clone()],
        matching: None,
        all: false,
    };
    let chosen = choose(&app, &caller, Role::Operator, which).await?;
    // The value is another one: that it was sent through often says nothing of this one.
    let plan = super::plan(&chosen, To::Function, true).await?;
    super::refuse_nothing(&plan)?;
    let letter = read(chosen.settings.dead_letter.cluster.clone(), place.clone(), offset).await;
    let letter = letter.map_err(|error| Problem::new(Kind::CannotTry, error.to_string()))?;
    let differences = differences(letter.value.as_ref(), value.as_ref());
    if differences.is_empty() {
        let detail = "the value is the one that it has; `POST /v1/redrives` sends it as it is".to_owned();
        return Err(wrong("value", detail));
    }
    match app.fleet.marks().keep_edit(&place, offset, &differences).await {
        Ok(()) | Err(CommitError::Conflict { .. }) => {}
        Err(CommitError::Store(error)) => return Err(error.into()),
    }
    let asked = Asked {
        passed: plan.passed,
        to: To::Function,
        unknown: true,
        edit: Some(Edit {
            value_base64: value.map(|value| STANDARD.encode(value)),
        }),
        ..chosen.asked(request.reason)
    };
    let job = app.fleet.redrives().post(asked, &author(&caller.name)).await?;
    let redrive = super::posted(&app, &job.id).await?;
    Ok((StatusCode::CREATED, Json(redrive)).into_response())
}

/// What differs between two values: field by field where both are JSON, else as a whole.
fn differences(from: Option<&Bytes>, to: Option<&Bytes>) -> Vec<Difference> {
    let json = |bytes: Option<&Bytes>| bytes.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    if let (Some(from), Some(to)) = (json(from), json(to)) {
        return difference(&from, &to);
    }
    if from == to {
        return Vec::new();
    }
    let whole = |bytes: Option<&Bytes>| {
        bytes.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::String(format!("base64:{}", STANDARD.encode(bytes))),
        })
    };
    vec![Difference {
        field: String::new(),
        from: whole(from),
        to: whole(to),
    }]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edit_is_told_field_by_field_or_as_a_whole() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let found = differences(Some(&bytes(r#"{"a":1,"b":2}"#)), Some(&bytes(r#"{"a":1,"b":3}"#)));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field.as_str(), &found[0].to), ("b", &Some(json!(3))));
        let whole = differences(Some(&Bytes::from_static(b"\xff")), None);
        assert_eq!((&whole[0].from, &whole[0].to), (&Some(json!("base64:/w==")), &None));
        assert!(differences(Some(&bytes("{ }")), Some(&bytes("{}"))).is_empty());
    }
}
