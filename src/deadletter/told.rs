//! What a dead letter says of itself: ours by its headers, another tool's by Kafka Connect's ten. Whatever the headers say,
//! or do not say, something can be told.

use std::str::FromStr;

use jiff::Timestamp;

use super::fingerprint;
use super::headers::OURS;
use crate::delivery::record::{Header, Record, TopicPartition};

/// A reason is kept up to this size.
const MAX_REASON_CHARS: usize = 1000;
/// A name is kept up to this size, which is Kafka's for a topic: databases have bounds on what they index.
const MAX_NAME_CHARS: usize = 249;

/// What a dead letter says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The pipeline, or Connect's connector, that gave the record up.
    pub pipeline: Option<String>,
    /// Where the record came from.
    pub source: Option<TopicPartition>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// The stage, as `fnbridge.stage` names it; of another tool's letter its own name in lower case, or `unknown`.
    pub stage: String,
    /// The status that the function answered.
    pub status: Option<u16>,
    /// Why it was given up.
    pub reason: String,
    /// Groups the same failure. It is reckoned from the three above, never taken from a header.
    pub fingerprint: String,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// When it failed first, in milliseconds since the Unix epoch.
    pub first_failed_ms: Option<i64>,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub last_failed_ms: Option<i64>,
    /// How often it was redriven before.
    pub redrives: u32,
    /// The sink that refused its result.
    pub sink: Option<String>,
    /// It is none of fnbridge's.
    pub foreign: bool,
}

/// Reads a dead letter's headers.
pub fn told(record: &Record) -> Told {
    let read = Read(&record.headers);
    let own_stage = read.name("fnbridge.stage");
    let foreign = own_stage.is_none();
    let stage = own_stage.or_else(|| read.name("__connect.errors.stage"));
    let stage = stage.map_or_else(|| "unknown".to_owned(), |stage| beginning(&stage.to_lowercase()));
    let status = read.parsed("fnbridge.http.status");
    let reason = (read.text("fnbridge.reason"))
        .or_else(|| read.text("__connect.errors.exception.message"))
        .or_else(|| read.text("__connect.errors.exception.class.name"))
        .unwrap_or_else(|| "no header says why".to_owned());
    let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
    let partition = read.parsed("__connect.errors.partition");
    let source = read.name("__connect.errors.topic").zip(partition);
    Told {
        pipeline: (read.name("fnbridge.pipeline")).or_else(|| read.name("__connect.errors.connector.name")),
        source: source.map(|(topic, partition)| TopicPartition {
            topic: topic.into(),
            partition,
        }),
        offset: read.parsed("__connect.errors.offset"),
        fingerprint: fingerprint(&stage, status, &reason),
        stage,
        status,
        reason,
        attempts: read.parsed("fnbridge.attempts"),
        first_failed_ms: read.time("fnbridge.first-failed"),
        last_failed_ms: read.time("fnbridge.last-failed"),
        redrives: read.parsed("fnbridge.redrives").unwrap_or(0),
        sink: read.name("fnbridge.sink"),
        foreign,
    }
}

/// The headers that the source record had, without those that say why it is a dead letter.
pub fn source_headers(record: &Record) -> impl Iterator<Item = &Header> {
    record
        .headers
        .iter()
        .filter(|header| !OURS.contains(&header.name.as_str()))
}

/// Of several headers of one name the last one counts, as with Kafka's `lastHeader`.
struct Read<'a>(&'a [Header]);

impl Read<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let header = self.0.iter().rev().find(|header| header.name == name)?;
        let text = String::from_utf8_lossy(header.value.as_ref()?).into_owned();
        // A database's text holds no NUL.
        Some(text.replace('\0', "\u{FFFD}"))
    }

    fn name(&self, name: &str) -> Option<String> {
        self.text(name).map(|text| beginning(&text))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    fn time(&self, name: &str) -> Option<i64> {
        self.parsed::<Timestamp>(name).map(Timestamp::as_millisecond)
    }
}

fn beginning(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(headers: Vec<(String, Option<Vec<u8>>)>) -> Record {
        Record {
            source: TopicPartition {
                topic: "orders.dead-letter".into(),
                partition: 0,
            },
            offset: 3,
            generation: 0,
            timestamp_ms: -1,
            key: None,
            value: None,
            headers: (headers.into_iter())
                .map(|(name, value)| Header {
                    name,
                    value: value.map(Bytes::from),
                })
                .collect(),
        }
    }

    fn with(headers: &[(&str, &str)]) -> Told {
        let owned = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())));
        told(&record(owned.collect()))
    }

    #[test]
    fn another_tools_letter_is_told_by_connects_headers() {
        let found = with(&[
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.partition", "2"),
            ("__connect.errors.offset", "42"),
            ("__connect.errors.connector.name", "jdbc"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            ("__connect.errors.exception.message", "boom 7"),
        ]);
        assert!(found.foreign);
        assert_eq!((found.pipeline.as_deref(), found.offset), (Some("jdbc"), Some(42)));
        assert_eq!(found.source.unwrap().to_string(), "orders/2");
        assert_eq!(
            (found.stage.as_str(), found.reason.as_str()),
            ("value_converter", "boom 7")
        );
        assert_eq!(found.fingerprint, fingerprint("value_converter", None, "boom 8"));
    }

    #[test]
    fn headers_that_lie_or_are_missing_are_no_obstacle() {
        let nothing = with(&[]);
        assert_eq!(
            (nothing.stage.as_str(), nothing.reason.as_str()),
            ("unknown", "no header says why")
        );
        let lies = with(&[
            ("fnbridge.fingerprint", "0000000000000000"),
            ("fnbridge.stage", "function"),
            ("fnbridge.http.status", "many"),
            ("fnbridge.attempts", "-3"),
            ("fnbridge.last-failed", "yesterday"),
            ("fnbridge.reason", "first"),
            ("fnbridge.reason", "se\0cond"),
            ("__connect.errors.partition", "2"),
        ]);
        assert_eq!(
            (lies.status, lies.attempts, lies.last_failed_ms, lies.source),
            (None, None, None, None)
        );
        assert_eq!(lies.reason, "se\u{FFFD}cond", "the last one counts");
        assert_eq!(lies.fingerprint, fingerprint("function", None, "se\u{FFFD}cond"));
    }
}
