//! The API under `/v1`, and what orchestrators ask. One table makes the routes and the OpenAPI document.

mod access;
mod asked;
mod audit;
mod events;
mod fleet;
mod forward;
mod guard;
mod letters;
mod operate;
mod ops;
mod pipelines;
mod problem;
mod redrives;
mod scaler;
mod serve;
mod standing;
pub mod wire;
mod work;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use jiff::Timestamp;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use crate::control::access::{Secrets, Tokens};
use crate::control::fleet::Fleet;
use crate::control::registry::Author;

pub use forward::Peers;
pub use problem::{Kind, Problem, errors_page};
pub use serve::{Server, Tls};

/// Whether the worker is ready; the error says what it waits for.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A body has at most so many bytes.
const MAX_BODY_BYTES: usize = 1 << 20;
/// An answer is begun within so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What requests are answered from.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What the API is made of.
pub struct Parts {
    /// The fleet that this worker is part of.
    pub fleet: Arc<Fleet>,
    /// The fleet's secrets.
    pub secrets: Secrets,
    /// The tokens that are asked for; `None`: whoever reaches the worker may do everything.
    pub tokens: Option<Tokens>,
    /// Whether the worker is ready.
    pub readiness: Readiness,
    /// How other workers are asked.
    pub peers: Peers,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fnbridge",
        description = "Attach functions to Kafka topics: register pipelines, see how they stand, and operate them.",
        license(name = "Apache-2.0")
    ),
    components(schemas(wire::ProblemDocument)),
    security(("token" = []), ())
)]
struct Document;

/// All routes, answered from these parts.
pub fn router(parts: Parts) -> Router {
    router_within(parts, ANSWER_WITHIN)
}

fn router_within(parts: Parts, answer_within: Duration) -> Router {
    let readiness = parts.readiness.clone();
    let app = App(Arc::new(parts));
    let (routes, document) = described();
    let document = serde_json::to_value(&document).unwrap_or_default();
    routes
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || std::future::ready(Json(document))),
        )
        .layer(from_fn_with_state(app.clone(), forward::forward))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .merge(ops::routes(readiness))
        .fallback(|| async { Problem::new(Kind::NotFound, "found no such path; /v1/openapi.json lists them") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Kind::MethodNotAllowed,
                "the path takes other methods; /v1/openapi.json lists them",
            )
        })
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(answer_within, in_time))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::new(
                Kind::Internal,
                "the request ended in a panic; the worker's log has more",
            )
            .into_response()
        }))
        .with_state(app)
}

/// The routes of a worker without the control role: what orchestrators ask, and who else to ask.
pub fn router_without_control(readiness: Readiness, control: &str) -> Router {
    let detail = format!("this worker has no control role; ask {control}");
    let elsewhere = Problem::new(Kind::NoControlRole, detail);
    ops::routes(readiness)
        .fallback(move || std::future::ready(elsewhere.clone()))
        .layer(from_fn_with_state(ANSWER_WITHIN, in_time))
}

/// The OpenAPI document, from the routes' own types.
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(described().1).unwrap_or_default()
}

fn described() -> (Router<App>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(pipelines::routes())
        .merge(standing::routes())
        .merge(operate::routes())
        .merge(events::routes())
        .merge(fleet::routes())
        .merge(scaler::routes())
        .merge(access::routes())
        .merge(work::routes())
        .merge(letters::routes())
        .merge(redrives::routes())
        .merge(audit::routes())
        .split_for_parts();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    if let Some(components) = &mut document.components {
        components.add_security_scheme("token", bearer);
    }
    (routes, document)
}

async fn in_time(State(within): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::TooSlow, format!("no answer within {} s", within.as_secs_f64())).into_response(),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

fn author(name: &str) -> Author {
    Author {
        name: name.to_owned(),
        at_ms: now_ms(),
    }
}
