//! What operators and orchestrators ask a worker: `/healthz`, `/readyz`, `/metrics`, and how its pipelines stand.

use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::metrics;
use super::status;

/// Whether the worker is ready; the error says what it waits for.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The server, bound and not serving yet.
#[derive(Debug)]
pub struct OpsServer {
    listener: TcpListener,
}

impl OpsServer {
    /// Takes the address.
    ///
    /// # Errors
    /// What stands against it, as a sentence: mostly that another process has it.
    pub async fn bind(address: SocketAddr) -> Result<OpsServer, String> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("listen: {address} is in use by another process: stop it, or set `listen` to a free port")
            }
            _ => format!("listen: {address} can't be bound: {error}"),
        };
        let listener = TcpListener::bind(address).await.map_err(told)?;
        Ok(OpsServer { listener })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is over.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, ready: Readiness, end: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        axum::serve(self.listener, routes(ready))
            .with_graceful_shutdown(end)
            .await
    }
}

fn routes(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| ready("ok\n")))
        .route("/readyz", get(move || ready(readyz(&readiness))))
        .route("/metrics", get(|| ready(page())))
        .route("/v1/pipelines", get(|| ready(pipelines())))
        .route(
            "/v1/pipelines/{name}/status",
            get(|Path(name): Path<String>| ready(pipeline(&name))),
        )
}

fn readyz(readiness: &Readiness) -> (StatusCode, String) {
    match readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn page() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render_metrics())
}

fn pipelines() -> Response {
    let all = metrics::worker().pipelines();
    let all: Vec<Value> = all.into_iter().map(status::summary).collect();
    document(StatusCode::OK, "application/json", &json!({ "pipelines": all }))
}

fn pipeline(name: &str) -> Response {
    match metrics::worker().find(name) {
        Some(state) => document(StatusCode::OK, "application/json", &status::whole(state)),
        None => {
            let problem = json!({
                "title": "there is no such pipeline on this worker",
                "status": 404,
                "code": "pipeline_not_found",
                "detail": format!("found no pipeline named {name:?}; GET /v1/pipelines lists them"),
            });
            document(StatusCode::NOT_FOUND, "application/problem+json", &problem)
        }
    }
}

fn document(status: StatusCode, kind: &'static str, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_clear_error() {
        let first = OpsServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let taken = first.address().unwrap();
        let error = OpsServer::bind(taken).await.unwrap_err();
        assert_eq!(
            error,
            format!("listen: {taken} is in use by another process: stop it, or set `listen` to a free port")
        );
    }
}
