//! What stands in the way of reading.

use tracing::{error, info, warn};

use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::{Phase, lock};

impl PipelineTelemetry {
    /// Something stands in the way of reading; it is tried again unless it is `fatal`. The source says it once, and again
    /// every 30 s while it stays.
    pub fn source_trouble(&self, kind: &'static str, text: &str, fatal: bool) {
        *lock(&self.state.troubles).entry(kind).or_default() += 1;
        lock(&self.state.standing).source.insert(kind, text.to_owned());
        self.lacks(format!("source/{kind}"), Some(text));
        if fatal {
            self.state.set_phase(Phase::Waiting);
            error!(pipeline = self.name(), kind, "reading has ended: {text}");
        } else {
            warn!(pipeline = self.name(), kind, "{text}");
        }
    }

    /// What stood in the way of reading is gone.
    pub fn source_recovered(&self, kind: &'static str) {
        lock(&self.state.standing).source.remove(kind);
        self.lacks(format!("source/{kind}"), None);
        info!(pipeline = self.name(), kind, "no longer in the way of reading");
    }
}
