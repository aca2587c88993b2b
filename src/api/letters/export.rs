//! Dead letters as lines of JSON, as many as there are.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;

use super::records::{Records, WithRecord};
use super::shown::shown;
use super::{contents, filter, index, told};
use crate::api::App;
use crate::api::asked::Params;
use crate::api::problem::Problem;
use crate::api::wire::{LetterQuery, ProblemDocument};
use crate::control::access::Caller;
use crate::letters::{Contents, Newest};

/// Writes dead letters as lines of JSON, oldest first: each as `GET /v1/dead-letters/{id}` shows it, without the request. One that is
/// gone from its topic meanwhile says `"gone": true`. Where it can't go on, the last line is `{"error": …}`.
#[utoipa::path(get, path = "/v1/dead-letters:export", tag = "dead letters", params(LetterQuery), responses(
    (status = 200, body = String, content_type = "application/x-ndjson"),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub(in crate::api) async fn export(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<LetterQuery>,
) -> Result<Response, Problem> {
    let contents = contents(&query)?;
    let filter = filter(&caller, query)?;
    // What can be said at once is said with a status.
    index(&app).await?;
    let records = Records::new(app, filter, Newest::Last, None);
    let lines = stream::unfold(Some((records, contents)), |export| async move {
        let (mut records, contents) = export?;
        match records.next().await {
            Ok(part) if part.is_empty() => None,
            Ok(part) => Some((
                Ok::<_, Infallible>(written(&part, &contents)),
                Some((records, contents)),
            )),
            Err(problem) => {
                let line = format!("{}\n", json!({ "error": problem.detail() }));
                Some((Ok(Bytes::from(line)), None))
            }
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

fn written(letters: &[WithRecord], contents: &Contents) -> Bytes {
    let mut lines = Vec::new();
    for (letter, record) in letters {
        let line = match record {
            Some(record) if contents.are_in(record) => serde_json::to_vec(&shown(letter, record, false)),
            Some(_) => continue,
            None => serde_json::to_vec(&json!({"id": letter.id(), "gone": true, "letter": told(letter)})),
        };
        lines.extend(line.unwrap_or_default());
        lines.push(b'\n');
    }
    lines.into()
}
