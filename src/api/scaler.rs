//! What an autoscaler reads.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::asked::{Params, allow};
use super::problem::{Kind, Problem};
use super::standing::{Fleetwide, total};
use super::wire::{Phase, ProblemDocument, Scaler, ScalerQuery, TaskSummary};
use crate::control::access::{Caller, Role};
use crate::control::fleet::{Demand, wanted_workers};

const WITHIN_SECONDS: u32 = 30;
const LONGEST_SECONDS: u32 = 86_400;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(scaler))
}

/// Tells what waits for workers, as numbers that an autoscaler reads as they are: KEDA's `metrics-api` by the field's name.
#[utoipa::path(get, path = "/v1/scaler", tag = "fleet", params(ScalerQuery), responses(
    (status = 200, body = Scaler),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn scaler(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<ScalerQuery>,
) -> Result<Json<Scaler>, Problem> {
    let named = query.pipeline.as_deref();
    allow(&caller, Role::Viewer, named.unwrap_or(&caller.prefix))?;
    let within = query.within_seconds.unwrap_or(WITHIN_SECONDS);
    if !(1..=LONGEST_SECONDS).contains(&within) {
        let problem = format!("within_seconds is {within}, expected 1 to {LONGEST_SECONDS}");
        return Err(Problem::new(Kind::InvalidRequest, problem));
    }
    let fleetwide = Fleetwide::look(&app).await?;
    if let Some(name) = named
        && fleetwide.tasks(name).next().is_none()
    {
        fleetwide.must_know(&app, name).await?;
    }
    let names = fleetwide
        .running()
        .filter(|name| named.is_none_or(|named| named == *name));
    let demands: Vec<Demand> = (names.filter(|name| name.starts_with(&caller.prefix)))
        .map(|name| demand(fleetwide.tasks(name).map(|(_, task)| task)))
        .collect();
    Ok(Json(told(&demands, f64::from(within))))
}

fn told(demands: &[Demand], within_seconds: f64) -> Scaler {
    let helped = || demands.iter().filter(|demand| !demand.blocked);
    let wanted = demands.iter().map(|demand| wanted_workers(demand, within_seconds));
    Scaler {
        undispatched_records: helped().map(|demand| demand.undispatched).sum(),
        oldest_undispatched_seconds: helped().map(|demand| demand.oldest_seconds).fold(0.0, f64::max),
        workers: demands.iter().map(|demand| demand.workers).max().unwrap_or(0),
        wanted_workers: wanted.max().unwrap_or(1),
    }
}

/// What the tasks of one pipeline have to do; what is paused has nothing to.
fn demand<'a>(tasks: impl Iterator<Item = &'a TaskSummary>) -> Demand {
    let tasks: Vec<&TaskSummary> = tasks.filter(|task| task.phase != Phase::Paused).collect();
    let workers = tasks.len() as u64;
    Demand {
        workers,
        partitions: tasks.iter().map(|task| task.partitions).sum(),
        undispatched: tasks.iter().map(|task| task.undispatched_records).sum(),
        oldest_seconds: tasks.iter().map(|task| task.undispatched_seconds).fold(0.0, f64::max),
        records_per_second: total(tasks.iter().map(|task| task.records_per_second)),
        busy: total(tasks.iter().map(|task| task.busy)) / workers.max(1) as f64,
        blocked: (tasks.iter()).any(|task| matches!(task.phase, Phase::Blocked | Phase::Waiting)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_worker_would_take_up_is_not_told_as_waiting_for_one() {
        let running = Demand {
            workers: 2,
            partitions: 4,
            undispatched: 10,
            oldest_seconds: 3.0,
            records_per_second: 5.0,
            busy: 0.1,
            blocked: false,
        };
        let down = Demand {
            workers: 3,
            undispatched: 1_000_000,
            oldest_seconds: 900.0,
            blocked: true,
            ..running
        };
        let scaler = told(&[running, down], 30.0);
        assert_eq!(
            (scaler.undispatched_records, scaler.oldest_undispatched_seconds),
            (10, 3.0)
        );
        assert_eq!((scaler.workers, scaler.wanted_workers), (3, 3), "it keeps what it has");
        assert_eq!(told(&[], 30.0).wanted_workers, 1);
    }
}
