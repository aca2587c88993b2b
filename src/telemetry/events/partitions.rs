//! What happens to a pipeline's partitions.

use std::fmt::Display;
use std::sync::Arc;

use tracing::{debug, info, warn};

use crate::delivery::event::Assignment;
use crate::delivery::record::{Record, TopicPartition};
use crate::telemetry::PipelineTelemetry;

impl PipelineTelemetry {
    /// A partition was assigned, and is read from `position`, which came about as `started` says.
    pub fn assigned(&self, assignment: Assignment, source: &TopicPartition, position: i64, started: &dyn Display) {
        self.state.assigned(assignment, source);
        self.state.partitions_assigned.one();
        info!(pipeline = self.name(), partition = %source, position, "assigned: reading starts {started}");
    }

    /// Partitions are taken away in an orderly way.
    pub fn revoked(&self, assignments: &[Assignment]) {
        self.state.partitions_revoked.add(assignments.len() as u64);
        let partitions = self.names(assignments);
        info!(pipeline = self.name(), partitions, "revoked: draining");
    }

    /// Partitions are gone.
    pub fn lost(&self, assignments: &[Assignment]) {
        self.state.partitions_lost.add(assignments.len() as u64);
        let partitions = self.names(assignments);
        warn!(
            pipeline = self.name(),
            partitions, "lost: the group went on without this worker, and what was not committed is done again"
        );
    }

    /// Records were read.
    pub fn polled(&self, assignment: Assignment, records: &[Arc<Record>]) {
        if let Some(partition) = self.state.partition(assignment) {
            let bytes: usize = records.iter().map(|record| record.weight_bytes()).sum();
            partition.polled_records.add(records.len() as u64);
            partition.polled_bytes.add(bytes as u64);
        }
    }

    /// The log's end is known.
    pub fn watermarks(&self, assignment: Assignment, high: i64) {
        if let Some(partition) = self.state.partition(assignment) {
            partition.set_high_watermark(high);
        }
    }

    /// A commit ended. The task says which of its refusals matter.
    pub fn committed(&self, outcomes: &[(Assignment, Result<(), String>)]) {
        for (assignment, outcome) in outcomes {
            let Some(partition) = self.state.partition(*assignment) else {
                continue;
            };
            match outcome {
                Ok(()) => partition.commits.one(),
                Err(_) => partition.commits_refused.one(),
            }
        }
        debug!(pipeline = self.name(), partitions = outcomes.len(), "commit ended");
    }

    fn names(&self, assignments: &[Assignment]) -> String {
        let known = assignments.iter().filter_map(|a| self.state.partition(*a));
        let names: Vec<String> = known.map(|partition| partition.source.to_string()).collect();
        names.join(" ")
    }
}
