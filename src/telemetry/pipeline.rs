//! The handle by which a pipeline's parts tell what happens.

use std::sync::Arc;

use super::log;
use super::metrics;
use super::metrics::state::{PipelineState, WorkerState, lock};
use super::repeats::Repeats;
use super::status::Read;
use crate::delivery::event::View;
use crate::delivery::record::SinkId;
use crate::delivery::time::Moment;

/// Says what happens to one pipeline. Clones are the same.
#[derive(Clone, Debug)]
pub struct PipelineTelemetry {
    pub(super) state: Arc<PipelineState>,
    pub(super) repeats: Arc<Repeats>,
}

impl PipelineTelemetry {
    /// The telemetry of a pipeline with these sinks, in the order of their numbers. A pipeline that is started again goes
    /// on counting where it was.
    pub fn open(pipeline: &str, sinks: &[String]) -> PipelineTelemetry {
        PipelineTelemetry::of(&metrics::worker(), pipeline, sinks)
    }

    pub(super) fn of(worker: &WorkerState, pipeline: &str, sinks: &[String]) -> PipelineTelemetry {
        PipelineTelemetry {
            state: worker.pipeline(pipeline, sinks),
            repeats: Arc::default(),
        }
    }

    /// How the pipeline's task looks at a moment on its clock. Gauges are worked out from it until the next one.
    pub fn publish(&self, view: &View, at: Moment) {
        self.state.publish(view.clone(), at);
        Read::of(Arc::clone(&self.state)).note();
    }

    pub(super) fn name(&self) -> &str {
        &self.state.name
    }

    pub(super) fn sink(&self, sink: SinkId) -> &str {
        self.state.sinks.get(usize::from(sink.0)).map_or("?", |sink| &sink.name)
    }

    /// Remembers which right `who` lacks while `reason` names one, and forgets it without a reason.
    pub(super) fn lacks(&self, who: String, reason: Option<&str>) {
        let mut standing = lock(&self.state.standing);
        match reason.and_then(missing_right) {
            Some(right) => standing.rights.insert(who, right.to_owned()),
            None => standing.rights.remove(&who),
        };
    }

    /// What may be logged of the reason why single records failed: a function's own words may hold pieces of them.
    pub(super) fn said_of_records<'a>(&self, reason: &'a str, by_function: bool) -> &'a str {
        match by_function && !log::tells_of_records() {
            true => "(what the function said stands in the dead letter, and here with telemetry.log.records)",
            false => reason,
        }
    }
}

/// The right that a sentence of ours asks for: whatever is refused for lack of one ends with what to grant.
pub(super) fn missing_right(reason: &str) -> Option<&str> {
    reason.rsplit_once("; grant ").map(|(_, right)| right)
}

#[cfg(test)]
mod tests {
    use super::missing_right;

    #[test]
    fn the_right_to_grant_ends_the_sentence() {
        let denied = "could not read `orders`: Topic authorization failed; grant Read on topic `orders`";
        assert_eq!(missing_right(denied), Some("Read on topic `orders`"));
        assert_eq!(missing_right("no broker answers"), None);
    }
}
