//! What operators do to a pipeline that is registered.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, allow, precondition};
use super::pipelines::answer;
use super::problem::Problem;
use super::standing::Fleetwide;
use super::wire::{Pipeline, Probed, ProblemDocument};
use super::{App, author};
use crate::control::access::{Caller, Role};
use crate::control::registry::{self, Author, Outcome, Refusal, Registered};
use crate::http::reach;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(restart))
        .routes(routes!(probe))
}

/// Pauses a pipeline: it keeps its partitions, and calls nothing once what is on the wire has ended.
#[utoipa::path(post, path = "/v1/pipelines/{name}/pause", tag = "pipelines", params(("name" = String, Path)), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn pause(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = precondition(&headers)?;
    change(&app, &caller, &name, |existing, author| {
        registry::set_state(existing, true, at, author)
    })
    .await
}

/// Lets a pipeline that was paused go on.
#[utoipa::path(post, path = "/v1/pipelines/{name}/resume", tag = "pipelines", params(("name" = String, Path)), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn resume(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = precondition(&headers)?;
    change(&app, &caller, &name, |existing, author| {
        registry::set_state(existing, false, at, author)
    })
    .await
}

/// Drains a pipeline and starts it anew, on all of its workers.
#[utoipa::path(post, path = "/v1/pipelines/{name}/restart", tag = "pipelines", params(("name" = String, Path)), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn restart(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Response, Problem> {
    change(&app, &caller, &name, registry::restart).await
}

/// Tells whether a pipeline's function can be reached, by connecting: nothing is sent.
#[utoipa::path(post, path = "/v1/pipelines/{name}/probe", tag = "pipelines", params(("name" = String, Path)), responses(
    (status = 200, body = Probed),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn probe(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Json<Probed>, Problem> {
    allow(&caller, Role::Operator, &name)?;
    let settings = match app.fleet.file(&name) {
        Some(file) => file.settings,
        None => {
            let pipeline = app
                .fleet
                .registry()
                .get(&name)
                .await?
                .ok_or_else(|| Problem::no_pipeline(&name))?;
            let secrets = app.fleet.secrets().await?;
            let built = app
                .fleet
                .foundation()
                .pipeline(&pipeline.document.to_string(), &secrets);
            built.map_err(|problems| Problem::of_document(&problems))?.settings
        }
    };
    let in_the_way = match settings.function {
        Some(function) => reach(&function.url, &function.policy).await.err(),
        None => None,
    };
    Ok(Json(Probed { in_the_way }))
}

async fn change(
    app: &App,
    caller: &Caller,
    name: &str,
    decide: impl Fn(Option<&Registered>, &Author) -> Result<Outcome, Refusal>,
) -> Result<Response, Problem> {
    allow(caller, Role::Operator, name)?;
    let fleetwide = Fleetwide::look(app).await?;
    if fleetwide.holder_of(name).is_some() {
        return Err(Problem::held_by_file(name));
    }
    let author = author(&caller.name);
    let made = app
        .fleet
        .registry()
        .change(name, &author, "", |existing, _| decide(existing, &author))
        .await;
    let made = made.map_err(|error| Problem::of_change(name, error))?;
    let pipeline = made.pipeline.ok_or_else(|| Problem::no_pipeline(name))?;
    Ok(answer(app, &fleetwide, StatusCode::OK, pipeline))
}
