//! What happens, as a stream (server-sent events).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::asked::{Name, Params, allow, allow_all};
use super::problem::Problem;
use super::standing::Fleetwide;
use super::wire::{PipelineEvent, ProblemDocument};
use crate::control::access::{Caller, Role};
use crate::telemetry::recent_events;

/// How often it is looked for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(of_pipeline))
        .routes(routes!(of_all))
}

/// How long the stream goes on.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Follow {
    /// `false`: only what happened lately, then the stream ends.
    #[serde(default)]
    follow: Option<bool>,
}

/// Streams what happens to a pipeline, beginning with what happened lately; each event's data is a `PipelineEvent`.
#[utoipa::path(get, path = "/v1/pipelines/{name}/events", tag = "pipelines", params(("name" = String, Path, example = "orders"), Follow),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn of_pipeline(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Params(query): Params<Follow>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    allow(&caller, Role::Viewer, &name)?;
    Fleetwide::look(&app).await?.must_know(&app, &name).await?;
    Ok(events(app, Some(name), query.follow.unwrap_or(true)))
}

/// Streams what happens to all pipelines on this worker, and elsewhere to those that somebody looks at.
#[utoipa::path(get, path = "/v1/events", tag = "fleet", params(Follow), responses(
    (status = 200, body = String, content_type = "text/event-stream"),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn of_all(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<Follow>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    allow_all(&caller, Role::Viewer)?;
    Ok(events(app, None, query.follow.unwrap_or(true)))
}

fn events(app: App, name: Option<String>, follow: bool) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let looking = Looking {
        app,
        name,
        told: BTreeMap::new(),
    };
    let rounds = stream::unfold((looking, 0_u64), move |(mut looking, round)| async move {
        if round > 0 {
            if !follow {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let new = looking.look().await;
        Some((stream::iter(new), (looking, round + 1)))
    });
    let lines = rounds.flatten().map(|event| {
        let sent = Event::default().json_data(&event).unwrap_or_default();
        Ok(sent.event(event.level.clone()))
    });
    Sse::new(lines).keep_alive(KeepAlive::default())
}

/// What was told already, by worker.
struct Looking {
    app: App,
    name: Option<String>,
    told: BTreeMap<String, u64>,
}

impl Looking {
    async fn look(&mut self) -> Vec<PipelineEvent> {
        let name = self.name.as_deref();
        let id = &self.app.fleet.identity().id;
        let mut events: Vec<PipelineEvent> = (recent_events(name).into_iter())
            .map(|event| PipelineEvent {
                worker: id.clone(),
                ..event
            })
            .collect();
        if let Some(name) = name {
            // While the store is away, what happens here is told all the same.
            let _ = self.app.fleet.look_at(name).await;
        }
        let elsewhere = self.app.fleet.events_elsewhere().await.unwrap_or_default();
        let of_it = |event: &PipelineEvent| name.is_none_or(|name| event.pipeline == name);
        events.extend(elsewhere.into_iter().filter(of_it));
        events.retain(|event| self.told.get(&event.worker).is_none_or(|told| event.number > *told));
        for event in &events {
            let told = self.told.entry(event.worker.clone()).or_default();
            *told = (*told).max(event.number);
        }
        events.sort_by(|a, b| a.at.cmp(&b.at));
        events
    }
}
