//! Redrives, and what else is done about dead letters, over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::LetterQuery;
use crate::control::registry::Difference;
use crate::letters::Passed;

/// Where letters are to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedriveTo {
    /// Through the pipeline: its function and its sinks; a letter that a sink refused, to that sink alone, with the result that was
    /// kept.
    #[default]
    Pipeline,
    /// Through the function, even where its result was kept.
    Function,
    /// To the source topic, where all of its readers see it again.
    Source,
}

/// A redrive that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// The pipeline; not needed with `ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// These letters, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The pipeline's letters that match, such as `{"fingerprint": "…"}` for a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<LetterQuery>,
    /// All of the pipeline's letters that somebody has to see to.
    #[serde(default)]
    pub all: bool,
    /// Where to.
    #[serde(default)]
    pub to: RedriveTo,
    /// Letters that are older than the store, of which nobody knows whether they were redriven, go, too.
    #[serde(default)]
    pub unknown: bool,
    /// At most so many letters a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// At most so many letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// It stops by itself where more than this part of its letters fails again; 0.5 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<f64>,
    /// Why: it stands in the audit log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Nothing is sent: the answer says what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a redrive would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RedrivePlan {
    /// The pipeline.
    pub pipeline: String,
    /// How many letters were found.
    pub letters: u64,
    /// How many of them would be sent.
    pub sends: u64,
    /// Bytes of their keys, values and headers.
    pub bytes: u64,
    /// Of those, how many would go to a sink alone, with the result that was kept.
    pub to_sink: u64,
    /// How many would not be sent, and why.
    pub refused: Vec<RefusedLetters>,
    /// To the source topic: the consumer groups beside the pipeline's own that would read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_groups: Vec<String>,
    /// Records of the letters' keys that went through behind them, where any letter would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
}

/// Letters that are not sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RefusedLetters {
    /// The reason's name.
    pub code: String,
    /// The reason, and what to do.
    pub why: String,
    /// How many.
    pub letters: u64,
}

/// A redrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Redrive {
    /// Its id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// How it stands: `running`, `paused`, `stopped`, `done` or `cancelled`.
    pub state: String,
    /// Why it stands so, where that is not plain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Where its letters go.
    pub to: RedriveTo,
    /// Who asked for it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When it was asked for.
    pub at: String,
    /// When its progress was last noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// How many letters were found when it was asked for, or how many it may send at most.
    pub letters: u64,
    /// Records of the letters' keys that had gone through behind them when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<Passed>,
    /// How many of them something became of.
    pub done: u64,
    /// Those whose results are stored.
    pub delivered: u64,
    /// Those that were accepted, with nothing to store.
    pub dropped: u64,
    /// Those that were given up again: each has a letter of its own now.
    pub dead_lettered: u64,
    /// Those that stand in the source topic once more.
    pub to_source: u64,
    /// Those that were not sent, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Bytes of keys, values and headers that were sent.
    pub bytes: u64,
    /// Letters a second, since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters_per_second: Option<f64>,
    /// Seconds that are left at this speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Letters that may have been sent twice, since a worker died while they were on their way.
    pub repeated: u64,
    /// The first 1,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated_ids: Vec<String>,
    /// The first that were given up again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<LetterReason>,
    /// The first that were not sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<LetterReason>,
    /// The worker that sees to it, or did last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub worker: String,
}

/// A letter, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterReason {
    /// The letter.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Redrives, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RedriveList {
    /// The redrives.
    pub redrives: Vec<Redrive>,
    /// What the next page comes after; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which redrives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RedriveQuery {
    /// Of this pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Only what comes after this: the last page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many, at most; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A letter is sent through its pipeline with another value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// The value, as text; neither this nor `value_base64`: a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Why: it stands in the audit log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Letters that nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscardRequest {
    /// The pipeline; not needed with `ids`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// These letters, at most 1,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// The pipeline's letters that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<LetterQuery>,
    /// All of the pipeline's letters that somebody has to see to.
    #[serde(default)]
    pub all: bool,
    /// Why: it stands with each of them, and in the audit log.
    pub reason: String,
}

/// What was discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discarded {
    /// How many letters.
    pub letters: u64,
    /// There are more: the time was up. Send the request again.
    pub more: bool,
}

/// What was done about a letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterMark {
    /// When.
    pub at: String,
    /// Who did it, or asked for it.
    pub by: String,
    /// Why: who discards says so, and a letter that was given up again does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the edited value changes; the value as a whole where it is no JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}
