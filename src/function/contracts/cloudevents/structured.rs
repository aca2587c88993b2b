//! `cloudevents_structured`: one event, as JSON.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::super::{Batch, Contract, Encoded, Replies, room};
use super::wrap::{Carried, carried};
use super::{STRUCTURED, reply};
use crate::delivery::answer::Verdict;
use crate::delivery::record::Record;
use crate::function::settings::CloudEventsSettings;

/// Attributes take about this much.
pub(super) const EVENT_OVERHEAD_BYTES: usize = 300;

#[derive(Debug)]
pub(super) struct Structured {
    pub(super) settings: CloudEventsSettings,
    pub(super) replies: Replies,
}

impl Contract for Structured {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let mut out = room(batch, EVENT_OVERHEAD_BYTES);
        push_record(&mut out, &batch.records[0], &self.settings);
        Encoded {
            content_type: Some(HeaderValue::from_static(STRUCTURED)),
            headers: HeaderMap::new(),
            body: Bytes::from(out),
        }
    }

    fn decode(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &Bytes,
        batch: &Batch<'_>,
    ) -> Result<Vec<Verdict>, String> {
        reply::verdicts(&self.replies, status, headers, body, batch)
    }
}

/// The JSON of a record's event; one that stands in the record is not written anew.
pub(super) fn push_record(out: &mut Vec<u8>, record: &Record, settings: &CloudEventsSettings) {
    let Carried { event, json } = carried(record, settings);
    match json {
        Some(json) => out.extend_from_slice(&json),
        None => event.push_json(out),
    }
}
