//! Memos as others may write them: anybody may commit an offset for a group, with any text beside it.

use std::collections::BTreeMap;

use super::*;
use crate::bad_bytes::{bad_bytes, corpus, damaged};
use proptest::prelude::*;

/// An input of the corpus: an offset, a blank, and the memo beside it.
fn read(input: &[u8]) -> (i64, String) {
    let text = String::from_utf8_lossy(input);
    let (base, memo) = text.trim_end().split_once(' ').unwrap_or(("0", &text));
    (base.parse().unwrap_or(0), memo.to_owned())
}

/// A body with the checksum that goes with it.
fn with_checksum(body: &[u8], base: i64) -> String {
    let whole = [body, &checksum(body, base)].concat();
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(whole))
}

fn bodies() -> Vec<Vec<u8>> {
    let memos = corpus("memos").into_iter().map(|input| read(&input).1);
    let whole = memos.filter_map(|memo| URL_SAFE_NO_PAD.decode(memo.strip_prefix(PREFIX)?).ok());
    whole
        .map(|bytes| bytes[..bytes.len() - CHECKSUM_BYTES].to_vec())
        .collect()
}

/// What a memo says of each offset that it has as not settled.
fn marks(memo: &Memo) -> BTreeMap<i64, Vec<u64>> {
    let mut marks: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for part in memo.batches.iter().flat_map(|batch| &batch.parts) {
        for offset in &part.offsets {
            marks.entry(*offset).or_default().push(part.mark());
        }
    }
    marks.values_mut().for_each(|marks| marks.sort_unstable());
    marks
}

fn check(text: &str, base: i64) -> Result<(), TestCaseError> {
    let memo = match Memo::decode(text, base) {
        Ok(memo) => memo,
        Err(why) => {
            prop_assert!(!why.is_empty() && why.len() < 200, "{why}");
            return Ok(());
        }
    };
    let of_batches = memo.batches.iter().flat_map(|batch| &batch.parts);
    let spoken_of: Vec<i64> = of_batches.clone().flat_map(|part| part.offsets.clone()).collect();
    prop_assert!(
        spoken_of.len() + memo.settled.len() <= MAX_OFFSETS,
        "a bound on what is built"
    );
    prop_assert!(spoken_of.iter().chain(&memo.settled).all(|offset| *offset >= base));
    prop_assert!(memo.settled.is_sorted_by(|a, b| a < b));
    for part in of_batches {
        prop_assert!(part.attempts <= MAX_MARKED_ATTEMPTS && part.offsets.is_sorted_by(|a, b| a < b));
    }
    let again = Memo::decode(&memo.encode(base), base).map_err(TestCaseError::fail)?;
    prop_assert_eq!(marks(&again), marks(&memo));
    prop_assert_eq!(
        (again.ordering, again.totals, again.settled, again.generation),
        (memo.ordering, memo.totals, memo.settled, memo.generation)
    );
    Ok(())
}

#[test]
fn every_memo_that_is_kept_is_read_or_refused() {
    for (base, text) in corpus("memos").iter().map(|input| read(input)) {
        check(&text, base).unwrap();
    }
    assert!(!bodies().is_empty());
}

/// Found by the second property below: a record at the last offset there is, which nothing can follow.
#[test]
fn a_record_that_no_offset_follows_is_refused() {
    let body = [2, 128, 228, 151, 208, 18, 0, 0, 0, 0, 0, 1, 1, 0, 8, 0, 1];
    assert!(Memo::decode(&with_checksum(&body, i64::MAX), i64::MAX).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_beside_an_offset_is_more_than_refused(input in bad_bytes("memos")) {
        let (base, text) = read(&input);
        check(&text, base)?;
    }

    #[test]
    fn no_body_with_the_right_checksum_builds_more_than_a_memo_holds(
        body in prop_oneof![3 => damaged(bodies()), 1 => prop::collection::vec(any::<u8>(), 0..300)],
        base in prop_oneof![Just(0), Just(i64::MAX), 0..1i64 << 40, 0..=i64::MAX],
    ) {
        check(&with_checksum(&body, base), base)?;
    }
}
