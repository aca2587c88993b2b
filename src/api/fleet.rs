//! The workers, and the audit log.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Params, allow, allow_all};
use super::pipelines::limit;
use super::problem::Problem;
use super::standing::{Fleetwide, total};
use super::wire::{AuditLog, Audited, PageQuery, ProblemDocument, Worker, WorkerList};
use super::{App, rfc3339};
use crate::control::access::{Caller, Role};
use crate::control::audit;
use crate::control::fleet::{Duty, Report};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(workers)).routes(routes!(audit_log))
}

/// Lists the workers that are alive, by id.
#[utoipa::path(get, path = "/v1/workers", tag = "fleet", params(PageQuery), responses(
    (status = 200, body = WorkerList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn workers(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<WorkerList>, Problem> {
    allow(&caller, Role::Viewer, &caller.prefix)?;
    let limit = limit(&query)?;
    let fleetwide = Fleetwide::look(&app).await?;
    let leader = app.fleet.leader().await?;
    let after = query.after.as_deref();
    let behind = |report: &&Report| after.is_none_or(|after| report.identity.id.as_str() > after);
    let mut reports: Vec<&Report> = fleetwide.reports.iter().filter(behind).collect();
    reports.sort_by(|a, b| a.identity.id.cmp(&b.identity.id));
    let more = reports.len() > limit;
    reports.truncate(limit);
    let next = reports.last().filter(|_| more).map(|report| report.identity.id.clone());
    let workers = reports
        .into_iter()
        .map(|report| worker(report, &fleetwide, leader.as_deref()))
        .collect();
    Ok(Json(WorkerList { workers, next }))
}

fn worker(report: &Report, fleetwide: &Fleetwide, leader: Option<&str>) -> Worker {
    let identity = &report.identity;
    let tasks = || report.tasks.values();
    let (state, reason) = match (&report.stuck, report.draining) {
        (Some(stuck), _) => ("stuck", Some(stuck.clone())),
        (None, true) => ("draining", None),
        (None, false) if report.restarting => ("restarting", None),
        (None, false) => ("ready", None),
    };
    Worker {
        id: identity.id.clone(),
        roles: (identity.duties.iter())
            .map(|duty| match duty {
                Duty::Control => "control".to_owned(),
                Duty::Worker => "worker".to_owned(),
            })
            .collect(),
        labels: identity.labels.clone(),
        version: identity.version.clone(),
        address: identity.address.clone(),
        since: rfc3339(identity.started_ms),
        leader: leader == Some(identity.id.as_str()),
        state: state.to_owned(),
        reason,
        tasks: report.tasks.len() as u64,
        partitions: tasks().map(|task| task.partitions).sum(),
        records_per_second: total(tasks().map(|task| task.records_per_second)),
        bytes_per_second: total(tasks().map(|task| task.bytes_per_second)),
        lag_records: tasks().map(|task| task.lag_records).sum(),
        files_differ: (report.files.keys().filter(|name| fleetwide.differences(name).is_some()))
            .cloned()
            .collect(),
    }
}

/// Lists who changed what, newest first.
#[utoipa::path(get, path = "/v1/audit-log", tag = "fleet", params(PageQuery), responses(
    (status = 200, body = AuditLog),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn audit_log(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<PageQuery>,
) -> Result<Json<AuditLog>, Problem> {
    allow_all(&caller, Role::Admin)?;
    let (entries, more) = audit::list(&**app.fleet.store(), query.after.as_deref(), limit(&query)?).await?;
    let next = entries.last().filter(|_| more).map(|(key, _)| key.clone());
    let entries = entries.into_iter().map(|(_, entry)| Audited {
        at: rfc3339(entry.at_ms),
        by: entry.by,
        action: entry.action,
        target: entry.target,
        detail: entry.detail,
    });
    Ok(Json(AuditLog {
        entries: entries.collect(),
        next,
    }))
}
