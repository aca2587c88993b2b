//! Redrives: planned, started, watched, told to wait or to end; and letters that are edited or discarded.

mod chosen;
mod discard;
mod edit;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Params, Sent, allow};
use super::letters::shown::blocking;
use super::pipelines::limit;
use super::problem::{Kind, Problem};
use super::wire::{
    LetterReason, PageQuery, ProblemDocument, Redrive, RedriveList, RedrivePlan, RedriveQuery, RedriveRequest,
    RedriveTo, RefusedLetters,
};
use super::{App, author, rfc3339};
use crate::control::access::{Caller, Role};
use crate::control::redrives::{Asked, BoardError, Posted};
use crate::kafka::{Admin, committed};
use crate::letters::{Passed, passed};
use crate::redrive::{State as JobState, To, WrongState};
use chosen::{Chosen, Which, choose};

/// A redrive stops by itself where more than this part of its letters fails again.
const MAX_FAILED: f64 = 0.5;
/// The fastest that can be asked for.
const MAX_RATE: f64 = 1e9;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(start, list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
        .routes(routes!(edit::edit))
        .routes(routes!(discard::discard))
}

/// Sends dead letters through again, as a job that any worker can carry on; or says what that would do.
#[utoipa::path(post, path = "/v1/redrives", tag = "dead letters", request_body = RedriveRequest, responses(
    (status = 201, body = Redrive, description = "Started."),
    (status = 200, body = RedrivePlan, description = "A dry run."),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn start(
    State(app): State<App>,
    caller: Caller,
    Sent(request): Sent<RedriveRequest>,
) -> Result<Response, Problem> {
    let max_failed = request.max_failed.unwrap_or(MAX_FAILED);
    within("max_failed", max_failed, 0.0, 1.0)?;
    if let Some(rate) = request.rate {
        within("rate", rate, 0.001, MAX_RATE)?;
    }
    let which = Which {
        pipeline: request.pipeline,
        ids: request.ids,
        matching: request.matching,
        all: request.all,
    };
    let (to, unknown) = (to(request.to), request.unknown);
    let chosen = choose(&app, &caller, Role::Operator, which).await?;
    let plan = plan(&chosen, to, unknown).await?;
    if request.dry_run {
        return Ok(Json(plan).into_response());
    }
    refuse_nothing(&plan)?;
    let asked = Asked {
        passed: plan.passed,
        max: request.max,
        rate: request.rate,
        max_failed,
        to,
        unknown,
        ..chosen.asked(request.reason)
    };
    let job = app.fleet.redrives().post(asked, &author(&caller.name)).await?;
    posted(&app, &job.id)
        .await
        .map(|redrive| (StatusCode::CREATED, Json(redrive)).into_response())
}

fn within(field: &str, found: f64, least: f64, most: f64) -> Result<(), Problem> {
    match (least..=most).contains(&found) {
        true => Ok(()),
        false => {
            let detail = format!("found {found}, expected {least} to {most}");
            Err(Problem::new(Kind::InvalidRequest, detail).at(field))
        }
    }
}

fn to(to: RedriveTo) -> To {
    match to {
        RedriveTo::Pipeline => To::Pipeline,
        RedriveTo::Function => To::Function,
        RedriveTo::Source => To::Source,
    }
}

async fn plan(chosen: &Chosen, to: To, unknown: bool) -> Result<RedrivePlan, Problem> {
    let counted = chosen.counted(to, unknown);
    let passed = match counted.sends {
        0 => None,
        _ => Some(behind(chosen).await),
    };
    let other_groups = match to {
        To::Source => other_groups(chosen).await?,
        To::Pipeline | To::Function => Vec::new(),
    };
    Ok(RedrivePlan {
        pipeline: chosen.settings.name.clone(),
        letters: counted.letters,
        sends: counted.sends,
        bytes: counted.bytes,
        to_sink: counted.to_sink,
        refused: (counted.refused.into_iter())
            .map(|(code, (why, letters))| RefusedLetters { code, why, letters })
            .collect(),
        other_groups,
        passed,
    })
}

