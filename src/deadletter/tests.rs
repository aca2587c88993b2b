//! What a dead letter looks like, and what it loses when it has to.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::headers::{REDRIVES, RESPONSE, RESULT, STACK_TRACE, TRUNCATED, header};
use super::{DeadLetter, DeadLetterSettings, dead_letter, fingerprint};
use crate::delivery::answer::{Failure, Stage};
use crate::delivery::event::{Letter, LetterFacts, LetterId};
use crate::delivery::record::{Header, Output, Record, SinkId, TopicPartition};
use crate::kafka::ClusterSettings;

/// What a letter loses, in this order.
const EXPENDABLE: [&str; 3] = [RESULT, RESPONSE, STACK_TRACE];

pub(super) fn settings() -> DeadLetterSettings {
    DeadLetterSettings {
        cluster: Arc::new(ClusterSettings::plaintext("default", "127.0.0.1:9092")),
        topic: "p.dead-letter".into(),
        pipeline: "p".into(),
        revision: "abc".into(),
        worker: "w1".into(),
        sinks: vec!["out".into()],
        sources: vec!["orders".into()],
        max_redrives: 3,
        admin: true,
    }
}

pub(super) fn letter(headers: Vec<Header>, response: &'static [u8], result: Option<Output>) -> Letter {
    let source = TopicPartition {
        topic: "orders".into(),
        partition: 3,
    };
    let value = Some(Bytes::from_static(b"\xff\x00"));
    let record = Record {
        source,
        offset: 42,
        generation: 0,
        timestamp_ms: 1_764_000_000_000,
        key: Some("k1".into()),
        value,
        headers,
    };
    let failure = Failure {
        reason: "the function answered 500".into(),
        status: Some(500),
        response: response.into(),
    };
    let facts = LetterFacts {
        stage: Stage::Function,
        failure,
        attempts: 5,
        first_failed_ms: 1_764_000_001_000,
        last_failed_ms: 1_764_000_002_500,
        sink: result.is_some().then_some(SinkId(0)),
        result,
    };
    Letter {
        id: LetterId(1),
        record: Arc::new(record),
        facts,
    }
}

#[test]
fn a_letter_keeps_the_source_and_says_why() {
    let own = vec![
        header("h", "v"),
        header("fnbridge.stage", "forged"),
        header("h", "w"),
        header(REDRIVES, "2"),
    ];
    let dead = dead_letter(&letter(own, b"oops", None), &settings(), 1 << 20).unwrap();
    assert_eq!(
        (dead.key.as_deref(), dead.value.as_deref()),
        (Some(&b"k1"[..]), Some(&b"\xff\x00"[..]))
    );
    assert_eq!(dead.timestamp_ms, 1_764_000_000_000);
    let told = dead
        .headers
        .iter()
        .map(|h| format!("{}={}", h.name, String::from_utf8_lossy(h.value.as_ref().unwrap())));
    let told: Vec<String> = told.collect();
    let expected = [
        "h=v",
        "h=w",
        "__connect.errors.topic=orders",
        "__connect.errors.partition=3",
        "__connect.errors.offset=42",
        "__connect.errors.connector.name=p",
        "__connect.errors.task.id=w1",
        "__connect.errors.stage=TASK_PUT",
        "__connect.errors.class.name=fnbridge.function",
        "__connect.errors.exception.class.name=fnbridge.function.Http500",
        "__connect.errors.exception.message=the function answered 500",
        "__connect.errors.exception.stacktrace=orders/3/42: the function answered 500\n\tat stage function after 5 \
         attempts, first failed 2025-11-24T16:00:01.000Z, last failed 2025-11-24T16:00:02.500Z",
        "fnbridge.pipeline=p",
        "fnbridge.revision=abc",
        "fnbridge.stage=function",
        "fnbridge.reason=the function answered 500",
        "fnbridge.http.status=500",
        "fnbridge.response=oops",
        "fnbridge.attempts=5",
        "fnbridge.first-failed=2025-11-24T16:00:01.000Z",
        "fnbridge.last-failed=2025-11-24T16:00:02.500Z",
        &format!(
            "fnbridge.fingerprint={}",
            fingerprint("function", Some(500), "the function answered 500")
        ),
        "fnbridge.redrives=2",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_letter_too_large_loses_result_then_response_then_trace_and_never_the_source() {
    let result = Output {
        sink: None,
        key: None,
        value: Some(vec![b'x'; 900].into()),
        headers: vec![],
        timestamp_ms: -1,
    };
    let letter = letter(Vec::new(), &[b'r'; 700], Some(result));
    let names = |max| {
        dead_letter(&letter, &settings(), max).map(|dead| {
            let has = |name: &str| dead.headers.iter().any(|header| header.name == name);
            EXPENDABLE.map(has)
        })
    };
    let whole = dead_letter(&letter, &settings(), usize::MAX).unwrap().size_bytes();
    assert_eq!(names(whole), Ok([true, true, true]));
    assert_eq!(names(whole - 1), Ok([false, true, true]));
    assert_eq!(names(whole - 1300), Ok([false, false, true]));
    assert!(names(600).unwrap_err().contains("max.message.bytes"));
}

/// A letter's header as text.
fn told<'a>(dead: &'a DeadLetter, name: &str) -> Option<&'a str> {
    let found = dead.headers.iter().find(|header| header.name == name)?;
    std::str::from_utf8(found.value.as_deref()?).ok()
}

fn result(value: impl Into<Bytes>) -> Output {
    Output {
        sink: None,
        key: Some("k1".into()),
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp_ms: 7,
    }
}

