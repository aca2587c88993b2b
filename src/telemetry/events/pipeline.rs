//! What happens to a pipeline as a whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::More;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::{Facts, Phase, Standing, lock};

impl PipelineTelemetry {
    /// The pipeline starts.
    pub fn pipeline_started(&self, revision: &str, labels: &BTreeMap<String, String>) {
        self.state.set_phase(Phase::Starting);
        *lock(&self.state.facts) = Facts {
            revision: revision.to_owned(),
            labels: labels.clone(),
        };
        info!(pipeline = self.name(), revision, "pipeline starts");
    }

    /// The pipeline can't start yet.
    pub fn pipeline_waits(&self, reason: &str) {
        self.state.set_phase(Phase::Waiting);
        lock(&self.state.standing).waits = Some(reason.to_owned());
        self.lacks("start".to_owned(), Some(reason));
        if let Some(unsaid) = self.repeats.rise("pipeline_waits", "", Instant::now()) {
            warn!(
                pipeline = self.name(),
                "pipeline waits to start: {reason}{}",
                More(unsaid)
            );
        }
    }

    /// The pipeline has what it needs, and joins its group: what stood in its way before is over, or is found again.
    pub fn pipeline_joins(&self) {
        self.state.set_phase(Phase::Running);
        *lock(&self.state.standing) = Standing::default();
    }

    /// The pipeline was paused, or goes on.
    pub fn pipeline_paused(&self, paused: bool) {
        if self.state.paused.get() == paused {
            return;
        }
        self.state.paused.set(paused);
        match paused {
            true => info!(pipeline = self.name(), "paused: partitions are kept, nothing is called"),
            false => info!(pipeline = self.name(), "resumed"),
        }
    }

    /// The pipeline could not go on by itself, for a reason that was said, and is started anew.
    pub fn pipeline_restarts(&self, wait: Duration) {
        self.state.restarts.one();
        self.state.set_phase(Phase::Waiting);
        warn!(
            pipeline = self.name(),
            wait_seconds = wait.as_secs(),
            "pipeline is started anew"
        );
    }

    /// The pipeline has ended.
    pub fn pipeline_stopped(&self) {
        self.state.set_phase(Phase::Stopped);
        self.state.unpublish();
        info!(pipeline = self.name(), "pipeline stopped");
    }

    /// Something of the pipeline is worth a second look.
    pub fn pipeline_warned(&self, warning: &str) {
        warn!(pipeline = self.name(), "{warning}");
    }

    /// A topic was created.
    pub fn topic_created(&self, topic: &str) {
        info!(pipeline = self.name(), topic, "topic created");
    }

    /// The sinks could not be opened anew.
    pub fn recycling_failed(&self, reason: &str) {
        error!(pipeline = self.name(), "sinks could not be opened again: {reason}");
    }
}
