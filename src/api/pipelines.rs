//! Pipelines: what is registered.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Params, Text, allow, precondition};
use super::operate::refuse_embedded;
use super::problem::{Kind, Problem, fields};
use super::standing::{Fleetwide, summary};
use super::wire::{Checked, HeldBy, PageQuery, Pipeline, PipelineList, PipelineSummary, ProblemDocument};
use super::{App, author};
use crate::config::hidden;
use crate::control::access::{Caller, Role};
use crate::control::registry::{self, Outcome, Precondition, Registered};

pub(super) const DEFAULT_LIMIT: u32 = 100;
pub(super) const MOST: u32 = 1000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, put, delete))
        .routes(routes!(check))
}

/// How many are wanted, within its bounds.
pub(super) fn limit(query: &PageQuery) -> Result<usize, Problem> {
    match query.limit.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MOST => Ok(limit as usize),
        other => {
            let detail = format!("found limit={other}, expected 1 to {MOST}");
            Err(Problem::new(Kind::InvalidRequest, detail).at("limit"))
        }
    }
}

/// Lists pipelines by name: those in the store, and those from files.
#[utoipa::path(get, path = "/v1/pipelines", tag = "pipelines", params(PageQuery), responses(
    (status = 200, body = PipelineList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<PipelineList>, Problem> {
    let limit = limit(&query)?;
    let after = query.after.as_deref();
    let fleetwide = Fleetwide::look(&app).await?;
    let (stored, mut more) = app.fleet.registry().list(after, limit).await?;
    let end = stored.last().filter(|_| more).map(|last| last.name.clone());
    let mut all: BTreeMap<String, PipelineSummary> = stored
        .iter()
        .map(|pipeline| {
            (
                pipeline.name.clone(),
                summary(&app, &fleetwide, &pipeline.name, Some(pipeline)),
            )
        })
        .collect();
    let names: BTreeSet<&String> = fleetwide.files().collect();
    for name in names {
        let in_page = after.is_none_or(|after| name.as_str() > after) && end.as_ref().is_none_or(|end| name <= end);
        if in_page {
            all.insert(name.clone(), summary(&app, &fleetwide, name, None));
        }
    }
    let mut pipelines: Vec<PipelineSummary> = all.into_values().collect();
    if pipelines.len() > limit {
        pipelines.truncate(limit);
        more = true;
    }
    let next = pipelines.last().filter(|_| more).map(|last| last.name.clone());
    pipelines.retain(|pipeline| caller.may(Role::Viewer, &pipeline.name));
    Ok(Json(PipelineList { pipelines, next }))
}

/// Shows a pipeline: the document as it was sent, its revision and how it stands.
#[utoipa::path(get, path = "/v1/pipelines/{name}", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = Pipeline, headers(("etag" = String, description = "The revision, in quotes."))),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn get(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Response, Problem> {
    allow(&caller, Role::Viewer, &name)?;
    let fleetwide = Fleetwide::look(&app).await?;
    if fleetwide.holder_of(&name).is_some() {
        let Some(file) = app.fleet.file(&name) else {
            let detail = format!("{name} is in files of other workers, and not of this one; ask one that has it");
            return Err(Problem::new(Kind::NotFound, detail));
        };
        let body = Pipeline {
            revision: None,
            status: summary(&app, &fleetwide, &name, None),
            document: shown_to(&caller, &name, file.document),
        };
        return Ok(Json(body).into_response());
    }
    let pipeline = app
        .fleet
        .registry()
        .get(&name)
        .await?
        .ok_or_else(|| Problem::no_pipeline(&name))?;
    Ok(answer(&app, &fleetwide, &caller, StatusCode::OK, pipeline))
}

