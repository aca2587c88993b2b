//! Sending spans: a thread of the SDK's own collects and posts them, so the hot path only queues.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};

use crate::telemetry::events::spans_not_sent;
use crate::telemetry::metrics::state::WorkerState;
use crate::telemetry::metrics::{self, Counter};
use crate::telemetry::repeats::Repeats;

/// How long one request to the endpoint may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an OTLP collector takes spans.
const TRACES: &str = "/v1/traces";

/// How long the last spans have to reach their endpoint when the worker ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The process's tracer, where spans are exported.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// The export of spans. Dropped, it sends what waits, for at most 3 s, and blocks meanwhile.
#[derive(Debug)]
pub struct Tracing(Option<SdkTracerProvider>);

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            // What can't be sent was said and counted when it was tried.
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Starts the export of spans by OTLP over HTTP to a collector: its base URL, or the whole URL of its `/v1/traces`. Without an
/// endpoint nothing is exported. A process exports once, to the first endpoint that is given.
///
/// # Errors
/// An endpoint that can't be used, as a sentence.
pub fn init_tracing(endpoint: Option<&str>, worker: &str) -> Result<Tracing, String> {
    let Some(endpoint) = endpoint else {
        return Ok(Tracing(None));
    };
    let provider = provider(endpoint, worker, &metrics::worker())?;
    // A second tracer of the same process would only be a second name for the first.
    let _ = TRACER.set(provider.tracer("fnbridge"));
    Ok(Tracing(Some(provider)))
}

pub(super) fn provider(endpoint: &str, worker: &str, state: &WorkerState) -> Result<SdkTracerProvider, String> {
    let url = traces_url(endpoint);
    let refused = |why: String| format!("telemetry.otlp_endpoint: no spans can be sent to {url:?}: {why}");
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(refused("expected a URL that begins with http:// or https://".into()));
    }
    let exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&url)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| refused(error.to_string()))?;
    let counted = Counted {
        exporter,
        url,
        exported: Arc::clone(&state.spans_exported),
        failed: Arc::clone(&state.spans_failed),
        repeats: Repeats::default(),
    };
    let resource = Resource::builder()
        .with_service_name("fnbridge")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", worker.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(counted)
        .with_resource(resource)
        .build())
}

/// A collector's base URL, or all of it.
fn traces_url(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    match base.ends_with(TRACES) {
        true => base.to_owned(),
        false => format!("{base}{TRACES}"),
    }
}

/// An exporter whose failures are said and counted.
#[derive(Debug)]
struct Counted {
    exporter: OtlpExporter,
    url: String,
    exported: Arc<Counter>,
    failed: Arc<Counter>,
    repeats: Repeats,
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.exporter.export(batch).await;
        match &outcome {
            Ok(()) => self.exported.add(spans),
            Err(error) => {
                self.failed.add(spans);
                spans_not_sent(&self.repeats, &self.url, spans, error);
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_base_or_the_whole_url() {
        for endpoint in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
            assert_eq!(traces_url(endpoint), "http://c:4318/v1/traces");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused_by_name() {
        let error = provider("collector:4317", "w", &WorkerState::new()).unwrap_err();
        assert!(error.starts_with("telemetry.otlp_endpoint"), "{error}");
    }
}
