//! How a worker's pipelines stand: whether it works, and if not why. Read-only, and without anything of a record but its
//! id.

mod doing;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(super) use doing::Doing;
pub(super) use read::{Read, rfc3339};
pub use read::{stuck, summaries, summary, task};

/// How far a pipeline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No worker has it: none is placed, or none can run it.
    Unplaced,
    /// A worker begins with it.
    Starting,
    /// It waits for something that it cannot start without; the reason says what.
    Waiting,
    /// Partitions are being shared out.
    Rebalancing,
    /// Records flow, or would if there were any.
    Running,
    /// It waits for the function, a sink, the dead-letter topic, or an operator; the reason says which.
    Blocked,
    /// It was paused.
    Paused,
    /// It has ended on its worker.
    Stopped,
}

/// A task in a line: what a worker tells of each of its pipelines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// The revision that it runs: a number, or a hash for one from a file.
    pub revision: String,
    /// How far it has come.
    pub phase: Phase,
    /// Why it does not run, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is in this phase, RFC 3339.
    pub since: String,
    /// How often it was started anew after it failed.
    pub restarts: u64,
    /// Partitions that it holds.
    pub partitions: u64,
    /// Records between the committed offsets and the ends of the logs.
    pub lag_records: i64,
    /// For how long the longest waiting record has been behind, in seconds.
    pub lag_seconds: f64,
    /// Records that no call has carried yet and none carries now.
    #[serde(default)]
    pub undispatched_records: u64,
    /// The age of the oldest of them, in seconds.
    #[serde(default)]
    pub undispatched_seconds: f64,
    /// Of the calls that may be on the wire, the share that is, from 0 to 1.
    #[serde(default)]
    pub busy: f64,
    /// Records polled a second, lately.
    pub records_per_second: f64,
    /// Bytes polled a second, lately.
    pub bytes_per_second: f64,
}

/// One worker's share of a pipeline, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskStatus {
    /// The worker.
    pub worker: String,
    /// The task in a line.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The function's last answers that were no success, newest first.
    pub last_errors: Vec<LastError>,
    /// What the task uses of what it may.
    pub limits: Vec<LimitUse>,
    /// Each sink.
    pub sinks: Vec<SinkStatus>,
    /// Each partition that it holds.
    pub holds: Vec<PartitionStatus>,
}

impl TaskStatus {
    /// What is known of a task whose worker was not asked for more.
    pub fn short(worker: &str, summary: TaskSummary) -> TaskStatus {
        TaskStatus {
            worker: worker.to_owned(),
            summary,
            last_errors: Vec::new(),
            limits: Vec::new(),
            sinks: Vec::new(),
            holds: Vec::new(),
        }
    }
}

/// An answer that was no success.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LastError {
    /// When, RFC 3339.
    pub at: String,
    /// The first record of the call.
    pub id: String,
    /// The answer's status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was wrong.
    pub reason: String,
}

/// What is used of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitUse {
    /// The limit's name in the document, such as `limits.records_per_second`.
    pub limit: String,
    /// What is used.
    pub used: f64,
    /// What may be used; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<f64>,
    /// What may be used just now, where that is less: calls at once, while the function says that it is busy and until it has
    /// succeeded often enough since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<f64>,
}

/// How a sink stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// It does not take results; it is waited for.
    pub away: bool,
    /// Waiting alone won't help.
    pub blocked: bool,
}

/// How a partition stands on the worker that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// What it does: `running`, `waiting_for_function`, `paused_by_breaker`, `paused_by_guard`,
    /// `blocked_on_dead_letter_topic`, `waiting_for_sink`, `throttled`, `paused`, `rebalancing`.
    pub doing: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The last answer that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The records that stand first, where nothing goes on.
    #[serde(default)]
    pub stands_first: Vec<String>,
    /// The committed offset.
    pub committed: i64,
    /// The offset after the last record that was read.
    pub position: i64,
    /// Records between the committed offset and the end of the log; absent before the end is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<i64>,
    /// For how long it has been behind, in seconds.
    pub lag_seconds: f64,
    /// Records that wait for a call.
    pub waiting: u64,
    /// Records on the wire.
    pub in_flight: u64,
    /// Records that arrived and are not settled.
    pub unsettled: u64,
    /// Calls that carried its records, since this worker started.
    pub attempts: u64,
    /// Records by disposition, as remembered beside the offset.
    pub totals: BTreeMap<String, u64>,
}
