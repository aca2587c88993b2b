//! Dead letters as other tools, or nobody in particular, may write them.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::headers::{OURS, REDRIVES, RESULT, header};
use super::tests::{letter, settings};
use super::{dead_letter, given_up, kept_result, redriven, source_headers, told};
use crate::bad_bytes::{bad_bytes, bad_text, corpus};
use crate::delivery::record::{Header, Record, SinkId, TopicPartition};

/// A letter with these headers, a line each: `name: value`.
fn with_lines(lines: &[u8]) -> Record {
    let headers = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.windows(2).position(|two| two == b": ")?;
        let name = String::from_utf8_lossy(&line[..at]).into_owned();
        let value = Some(Bytes::copy_from_slice(&line[at + 2..]));
        Some(Header { name, value })
    });
    record(headers.collect())
}

fn record(headers: Vec<Header>) -> Record {
    Record {
        source: TopicPartition {
            topic: "orders.dead-letter".into(),
            partition: 0,
        },
        offset: 3,
        generation: 0,
        timestamp_ms: -1,
        key: Some("k".into()),
        value: Some(vec![0xff, 0].into()),
        headers,
    }
}

/// Something is told of any letter, none of it longer than what a database indexes, and none of it a NUL.
fn check(letter: &Record) -> Result<(), TestCaseError> {
    let told = told(letter);
    let topic = told.source.as_ref().map(|source| source.topic.to_string());
    for name in [
        Some(told.stage.clone()),
        told.pipeline.clone(),
        told.sink.clone(),
        topic,
    ]
    .into_iter()
    .flatten()
    {
        prop_assert!(name.chars().count() <= 249 && !name.contains('\0'), "{name}");
    }
    prop_assert!(!told.stage.is_empty() || letter.headers.iter().any(|header| header.name.ends_with(".stage")));
    prop_assert!(told.reason.chars().count() <= 1000 && !told.reason.contains('\0'));
    prop_assert!(told.fingerprint.len() == 16 && told.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));

    let again = given_up(letter.clone());
    prop_assert_eq!(
        (&again.key, &again.value, again.timestamp_ms),
        (&letter.key, &letter.value, letter.timestamp_ms)
    );
    prop_assert!(again.headers.iter().eq(source_headers(letter)));
    prop_assert!(again.headers.iter().all(|header| !OURS.contains(&header.name.as_str())));
    let carrying = redriven(&again, told.redrives.saturating_add(1));
    let count = carrying.headers.iter().filter(|header| header.name == REDRIVES).count();
    prop_assert_eq!(count, 1);
    Ok(())
}

#[test]
fn every_letter_that_is_kept_is_told() {
    for lines in corpus("letters") {
        check(&with_lines(&lines)).unwrap();
    }
    let words: Vec<String> = corpus("letters")
        .iter()
        .map(|lines| told(&with_lines(lines)).reason)
        .collect();
    assert!(words.iter().any(|reason| reason == "row 7 is too long"), "{words:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn something_is_told_of_any_headers(lines in bad_bytes("letters")) {
        check(&with_lines(&lines))?;
    }

    #[test]
    fn something_is_told_whatever_the_headers_of_our_names_hold(
        headers in prop::collection::vec(
            (prop::sample::select(OURS.to_vec()), prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..30,
        ),
    ) {
        let headers = headers.into_iter().map(|(name, value)| Header { name: name.to_owned(), value: value.map(Bytes::from) });
        check(&record(headers.collect()))?;
    }

    #[test]
    fn no_text_in_a_header_makes_a_name_too_long(name in prop::sample::select(OURS.to_vec()), text in ".{0,3000}") {
        check(&record(vec![header(name, text)]))?;
    }

    /// What a source record has comes back from its letter, whatever it is, but for headers of our names.
    #[test]
    fn a_record_comes_back_from_its_letter(
        key: Option<Vec<u8>>, value: Option<Vec<u8>>, lines in bad_bytes("letters"), reason in bad_text("answers"),
    ) {
        let mut letter = letter(with_lines(&lines).headers, b"", None);
        letter.facts.failure.reason = reason;
        let record = Arc::get_mut(&mut letter.record).unwrap();
        (record.key, record.value) = (key.map(Bytes::from), value.map(Bytes::from));
        let source = letter.record.clone();
        let dead = dead_letter(&letter, &settings(), 8 << 20).map_err(TestCaseError::fail)?;
        let written = Record {
            key: dead.key, value: dead.value, headers: dead.headers, timestamp_ms: dead.timestamp_ms,
            ..record_at("p.dead-letter", 3, 7)
        };
        let back = given_up(written.clone());
        let own: Vec<Header> = source_headers(&source).cloned().collect();
        prop_assert_eq!((&back.key, &back.value, &back.headers), (&source.key, &source.value, &own));
        prop_assert_eq!((&back.source, back.offset, back.timestamp_ms), (&source.source, source.offset, source.timestamp_ms));
        prop_assert!(!told(&written).foreign);
    }

    #[test]
    fn a_kept_result_is_a_result_or_a_reason(text in bad_bytes("results")) {
        let length = text.len();
        match kept_result(&record(vec![header(RESULT, text)]), SinkId(1)) {
            Ok(result) => {
                let bytes = [&result.key, &result.value].map(|bytes| bytes.as_ref().map_or(0, Bytes::len));
                prop_assert!(bytes.iter().all(|bytes| *bytes <= length) && result.headers.len() <= length);
                prop_assert_eq!(result.sink, Some(SinkId(1)));
            }
            Err(why) => prop_assert!(why.starts_with("its `fnbridge.result` can't be read: "), "{}", why),
        }
    }
}

fn record_at(topic: &str, partition: i32, offset: i64) -> Record {
    Record {
        source: TopicPartition {
            topic: topic.into(),
            partition,
        },
        offset,
        ..record(Vec::new())
    }
}
