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
        if let Ok(id) = HeaderValue::from_maybe_shared(Bytes::from(record.id().to_string())) {
            headers.insert(RECORD, id);
        }
        if let Some(Ok(key)) = record
            .key
            .as_ref()
            .map(|key| HeaderValue::from_maybe_shared(Bytes::from(STANDARD.encode(key))))
        {
            headers.insert(KEY, key);
        }
        if record.value.is_none() {
            headers.insert(TOMBSTONE, HeaderValue::from_static("true"));
        }
        Encoded {
            content_type: Some(content_type(record)),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::record::{Header, Output, TopicPartition};

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>, content_type: Option<&'static str>) -> Record {
        let header = content_type.map(|text| Header {
            name: "Content-Type".to_owned(),
            value: Some(Bytes::from_static(text.as_bytes())),
        });
        Record {
            source: TopicPartition {
                topic: Arc::from("orders"),
                partition: 3,
            },
            offset: 42,
            generation: 0,
            timestamp_ms: 1000,
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: header.into_iter().collect(),
        }
    }

    fn with_batch<T>(record: Record, then: impl FnOnce(&Batch<'_>) -> T) -> T {
        then(&Batch {
            pipeline: "p",
            id: "orders/3/42",
            records: &[Arc::new(record)],
            attempt: 1,
            traceparent: Some(&Bytes::from_static(b"00-trace")),
        })
    }

    fn encoded(record: Record) -> Encoded {
        with_batch(record, |batch| Raw::new(true).encode(batch))
    }

    fn decoded(record: Record, has_sinks: bool, body: &'static [u8]) -> Result<Vec<Verdict>, String> {
        let body = Bytes::from_static(body);
        with_batch(record, |batch| {
            Raw::new(has_sinks).decode(200, &HeaderMap::new(), &body, batch)
        })
    }

    #[test]
    fn a_request_is_the_values_bytes_with_id_and_key_in_headers() {
        let request = encoded(record(Some(b"k\xff"), Some(b"\x00value"), None));
        assert_eq!(&request.body[..], b"\x00value");
        assert_eq!(request.content_type.unwrap(), "application/octet-stream");
        assert_eq!(request.headers["fnbridge-record"], "orders/3/42");
        assert_eq!(request.headers["fnbridge-key"], "a/8=");
        assert!(!request.headers.contains_key("fnbridge-tombstone"));
    }

    #[test]
    fn no_key_has_no_header_and_an_empty_key_an_empty_one() {
        assert!(
            !encoded(record(None, Some(b"v"), None))
                .headers
                .contains_key("fnbridge-key")
        );
        assert_eq!(encoded(record(Some(b""), Some(b"v"), None)).headers["fnbridge-key"], "");
    }

    #[test]
    fn a_tombstone_is_an_empty_body_that_says_so_and_an_empty_value_is_none() {
        let tombstone = encoded(record(Some(b"k"), None, None));
        assert!(tombstone.body.is_empty());
        assert_eq!(tombstone.headers["fnbridge-tombstone"], "true");
        let empty = encoded(record(Some(b"k"), Some(b""), None));
        assert!(empty.body.is_empty());
        assert!(!empty.headers.contains_key("fnbridge-tombstone"));
    }

    #[test]
    fn the_content_type_is_the_records_if_it_can_be_sent() {
        let sent = |content_type| {
            encoded(record(None, Some(b"v"), Some(content_type)))
                .content_type
                .unwrap()
        };
        assert_eq!(sent("text/csv"), "text/csv");
        assert_eq!(sent("a\nb"), "application/octet-stream");
        assert_eq!(sent(""), "application/octet-stream");
    }

    #[test]
    fn a_body_is_one_result_with_the_sources_key() {
        let source = record(Some(b"k"), Some(b"v"), Some("text/csv"));
        let verdicts = decoded(source.clone(), true, b"\xffresult").unwrap();
        let [Verdict::Deliver(outputs)] = &verdicts[..] else {
            panic!("{verdicts:?}")
        };
        let expected = Output {
            value: Some(Bytes::from_static(b"\xffresult")),
            ..inherited(&source, Some(&Bytes::from_static(b"00-trace")))
        };
        assert_eq!(outputs[..], [expected]);
        assert_eq!(outputs[0].key, source.key);
    }

    #[test]
    fn an_empty_body_or_a_pipeline_without_sinks_delivers_nothing() {
        let source = record(Some(b"k"), Some(b"v"), None);
        let nothing = Ok(vec![Verdict::Deliver(vec![])]);
        assert_eq!(decoded(source.clone(), true, b""), nothing);
        assert_eq!(decoded(source, false, b"result"), nothing);
    }

    #[test]
    fn more_than_one_record_is_never_taken_for_done() {
        let record = Arc::new(record(None, Some(b"v"), None));
        let batch = Batch {
            pipeline: "p",
            id: "orders/3/42-43",
            records: &[Arc::clone(&record), record],
            attempt: 1,
            traceparent: None,
        };
        let answer = Raw::new(true).decode(200, &HeaderMap::new(), &Bytes::new(), &batch);
        assert_eq!(
            answer.unwrap_err(),
            "the raw contract carries one record a call, this one held 2"
        );
    }
}