/// Records of the letters' keys that went through already: what is sent comes behind them.
async fn behind(chosen: &Chosen) -> Passed {
    let (source, keys) = (chosen.settings.source.clone(), chosen.keys.clone());
    let found = blocking(move || {
        let committed = committed(&source)?;
        let offsets = (committed.into_iter())
            .map(|(place, (offset, _))| (place, offset))
            .collect();
        passed(&source.cluster, &keys, &offsets)
    });
    found.await.unwrap_or_else(|error| Passed {
        not_since: Some(error.to_string()),
        ..Passed::default()
    })
}

/// The groups beside the pipeline's own that read its source.
async fn other_groups(chosen: &Chosen) -> Result<Vec<String>, Problem> {
    let source = &chosen.settings.source;
    if source.cluster.embedded {
        return Ok(Vec::new());
    }
    let away = |error: crate::kafka::KafkaError| Problem::new(Kind::ClusterAway, error.to_string());
    let admin = Admin::open(source.cluster.clone(), "fnbridge-redrive").map_err(away)?;
    let mut groups = Vec::new();
    for topic in &chosen.source_topics {
        groups.extend(admin.readers(topic).await.map_err(away)?);
    }
    groups.retain(|group| *group != source.group);
    groups.sort();
    groups.dedup();
    Ok(groups)
}

fn refuse_nothing(plan: &RedrivePlan) -> Result<(), Problem> {
    if plan.sends > 0 {
        return Ok(());
    }
    let why = match plan.refused.first() {
        None => "no dead letter of this pipeline matches".to_owned(),
        Some(refused) => format!("of {} letters, {}: {}", plan.letters, refused.letters, refused.why),
    };
    Err(Problem::new(Kind::NothingToRedrive, why))
}

/// Lists redrives, the newest first.
#[utoipa::path(get, path = "/v1/redrives", tag = "dead letters", params(RedriveQuery), responses(
    (status = 200, body = RedriveList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<RedriveQuery>,
) -> Result<Json<RedriveList>, Problem> {
    let limit = limit(&PageQuery {
        after: None,
        limit: query.limit,
    })?;
    let prefix = query.pipeline.as_ref().unwrap_or(&caller.prefix);
    allow(&caller, Role::Viewer, prefix)?;
    let (posted, more) = app.fleet.redrives().list(query.after.as_deref(), limit).await?;
    let next = posted.last().filter(|_| more).map(|last| last.job.id.clone());
    let wanted = |posted: &Posted| {
        let name = &posted.job.pipeline;
        query.pipeline.as_ref().is_none_or(|wanted| wanted == name) && name.starts_with(&caller.prefix)
    };
    Ok(Json(RedriveList {
        redrives: posted.iter().filter(|posted| wanted(posted)).map(redrive).collect(),
        next,
    }))
}

