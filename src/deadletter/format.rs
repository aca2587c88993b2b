//! A dead letter as a Kafka record: the source's bytes untouched, and headers that say why it is here. The ten of Kafka
//! Connect (`DeadLetterQueueReporter`) stand beside our own, so that tools that know them work.

use bytes::Bytes;

use super::{DeadLetterSettings, fingerprint};
use crate::delivery::answer::Stage;
use crate::delivery::event::Letter;
use crate::delivery::record::{Header, Output, Record};
use crate::json::{push_base64, push_headers, push_string};

/// The result that a sink refused is kept up to this size.
const MAX_RESULT_BYTES: usize = 512 * 1024;
/// Says which of the long headers had to go.
const TRUNCATED: &str = "fnbridge.truncated";
const RESULT: &str = "fnbridge.result";
const RESPONSE: &str = "fnbridge.response";
const STACK_TRACE: &str = "__connect.errors.exception.stacktrace";
/// What goes first when a letter is too large.
const EXPENDABLE: [&str; 3] = [RESULT, RESPONSE, STACK_TRACE];
const REDRIVES: &str = "fnbridge.redrives";

/// What Kafka's record format adds to a record, at most, beside its key, value and headers, and to a batch.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// The same for a header.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// A dead letter, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source's key.
    pub key: Option<Bytes>,
    /// The source's value.
    pub value: Option<Bytes>,
    /// The source's headers, but for those of our names, and ours.
    pub headers: Vec<Header>,
    /// The source's timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

impl DeadLetter {
    /// An upper bound on what the letter takes in the topic.
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self
            .headers
            .iter()
            .map(|h| h.name.len() + length(&h.value) + HEADER_OVERHEAD_BYTES);
        length(&self.key) + length(&self.value) + headers.sum::<usize>() + RECORD_OVERHEAD_BYTES
    }
}

/// Makes a dead letter of at most `max_bytes`, losing result, response and stack trace, in this order, if it has to.
///
/// # Errors
/// A letter whose source record alone is too large: nothing of that is ever cut.
pub fn dead_letter(letter: &Letter, settings: &DeadLetterSettings, max_bytes: usize) -> Result<DeadLetter, String> {
    let ours = headers(letter, settings);
    let is_ours = |name: &str| name == TRUNCATED || OUR_NAMES.contains(&name);
    let kept = letter
        .record
        .headers
        .iter()
        .filter(|header| !is_ours(&header.name))
        .cloned();
    let mut dead = DeadLetter {
        key: letter.record.key.clone(),
        value: letter.record.value.clone(),
        headers: kept.chain(ours).collect(),
        timestamp_ms: letter.record.timestamp_ms,
    };
    let mut cut = Vec::new();
    for name in EXPENDABLE {
        if dead.size_bytes() <= max_bytes {
            break;
        }
        let before = dead.headers.len();
        dead.headers.retain(|header| header.name != name);
        if dead.headers.len() < before {
            cut.push(name);
            dead.headers.retain(|header| header.name != TRUNCATED);
            dead.headers.push(header(TRUNCATED, cut.join(",")));
        }
    }
    match dead.size_bytes() {
        size if size <= max_bytes => Ok(dead),
        size => Err(format!(
            "the dead letter of {} takes {size} bytes and topic `{}` allows {max_bytes}: raise its max.message.bytes",
            letter.record.id(),
            settings.topic
        )),
    }
}

/// The headers that are ours to set: of these names, none of the source's is kept.
const OUR_NAMES: [&str; 23] = [
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
    "fnbridge.reason",
    "fnbridge.http.status",
    RESPONSE,
    "fnbridge.attempts",
    "fnbridge.first-failed",
    "fnbridge.last-failed",
    "fnbridge.fingerprint",
    REDRIVES,
    "fnbridge.sink",
    RESULT,
];

