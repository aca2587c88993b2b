//! How transactions end.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::delivery::answer::Failure;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::{TRANSACTIONS, lock, place};

impl PipelineTelemetry {
    /// A transaction ended: `committed` or `aborted`.
    pub fn transaction_ended(&self, end: &'static str, took: Duration) {
        self.state.transactions[place(&TRANSACTIONS, &end)].observe(took);
        debug!(pipeline = self.name(), end, ?took, "transaction ended");
    }

    /// Whether a transaction was committed can't be found out by this run of the pipeline.
    pub fn transaction_undecided(&self, took: Duration, reason: &str) {
        self.transaction_ended(TRANSACTIONS[2], took);
        error!(
            pipeline = self.name(),
            ?took,
            "a transaction ended undecided, and the pipeline begins anew at what is committed: {reason}"
        );
    }

    /// Transactions come to nothing.
    pub fn transactions_held(&self, failure: &Failure) {
        let reason = &failure.reason;
        self.state.transactions_held.set(true);
        lock(&self.state.standing).transactions = Some(format!("transactions come to nothing: {reason}"));
        self.lacks("transactions".to_owned(), Some(reason));
        warn!(
            pipeline = self.name(),
            "transactions come to nothing, and what is finished waits: {reason}"
        );
    }

    /// Transactions are committed again.
    pub fn transactions_back(&self) {
        self.state.transactions_held.set(false);
        lock(&self.state.standing).transactions = None;
        self.lacks("transactions".to_owned(), None);
        info!(pipeline = self.name(), "transactions are committed again");
    }
}
