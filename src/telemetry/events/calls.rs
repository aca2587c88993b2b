//! Calls of the function, and requests to sinks.

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, trace, warn};

use super::More;
use crate::delivery::answer::{Answer, Failure, Receipt};
use crate::delivery::event::Call;
use crate::delivery::record::SinkId;
use crate::telemetry::metrics::state::{OUTCOMES, RECEIPTS, place};
use crate::telemetry::status::{LastError, rfc3339};
use crate::telemetry::{AttemptSpan, PipelineTelemetry};

impl PipelineTelemetry {
    /// A call goes on the wire.
    pub fn attempt_started(&self, call: &Call) -> AttemptSpan {
        if call.attempt > 1
            && let Some(partition) = self.state.partition(call.assignment)
        {
            partition.retries.one();
        }
        AttemptSpan::begin(self.name(), call)
    }

    /// A call ended. The task counts it, once it has looked at the answer.
    pub fn attempt_ended(&self, span: AttemptSpan, answer: &Answer) {
        let (outcome, failure) = answer.came_to();
        let took = span.elapsed();
        self.state.calls[place(&OUTCOMES, &outcome)].observe(took);
        let status = failure.and_then(|failure| failure.status);
        let Some(Failure { reason, .. }) = failure else {
            span.end(outcome, status);
            trace!(pipeline = self.name(), ?took, "call succeeded");
            return;
        };
        self.state.failed(LastError {
            at: rfc3339(SystemTime::now()),
            id: span.first_id(),
            status,
            reason: reason.clone(),
        });
        span.end(outcome, status);
        let (pipeline, outcome) = (self.name(), outcome.name());
        match self.repeats.rise("attempt", outcome, Instant::now()) {
            Some(unsaid) => warn!(
                pipeline,
                outcome,
                status,
                ?took,
                "call failed: {reason}{}",
                More(unsaid)
            ),
            None => debug!(pipeline, outcome, status, ?took, "call failed: {reason}"),
        }
    }

    /// A sink answered.
    pub fn sink_answered(&self, sink: SinkId, took: Duration, receipts: &[Receipt]) {
        let Some(sink) = self.state.sinks.get(usize::from(sink.0)) else {
            return;
        };
        sink.requests.observe(took);
        for same in receipts.chunk_by(|a, b| said(a) == said(b)) {
            sink.receipts[place(&RECEIPTS, &said(&same[0]))].add(same.len() as u64);
        }
    }

    /// The dead-letter topic answered.
    pub fn letter_answered(&self, took: Duration) {
        self.state.letters.observe(took);
    }
}

fn said(receipt: &Receipt) -> &'static str {
    match receipt {
        Receipt::Stored => RECEIPTS[0],
        Receipt::TryAgain(_) => RECEIPTS[1],
        Receipt::Refused { .. } => RECEIPTS[2],
        Receipt::Away(_) | Receipt::AwayFor(..) => RECEIPTS[3],
        Receipt::Blocked(_) => RECEIPTS[4],
    }
}