fn headers(letter: &Letter, settings: &DeadLetterSettings) -> Vec<Header> {
    let (record, facts) = (&letter.record, &letter.facts);
    let failure = &facts.failure;
    let stage = facts.stage.name();
    let mut headers = vec![
        header("__connect.errors.topic", &*record.source.topic),
        header("__connect.errors.partition", record.source.partition.to_string()),
        header("__connect.errors.offset", record.offset.to_string()),
        header("__connect.errors.connector.name", &*settings.pipeline),
        header("__connect.errors.task.id", &*settings.worker),
        header("__connect.errors.stage", connect_stage(facts.stage)),
        header("__connect.errors.class.name", format!("fnbridge.{stage}")),
        header(
            "__connect.errors.exception.class.name",
            exception_class(facts.stage, failure.status),
        ),
        header("__connect.errors.exception.message", &*failure.reason),
        header(STACK_TRACE, trace(letter)),
        header("fnbridge.pipeline", &*settings.pipeline),
        header("fnbridge.revision", &*settings.revision),
        header("fnbridge.stage", stage),
        header("fnbridge.reason", &*failure.reason),
    ];
    headers.extend(
        failure
            .status
            .map(|status| header("fnbridge.http.status", status.to_string())),
    );
    if !failure.response.is_empty() {
        headers.push(Header {
            name: RESPONSE.to_owned(),
            value: Some(failure.response.clone()),
        });
    }
    headers.extend([
        header("fnbridge.attempts", facts.attempts.to_string()),
        header("fnbridge.first-failed", time(facts.first_failed_ms)),
        header("fnbridge.last-failed", time(facts.last_failed_ms)),
        header(
            "fnbridge.fingerprint",
            fingerprint(stage, failure.status, &failure.reason),
        ),
        header(REDRIVES, redrives(record)),
    ]);
    if let Some(sink) = facts.sink.and_then(|sink| settings.sinks.get(sink.0 as usize)) {
        headers.push(header("fnbridge.sink", &**sink));
    }
    if let Some(result) = facts
        .result
        .as_ref()
        .map(kept_result)
        .filter(|json| json.len() <= MAX_RESULT_BYTES)
    {
        headers.push(Header {
            name: RESULT.to_owned(),
            value: Some(result.into()),
        });
    }
    headers
}

/// A record that was redriven carries how often; another has been redriven never.
fn redrives(record: &Record) -> String {
    let carried = record.headers.iter().rev().find(|header| header.name == REDRIVES);
    let count = carried.and_then(|h| std::str::from_utf8(h.value.as_ref()?).ok()?.parse::<u32>().ok());
    count.unwrap_or(0).to_string()
}

/// The result as it was to be stored, whatever its bytes: base64, so that it can be sent again exactly.
fn kept_result(result: &Output) -> Vec<u8> {
    let mut out = b"{\"key_base64\":".to_vec();
    let bytes = |out: &mut Vec<u8>, bytes: &Option<Bytes>| match bytes {
        Some(bytes) => push_base64(out, bytes),
        None => out.extend_from_slice(b"null"),
    };
    bytes(&mut out, &result.key);
    out.extend_from_slice(b",\"value_base64\":");
    bytes(&mut out, &result.value);
    out.extend_from_slice(b",\"timestamp\":");
    push_string(&mut out, &result.timestamp_ms.to_string());
    out.extend_from_slice(b",\"headers\":");
    push_headers(&mut out, &result.headers);
    out.push(b'}');
    out
}

/// Connect's own names for its stages (`org.apache.kafka.connect.runtime.errors.Stage`), the nearest to ours.
fn connect_stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Convert => "VALUE_CONVERTER",
        Stage::Filter | Stage::Transform => "TRANSFORMATION",
        Stage::Function | Stage::Sink | Stage::Operator => "TASK_PUT",
    }
}

fn exception_class(stage: Stage, status: Option<u16>) -> String {
    match status {
        Some(status) => format!("fnbridge.{}.Http{status}", stage.name()),
        None => format!("fnbridge.{}.Failed", stage.name()),
    }
}

