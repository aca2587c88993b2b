//! The span of one attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, Span, SpanBuilder, SpanKind, Status, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, Span as SpanOfSdk};

use super::context::Traceparent;
use super::export::tracer;
use crate::delivery::event::{AttemptOutcome, Call};
use crate::delivery::record::Record;

/// A batch's span links to the traces of at most so many of its records.
const MAX_LINKS: usize = 64;

/// A call on the wire: when it began, and its trace context.
#[derive(Debug)]
pub struct AttemptSpan {
    began: Instant,
    first: Option<Arc<Record>>,
    traceparent: Traceparent,
    span: Option<Box<SpanOfSdk>>,
}

impl AttemptSpan {
    pub(in crate::telemetry) fn begin(pipeline: &str, call: &Call) -> AttemptSpan {
        AttemptSpan::begin_by(tracer(), pipeline, call)
    }

    pub(super) fn begin_by(tracer: Option<&SdkTracer>, pipeline: &str, call: &Call) -> AttemptSpan {
        let span = tracer.map(|tracer| Box::new(start(pipeline, call, tracer)));
        let traceparent = match &span {
            Some(span) => Traceparent::of(span.span_context()),
            // Without spans of our own, a lone record's trace goes on as if we were not there.
            None => lone_parent(call).unwrap_or_else(Traceparent::random),
        };
        AttemptSpan {
            began: Instant::now(),
            first: call.records.first().cloned(),
            traceparent,
            span,
        }
    }

    /// The W3C trace context for the request, and for results whose record has none.
    pub fn traceparent(&self) -> &str {
        self.traceparent.as_str()
    }

    /// The id of the call's first record.
    pub(in crate::telemetry) fn first_id(&self) -> String {
        self.first
            .as_ref()
            .map(|record| record.id().to_string())
            .unwrap_or_default()
    }

    /// How long ago the call began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(in crate::telemetry) fn end(mut self, outcome: AttemptOutcome, status: Option<u16>) {
        let Some(mut span) = self.span.take() else { return };
        span.set_attribute(KeyValue::new("fnbridge.outcome", outcome.name()));
        if let Some(status) = status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if outcome != AttemptOutcome::Success {
            span.set_status(Status::error(outcome.name()));
        }
        span.end();
    }
}

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("fnbridge.outcome", "abandoned"));
            span.set_status(Status::error("nobody waits for this call any more"));
            span.end();
        }
    }
}

/// A lone record's trace goes on in the span; a batch's records may have many, and are linked to.
fn start(pipeline: &str, call: &Call, tracer: &SdkTracer) -> SpanOfSdk {
    let mut attributes = vec![
        KeyValue::new("fnbridge.pipeline", pipeline.to_owned()),
        KeyValue::new("fnbridge.attempt", i64::from(call.attempt)),
        KeyValue::new("fnbridge.probe", call.probe),
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.batch.message_count", call.records.len() as i64),
    ];
    if let Some(first) = call.records.first() {
        attributes.extend([
            KeyValue::new("messaging.destination.name", first.source.topic.to_string()),
            KeyValue::new("messaging.destination.partition.id", first.source.partition.to_string()),
            KeyValue::new("messaging.kafka.offset", first.offset),
        ]);
    }
    let mut span = SpanBuilder::from_name(format!("{pipeline} call"))
        .with_kind(SpanKind::Client)
        .with_attributes(attributes);
    let parent = lone_parent(call).map(|parent| parent.context());
    if parent.is_none() {
        let carried = call.records.iter().filter_map(|record| Traceparent::carried(record));
        let links = carried
            .take(MAX_LINKS)
            .map(|linked| Link::with_context(linked.context()));
        span = span.with_links(links.collect());
    }
    let context = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
    span.start_with_context(tracer, &context)
}

fn lone_parent(call: &Call) -> Option<Traceparent> {
    match &*call.records {
        [record] => Traceparent::carried(record),
        _ => None,
    }
}
