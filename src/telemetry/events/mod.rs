//! What is noteworthy: one function an event, which logs and counts it together.

mod calls;
mod notices;
mod outlets;
mod partitions;
mod pipeline;
mod source;
mod transactions;
mod worker;

pub use self::worker::WorkerTelemetry;

pub(super) use self::worker::spans_not_sent;

/// As a reason in words, or nothing: ` (3 more like it)`.
pub(super) struct More(pub(super) u64);

impl std::fmt::Display for More {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} more like it since)"),
        }
    }
}
