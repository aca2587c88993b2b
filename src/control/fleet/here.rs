//! This worker: who it is, and what it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::report::Identity;
use crate::config::{Foundation, Registration};
use crate::control::supervisor::Supervisor;
use crate::telemetry::status::{self, TaskStatus, TaskSummary};

/// This worker.
#[derive(Debug)]
pub struct Here {
    /// Who it is.
    pub identity: Identity,
    /// What documents are held against.
    pub foundation: Foundation,
    /// What runs pipelines.
    pub supervisor: Arc<Supervisor>,
    /// The pipelines from files, as they are now.
    pub files: watch::Receiver<Vec<Registration>>,
}

impl Here {
    /// A pipeline of this worker's files.
    pub fn file(&self, name: &str) -> Option<Registration> {
        self.files
            .borrow()
            .iter()
            .find(|file| file.settings.name == name)
            .cloned()
    }

    /// The tasks that run here or wait, by pipeline.
    pub(super) fn tasks(&self) -> BTreeMap<String, TaskSummary> {
        let mut all = status::summaries();
        all.retain(|name, _| self.supervisor.has(name));
        all
    }

    /// A pipeline's task, whole.
    pub(super) fn task(&self, pipeline: &str) -> Option<TaskStatus> {
        let here = self.supervisor.has(pipeline);
        here.then(|| status::task(&self.identity.id, pipeline))?
    }
}
