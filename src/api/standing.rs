//! How pipelines stand over the whole fleet, and what was changed of them.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Params, allow};
use super::pipelines::{held_by, limit};
use super::problem::{Kind, Problem};
use super::wire::{
    Change, History, PageQuery, Phase, PipelineStatus, PipelineSummary, ProblemDocument, State as Wished, TaskSummary,
};
use super::{App, rfc3339};
use crate::control::access::{Caller, Role};
use crate::control::fleet::Report;
use crate::control::registry::Registered;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(status)).routes(routes!(history))
}

/// What all workers told, at one moment.
pub(super) struct Fleetwide {
    pub(super) reports: Vec<Report>,
}

impl Fleetwide {
    pub(super) async fn look(app: &App) -> Result<Fleetwide, Problem> {
        Ok(Fleetwide {
            reports: app.fleet.reports().await?,
        })
    }

    /// The names of pipelines from files.
    pub(super) fn files(&self) -> impl Iterator<Item = &String> {
        self.reports.iter().flat_map(|report| report.files.keys())
    }

    /// A worker that has the pipeline from a file.
    pub(super) fn holder_of(&self, name: &str) -> Option<&str> {
        let holder = self.reports.iter().find(|report| report.files.contains_key(name));
        holder.map(|report| report.identity.id.as_str())
    }

    /// Refuses a name that is neither in a worker's files nor in the store.
    pub(super) async fn must_know(&self, app: &App, name: &str) -> Result<(), Problem> {
        if self.holder_of(name).is_none() && app.fleet.registry().get(name).await?.is_none() {
            return Err(Problem::no_pipeline(name));
        }
        Ok(())
    }

    /// The names of pipelines that some worker runs.
    pub(super) fn running(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self
            .reports
            .iter()
            .flat_map(|report| report.tasks.keys())
            .map(String::as_str)
            .collect();
        names.into_iter()
    }

    /// A pipeline's tasks, each with its worker.
    pub(super) fn tasks<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a TaskSummary)> {
        let task = move |report: &'a Report| Some((report.identity.id.as_str(), report.tasks.get(name)?));
        self.reports.iter().filter_map(task)
    }

    /// Whether files differ between workers, in a sentence.
    pub(super) fn differences(&self, name: &str) -> Option<String> {
        let revisions: BTreeMap<&str, Option<&String>> = (self.reports.iter().filter(|report| report.takes()))
            .map(|report| (report.identity.id.as_str(), report.files.get(name)))
            .collect();
        let first = revisions.values().next()?;
        if revisions.values().all(|revision| revision == first) {
            return None;
        }
        let each: Vec<String> = (revisions.iter())
            .map(|(worker, revision)| format!("{worker} has {}", revision.map_or("none", String::as_str)))
            .collect();
        Some(format!("the workers' files differ: {}", each.join(", ")))
    }
}

/// What rates add up to. Where there is none that is 0, while `sum` says -0.
pub(super) fn total(rates: impl Iterator<Item = f64>) -> f64 {
    rates.fold(0.0, std::ops::Add::add)
}

/// The most telling phase comes first.
fn weight(phase: Phase) -> u8 {
    match phase {
        Phase::Blocked => 0,
        Phase::Waiting => 1,
        Phase::Rebalancing => 2,
        Phase::Starting => 3,
        Phase::Paused => 4,
        Phase::Running => 5,
        Phase::Stopped => 6,
        Phase::Unplaced => 7,
    }
}

