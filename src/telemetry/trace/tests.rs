//! Spans against a receiver of OTLP over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry::trace::TracerProvider;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::AttemptSpan;
use super::export::provider;
use crate::delivery::event::{Assignment, AttemptOutcome, Call, CallId};
use crate::delivery::record::{Header, Record, TopicPartition};
use crate::telemetry::metrics::state::WorkerState;

const TRACE: [u8; 16] = *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c";
const PARENT: [u8; 8] = *b"\xb7\xad\x6b\x71\x69\x20\x33\x31";
const CARRIED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn record(offset: i64, traceparent: Option<&'static str>) -> Arc<Record> {
    Arc::new(Record {
        source: TopicPartition {
            topic: "orders".into(),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 0,
        key: Some(Bytes::from_static(b"the key")),
        value: Some(Bytes::from_static(b"the value")),
        headers: (traceparent.iter())
            .map(|text| Header {
                name: "traceparent".into(),
                value: Some(Bytes::from_static(text.as_bytes())),
            })
            .collect(),
    })
}

fn call(records: Vec<Arc<Record>>) -> Call {
    Call {
        id: CallId(1),
        assignment: Assignment(1),
        records,
        attempt: 2,
        probe: false,
    }
}

/// Calls `act` with a tracer, and gives back what reached the collector.
async fn collected(act: impl FnOnce(&opentelemetry_sdk::trace::SdkTracer)) -> (HeaderMap, Bytes, Arc<WorkerState>) {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: Bytes| {
        let _ = seen.send((headers, body));
        std::future::ready(())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = Router::new().route("/v1/traces", post(take));
    let serving = tokio::spawn(async move { axum::serve(listener, collector).await });
    let state = Arc::new(WorkerState::new());
    let provider = provider(&endpoint, "worker-1", &state).unwrap();
    act(&provider.tracer("fnbridge"));
    let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(10)));
    let (headers, body) = timeout(Duration::from_secs(10), requests.recv())
        .await
        .unwrap()
        .unwrap();
    flushed.await.unwrap().unwrap();
    serving.abort();
    (headers, body, state)
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_lone_records_trace_goes_on_in_the_attempts_span() {
    let mut traceparent = String::new();
    let (headers, body, state) = collected(|tracer| {
        let span = AttemptSpan::begin_by(Some(tracer), "orders-enrich", &call(vec![record(42, Some(CARRIED))]));
        traceparent = span.traceparent().to_owned();
        span.end(AttemptOutcome::Failed, Some(502));
    })
    .await;
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert!(
        traceparent.starts_with(&CARRIED[..36]) && traceparent != CARRIED,
        "{traceparent}"
    );
    for part in [
        &TRACE[..],
        &PARENT,
        b"orders-enrich call",
        b"failed",
        b"http.response.status_code",
        b"worker-1",
    ] {
        assert!(holds(&body, part), "{} is missing", part.escape_ascii());
    }
    for secret in [&b"the key"[..], b"the value"] {
        assert!(!holds(&body, secret), "a span holds {}", secret.escape_ascii());
    }
    assert_eq!((state.spans_exported.get(), state.spans_failed.get()), (1, 0));
}

#[tokio::test]
async fn a_batch_starts_a_trace_and_links_to_those_of_its_records() {
    let mut traceparent = String::new();
    let records = vec![record(42, Some(CARRIED)), record(43, None)];
    let (_, body, _) = collected(|tracer| {
        let span = AttemptSpan::begin_by(Some(tracer), "orders-enrich", &call(records));
        traceparent = span.traceparent().to_owned();
        span.end(AttemptOutcome::Success, None);
    })
    .await;
    assert!(!traceparent.starts_with(&CARRIED[..36]), "{traceparent}");
    assert!(holds(&body, &TRACE) && holds(&body, &PARENT), "the link is missing");
}

#[tokio::test]
async fn a_call_that_is_abandoned_ends_its_span() {
    let (_, body, _) = collected(|tracer| {
        drop(AttemptSpan::begin_by(
            Some(tracer),
            "orders-enrich",
            &call(vec![record(42, None)]),
        ));
    })
    .await;
    assert!(holds(&body, b"abandoned"));
}

#[tokio::test]
async fn spans_that_do_not_arrive_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let refusing = Router::new().fallback(|| std::future::ready(axum::http::StatusCode::FORBIDDEN));
    let serving = tokio::spawn(async move { axum::serve(listener, refusing).await });
    let state = Arc::new(WorkerState::new());
    let provider = provider(&endpoint, "worker-1", &state).unwrap();
    let tracer = provider.tracer("fnbridge");
    AttemptSpan::begin_by(Some(&tracer), "p", &call(vec![record(1, None)])).end(AttemptOutcome::Success, None);
    let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(Duration::from_secs(10)));
    let _ = flushed.await.unwrap();
    serving.abort();
    assert_eq!((state.spans_exported.get(), state.spans_failed.get()), (0, 1));
}

#[test]
fn without_an_endpoint_the_records_trace_passes_through() {
    let lone = AttemptSpan::begin_by(None, "p", &call(vec![record(1, Some(CARRIED))]));
    assert_eq!(lone.traceparent(), CARRIED);
    let batch = AttemptSpan::begin_by(None, "p", &call(vec![record(1, Some(CARRIED)), record(2, None)]));
    assert!(!batch.traceparent().starts_with(&CARRIED[..36]));
    assert_eq!(batch.traceparent().len(), CARRIED.len());
}
