//! Every contract against records and answers that nobody would send on purpose.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::golden::{events_as, fc, lambda, settings};
use super::{Batch, of};
use crate::bad_bytes::bad_bytes;
use crate::delivery::answer::Verdict;
use crate::delivery::identity::batch_id;
use crate::delivery::record::{Header, Record, TopicPartition};
use crate::function::settings::{AliyunEventFormat, CloudEventsMode, ContractKind, ItemFailures};
use crate::json::{Format, Formats};

fn contracts() -> impl Strategy<Value = ContractKind> {
    prop::sample::select(vec![
        ContractKind::Json,
        ContractKind::Raw,
        events_as(CloudEventsMode::Binary),
        events_as(CloudEventsMode::Structured),
        events_as(CloudEventsMode::Batch),
        lambda(None, ItemFailures::FromFirst),
        lambda(Some("arn:aws:kafka:eu-west-1:1:cluster/c/u"), ItemFailures::Listed),
        fc(AliyunEventFormat::Objects),
        fc(AliyunEventFormat::Strings),
        fc(AliyunEventFormat::RawData),
    ])
}

/// Headers that contracts look at, with values that they expect, or any other.
fn headers(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let expected = prop::sample::select(vec![
        "1.0",
        "e-1",
        "/shop",
        "application/json",
        "application/cloudevents+json; charset=utf-8",
        "application/cloudevents-batch+json",
        "text/plain",
        "gr%C3%B6%C3%9Fe%",
        "2026-01-31T12:00:00Z",
        "200",
    ]);
    let value = prop_oneof![
        2 => expected.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec((prop::sample::select(names), value), 0..8)
}

const OF_RECORDS: &[&str] = &[
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_a-b",
    "ce_",
    "content-type",
    "Content-Type",
    "h",
];
const OF_ANSWERS: &[&str] = &[
    "content-type",
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-partitionkey",
    "ce-time",
    "x-fc-status",
];

fn record(offset: i64, key: Option<Vec<u8>>, value: Option<Vec<u8>>, headers: &[(&str, Vec<u8>)]) -> Arc<Record> {
    let header = |(name, value): &(&str, Vec<u8>)| Header {
        name: (*name).to_owned(),
        value: (!value.is_empty()).then(|| value.clone().into()),
    };
    Arc::new(Record {
        source: TopicPartition {
            topic: "orders".into(),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 1_764_000_000_000,
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers.iter().map(header).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Values are said to be bytes, so that any are valid.
    #[test]
    fn any_record_can_be_sent_in_any_contract(
        contract in contracts(), key: Option<Vec<u8>>, value in prop::option::of(bad_bytes("events")), own in headers(OF_RECORDS),
    ) {
        let mut settings = settings(contract, "/");
        settings.formats = Formats { key: None, value: Format::Bytes };
        let records = [record(42, key, value, &own)];
        let encoded = of(&settings).encode(&Batch {
            pipeline: "p", id: &batch_id(&records), records: &records, attempt: 1, traceparent: None,
        });
        // A byte becomes six characters at most, once in quotes and once more where an event is a string.
        let most = records[0].payload_bytes() * 12 + 4096;
        prop_assert!(encoded.body.len() <= most, "{} bytes of {}", encoded.body.len(), records[0].payload_bytes());
    }

    #[test]
    fn no_answer_in_any_contract_is_more_than_a_verdict_a_record_or_a_reason(
        contract in contracts(), body in prop_oneof![bad_bytes("answers"), bad_bytes("events")], said in headers(OF_ANSWERS), status in 200..300u16,
    ) {
        let settings = settings(contract, "/");
        let count = if settings.contract.takes_one_record() { 1 } else { 3 };
        let records: Vec<_> = (42..42 + count).map(|offset| record(offset, None, Some(b"1".to_vec()), &[])).collect();
        let batch = Batch { pipeline: "p", id: &batch_id(&records), records: &records, attempt: 1, traceparent: None };
        let mut head = HeaderMap::new();
        for (name, value) in &said {
            head.extend(HeaderValue::from_bytes(value).ok().map(|value| (HeaderName::from_static(name), value)));
        }
        let (contract, body) = (of(&settings), Bytes::from(body));
        if let Some(reason) = contract.function_error(&head) {
            prop_assert!(!reason.is_empty() && reason.len() <= 1000);
        }
        match contract.decode(status, &head, &body, &batch) {
            Ok(verdicts) => {
                prop_assert_eq!(verdicts.len(), records.len());
                let outputs = verdicts.iter().map(|verdict| match verdict {
                    Verdict::Deliver(outputs) => outputs.len(),
                    Verdict::Drop | Verdict::Again | Verdict::Retry { .. } | Verdict::DeadLetter { .. } => 0,
                });
                prop_assert!(outputs.sum::<usize>() <= body.len() + 1);
            }
            Err(why) => prop_assert!(!why.is_empty() && why.len() <= 1000, "{}", why),
        }
    }
}
