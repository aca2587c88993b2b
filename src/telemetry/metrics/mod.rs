//! Counters that cost an addition, and the page that shows them.
//!
//! `table` defines every metric once: its name, what it says, and where its value is read at a scrape.

mod instruments;
pub(crate) mod letters;
pub(crate) mod metric;
pub(crate) mod page;
pub(crate) mod seen;
pub(crate) mod state;
pub(crate) mod table;

pub(crate) use instruments::{Counter, Flag, Histogram, LATENCY_BOUNDS_SECONDS};

use std::sync::{Arc, LazyLock};

use self::state::{OUTCOMES, WorkerState};

/// What this process counts.
static WORKER: LazyLock<Arc<WorkerState>> = LazyLock::new(|| Arc::new(WorkerState::new()));

pub(super) fn worker() -> Arc<WorkerState> {
    Arc::clone(&WORKER)
}

/// All metrics in Prometheus' text format.
pub fn render_metrics() -> String {
    page::exposition(&WORKER)
}

/// `docs/metrics.md`, from the table that the metrics are read by.
pub fn metrics_page() -> String {
    page::document()
}

/// A pipeline's calls that have ended in this process, by what they came to.
pub fn attempts(pipeline: &str) -> Vec<(&'static str, u64)> {
    let partitions = WORKER.find(pipeline).map_or(Vec::new(), |state| state.partitions());
    let counted = |at: usize| partitions.iter().map(|partition| partition.attempts[at].get()).sum();
    let by_outcome = OUTCOMES.iter().enumerate();
    by_outcome.map(|(at, outcome)| (outcome.name(), counted(at))).collect()
}
