//! Ids, pages and paths as somebody may type them, or another program may make them up.

use proptest::prelude::*;

use super::list::parsed;
use super::*;
use crate::bad_bytes::{bad_bytes, bad_text, corpus};

/// Whatever is read of an id is the id of one record, and of no other.
fn check_id(text: &str) -> Result<(), TestCaseError> {
    if let Some((place, offset)) = place_of(text) {
        prop_assert!(!place.topic.is_empty() && place.partition >= 0 && offset >= 0);
        prop_assert_eq!(place_of(&format!("{place}/{offset}")), Some((place, offset)));
    }
    Ok(())
}

fn record(value: Vec<u8>) -> Record {
    Record {
        source: TopicPartition {
            topic: "orders.dead-letter".into(),
            partition: 0,
        },
        offset: 0,
        generation: 0,
        timestamp_ms: i64::MIN,
        key: Some(value.clone().into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

#[test]
fn every_id_that_is_kept_is_one_or_none() {
    for text in corpus("ids") {
        check_id(&String::from_utf8_lossy(&text)).unwrap();
    }
    assert!(place_of("orders.dead-letter/3/42").is_some());
}

#[test]
fn a_path_nested_without_end_is_refused() {
    let deep = |open: &str| format!("$[?{}1=1", open.repeat(20_000));
    for open in ["(", "!(", "@[?", "@.a==$[?"] {
        let read = Contents::read(None, Some(&deep(open)));
        let (field, why) = read.expect_err("no such path");
        assert!(field == "value" && why.len() < 500, "{why}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_id_names_one_record_or_none(text in bad_text("ids")) {
        check_id(&text)?;
    }

    #[test]
    fn a_page_begins_behind_a_letter_or_is_refused(text in bad_text("cursors"), at_ms: i64, partition in 0..=i32::MAX, offset in 0..=i64::MAX) {
        match parsed(&text) {
            Ok((_, place, offset)) => check_id(&format!("{place}/{offset}"))?,
            Err(IndexError::NoCursor(said)) => prop_assert_eq!(said, text),
            Err(other) => prop_assert!(false, "{}", other),
        }
        let mut letter = Letter::of(&record(Vec::new()), None);
        (letter.at_ms, letter.offset, letter.place.partition) = (at_ms, offset, partition);
        let (at, place, found) = parsed(&cursor(&letter)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!((at, place, found), (at_ms, letter.place, offset));
    }

    #[test]
    fn a_path_is_refused_or_leads_somewhere_or_nowhere(path in bad_text("jsonpaths"), value in bad_bytes("answers")) {
        match Contents::read(None, Some(&path)) {
            Ok(contents) => {
                contents.are_in(&record(value));
            }
            Err((field, why)) => prop_assert!(field == "value" && why.contains("expected PATH=VALUE")),
        }
    }
}
