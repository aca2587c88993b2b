//! Audits, over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// For which time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// From the last checkpoint before this RFC 3339 time on; without it, since the pipeline began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until the first checkpoint after this time; without it, until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// An account of what became of a pipeline's records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// The pipeline.
    pub pipeline: String,
    /// Nothing is missing, and the commits count what the log holds.
    pub adds_up: bool,
    /// The checkpoint that it begins with; absent where it begins with the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The checkpoint that it ends with, or when it was asked for.
    pub to: String,
    /// Records that were settled, by disposition, as the commits count them.
    pub settled: BTreeMap<String, u64>,
    /// Records that the source log holds in this range.
    pub records: u64,
    /// Those of them that have a result in a sink.
    pub with_result: u64,
    /// Results beyond the first of a record: several results, several sinks, or repeats after a crash or a redrive.
    pub more_results: u64,
    /// Those that have a dead letter.
    pub with_letter: u64,
    /// How the last dead letter of each of these stands.
    pub letters: BTreeMap<String, u64>,
    /// Records that have neither.
    pub neither: u64,
    /// Those of them that are more than were dropped or filtered: they were delivered without any result, or their results are gone.
    pub missing: u64,
    /// Records that the log holds beyond what the commits count, or, below 0, that they count and the log lacks.
    pub uncounted: i64,
    /// Offsets that retention has removed from the source log since.
    pub gone: u64,
    /// Records behind the range that are not settled yet.
    pub unsettled: u64,
    /// Ids of records with neither result nor dead letter, at most 100 a partition. Where none was dropped or filtered, these are
    /// the missing ones; else they are among these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suspects: Vec<String>,
    /// Sinks whose results can't be counted: what went there is accounted for by the commits alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_countable: Vec<String>,
    /// Partitions that can't be accounted for as a whole, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// Each partition.
    pub partitions: Vec<AuditedPartition>,
    /// Records that were read for this.
    pub read: u64,
}

/// A partition's account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditedPartition {
    /// The partition, as `<topic>/<partition>`.
    pub partition: String,
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
    /// Records that the log holds there.
    pub records: u64,
    /// Those that have a result.
    pub with_result: u64,
    /// Those that have a dead letter.
    pub with_letter: u64,
    /// Those that are missing.
    pub missing: u64,
    /// Those that the commits do not count.
    pub uncounted: i64,
    /// Offsets that are gone.
    pub gone: u64,
    /// Records that are not settled yet.
    pub unsettled: u64,
}

/// An audit that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counting {
    /// How many records were read so far. Ask again for the outcome.
    pub counting: u64,
}
