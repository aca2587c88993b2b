//! `json`: a batch is one JSON object, and so is its answer.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::text::push_number;
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
            content_type: Some(HeaderValue::from_static("application/json")),
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
        Reply::to(batch.records, &self.sinks, &self.formats, batch.traceparent).verdicts(body)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::delivery::record::{Header, TopicPartition};
    use crate::json::{Format, check};

    fn record(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: Vec<Header>) -> Arc<Record> {
        Arc::new(Record {
            source: TopicPartition {
                topic: Arc::from("orders"),
                partition: 3,
            },
            offset,
            generation: 0,
            timestamp_ms: 1_764_000_000_000,
            key: key.map(Bytes::copy_from_slice),
            value: value.map(Bytes::copy_from_slice),
            headers,
        })
    }

    fn encoded(formats: Formats, records: &[Arc<Record>]) -> String {
        let batch = Batch {
            pipeline: "orders-enrich",
            id: "orders/3/42-43",
            records,
            attempt: 1,
            traceparent: None,
        };
        let encoded = Json::new(formats, Vec::new()).encode(&batch);
        assert_eq!(encoded.content_type.unwrap(), "application/json");
        assert!(encoded.headers.is_empty());
        String::from_utf8(encoded.body.to_vec()).unwrap()
    }

    #[test]
    fn a_batch_is_one_object_with_its_records_in_order() {
        let h = Header {
            name: "h".to_owned(),
            value: Some(Bytes::from_static(b"v")),
        };
        let records = [
            record(42, Some(b"k1"), Some(br#"{"amount":7}"#), vec![h]),
            record(43, None, None, vec![]),
        ];
        let expected = concat!(
            r#"{"pipeline":"orders-enrich","batch":"orders/3/42-43","records":["#,
            r#"{"id":"orders/3/42","topic":"orders","partition":3,"offset":42,"timestamp":1764000000000,"#,
            r#""key":"k1","value":{"amount":7},"headers":{"h":"v"},"attempt":1},"#,
            r#"{"id":"orders/3/43","topic":"orders","partition":3,"offset":43,"timestamp":1764000000000,"#,
            r#""key":null,"value":null,"headers":{},"attempt":1}]}"#
        );
        assert_eq!(encoded(Formats::default(), &records), expected);
    }

    #[test]
    fn keys_and_values_stand_as_their_formats_say() {
        type Row = (Option<Format>, Format, &'static [u8], &'static [u8], &'static str);
        let table: [Row; 6] = [
            (None, Format::Json, b"k", b" [1.0] ", r#""key":"k","value": [1.0] ,"#),
            (
                None,
                Format::Bytes,
                b"\xff",
                b"\xff\x00",
                r#""key_base64":"/w==","value_base64":"/wA=","#,
            ),
            (None, Format::String, b"", b"a\"b", r#""key":"","value":"a\"b","#),
            (
                Some(Format::Bytes),
                Format::Json,
                b"k",
                b"1",
                r#""key_base64":"aw==","value":1,"#,
            ),
            (
                Some(Format::Json),
                Format::Json,
                b"{\"a\":1}",
                b"1",
                r#""key":{"a":1},"value":1,"#,
            ),
            (
                Some(Format::String),
                Format::Json,
                b"7",
                b"1",
                r#""key":"7","value":1,"#,
            ),
        ];
        for (key_format, value_format, key, value, text) in table {
            let formats = Formats {
                key: key_format,
                value: value_format,
            };
            let body = encoded(formats, &[record(42, Some(key), Some(value), vec![])]);
            assert!(body.contains(text), "{body} lacks {text}");
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{body}");
        }
    }

    #[test]
    fn a_record_without_a_timestamp_has_null() {
        let mut undated = Record::clone(&record(42, None, Some(b"1"), vec![]));
        undated.timestamp_ms = -1;
        let body = encoded(Formats::default(), &[Arc::new(undated)]);
        assert!(body.contains(r#""timestamp":null,"#), "{body}");
    }

    /// Any JSON text, with blanks, escapes and numbers as nobody would write them.
    fn json_text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
            any::<String>().prop_map(|text| Value::from(text).to_string()),
            "\"(\\\\u[0-9a-fA-F]{4}|\\\\/|[ a-zé])*\"",
        ];
        let nested = leaf.prop_recursive(4, 40, 5, |inner| {
            let blank = "[ \\n\\t]{0,2}";
            let items = prop::collection::vec((blank, inner.clone(), blank), 0..5);
            let members = prop::collection::vec((blank, any::<String>(), inner, blank), 0..5);
            prop_oneof![
                items.prop_map(|items| {
                    let items: Vec<String> = items.iter().map(|(a, json, b)| format!("{a}{json}{b}")).collect();
                    format!("[{}]", items.join(","))
                }),
                members.prop_map(|members| {
                    let member = |(a, name, json, b): &(String, String, String, String)| {
                        format!("{a}{}{b}:{a}{json}{b}", Value::from(name.as_str()))
                    };
                    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
                }),
            ]
        });
        nested.prop_filter("a tombstone is told apart elsewhere", |text| text != "null")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Through a function that gives back each element of `records` as it stands in the request, which makes it
        /// an answer with values and keys in all formats.
        #[test]
        fn values_and_keys_survive_byte_for_byte(
            texts in prop::collection::vec(json_text(), 1..6),
            keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 6),
            value_is_bytes in any::<bool>(),
        ) {
            let formats = Formats { key: None, value: if value_is_bytes { Format::Bytes } else { Format::Json } };
            let records: Vec<Arc<Record>> = texts.iter().zip(&keys).enumerate()
                .map(|(i, (text, key))| {
                    prop_assert!(check(text.as_bytes()).is_ok(), "{text}");
                    Ok(record(40 + i as i64, Some(key), Some(text.as_bytes()), vec![]))
                })
                .collect::<Result<_, _>>()?;
            let batch = Batch { pipeline: "p", id: "b", records: &records, attempt: 1, traceparent: None };
            let contract = Json::new(formats, vec!["sink".to_owned()]);
            let request = contract.encode(&batch).body;
            let verdicts = contract.decode(200, &HeaderMap::new(), &request, &batch);
            let verdicts = verdicts.map_err(TestCaseError::fail)?;
            for (verdict, record) in verdicts.iter().zip(&records) {
                let Verdict::Deliver(outputs) = verdict else { panic!("{verdict:?}") };
                prop_assert_eq!(outputs.len(), 1);
                prop_assert_eq!(&outputs[0].value, &record.value);
                prop_assert_eq!(&outputs[0].key, &record.key);
                prop_assert_eq!(outputs[0].timestamp_ms, record.timestamp_ms);
            }
        }
    }
}
