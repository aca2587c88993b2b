//! Whatever a memo says, each record behind the offset is called, or was said to be settled, once.

use std::collections::{BTreeMap, BTreeSet};

use fnbridge_delivery::memo::{Memo, MemoBatch, MemoPart};
use fnbridge_delivery::settings::Ordering;
use proptest::prelude::*;

use crate::script::{Script, offsets};

const BASE: i64 = 100;
const END: i64 = 130;

/// Memos of every kind, of which some say different things of the same record, or speak of records that the log has not.
fn memos() -> impl Strategy<Value = Memo> {
    // What becomes of each record: 0 nothing, 1 settled ahead, else the part that it is in.
    let fates = prop::collection::vec(prop_oneof![2 => Just(0), 1 => Just(1), 2 => 2..10usize], 35);
    let parts = prop::collection::vec((0..9u32, any::<bool>(), any::<bool>()), 8);
    let totals = prop_oneof![Just([0; 6]), Just([i64::MAX as u64; 6])];
    let twice = prop::option::weighted(0.1, BASE + 1..END);
    (any_ordering(), totals, fates, parts, 1..4usize, twice, 0..2u32).prop_map(
        |(ordering, totals, fates, parts, of_batch, twice, generation)| {
            let of = |fate: usize| {
                (BASE..)
                    .zip(&fates)
                    .filter(move |(_, it)| **it == fate)
                    .map(|(offset, _)| offset)
            };
            let parts: Vec<MemoPart> = (2..)
                .zip(parts)
                .map(|(part, (attempts, split, failed_alone))| MemoPart {
                    attempts: if attempts == 8 { 2047 } else { attempts },
                    split,
                    failed_alone,
                    offsets: of(part).collect(),
                })
                .collect();
            // The first record that is not settled stands at the offset itself.
            let settled: BTreeSet<i64> = of(1).filter(|offset| *offset > BASE).chain(twice).collect();
            Memo {
                ordering,
                totals,
                batches: parts
                    .chunks(of_batch)
                    .map(|parts| MemoBatch { parts: parts.to_vec() })
                    .collect(),
                settled: settled.into_iter().collect(),
                generation,
            }
        },
    )
}

fn any_ordering() -> impl Strategy<Value = Option<Ordering>> {
    prop::sample::select(vec![
        None,
        Some(Ordering::Partition),
        Some(Ordering::Key),
        Some(Ordering::None),
    ])
}

#[test]
fn records_of_a_failed_batch_that_the_log_has_lost_are_waited_for_a_while_and_no_longer() {
    let memo = Memo {
        ordering: Some(Ordering::Partition),
        batches: vec![MemoBatch {
            parts: vec![MemoPart {
                attempts: 2,
                split: false,
                failed_alone: false,
                offsets: vec![BASE, BASE + 1, BASE + 2],
            }],
        }],
        ..Memo::default()
    };
    let mut script = Script::new(crate::script::settings());
    let assignment = script.assign_at(0, BASE, Some(memo.encode(BASE)));
    script.arrive(assignment, 0, BASE..BASE + 2);
    script.wait(299_000);
    assert!(script.calls.is_empty(), "the batch keeps its boundaries");
    script.wait(2_000);
    let call = script.call();
    assert_eq!((offsets(&call), call.attempt), (vec![BASE, BASE + 1], 3));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_memo_says_no_record_is_lost_and_none_is_called_beside_its_disposition(
        memo in memos(), ordering in any_ordering(), chunk in 1..31i64, max_records in 1..12usize,
    ) {
        let ordering = ordering.unwrap_or(Ordering::Partition);
        let mut script = Script::with(|settings| (settings.ordering, settings.batch.max_records) = (ordering, max_records));
        let text = memo.encode(BASE);
        let settled = Memo::decode(&text, BASE).map_or(BTreeSet::new(), |read| read.settled.into_iter().collect());
        let assignment = script.assign_at(0, BASE, Some(text));
        let mut called: BTreeMap<i64, u32> = BTreeMap::new();
        for from in (BASE..END).step_by(usize::try_from(chunk).unwrap()) {
            script.arrive(assignment, 0, from..END.min(from + chunk));
            script.wait(1_000);
        }
        script.run(|offsets| {
            offsets.iter().for_each(|offset| *called.entry(*offset).or_default() += 1);
            None
        });
        let expected: BTreeMap<i64, u32> = (BASE..END).filter(|o| !settled.contains(o)).map(|o| (o, 1)).collect();
        prop_assert_eq!(called, expected);
    }
}