/// Creates or changes a pipeline. The same document again changes nothing. The body is the document, in YAML or JSON.
#[utoipa::path(put, path = "/v1/pipelines/{name}", tag = "pipelines",
    params(
        ("name" = String, Path, example = "orders"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
        ("If-Match" = Option<String>, Header, description = "Change only this revision."),
    ),
    request_body(
        content = Object,
        content_type = "application/json",
        description = "`fnbridge schema` prints its schema.",
        example = json!({"name": "orders", "source": {"topics": ["orders"]}, "function": {"url": "http://127.0.0.1:3000/"}}),
    ),
    responses(
        (status = 200, body = Pipeline, description = "Changed, or nothing differed."),
        (status = 201, body = Pipeline, description = "Created."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
    Text(text): Text,
) -> Result<Response, Problem> {
    allow(&caller, Role::Editor, &name)?;
    let precondition = precondition(&headers)?;
    let secrets = app.fleet.secrets().await?;
    let registration = app.fleet.foundation().pipeline(&text, &secrets);
    let registration = registration.map_err(|problems| Problem::of_document(&problems))?;
    if registration.settings.name != name {
        let found = registration.settings.name;
        let detail = format!("found the name {found} in the document, expected {name}, as in the path");
        return Err(Problem::new(Kind::InvalidDocument, detail).at("name"));
    }
    let fleetwide = Fleetwide::look(&app).await?;
    if fleetwide.holder_of(&name).is_some() {
        return Err(Problem::held_by_file(&name));
    }
    let author = author(&caller.name);
    let decide = |existing: Option<&Registered>, last| {
        registry::put(existing, last, registration.document.clone(), precondition, &author)
    };
    let made = app.fleet.registry().change(&name, &author, "", decide).await;
    let made = made.map_err(|error| Problem::of_change(&name, error))?;
    let created = made
        .changed
        .as_ref()
        .is_some_and(|changed| changed.verb == registry::Verb::Created);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let pipeline = made.pipeline.ok_or_else(|| Problem::no_pipeline(&name))?;
    Ok(answer(&app, &fleetwide, &caller, status, pipeline))
}

/// What becomes of a group's offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Offsets {
    /// They stay: a pipeline of this group goes on where this one ended.
    #[default]
    Keep,
    /// They go, once its members have left the group.
    Delete,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Deletion {
    /// What becomes of the group's offsets; `keep` where nothing is said.
    #[serde(default)]
    #[param(inline)]
    offsets: Offsets,
}

/// Deletes a pipeline. Its history stays, and its group's offsets do unless they are to go.
#[utoipa::path(delete, path = "/v1/pipelines/{name}", tag = "pipelines",
    params(
        ("name" = String, Path, example = "orders"),
        ("If-Match" = Option<String>, Header, description = "Delete only this revision."),
        Deletion,
    ),
    responses(
        (status = 204, description = "Deleted."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn delete(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Params(deletion): Params<Deletion>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    allow(&caller, Role::Editor, &name)?;
    let with_offsets = deletion.offsets == Offsets::Delete;
    if with_offsets {
        refuse_embedded(&app, &name, "delete a group").await?;
    }
    let precondition = precondition(&headers)?;
    if Fleetwide::look(&app).await?.holder_of(&name).is_some() {
        return Err(Problem::held_by_file(&name));
    }
    let author = author(&caller.name);
    let decide = |existing: Option<&Registered>, _| registry::delete(existing, with_offsets, precondition, &author);
    let made = app.fleet.registry().change(&name, &author, "", decide).await;
    made.map_err(|error| Problem::of_change(&name, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Validates a document and tells what registering it would change. Nothing is changed.
#[utoipa::path(post, path = "/v1/pipelines:check", tag = "pipelines",
    request_body(
        content = Value,
        content_type = "application/json",
        description = "A pipeline's document, in YAML or JSON.",
        example = json!({"name": "orders", "source": {"topics": ["orders"]}, "function": {"url": "http://127.0.0.1:3000/"}}),
    ),
    responses(
        (status = 200, body = Checked),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn check(State(app): State<App>, caller: Caller, Text(text): Text) -> Result<Json<Checked>, Problem> {
    let registration = match app.fleet.foundation().pipeline(&text, &app.fleet.secrets().await?) {
        Ok(registration) => registration,
        Err(problems) => {
            return Ok(Json(Checked {
                valid: false,
                name: None,
                would: None,
                revision: None,
                changes: Vec::new(),
                problems: fields(&problems),
            }));
        }
    };
    let name = registration.settings.name;
    allow(&caller, Role::Viewer, &name)?;
    if Fleetwide::look(&app).await?.holder_of(&name).is_some() {
        return Err(Problem::held_by_file(&name));
    }
    let existing = app.fleet.registry().get(&name).await?;
    let decided = registry::put(
        existing.as_ref(),
        0,
        registration.document,
        Precondition::None,
        &author(&caller.name),
    );
    let decided = decided.map_err(|refusal| Problem::of_change(&name, registry::ChangeError::Refused(refusal)))?;
    let (would, changes) = match decided {
        Outcome::Same(_) => ("nothing", Vec::new()),
        Outcome::Write(_, changed) if existing.is_some() => ("change", changed.changes),
        Outcome::Write(_, changed) => ("create", changed.changes),
    };
    Ok(Json(Checked {
        valid: true,
        name: Some(name),
        would: Some(would.to_owned()),
        revision: existing.map(|existing| existing.revision),
        changes,
        problems: Vec::new(),
    }))
}

/// A registered pipeline as an answer, with its revision as the entity tag.
pub(super) fn answer(
    app: &App,
    fleetwide: &Fleetwide,
    caller: &Caller,
    status: StatusCode,
    pipeline: Registered,
) -> Response {
    let revision = pipeline.revision;
    let body = Pipeline {
        revision: Some(revision),
        status: summary(app, fleetwide, &pipeline.name, Some(&pipeline)),
        document: shown_to(caller, &pipeline.name, pipeline.document),
    };
    let mut response = (status, Json(body)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// A document's fields, without secrets for whom they are none of their business: who may change the pipeline could read them anyway.
fn shown_to(caller: &Caller, name: &str, document: Value) -> Map<String, Value> {
    let document = match caller.may(Role::Editor, name) {
        true => document,
        false => {
            let [document] = hidden([&document]);
            document
        }
    };
    match document {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Where a pipeline's document is kept.
pub(super) fn held_by(pipeline: Option<&Registered>) -> HeldBy {
    match pipeline {
        Some(_) => HeldBy::Store,
        None => HeldBy::File,
    }
}
