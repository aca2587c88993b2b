//! `cloudevents_binary`: one event; its attributes are headers, its data the body.

use bytes::Bytes;
use hyper::header::HeaderMap;

use super::super::{Batch, Contract, Encoded, Replies};
use super::reply;
use super::wrap::carried;
use crate::delivery::answer::Verdict;
use crate::function::settings::CloudEventsSettings;

#[derive(Debug)]
pub(super) struct Binary {
    pub(super) settings: CloudEventsSettings,
    pub(super) replies: Replies,
}

impl Contract for Binary {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let event = carried(&batch.records[0], &self.settings).event;
        Encoded {
            content_type: event.content_type(),
            headers: event.headers(),
            body: event.data().cloned().unwrap_or_default(),
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
