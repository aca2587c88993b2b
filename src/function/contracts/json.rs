//! `json`: a batch is one JSON object, and so is its answer.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::{Batch, Contract, Encoded};
use crate::delivery::answer::Verdict;
use crate::delivery::record::Record;
use crate::function::reply::Reply;
use crate::json::{Formats, push_headers, push_named, push_string};

/// Names and numbers of a record take about this much.
const RECORD_OVERHEAD_BYTES: usize = 160;

#[derive(Debug)]
pub(super) struct Json {
    formats: Formats,
    sinks: Vec<String>,
}

impl Json {
    pub(super) fn new(formats: Formats, sinks: Vec<String>) -> Json {
        Json { formats, sinks }
    }

    fn push_record(&self, out: &mut Vec<u8>, record: &Record, place: &Place, attempt: u32) {
        let mut digits = itoa::Buffer::new();
        let offset = digits.format(record.offset).as_bytes();
        out.extend_from_slice(&place.before_offset_in_id);
        out.extend_from_slice(offset);
        out.extend_from_slice(&place.between);
        out.extend_from_slice(offset);
        out.extend_from_slice(b",\"timestamp\":");
        match record.timestamp_ms {
            ..0 => out.extend_from_slice(b"null"),
            timestamp => push_number(out, timestamp),
        }
        out.push(b',');
        push_named(out, "key", record.key.as_deref(), self.formats.key);
        out.push(b',');
        push_named(out, "value", record.value.as_deref(), Some(self.formats.value));
        out.extend_from_slice(b",\"headers\":");
        push_headers(out, &record.headers);
        out.extend_from_slice(b",\"attempt\":");
        push_number(out, attempt);
        out.push(b'}');
    }
}

impl Contract for Json {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let payload: usize = batch
            .records
            .iter()
            .map(|record| payload_bytes(record) + RECORD_OVERHEAD_BYTES)
            .sum();
        let mut out = Vec::with_capacity(payload + RECORD_OVERHEAD_BYTES);
        out.extend_from_slice(b"{\"pipeline\":");
        push_string(&mut out, batch.pipeline);
        out.extend_from_slice(b",\"batch\":");
        push_string(&mut out, batch.id);
        out.extend_from_slice(b",\"records\":[");
        let place = Place::of(&batch.records[0]);
        for (i, record) in batch.records.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.push_record(&mut out, record, &place, batch.attempt);
        }
        out.extend_from_slice(b"]}");
        Encoded {
            content_type: HeaderValue::from_static("application/json"),
            headers: HeaderMap::new(),
            body: Bytes::from(out),
        }
    }

    fn decode(
        &self,
        _status: u16,
        _headers: &HeaderMap,
        body: &Bytes,
        batch: &Batch<'_>,
    ) -> Result<Vec<Verdict>, String> {
        let reply = Reply {
            records: batch.records,
            sinks: &self.sinks,
            formats: &self.formats,
            traceparent: batch.traceparent,
        };
        reply.verdicts(body)
    }
}

/// What all records of a batch have in common, as it stands in the text.
struct Place {
    /// `{"id":"orders/3/`
    before_offset_in_id: Vec<u8>,
    /// `","topic":"orders","partition":3,"offset":`
    between: Vec<u8>,
}

impl Place {
    fn of(record: &Record) -> Place {
        let mut before_offset_in_id = b"{\"id\":".to_vec();
        push_string(&mut before_offset_in_id, &format!("{}/", record.source));
        before_offset_in_id.pop();
        let mut between = b"\",\"topic\":".to_vec();
        push_string(&mut between, &record.source.topic);
        between.extend_from_slice(b",\"partition\":");
        push_number(&mut between, record.source.partition);
        between.extend_from_slice(b",\"offset\":");
        Place {
            before_offset_in_id,
            between,
        }
    }
}

fn payload_bytes(record: &Record) -> usize {
    let headers: usize = (record.headers.iter())
        .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len) + 8)
        .sum();
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len) + headers
}

fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
