//! What goes over the wire, shared by the API and the commands that use it.

mod audit;
mod letters;
mod redrives;
mod scaler;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

pub use audit::{Audit, AuditQuery, AuditedPartition, Counting};
pub use letters::{
    DeadLetter, LaterRecords, LetterGroup, LetterGroups, LetterHeader, LetterList, LetterPage, LetterQuery, ShowQuery,
    ShownLetter, WouldSend,
};

pub use redrives::{
    DiscardRequest, Discarded, EditRequest, LetterMark, LetterReason, Redrive, RedriveList, RedrivePlan, RedriveQuery,
    RedriveRequest, RedriveTo, RefusedLetters,
};

pub use scaler::{Scaler, ScalerQuery};

pub use crate::control::access::Role;
use crate::control::registry::{Difference, Verb};
pub use crate::letters::Passed;
pub use crate::telemetry::PipelineEvent;
pub use crate::telemetry::status::{LastError, LimitUse, PartitionStatus, Phase, SinkStatus, TaskStatus, TaskSummary};

/// A pipeline as it is answered: the document as it was sent, and beside it what the fleet knows. Who may not change the pipeline sees
/// `(hidden N)` instead of a text that may be a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pipeline {
    /// Counts the pipeline's changes from 1; absent for one from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How it stands.
    pub status: PipelineSummary,
    /// The document's own fields.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub document: Map<String, Value>,
}

/// Where a pipeline's document is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// In the fleet's store: it can be changed over the API.
    Store,
    /// In files of the workers: it is changed there.
    File,
}

/// What the document wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// To run.
    Running,
    /// To keep its partitions and call nothing.
    Paused,
}

/// A pipeline in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineSummary {
    /// Its name.
    pub name: String,
    /// The document's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the document wishes.
    pub state: State,
    /// Where the document is kept.
    pub held_by: HeldBy,
    /// How far it has come.
    pub phase: Phase,
    /// Why it does not run, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The workers that run it.
    pub workers: Vec<String>,
    /// Partitions held, over all workers.
    pub partitions: u64,
    /// Records between the committed offsets and the ends of the logs.
    pub lag_records: i64,
    /// For how long the longest waiting record has been behind, in seconds.
    pub lag_seconds: f64,
    /// Records polled a second, lately.
    pub records_per_second: f64,
    /// Bytes polled a second, lately.
    pub bytes_per_second: f64,
}

/// A page of pipelines, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineList {
    /// The pipelines.
    pub pipelines: Vec<PipelineSummary>,
    /// What `after` is for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which page is wanted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Only what comes after this: the last page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many, at most; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// All that is known of a pipeline's running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineStatus {
    /// The summary.
    #[serde(flatten)]
    pub summary: PipelineSummary,
    /// The revision that is wished; absent for one from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Each worker's task.
    pub tasks: Vec<TaskStatus>,
    /// What is not as it should be with the pipeline as a whole: files that differ between workers, a seek under way.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// One change in a pipeline's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The revision that it led to.
    pub revision: u64,
    /// What was done.
    #[schema(value_type = String)]
    pub verb: Verb,
    /// Who did it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// What differs from the revision before.
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Difference>,
}

/// A page of a pipeline's history, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The changes.
    pub changes: Vec<Change>,
    /// What `after` is for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// Whether it could be registered.
    pub valid: bool,
    /// The name in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What registering it would do: `create`, `change` or `nothing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<String>,
    /// The revision that is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What would change.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub changes: Vec<Difference>,
    /// All that is wrong.
    #[serde(default)]
    pub problems: Vec<FieldProblem>,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// The path in the document.
    pub field: String,
    /// What kind of problem it is; each has its page in `docs/errors.md`.
    pub code: String,
    /// What was found and what was expected.
    pub message: String,
    /// The line in the document as it was sent, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