/// What stands where Connect's users look for a stack trace: the course of events.
fn trace(letter: &Letter) -> String {
    let facts = &letter.facts;
    format!(
        "{}: {}\n\tat stage {} after {} attempts, first failed {}, last failed {}",
        letter.record.id(),
        facts.failure.reason,
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

fn header(name: &str, value: impl Into<String>) -> Header {
    Header {
        name: name.to_owned(),
        value: Some(Bytes::from(value.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::delivery::answer::Failure;
    use crate::delivery::event::{LetterFacts, LetterId};
    use crate::delivery::record::{SinkId, TopicPartition};
    use crate::kafka::ClusterSettings;

    fn settings() -> DeadLetterSettings {
        DeadLetterSettings {
            cluster: Arc::new(ClusterSettings::plaintext("default", "127.0.0.1:9092")),
            topic: "p.dead-letter".into(),
            pipeline: "p".into(),
            revision: "abc".into(),
            worker: "w1".into(),
            sinks: vec!["out".into()],
            sources: vec!["orders".into()],
            admin: true,
        }
    }

    fn letter(headers: Vec<Header>, response: &'static [u8], result: Option<Output>) -> Letter {
        let source = TopicPartition {
            topic: "orders".into(),
            partition: 3,
        };
        let value = Some(Bytes::from_static(b"\xff\x00"));
        let record = Record {
            source,
            offset: 42,
            timestamp_ms: 1_764_000_000_000,
            key: Some("k1".into()),
            value,
            headers,
        };
        let failure = Failure {
            reason: "the function answered 500".into(),
            status: Some(500),
            response: response.into(),
        };
        let facts = LetterFacts {
            stage: Stage::Function,
            failure,
            attempts: 5,
            first_failed_ms: 1_764_000_001_000,
            last_failed_ms: 1_764_000_002_500,
            sink: result.is_some().then_some(SinkId(0)),
            result,
        };
        Letter {
            id: LetterId(1),
            record: Arc::new(record),
            facts,
        }
    }

    #[test]
    fn a_letter_keeps_the_source_and_says_why() {
        let own = vec![
            header("h", "v"),
            header("fnbridge.stage", "forged"),
            header("h", "w"),
            header(REDRIVES, "2"),
        ];
        let dead = dead_letter(&letter(own, b"oops", None), &settings(), 1 << 20).unwrap();
        assert_eq!(
            (dead.key.as_deref(), dead.value.as_deref()),
            (Some(&b"k1"[..]), Some(&b"\xff\x00"[..]))
        );
        assert_eq!(dead.timestamp_ms, 1_764_000_000_000);
        let told = dead
            .headers
            .iter()
            .map(|h| format!("{}={}", h.name, String::from_utf8_lossy(h.value.as_ref().unwrap())));
        let told: Vec<String> = told.collect();
        let expected = [
            "h=v",
            "h=w",
            "__connect.errors.topic=orders",
            "__connect.errors.partition=3",
            "__connect.errors.offset=42",
            "__connect.errors.connector.name=p",
            "__connect.errors.task.id=w1",
            "__connect.errors.stage=TASK_PUT",
            "__connect.errors.class.name=fnbridge.function",
            "__connect.errors.exception.class.name=fnbridge.function.Http500",
            "__connect.errors.exception.message=the function answered 500",
            "__connect.errors.exception.stacktrace=orders/3/42: the function answered 500\n\tat stage function after 5 \
             attempts, first failed 2025-11-24T16:00:01.000Z, last failed 2025-11-24T16:00:02.500Z",
            "fnbridge.pipeline=p",
            "fnbridge.revision=abc",
            "fnbridge.stage=function",
            "fnbridge.reason=the function answered 500",
            "fnbridge.http.status=500",
            "fnbridge.response=oops",
            "fnbridge.attempts=5",
            "fnbridge.first-failed=2025-11-24T16:00:01.000Z",
            "fnbridge.last-failed=2025-11-24T16:00:02.500Z",
            &format!(
                "fnbridge.fingerprint={}",
                fingerprint("function", Some(500), "the function answered 500")
            ),
            "fnbridge.redrives=2",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_letter_too_large_loses_result_then_response_then_trace_and_never_the_source() {
        let result = Output {
            sink: None,
            key: None,
            value: Some(vec![b'x'; 900].into()),
            headers: vec![],
            timestamp_ms: -1,
        };
        let letter = letter(Vec::new(), &[b'r'; 700], Some(result));
        let names = |max| {
            dead_letter(&letter, &settings(), max).map(|dead| {
                let has = |name: &str| dead.headers.iter().any(|header| header.name == name);
                EXPENDABLE.map(has)
            })
        };
        let whole = dead_letter(&letter, &settings(), usize::MAX).unwrap().size_bytes();
        assert_eq!(names(whole), Ok([true, true, true]));
        assert_eq!(names(whole - 1), Ok([false, true, true]));
        assert_eq!(names(whole - 1300), Ok([false, false, true]));
        assert!(names(600).unwrap_err().contains("max.message.bytes"));
    }

    proptest! {
        #[test]
        fn no_letter_is_larger_than_it_may_be_and_none_loses_a_byte_of_its_source(
            value: Vec<u8>, header_value: Vec<u8>, max in 0usize..4000,
        ) {
            let mut letter = letter(vec![Header { name: "x".into(), value: Some(header_value.into()) }], b"r", None);
            Arc::get_mut(&mut letter.record).unwrap().value = Some(value.clone().into());
            if let Ok(dead) = dead_letter(&letter, &settings(), max) {
                prop_assert!(dead.size_bytes() <= max);
                prop_assert_eq!(dead.value.as_deref(), Some(&value[..]));
                prop_assert_eq!(&dead.headers[0], &letter.record.headers[0]);
            }
        }
    }
}
