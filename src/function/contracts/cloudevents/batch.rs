//! `cloudevents_batch`: an array of events, as JSON.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::super::text::push_list;
use super::super::{Batch, Contract, Encoded, Replies, room};
use super::structured::{EVENT_OVERHEAD_BYTES, push_record};
use super::{BATCH, reply};
use crate::delivery::answer::Verdict;
use crate::function::settings::CloudEventsSettings;

#[derive(Debug)]
pub(super) struct Batched {
    pub(super) settings: CloudEventsSettings,
    pub(super) replies: Replies,
}

impl Contract for Batched {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let mut out = room(batch, EVENT_OVERHEAD_BYTES);
        push_list(&mut out, batch.records, |out, record| {
            push_record(out, record, &self.settings);
        });
        Encoded {
            content_type: Some(HeaderValue::from_static(BATCH)),
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
