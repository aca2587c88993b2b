//! Dead letters, over the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::LetterMark;

/// Which letters are wanted; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct LetterQuery {
    /// Of this pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// In this dead-letter topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// In this partition of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// At this offset or behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_offset: Option<i64>,
    /// At this offset or before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_offset: Option<i64>,
    /// Given up at this RFC 3339 time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Given up before this RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// With this key, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of this stage: `convert`, `filter`, `transform`, `function`, `sink` or `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// With this status that the function answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whose reason holds this text, whatever the case of its letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// How they stand: `open`, `unknown`, `redriven`, `discarded`, `edited`, several of them separated by commas, or `all`; where
    /// nothing is said, `open,unknown`: those that somebody has to see to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// That this redrive sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive: Option<String>,
    /// Whose record has this header, as `NAME` or `NAME=VALUE`: records are read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Whose JSON value holds this, as `PATH=VALUE` with a JSONPath (RFC 9535): records are read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Which part of a list of letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LetterPage {
    /// Oldest first; by default, newest first.
    #[serde(default)]
    pub oldest_first: bool,
    /// Only what comes after this: the last page's `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many, at most; 100 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Where it stands: `<dead-letter topic>/<partition>/<offset>`.
    pub id: String,
    /// The pipeline, or another tool's connector, that gave the record up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The record that was given up: `<topic>/<partition>/<offset>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where on its way.
    pub stage: String,
    /// The status that the function answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why.
    pub reason: String,
    /// Groups the same failure.
    pub fingerprint: String,
    /// When it was given up.
    pub at: String,
    /// When it failed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failed: Option<String>,
    /// How often it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How often it was redriven before.
    pub redrives: u32,
    /// The sink that refused its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Another tool wrote it.
    pub foreign: bool,
    /// Bytes of key, value and headers.
    pub bytes: u64,
    /// How it stands: `open`, `redriven`, `discarded` or `edited`; `unknown` where it is older than the store that would know.
    pub mark: String,
    /// The redrive that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive: Option<String>,
    /// What became of it then: `delivered`, `dropped`, `dead_lettered` or `to_source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// Dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterList {
    /// In the order that was asked for.
    pub letters: Vec<DeadLetter>,
    /// What the next page comes after; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// With `header` or `value`: how many letters were looked at for this page, which may be short for want of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<u64>,
}

/// Dead letters that failed in the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterGroup {
    /// What they have in common.
    pub fingerprint: String,
    /// How many there are.
    pub count: u64,
    /// When the first was given up.
    pub first: String,
    /// When the last was given up.
    pub last: String,
    /// How many there were in each of 24 equal parts of the time from the first letter of all groups to the last.
    pub histogram: Vec<u64>,
    /// The last one.
    pub sample: DeadLetter,
}

/// Groups, the largest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterGroups {
    /// At most 100.
    pub groups: Vec<LetterGroup>,
}

/// A dead letter in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShownLetter {
    /// What is told of it.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The record's time, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The record's key: text, or `key_base64` where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The record's value: JSON where it is JSON, else text; null for a tombstone.
    pub value: Value,
    /// The value's bytes, where it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// The headers that the source record had.
    pub headers: Vec<LetterHeader>,
    /// The beginning of what the function answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The result that the sink refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// What was done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<LetterMark>,
    /// The request that the function would get now: made up from the pipeline's document as it is, never sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_send: Option<WouldSend>,
    /// Records of the same key that followed it, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<LaterRecords>,
    /// What had to be left out of the letter, or shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
}

/// A header of the source record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LetterHeader {
    /// Its name.
    pub name: String,
    /// Its value, as text as far as it is text; absent where it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Which parts of a letter are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ShowQuery {
    /// Whether records of the same key followed it, and went through: up to 100,000 source records are read for it.
    #[serde(default)]
    pub later: bool,
    /// The value as `value_base64`, whatever it is.
    #[serde(default)]
    pub raw: bool,
}

/// A request that would be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WouldSend {
    /// Where to, as a POST; absent where nothing would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The headers; values that the pipeline's document says are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<LetterHeader>,
    /// The beginning of the body, as text as far as it is text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Why nothing would be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_since: Option<String>,
}

/// Records of a letter's key that followed it in its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaterRecords {
    /// How many there are, as far as was looked.
    pub records: u64,
    /// How many of them lie before the group's committed offset: they went through.
    pub passed: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// How many source records were looked at.
    pub looked_at: u64,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<String>,
    /// That was the end of the log.
    pub to_the_end: bool,
    /// Retention has removed some of those that followed.
    pub gone: bool,
    /// Why nothing was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_since: Option<String>,
}
