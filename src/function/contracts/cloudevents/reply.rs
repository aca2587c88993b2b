//! What an answer is: an event or a batch of them become results.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::value::RawValue;

use super::super::{Batch, Replies, header};
use super::event::Event;
use super::{BATCH, STRUCTURED, media_type};
use crate::delivery::answer::Verdict;
use crate::json::explain;

/// Accepted, and never with a reply.
const ACCEPTED: u16 = 202;

/// One verdict for each record, in the batch's order.
pub(super) fn verdicts(
    replies: &Replies,
    status: u16,
    headers: &HeaderMap,
    body: &Bytes,
    batch: &Batch<'_>,
) -> Result<Vec<Verdict>, String> {
    let reply = replies.to(batch);
    let kind = header(headers, CONTENT_TYPE.as_str())
        .map(media_type)
        .unwrap_or_default();
    let is_event = [STRUCTURED, BATCH].contains(&kind.as_str()) || headers.contains_key("ce-specversion");
    if status == ACCEPTED || (is_event && reply.is_for_nobody()) {
        return Ok(reply.accepted());
    }
    let wrong = |what| format!("its event {what}");
    let events = match kind.as_str() {
        STRUCTURED => vec![Event::of_json(body, json(body)?).map_err(wrong)?],
        BATCH => {
            let mut events = Vec::new();
            for (i, element) in reply.elements(body)?.into_iter().enumerate() {
                events.push(Event::of_json(body, element).map_err(|what| format!("its event {i} {what}"))?);
            }
            events
        }
        _ if is_event => vec![Event::of_http(headers, body).map_err(wrong)?],
        _ => {
            let expected = |what| format!("{what}; a CloudEvent has the content type {STRUCTURED} or ce-specversion");
            return reply.verdicts(body).map_err(expected);
        }
    };
    reply.by_position(events, |event, record| event.into_output(record, batch.traceparent))
}

fn json(body: &Bytes) -> Result<&RawValue, String> {
    serde_json::from_slice(body).map_err(|error| {
        let text = String::from_utf8_lossy(body);
        format!("its body is not JSON {}", explain(&text, &error))
    })
}
