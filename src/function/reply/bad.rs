//! Answers as a broken function, or somebody in its place, may give them.

use std::ops::Range;

use super::*;
use crate::bad_bytes::{bad_bytes, corpus};
use crate::delivery::record::{Header, TopicPartition};
use crate::json::Format;
use proptest::prelude::*;

const TRACEPARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LONGEST_REASON_BYTES: usize = 1000;

/// The batch that the corpus was written for: `orders/3/42-44`.
fn batch() -> Vec<Arc<Record>> {
    let record = |offset| Record {
        source: TopicPartition {
            topic: "orders".into(),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 1_764_000_000_000,
        key: Some("k1".into()),
        value: Some(r#"{"amount":7}"#.into()),
        headers: vec![Header {
            name: "h".to_owned(),
            value: Some(vec![0xff].into()),
        }],
    };
    (42..45).map(|offset| Arc::new(record(offset))).collect()
}

/// A result may be a piece of the answer, or of what its base64 and escapes stand for, and what its record had; it never
/// grows beyond that.
fn check(body: Vec<u8>, sinks: &[String], formats: &Formats) -> Result<(), TestCaseError> {
    let (records, body, traceparent) = (batch(), Bytes::from(body), Bytes::from_static(TRACEPARENT));
    let verdicts = match Reply::to(&records, sinks, formats, Some(&traceparent)).verdicts(&body) {
        Ok(verdicts) => verdicts,
        Err(why) => {
            prop_assert!(!why.is_empty() && why.len() <= LONGEST_REASON_BYTES, "{why}");
            return Ok(());
        }
    };
    prop_assert_eq!(verdicts.len(), records.len(), "one verdict a record");
    let mut outputs = 0;
    for verdict in &verdicts {
        match verdict {
            Verdict::Deliver(results) => {
                outputs += results.len();
                for output in results {
                    prop_assert!(output.sink.is_none_or(|sink| usize::from(sink.0) < sinks.len()));
                    let bytes = [&output.key, &output.value].map(|bytes| bytes.as_ref().map_or(0, Bytes::len));
                    prop_assert!(bytes.iter().all(|length| *length <= body.len().max(2)));
                    prop_assert!(output.headers.len() <= body.len() + 2);
                }
            }
            Verdict::Retry { after, reason } => {
                prop_assert!(after.is_none_or(|after| after.0 <= MAX_AFTER_MS));
                prop_assert!(!reason.is_empty() && reason.chars().count() <= MAX_REASON_CHARS);
            }
            Verdict::DeadLetter { reason } => {
                prop_assert!(!reason.is_empty() && reason.chars().count() <= MAX_REASON_CHARS);
            }
            Verdict::Drop | Verdict::Again => {}
        }
    }
    prop_assert!(outputs == 0 || !sinks.is_empty(), "nobody would take them");
    prop_assert!(outputs <= body.len(), "each result takes bytes of the answer");
    // What was understood is understood the same way again.
    let again = Reply::to(&records, sinks, formats, Some(&traceparent)).verdicts(&body);
    prop_assert_eq!(again, Ok(verdicts));
    Ok(())
}

fn sinks(count: Range<usize>) -> impl Strategy<Value = Vec<String>> {
    count.prop_map(|count| {
        ["enriched", "audit"][..count]
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    })
}

#[test]
fn every_answer_that_is_kept_is_taken_or_refused() {
    let both = ["enriched".to_owned(), "audit".to_owned()];
    for body in corpus("answers") {
        check(body.clone(), &both, &Formats::default()).unwrap();
        check(body, &[], &Formats::default()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_more_than_a_verdict_a_record_or_a_reason(
        body in bad_bytes("answers"), sinks in sinks(0..3), keys_are_json in any::<bool>(),
    ) {
        let formats = Formats { key: keys_are_json.then_some(Format::Json), ..Formats::default() };
        check(body, &sinks, &formats)?;
    }
}