/// Shows a redrive: how it stands, how far it is, and what became of its letters.
#[utoipa::path(get, path = "/v1/redrives/{id}", tag = "dead letters", params(("id" = String, Path, example = "20260131-120000-0af")), responses(
    (status = 200, body = Redrive),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn show(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<Json<Redrive>, Problem> {
    let redrive = posted(&app, &id).await?;
    allow(&caller, Role::Viewer, &redrive.pipeline)?;
    Ok(Json(redrive))
}

/// Lets a redrive wait: what is on the wire comes to its end.
#[utoipa::path(post, path = "/v1/redrives/{id}/pause", tag = "dead letters", params(("id" = String, Path, example = "20260131-120000-0af")), responses(
    (status = 200, body = Redrive),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn pause(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<Json<Redrive>, Problem> {
    change(&app, &caller, &id, JobState::pause).await
}

/// Lets a redrive that was paused, or that stopped by itself, go on.
#[utoipa::path(post, path = "/v1/redrives/{id}/resume", tag = "dead letters", params(("id" = String, Path, example = "20260131-120000-0af")), responses(
    (status = 200, body = Redrive),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn resume(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<Json<Redrive>, Problem> {
    change(&app, &caller, &id, JobState::resume).await
}

/// Ends a redrive: what is on the wire comes to its end, the other letters stay as they are.
#[utoipa::path(post, path = "/v1/redrives/{id}/cancel", tag = "dead letters", params(("id" = String, Path, example = "20260131-120000-0af")), responses(
    (status = 200, body = Redrive),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn cancel(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<Json<Redrive>, Problem> {
    change(&app, &caller, &id, JobState::cancel).await
}

async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    change: impl Fn(JobState) -> Result<JobState, WrongState>,
) -> Result<Json<Redrive>, Problem> {
    let before = posted(app, id).await?;
    allow(caller, Role::Operator, &before.pipeline)?;
    let changed = app
        .fleet
        .redrives()
        .change(id, change, "", &author(&caller.name))
        .await?;
    Ok(Json(redrive(&changed.ok_or_else(|| no_redrive(id))?)))
}

async fn posted(app: &App, id: &str) -> Result<Redrive, Problem> {
    let posted = app.fleet.redrives().get(id).await?;
    Ok(redrive(&posted.ok_or_else(|| no_redrive(id))?))
}

fn no_redrive(id: &str) -> Problem {
    Problem::new(
        Kind::NotFound,
        format!("found no redrive {id:?}; GET /v1/redrives lists them"),
    )
}

fn redrive(posted: &Posted) -> Redrive {
    let (job, progress) = (&posted.job, &posted.progress);
    let counts = &progress.counts;
    let letters = job.max.map_or(job.expected, |max| max.min(job.expected));
    let took = (progress.at_ms - progress.began_ms) as f64 / 1000.0;
    let speed = (took > 0.0 && counts.all() > 0).then(|| counts.all() as f64 / took);
    let left = letters.saturating_sub(counts.all()) as f64;
    let reasons = |of: &[(String, String)]| {
        (of.iter().cloned())
            .map(|(id, reason)| LetterReason { id, reason })
            .collect()
    };
    Redrive {
        id: job.id.clone(),
        pipeline: job.pipeline.clone(),
        state: job.state.name().to_owned(),
        said: job.said.clone(),
        waits: progress.waits.clone().filter(|_| job.state == JobState::Running),
        to: match job.to {
            To::Pipeline => RedriveTo::Pipeline,
            To::Function => RedriveTo::Function,
            To::Source => RedriveTo::Source,
        },
        by: job.by.clone(),
        reason: job.why.clone(),
        at: rfc3339(job.at_ms),
        updated: (progress.at_ms > 0).then(|| rfc3339(progress.at_ms)),
        letters,
        passed: job.passed.clone(),
        done: counts.all(),
        delivered: counts.delivered,
        dropped: counts.dropped,
        dead_lettered: counts.dead_lettered,
        to_source: counts.to_source,
        refused: counts.refused.clone(),
        bytes: progress.bytes,
        letters_per_second: speed,
        seconds_left: speed
            .filter(|_| job.state == JobState::Running)
            .map(|speed| left / speed),
        repeated: progress.repeated,
        repeated_ids: progress.repeated_ids.clone(),
        failures: reasons(&progress.failures),
        refusals: reasons(&progress.refusals),
        worker: progress.worker.clone(),
    }
}

impl From<BoardError> for Problem {
    fn from(error: BoardError) -> Problem {
        match error {
            BoardError::Store(error) => error.into(),
            BoardError::Wrong(error) => Problem::new(Kind::WrongState, error.to_string()),
            BoardError::TooLarge { .. } => Problem::new(Kind::TooLarge, error.to_string()),
        }
    }
}
