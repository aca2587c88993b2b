//! How transactions end.

use std::time::Duration;

use tracing::{debug, error};

use crate::delivery::event::Assignment;
use crate::delivery::transaction::TransactionOutcome;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::{TRANSACTIONS, lock, place};

impl PipelineTelemetry {
    /// A transaction ended, which named these partitions. The task says which obstacles matter.
    pub fn transaction_ended(&self, named: &[Assignment], outcome: &TransactionOutcome, took: Duration) {
        let (end, accepted) = match outcome {
            TransactionOutcome::Committed => (TRANSACTIONS[0], true),
            TransactionOutcome::Aborted(_) => (TRANSACTIONS[1], false),
        };
        self.state.transactions[place(&TRANSACTIONS, &end)].observe(took);
        for partition in named.iter().filter_map(|assignment| self.state.partition(*assignment)) {
            match accepted {
                true => partition.commits.one(),
                false => partition.commits_refused.one(),
            }
        }
        debug!(pipeline = self.name(), end, ?took, "transaction ended");
        if let TransactionOutcome::Aborted(obstacles) = outcome {
            let first = obstacles.first();
            debug!(
                pipeline = self.name(),
                obstacles = obstacles.len(),
                ?first,
                "transaction aborted"
            );
        }
    }

    /// Whether a transaction was committed can't be found out by this run of the pipeline.
    pub fn transaction_undecided(&self, took: Duration, reason: &str) {
        self.state.transactions[place(&TRANSACTIONS, &TRANSACTIONS[2])].observe(took);
        lock(&self.state.standing).waits = Some(format!("a transaction ended undecided: {reason}"));
        error!(
            pipeline = self.name(),
            ?took,
            "a transaction ended undecided, and the pipeline begins anew at what is committed: {reason}"
        );
    }
}
