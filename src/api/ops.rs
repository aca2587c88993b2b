//! What orchestrators and scrapers ask: `/healthz`, `/readyz`, `/metrics`; and the page of errors.

use std::future::ready;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::{Readiness, errors_page};
use crate::telemetry::render_metrics;

pub(super) fn routes<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    Router::new()
        .route("/healthz", get(|| ready("ok\n")))
        .route("/readyz", get(move || ready(readyz(&readiness))))
        .route("/metrics", get(|| ready(metrics())))
        .route("/v1/errors", get(|| ready(errors())))
}

fn readyz(readiness: &Readiness) -> (StatusCode, String) {
    match readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn errors() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], errors_page())
}

fn metrics() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], render_metrics())
}
