//! What happens to a worker as a whole.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use tracing::{error, info, warn};

use super::More;
use crate::telemetry::log;
use crate::telemetry::metrics::letters::Depth;
use crate::telemetry::metrics::worker;
use crate::telemetry::repeats::Repeats;

/// Says what happens to the worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerTelemetry;

impl WorkerTelemetry {
    /// The worker runs.
    pub fn started(self, id: &str, listen: SocketAddr, pipelines: usize) {
        let version = env!("CARGO_PKG_VERSION");
        info!(worker = id, %listen, pipelines, version, "worker started");
    }

    /// This worker begins to lead the fleet, or does so no more.
    pub fn leads(self, leads: bool) {
        match leads {
            true => info!("this worker leads the fleet: it places pipelines"),
            false => info!("this worker leads the fleet no more"),
        }
    }

    /// A dead letter was written that the index did not have before.
    pub fn letter_arrived(self, pipeline: &str, stage: &str, fingerprint: &str) {
        worker().letters.arrived(pipeline, stage, fingerprint);
    }

    /// The dead letters that somebody has to see to, where this worker counts them.
    pub fn letters_open(self, open: Vec<Depth>) {
        worker().letters.set_open(open);
    }

    /// Records of a pipeline fail in a way that has not been seen of it.
    pub fn new_group(self, pipeline: &str, stage: &str, fingerprint: &str, id: &str, reason: &str) {
        // A function's own words may hold pieces of records.
        let reason = match stage == "function" && !log::tells_of_records() {
            true => "see the letter",
            false => reason,
        };
        warn!(pipeline, stage, fingerprint, id, "a new kind of dead letter: {reason}");
    }

    /// The control plane, or its store, does not answer.
    pub fn unheard(self, reason: &str) {
        warn!("{reason}; what runs goes on, and changes wait");
    }

    /// The fleet hears this worker.
    pub fn joined(self) {
        info!("the fleet hears this worker");
    }

    /// Pipelines from files changed.
    pub fn files_read(self, pipelines: usize) {
        info!(pipelines, "pipelines from files read anew");
    }

    /// Files of pipelines have problems: what ran before goes on.
    pub fn files_refused(self, problems: &dyn Display) {
        error!("files of pipelines have problems, and what ran before goes on: {problems}");
    }

    /// A sign to stop came.
    pub fn stopping(self, signal: &str, comes_back: bool) {
        match comes_back {
            true => info!(
                signal,
                "stopping: partitions are drained, and kept for this worker's id until it is back or its session is over; a \
                 second signal ends at once"
            ),
            false => info!(signal, "stopping: partitions are drained; a second signal ends at once"),
        }
    }

    /// All pipelines have drained.
    pub fn stopped(self) {
        info!("worker stopped");
    }

    /// Something of the configuration is worth a second look.
    pub fn warned(self, warning: &dyn Display) {
        warn!("{warning}");
    }

    /// Other files than before stand where the certificate was read, and it is served with them from now on.
    pub fn certificate_renewed(self, file: &Path) {
        info!(file = %file.display(), "the certificate was read again");
    }

    /// Other files than before stand where the certificate was read, and they are no use.
    pub fn certificate_kept(self, reason: &dyn Display) {
        warn!("the certificate that was read before is kept: {reason}");
    }

    /// The worker can't run.
    pub fn failed(self, reason: &dyn Display) {
        error!("{reason}");
    }
}

/// Spans did not reach their endpoint; they are gone.
pub(in crate::telemetry) fn spans_not_sent(repeats: &Repeats, url: &str, spans: u64, error: &dyn Display) {
    if let Some(unsaid) = repeats.rise("spans_not_sent", "", Instant::now()) {
        warn!(
            url,
            spans,
            "spans could not be sent and are lost: {error}{}",
            More(unsaid)
        );
    }
}
