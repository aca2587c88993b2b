//! What workers without a store of their own ask: they report, and hear what to run.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::asked::{Name, Params, Sent, allow};
use super::problem::{Kind, Problem};
use super::wire::ProblemDocument;
use crate::control::access::{Caller, Role};
use crate::control::fleet::{Report, Unheard, Work};

/// A question for work waits no longer than this, in seconds.
const MAX_WAIT: u64 = 20;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(report, dismiss))
        .routes(routes!(work))
}

/// Takes a worker's report: it counts as alive for 10 s from then on. Workers do this themselves.
#[utoipa::path(put, path = "/v1/workers/{id}", tag = "fleet", params(("id" = String, Path)), request_body = Report, responses(
    (status = 204),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn report(
    State(app): State<App>,
    caller: Caller,
    Name(id): Name,
    Sent(report): Sent<Report>,
) -> Result<StatusCode, Problem> {
    allow(&caller, Role::Worker, &id)?;
    if report.identity.id != id {
        let detail = format!(
            "found the id {:?} in the report of {id:?}, expected the same",
            report.identity.id
        );
        return Err(Problem::new(Kind::InvalidRequest, detail).at("identity.id"));
    }
    app.fleet.desk().take(&report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which process it is that leaves.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
struct Leaving {
    /// The report's.
    incarnation: i64,
}

/// Takes a worker off that ends. Workers do this themselves.
#[utoipa::path(delete, path = "/v1/workers/{id}", tag = "fleet", params(("id" = String, Path), Leaving), responses(
    (status = 204),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn dismiss(
    State(app): State<App>,
    caller: Caller,
    Name(id): Name,
    Params(leaving): Params<Leaving>,
) -> Result<StatusCode, Problem> {
    allow(&caller, Role::Worker, &id)?;
    app.fleet.desk().dismiss(&id, leaving.incarnation).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How long to wait.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// For so many seconds, where `If-None-Match` names what there is; 0 where nothing is said.
    #[serde(default)]
    #[param(maximum = 20)]
    wait: u64,
}

/// What a worker is to run, and what it is to tell of. With `If-None-Match`: as soon as that is something else, or 304.
/// It holds the secrets that these pipelines refer to. Workers do this themselves.
#[utoipa::path(get, path = "/v1/workers/{id}/work", tag = "fleet", params(("id" = String, Path), Wait), responses(
    (status = 200, body = Work, headers(("etag" = String))),
    (status = 304),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn work(
    State(app): State<App>,
    caller: Caller,
    Name(id): Name,
    Params(asked): Params<Wait>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    allow(&caller, Role::Worker, &id)?;
    if asked.wait > MAX_WAIT {
        let detail = format!("found a wait of {} s, expected at most {MAX_WAIT}", asked.wait);
        return Err(Problem::new(Kind::InvalidRequest, detail).at("wait"));
    }
    let known = headers.get(header::IF_NONE_MATCH);
    let until = Instant::now() + Duration::from_secs(asked.wait);
    let mut changes = app.fleet.desk().changes();
    loop {
        let work = app.fleet.desk().work(&id).await?;
        let tag = tag(&work);
        if known.is_none_or(|known| known.as_bytes() != tag.as_bytes()) {
            return Ok(([(header::ETAG, tag)], Json(work)).into_response());
        }
        if timeout_at(until, changes.next()).await.is_err() {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
        }
    }
}

fn tag(work: &Work) -> String {
    let text = serde_json::to_vec(work).unwrap_or_default();
    let digest = Sha256::digest(text);
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hash}\"")
}

impl From<Unheard> for Problem {
    fn from(unheard: Unheard) -> Problem {
        match unheard {
            Unheard::Away(reason) => Problem::new(Kind::StoreAway, reason),
            Unheard::Twin(reason) => Problem::new(Kind::WorkerIdInUse, reason),
        }
    }
}
