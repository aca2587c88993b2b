//! Whether sinks take results, and the dead-letter topic letters.

use tracing::{error, info, warn};

use crate::delivery::answer::Failure;
use crate::delivery::record::SinkId;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::lock;

impl PipelineTelemetry {
    /// A sink takes nothing now: it is away, or, blocked, does not let us store.
    pub fn sink_away(&self, sink: SinkId, failure: &Failure, blocked: bool) {
        if let Some(state) = self.state.sinks.get(usize::from(sink.0)) {
            state.away.set(true);
            state.blocked.set(blocked);
        }
        let (pipeline, sink, status) = (self.name(), self.sink(sink), failure.status);
        let reason = &failure.reason;
        let explained = format!("the sink {sink} takes nothing: {reason}");
        lock(&self.state.standing).sinks.insert(sink.to_owned(), explained);
        self.lacks(format!("sink/{sink}"), Some(reason));
        match blocked {
            true => error!(
                pipeline,
                sink, status, "sink does not let us store, and is waited for: {reason}"
            ),
            false => warn!(pipeline, sink, status, "sink is away, and waited for: {reason}"),
        }
    }

    /// A sink that was away takes results again.
    pub fn sink_back(&self, sink: SinkId) {
        if let Some(state) = self.state.sinks.get(usize::from(sink.0)) {
            state.away.set(false);
            state.blocked.set(false);
        }
        let sink = self.sink(sink);
        lock(&self.state.standing).sinks.remove(sink);
        self.lacks(format!("sink/{sink}"), None);
        info!(pipeline = self.name(), sink, "sink takes results again");
    }

    /// Dead letters can't be written.
    pub fn letters_blocked(&self, failure: &Failure) {
        self.state.letters_blocked.set(true);
        lock(&self.state.standing).letters = Some(format!("dead letters can't be written: {}", failure.reason));
        self.lacks("dead letters".to_owned(), Some(&failure.reason));
        error!(
            pipeline = self.name(),
            "dead letters can't be written, and the pipeline waits: {}", failure.reason
        );
    }

    /// Dead letters are written again.
    pub fn letters_back(&self) {
        self.state.letters_blocked.set(false);
        lock(&self.state.standing).letters = None;
        self.lacks("dead letters".to_owned(), None);
        info!(pipeline = self.name(), "dead letters are written again");
    }
}
