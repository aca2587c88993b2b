//! A dead letter as a Kafka record: the source's bytes untouched, headers that say why it is here, and no more than the
//! topic takes.

use bytes::Bytes;

use super::DeadLetterSettings;
use super::headers::{RESPONSE, RESULT, STACK_TRACE, TRUNCATED, header, headers, is_ours};
use crate::delivery::event::Letter;
use crate::delivery::record::Header;
use crate::kafka::Outgoing;

/// What goes first when a letter is too large.
const EXPENDABLE: [&str; 3] = [RESULT, RESPONSE, STACK_TRACE];

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

    /// As the producer takes it.
    pub fn outgoing<'a>(&'a self, topic: &'a str, partition: Option<i32>) -> Outgoing<'a> {
        Outgoing {
            topic,
            partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            more_headers: &[],
            timestamp_ms: self.timestamp_ms,
        }
    }

    /// Says what was cut.
    fn mark(&mut self, cut: &[&str]) {
        self.headers.retain(|header| header.name != TRUNCATED);
        if !cut.is_empty() {
            self.headers.push(header(TRUNCATED, cut.join(",")));
        }
    }
}

/// Makes a dead letter of at most `max_bytes`, losing result, response and stack trace, in this order, if it has to.
///
/// # Errors
/// A letter whose source record alone is too large: nothing of that is ever cut.
pub fn dead_letter(letter: &Letter, settings: &DeadLetterSettings, max_bytes: usize) -> Result<DeadLetter, String> {
    let record = &letter.record;
    let (ours, mut cut) = headers(letter, settings);
    let kept = record.headers.iter().filter(|header| !is_ours(&header.name)).cloned();
    let mut dead = DeadLetter {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: kept.chain(ours).collect(),
        timestamp_ms: record.timestamp_ms,
    };
    dead.mark(&cut);
    for name in EXPENDABLE {
        if dead.size_bytes() <= max_bytes {
            break;
        }
        let before = dead.headers.len();
        dead.headers.retain(|header| header.name != name);
        if dead.headers.len() < before {
            cut.push(name);
            dead.mark(&cut);
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
