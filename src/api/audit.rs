//! Audits: what became of a pipeline's records, held against the logs.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Params, allow};
use super::letters::time;
use super::operate::settings;
use super::problem::{Kind, Problem};
use super::wire::{Audit, AuditQuery, AuditedPartition, Counting, ProblemDocument};
use super::{App, now_ms, rfc3339};
use crate::audit::Account;
use crate::control::access::{Caller, Role};
use crate::control::accounts::{Audited, Progress};
use crate::delivery::answer::Disposition;
use crate::delivery::record::TopicPartition;

/// Whoever asks is answered within so long: with how far it is, where it has not ended.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(audit))
}

/// Accounts for each record of a pipeline's source in a range of time: results and dead letters are counted in Kafka, and held
/// against what the commits say. It goes on until it is done; ask again while the answer is 202.
#[utoipa::path(get, path = "/v1/pipelines/{name}/audit", tag = "pipelines", params(("name" = String, Path, example = "orders"), AuditQuery),
    responses(
        (status = 200, body = Audit),
        (status = 202, body = Counting, description = "It is counting; ask again."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn audit(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Params(query): Params<AuditQuery>,
) -> Result<Response, Problem> {
    allow(&caller, Role::Viewer, &name)?;
    let (from, to) = (time("from", query.from.as_deref())?, time("to", query.to.as_deref())?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        let detail = "expected `from` before `to`";
        return Err(Problem::new(Kind::InvalidRequest, detail).at("from"));
    }
    let settings = settings(&app, &name).await?;
    let asked = (name.clone(), from, to);
    let store = app.fleet.store().clone();
    match app
        .fleet
        .audits()
        .ask(asked, settings, store, now_ms(), ANSWER_WITHIN)
        .await
    {
        Progress::Counting(counting) => Ok((StatusCode::ACCEPTED, Json(Counting { counting })).into_response()),
        Progress::Done(Ok(audited)) => Ok(Json(told(&name, &audited)).into_response()),
        Progress::Done(Err(reason)) => Err(Problem::new(Kind::CannotAudit, reason)),
    }
}

fn told(pipeline: &str, audited: &Audited) -> Audit {
    let accounts = || audited.partitions.values();
    let sum = |of: fn(&Account) -> u64| accounts().map(of).sum::<u64>();
    let settled = Disposition::ALL.into_iter().map(|disposition| {
        let count = accounts().map(|account| account.settled[disposition as usize]).sum();
        (disposition.name().to_owned(), count)
    });
    let suspects = audited
        .partitions
        .iter()
        .flat_map(|(place, account)| (account.suspects.iter()).map(move |offset| format!("{place}/{offset}")));
    Audit {
        pipeline: pipeline.to_owned(),
        adds_up: accounts().all(Account::adds_up),
        from: audited.from_ms.map(rfc3339),
        to: rfc3339(audited.to_ms),
        settled: settled.collect::<BTreeMap<String, u64>>(),
        records: sum(|account| account.records),
        with_result: sum(|account| account.with_result),
        more_results: sum(|account| account.more_results),
        with_letter: sum(|account| account.with_letter),
        letters: (audited.fates.iter())
            .map(|(standing, count)| (standing.name().to_owned(), *count))
            .collect(),
        neither: sum(|account| account.neither),
        missing: sum(|account| account.missing),
        uncounted: accounts().map(|account| account.uncounted).sum(),
        gone: sum(|account| account.gone),
        unsettled: sum(|account| account.unsettled),
        suspects: suspects.collect(),
        not_countable: audited.not_countable.clone(),
        left_out: audited.left_out.iter().cloned().collect(),
        partitions: audited.partitions.iter().map(partition).collect(),
        read: audited.read,
    }
}

fn partition((place, account): (&TopicPartition, &Account)) -> AuditedPartition {
    AuditedPartition {
        partition: place.to_string(),
        from: account.from,
        to: account.to,
        records: account.records,
        with_result: account.with_result,
        with_letter: account.with_letter,
        missing: account.missing,
        uncounted: account.uncounted,
        gone: account.gone,
        unsettled: account.unsettled,
    }
}