/// A problem, as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// Where it is explained.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, for machines; stable.
    pub code: String,
    /// What was found, what was expected, what to do.
    pub detail: String,
    /// The path in the document, where the problem is about one field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Every problem of the document, where it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FieldProblem>,
    /// The revision that was found, where another was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Whether a pipeline's function can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probed {
    /// What stands in the way of a connection; absent where there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_the_way: Option<String>,
}

/// Where reading is to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekRequest {
    /// `earliest`, `latest`, an RFC 3339 time, or an offset.
    pub to: String,
    /// The topic; every topic of the pipeline where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partitions; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<i32>,
    /// Pause the pipeline first, and let it go on afterwards; else it must be paused.
    #[serde(default)]
    pub pause: bool,
}

/// Records to be put aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SkipRequest {
    /// `TOPIC/P/O`, or `TOPIC/P/O-O2` with both ends.
    pub records: String,
    /// Why: it stands in the dead letters and in the audit log.
    pub reason: String,
}

/// A record to call the function on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryRequest {
    /// `TOPIC/P/O`.
    pub at: String,
    /// Another function's URL; the pipeline's own where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What the function answered, and what fnbridge would make of it. Nothing was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    /// The record's id.
    pub id: String,
    /// The URL that was called.
    pub url: String,
    /// The request's body as text, cut at 4 KiB.
    pub request: String,
    /// The answer's status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's body as text, cut at 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What the record would become: a sentence.
    pub meaning: String,
    /// The results that would go to the sinks: JSON each.
    #[schema(value_type = Vec<Object>)]
    pub results: Vec<Value>,
}

/// A worker of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its id.
    pub id: String,
    /// `control`, `worker`, or both.
    pub roles: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its version.
    pub version: String,
    /// The address that it listens on.
    pub address: String,
    /// Since when it runs, RFC 3339.
    pub since: String,
    /// It holds the leader's lease.
    pub leader: bool,
    /// `ready`, `draining`, `restarting` or `stuck`.
    pub state: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Pipelines that it runs.
    pub tasks: u64,
    /// Partitions that it holds.
    pub partitions: u64,
    /// Records polled a second, lately.
    pub records_per_second: f64,
    /// Bytes polled a second, lately.
    pub bytes_per_second: f64,
    /// The lag of what it holds, in records.
    pub lag_records: i64,
    /// Its pipelines from files that other workers have otherwise, or not at all.
    #[serde(default)]
    pub files_differ: Vec<String>,
}

/// The workers of the fleet, by id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerList {
    /// The workers.
    pub workers: Vec<Worker>,
    /// What `after` is for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A token, without what makes it one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Only to pipelines whose names begin like this; empty: to all.
    #[serde(default)]
    pub prefix: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Who created it.
    pub created_by: String,
}

/// A token to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is for.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Only to pipelines whose names begin like this; empty: to all.
    #[serde(default)]
    pub prefix: String,
}

/// A token that was just created. It is not shown again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// What is known of it from now on.
    #[serde(flatten)]
    pub token: Token,
    /// What its bearer sends after `Authorization: Bearer`.
    pub secret: String,
}

/// All tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// A secret, without what is secret of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// When it was written last, RFC 3339.
    pub changed: String,
    /// Who wrote it last.
    pub changed_by: String,
    /// The pipelines that refer to it.
    pub used_by: Vec<String>,
}

/// All secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// The secrets.
    pub secrets: Vec<Secret>,
}

/// A secret to write.
#[derive(Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRequest {
    /// What is secret; it is never read back.
    pub value: String,
}

/// Something that somebody changed, or tried to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Audited {
    /// When, RFC 3339.
    pub at: String,
    /// Who: a token's name, or `anonymous` where none is asked for.
    pub by: String,
    /// What was done, such as `pipeline.pause`.
    pub action: String,
    /// To what: a pipeline's, secret's or token's name.
    pub target: String,
    /// More about it: a reason, a range of records, a revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A page of the audit log, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditLog {
    /// The entries.
    pub entries: Vec<Audited>,
    /// What `after` is for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
