//! Records, where they come from, and what a function makes of them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A header of a record. Kafka allows repeated names and null values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// The header's bytes, or null.
    pub value: Option<Bytes>,
}

/// A record as it stands in Kafka, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the record stands.
    pub source: TopicPartition,
    /// Its offset in that partition.
    pub offset: i64,
    /// Which of the logs that had this partition's name the record stands in, from 0: its memo says.
    pub generation: u32,
    /// Milliseconds since the Unix epoch, or -1 where the record has none.
    pub timestamp_ms: i64,
    /// The key; `None` is no key, which is not an empty one.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

impl Record {
    /// The record's id: `<topic>/<partition>/<offset>`.
    pub fn id(&self) -> RecordId<'_> {
        RecordId(self)
    }

    /// Bytes of key, value and headers.
    pub fn payload_bytes(&self) -> usize {
        let header = |header: &Header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(header).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers
    }

    /// What the record counts for against limits on bytes: its payload, and a fixed share for keeping it.
    pub fn weight_bytes(&self) -> usize {
        const KEEPING: usize = 160;
        let headers: usize = (self.headers.iter())
            .map(|h| h.name.len() + h.value.as_ref().map_or(0, Bytes::len) + 56)
            .sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers + KEEPING
    }
}

/// Displays a record's id.
pub struct RecordId<'a>(&'a Record);

impl fmt::Display for RecordId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.source, self.0.offset)
    }
}

/// The number of a sink in its pipeline's list, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub u16);

/// One result of a record, complete: what the function left out is already inherited from the source record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The sink it goes to; `None` is each sink of the pipeline.
    pub sink: Option<SinkId>,
    /// The key, or none.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// Milliseconds since the Unix epoch, or -1 for none.
    pub timestamp_ms: i64,
}

impl Output {
    /// A record sent on as it is, to every sink.
    pub fn pass_through(record: &Record) -> Output {
        Output {
            sink: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
            timestamp_ms: record.timestamp_ms,
        }
    }

    /// What the result counts for against limits on bytes.
    pub fn weight_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + 160
    }
}
