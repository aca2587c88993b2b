//! The headers that say why a record became a dead letter. The ten of Kafka Connect (`DeadLetterQueueReporter`) stand
//! beside our own, so that tools that know them work.

use bytes::Bytes;

use super::result::written;
use super::{DeadLetterSettings, fingerprint};
use crate::delivery::answer::Stage;
use crate::delivery::event::{Letter, LetterFacts};
use crate::delivery::record::{Header, Record};

/// The result that a sink refused is kept up to this size.
const MAX_RESULT_BYTES: usize = 512 * 1024;
/// The beginning of an answer that is kept.
const MAX_RESPONSE_BYTES: usize = 4096;
/// A reason may come from the function itself, so that it has to have an end.
const MAX_REASON_BYTES: usize = 4096;

/// Names what had to be shortened or left out, separated by commas.
pub(super) const TRUNCATED: &str = "fnbridge.truncated";
pub(super) const RESULT: &str = "fnbridge.result";
pub(super) const RESPONSE: &str = "fnbridge.response";
pub(super) const STACK_TRACE: &str = "__connect.errors.exception.stacktrace";
pub(super) const REDRIVES: &str = "fnbridge.redrives";
pub(super) const FINGERPRINT: &str = "fnbridge.fingerprint";
const REASON: &str = "fnbridge.reason";

/// The names that are ours: of the source's headers, none by these is kept.
pub(super) const OURS: [&str; 24] = [
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.connector.name",
    "__connect.errors.task.id",
    "__connect.errors.stage",
    "__connect.errors.class.name",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
    STACK_TRACE,
    "fnbridge.pipeline",
    "fnbridge.revision",
    "fnbridge.stage",
    REASON,
    "fnbridge.http.status",
    RESPONSE,
    "fnbridge.attempts",
    "fnbridge.first-failed",
    "fnbridge.last-failed",
    FINGERPRINT,
    REDRIVES,
    "fnbridge.sink",
    RESULT,
    TRUNCATED,
];

/// Whether a header of this name is ours to set.
pub(super) fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// What is said of a record that was given up, and the names of what is longer than it may be and was cut.
pub(super) fn headers(letter: &Letter, settings: &DeadLetterSettings) -> (Vec<Header>, Vec<&'static str>) {
    let failure = &letter.facts.failure;
    let mut cut = Vec::new();
    let result = letter.facts.result.as_ref().map(written);
    let result = result.filter(|json| json.len() <= MAX_RESULT_BYTES || dropped(&mut cut, RESULT));
    let reason = beginning(&failure.reason, MAX_REASON_BYTES);
    if reason.len() < failure.reason.len() {
        cut.push(REASON);
    }
    let mut headers = connect(letter, settings, reason);
    headers.extend(own(letter, settings, reason));
    if let Some(sink) = letter.facts.sink.and_then(|sink| settings.sinks.get(sink.0 as usize)) {
        headers.push(text("fnbridge.sink", sink));
    }
    headers.extend(result.map(|json| header(RESULT, json)));
    (headers, cut)
}

/// Always false, for a filter that says what it leaves out.
fn dropped(cut: &mut Vec<&'static str>, name: &'static str) -> bool {
    cut.push(name);
    false
}

fn connect(letter: &Letter, settings: &DeadLetterSettings, reason: &str) -> Vec<Header> {
    let (record, facts) = (&letter.record, &letter.facts);
    let stage = facts.stage;
    vec![
        text("__connect.errors.topic", &record.source.topic),
        header("__connect.errors.partition", record.source.partition.to_string()),
        header("__connect.errors.offset", record.offset.to_string()),
        text("__connect.errors.connector.name", &settings.pipeline),
        text("__connect.errors.task.id", &settings.worker),
        text("__connect.errors.stage", connect_stage(stage)),
        header("__connect.errors.class.name", format!("fnbridge.{}", stage.name())),
        header("__connect.errors.exception.class.name", exception_class(facts)),
        text("__connect.errors.exception.message", reason),
        header(STACK_TRACE, course(record, facts, reason)),
    ]
}

fn own(letter: &Letter, settings: &DeadLetterSettings, reason: &str) -> Vec<Header> {
    let (facts, failure) = (&letter.facts, &letter.facts.failure);
    let stage = facts.stage.name();
    let mut headers = vec![
        text("fnbridge.pipeline", &settings.pipeline),
        text("fnbridge.revision", &settings.revision),
        text("fnbridge.stage", stage),
        text(REASON, reason),
    ];
    headers.extend(
        failure
            .status
            .map(|code| header("fnbridge.http.status", code.to_string())),
    );
    if !failure.response.is_empty() {
        let kept = failure.response.len().min(MAX_RESPONSE_BYTES);
        headers.push(header(RESPONSE, failure.response.slice(..kept)));
    }
    let group = fingerprint(stage, failure.status, reason);
    headers.extend([
        header("fnbridge.attempts", facts.attempts.to_string()),
        header("fnbridge.first-failed", time(facts.first_failed_ms)),
        header("fnbridge.last-failed", time(facts.last_failed_ms)),
        header(FINGERPRINT, group),
        header(REDRIVES, redrives(&letter.record)),
    ]);
    headers
}

/// A record that was redriven carries how often; another has been redriven never.
fn redrives(record: &Record) -> String {
    let carried = record.headers.iter().rev().find(|header| header.name == REDRIVES);
    let count = carried.and_then(|h| std::str::from_utf8(h.value.as_ref()?).ok()?.parse::<u32>().ok());
    count.unwrap_or(0).to_string()
}

/// Connect's own names for its stages (`org.apache.kafka.connect.runtime.errors.Stage`), the nearest to ours.
fn connect_stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Convert => "VALUE_CONVERTER",
        Stage::Filter | Stage::Transform => "TRANSFORMATION",
        Stage::Function | Stage::Sink | Stage::Operator => "TASK_PUT",
    }
}

fn exception_class(facts: &LetterFacts) -> String {
    match facts.failure.status {
        Some(status) => format!("fnbridge.{}.Http{status}", facts.stage.name()),
        None => format!("fnbridge.{}.Failed", facts.stage.name()),
    }
}

/// What stands where Connect's users look for a stack trace: the course of events.
fn course(record: &Record, facts: &LetterFacts, reason: &str) -> String {
    format!(
        "{}: {reason}\n\tat stage {} after {} attempts, first failed {}, last failed {}",
        record.id(),
        facts.stage.name(),
        facts.attempts,
        time(facts.first_failed_ms),
        time(facts.last_failed_ms),
    )
}

/// RFC 3339 in UTC.
fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| format!("{time:.3}"))
}

/// The first characters of a text, at most `max_bytes` of them.
fn beginning(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn header(name: &str, value: impl Into<Bytes>) -> Header {
    Header {
        name: name.to_owned(),
        value: Some(value.into()),
    }
}

fn text(name: &str, value: &str) -> Header {
    header(name, value.to_owned())
}