/// A pipeline in a line; `None`: it is from a file.
pub(super) fn summary(app: &App, fleetwide: &Fleetwide, name: &str, stored: Option<&Registered>) -> PipelineSummary {
    let tasks: Vec<(&str, &TaskSummary)> = fleetwide.tasks(name).collect();
    let document = stored.map(|pipeline| pipeline.document.clone());
    let document = document
        .or_else(|| app.fleet.file(name).map(|file| file.document))
        .unwrap_or_default();
    let worst = tasks.iter().min_by_key(|(_, task)| weight(task.phase));
    let (phase, reason) = match worst {
        Some((_, task)) => (task.phase, task.reason.clone()),
        None => {
            let unplaced = app.fleet.unplaced(name);
            (
                Phase::Unplaced,
                Some(unplaced.unwrap_or_else(|| "no worker has taken it yet".to_owned())),
            )
        }
    };
    let labels = document["labels"].as_object().into_iter().flatten();
    let totals = |of: fn(&TaskSummary) -> f64| total(tasks.iter().map(|(_, task)| of(task)));
    PipelineSummary {
        name: name.to_owned(),
        labels: labels
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        state: match document["state"].as_str() {
            Some("paused") => Wished::Paused,
            _ => Wished::Running,
        },
        held_by: held_by(stored),
        phase,
        reason,
        workers: tasks.iter().map(|(worker, _)| (*worker).to_owned()).collect(),
        partitions: tasks.iter().map(|(_, task)| task.partitions).sum(),
        lag_records: tasks.iter().map(|(_, task)| task.lag_records).sum(),
        lag_seconds: tasks.iter().map(|(_, task)| task.lag_seconds).fold(0.0, f64::max),
        records_per_second: totals(|task| task.records_per_second),
        bytes_per_second: totals(|task| task.bytes_per_second),
    }
}

/// Tells whether a pipeline works, and if not why: by worker and by partition.
#[utoipa::path(get, path = "/v1/pipelines/{name}/status", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = PipelineStatus),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn status(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Json<PipelineStatus>, Problem> {
    allow(&caller, Role::Viewer, &name)?;
    let fleetwide = Fleetwide::look(&app).await?;
    let by_file = fleetwide.holder_of(&name).is_some();
    let stored = app.fleet.registry().get(&name).await?.filter(|_| !by_file);
    if stored.is_none() && !by_file {
        return Err(Problem::no_pipeline(&name));
    }
    let mut tasks = app.fleet.tasks_of(&name).await?;
    tasks.sort_by(|a, b| a.worker.cmp(&b.worker));
    let mut remarks: Vec<String> = fleetwide.differences(&name).filter(|_| by_file).into_iter().collect();
    let revision = stored.as_ref().map(|pipeline| pipeline.revision);
    if let Some(pipeline) = &stored {
        let seek = pipeline.seek.as_ref();
        remarks.extend(seek.map(|seek| format!("a seek to {} is under way: workers leave the group for it", seek.to)));
        let failed = pipeline.seek_failed.as_ref();
        remarks.extend(failed.map(|reason| format!("the last seek came to nothing: {reason}")));
    }
    let behind = tasks.iter().filter(|task| task.summary.revision.is_empty()).count();
    if behind > 0 {
        remarks.push(format!("{behind} of {} workers can't run the document", tasks.len()));
    }
    Ok(Json(PipelineStatus {
        summary: summary(&app, &fleetwide, &name, stored.as_ref()),
        revision,
        tasks,
        remarks,
    }))
}

/// Lists a pipeline's changes, newest first: who, when, what. Those of a pipeline that was deleted are kept.
#[utoipa::path(get, path = "/v1/pipelines/{name}/history", tag = "pipelines", params(("name" = String, Path, example = "orders"), PageQuery),
    responses(
        (status = 200, body = History),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn history(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Params(query): Params<PageQuery>,
) -> Result<Json<History>, Problem> {
    allow(&caller, Role::Viewer, &name)?;
    let before = match query.after.as_deref().map(str::parse) {
        None => None,
        Some(Ok(revision)) => Some(revision),
        Some(Err(_)) => {
            let detail = "found an `after` that is no revision, expected the last page's `next`";
            return Err(Problem::new(Kind::InvalidRequest, detail).at("after"));
        }
    };
    let (changes, more) = app.fleet.registry().history(&name, before, limit(&query)?).await?;
    if changes.is_empty() && before.is_none() {
        return Err(Problem::no_pipeline(&name));
    }
    let next = changes.last().filter(|_| more).map(|last| last.revision.to_string());
    let changes = changes.into_iter().map(|changed| Change {
        revision: changed.revision,
        verb: changed.verb,
        by: changed.by,
        at: rfc3339(changed.at_ms),
        changes: changed.changes,
    });
    Ok(Json(History {
        changes: changes.collect(),
        next,
    }))
}
