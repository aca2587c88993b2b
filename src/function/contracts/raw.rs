//! `raw`: one record's bytes, and bytes back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::{Batch, Contract, Encoded};
use crate::delivery::answer::Verdict;
use crate::delivery::record::Record;
use crate::function::reply::inherited;

const RECORD: HeaderName = HeaderName::from_static("fnbridge-record");
const KEY: HeaderName = HeaderName::from_static("fnbridge-key");
const TOMBSTONE: HeaderName = HeaderName::from_static("fnbridge-tombstone");

#[derive(Debug)]
pub(super) struct Raw {
    has_sinks: bool,
}

impl Raw {
    pub(super) fn new(has_sinks: bool) -> Raw {
        Raw { has_sinks }
    }
}

impl Contract for Raw {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let record = &batch.records[0];
        let mut headers = HeaderMap::new();
        if let Ok(id) = HeaderValue::from_str(&record.id().to_string()) {
            headers.insert(RECORD, id);
        }
        if let Some(Ok(key)) = record
            .key
            .as_ref()
            .map(|key| HeaderValue::from_str(&STANDARD.encode(key)))
        {
            headers.insert(KEY, key);
        }
        if record.value.is_none() {
            headers.insert(TOMBSTONE, HeaderValue::from_static("true"));
        }
        Encoded {
            content_type: content_type(record),
            headers,
            body: record.value.clone().unwrap_or_default(),
        }
    }

    fn decode(
        &self,
        _status: u16,
        _headers: &HeaderMap,
        body: &Bytes,
        batch: &Batch<'_>,
    ) -> Result<Vec<Verdict>, String> {
        let [record] = batch.records else {
            return Err(format!(
                "the raw contract carries one record a call, this one held {}",
                batch.records.len()
            ));
        };
        if body.is_empty() || !self.has_sinks {
            return Ok(vec![Verdict::Deliver(Vec::new())]);
        }
        let mut output = inherited(record, batch.traceparent);
        output.value = Some(body.clone());
        Ok(vec![Verdict::Deliver(vec![output])])
    }
}

/// The record's own, if it has one that can be sent.
fn content_type(record: &Record) -> HeaderValue {
    (record.headers.iter())
        .filter(|header| header.name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()))
        .filter_map(|header| header.value.as_ref().filter(|value| !value.is_empty()))
        .find_map(|value| HeaderValue::from_bytes(value).ok())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}