#[test]
fn a_refused_result_is_kept_so_that_it_can_be_stored_again() {
    let mut refused = result("{\"a\": \"é\"}");
    let value = |bytes: Option<&'static [u8]>| bytes.map(Bytes::from_static);
    refused.headers = [
        ("h", value(Some(b"v"))),
        ("n", value(None)),
        ("h", value(Some(b"\xff"))),
    ]
    .map(|(name, value)| Header {
        name: name.into(),
        value,
    })
    .into();
    let dead = dead_letter(&letter(Vec::new(), b"", Some(refused)), &settings(), 1 << 20).unwrap();
    assert_eq!(told(&dead, "fnbridge.sink"), Some("out"));
    let kept = r#"{"key":"k1","value":"{\"a\": \"é\"}","timestamp":7,"headers":[{"name":"h","value":"v"},{"name":"n","value":null},{"name":"h","value_base64":"/w=="}]}"#;
    assert_eq!(told(&dead, RESULT), Some(kept));
    assert_eq!(told(&dead, TRUNCATED), None);

    let mut tombstone = result(Bytes::from_static(b"\xff"));
    tombstone.key = None;
    let dead = dead_letter(&letter(Vec::new(), b"", Some(tombstone)), &settings(), 1 << 20).unwrap();
    let kept = r#"{"key":null,"value_base64":"/w==","timestamp":7,"headers":[]}"#;
    assert_eq!(told(&dead, RESULT), Some(kept));
}

#[test]
fn a_result_that_is_too_long_to_keep_is_marked() {
    let dead = dead_letter(
        &letter(Vec::new(), b"", Some(result(vec![b'x'; 600 << 10]))),
        &settings(),
        2 << 20,
    )
    .unwrap();
    assert_eq!((told(&dead, RESULT), told(&dead, TRUNCATED)), (None, Some(RESULT)));
}

#[test]
fn a_reason_from_a_talkative_function_ends_between_two_characters() {
    let mut talkative = letter(Vec::new(), b"r", None);
    talkative.facts.failure.reason = format!("a{}", "é".repeat(1 << 20));
    let dead = dead_letter(&talkative, &settings(), 20_000).unwrap();
    let reason = told(&dead, "fnbridge.reason").unwrap();
    assert_eq!(reason.len(), 4095);
    assert!(talkative.facts.failure.reason.starts_with(reason));
    assert_eq!(told(&dead, "__connect.errors.exception.message"), Some(reason));
    assert_eq!(told(&dead, TRUNCATED), Some("fnbridge.reason"));
}

#[test]
fn a_response_is_kept_up_to_4_kib() {
    let dead = dead_letter(&letter(Vec::new(), &[b'r'; 5000], None), &settings(), 1 << 20).unwrap();
    assert_eq!(told(&dead, RESPONSE).map(str::len), Some(4096));
}

#[test]
fn a_tombstone_without_key_and_timestamp_stays_one() {
    let mut tombstone = letter(
        vec![Header {
            name: "n".into(),
            value: None,
        }],
        b"",
        None,
    );
    let record = Arc::get_mut(&mut tombstone.record).unwrap();
    (record.key, record.value, record.timestamp_ms) = (None, None, -1);
    let dead = dead_letter(&tombstone, &settings(), 1 << 20).unwrap();
    assert_eq!((&dead.key, &dead.value, dead.timestamp_ms), (&None, &None, -1));
    assert_eq!(
        dead.headers[0],
        Header {
            name: "n".into(),
            value: None
        }
    );
}

#[test]
fn every_stage_has_a_name_that_connect_knows() {
    let table = [
        (Stage::Convert, "VALUE_CONVERTER"),
        (Stage::Filter, "TRANSFORMATION"),
        (Stage::Transform, "TRANSFORMATION"),
        (Stage::Function, "TASK_PUT"),
        (Stage::Sink, "TASK_PUT"),
        (Stage::Operator, "TASK_PUT"),
    ];
    for (stage, name) in table {
        let mut given_up = letter(Vec::new(), b"", None);
        given_up.facts.stage = stage;
        let dead = dead_letter(&given_up, &settings(), 1 << 20).unwrap();
        assert_eq!(told(&dead, "__connect.errors.stage"), Some(name));
        assert_eq!(told(&dead, "fnbridge.stage"), Some(stage.name()));
    }
}

proptest! {
    #[test]
    fn no_letter_is_larger_than_it_may_be_and_none_loses_a_byte_of_its_source(
        key: Option<Vec<u8>>, value: Option<Vec<u8>>, name in "[a-z.]{0,20}", header_value: Vec<u8>, max in 0usize..6000,
    ) {
        let own = vec![Header { name, value: Some(header_value.into()) }];
        let mut letter = letter(own, &[b'r'; 700], Some(result(vec![b'x'; 900])));
        let record = Arc::get_mut(&mut letter.record).unwrap();
        (record.key, record.value) = (key.clone().map(Bytes::from), value.clone().map(Bytes::from));
        if let Ok(dead) = dead_letter(&letter, &settings(), max) {
            prop_assert!(dead.size_bytes() <= max);
            prop_assert_eq!(dead.key.as_deref(), key.as_deref());
            prop_assert_eq!(dead.value.as_deref(), value.as_deref());
            prop_assert_eq!(dead.timestamp_ms, letter.record.timestamp_ms);
            prop_assert_eq!(&dead.headers[0], &letter.record.headers[0]);
        }
    }
}
