//! What is settled ahead of the committed offset is remembered: far, across crash and hand-over, and whatever the ordering is
//! changed to.

use fnbridge_delivery::answer::Answer;
use fnbridge_delivery::event::{Arrival, Notice};
use fnbridge_delivery::memo::{MAX_CHARS, Memo};
use fnbridge_delivery::settings::Ordering;

use crate::script::{Script, arrival, nothing, offsets};

/// Records behind the one that is stuck, at every other offset, as compaction leaves them.
const SCATTERED: i64 = 10_000;

const ORDERINGS: [Ordering; 3] = [Ordering::Partition, Ordering::Key, Ordering::None];

fn scattered() -> Vec<Arrival> {
    let behind = (1..=SCATTERED).map(|n| arrival(0, n * 2, None));
    std::iter::once(arrival(0, 0, Some("stuck"))).chain(behind).collect()
}

/// A task that has settled everything but the first record, and has committed that.
fn settled_ahead(ordering: Ordering) -> Script {
    let mut script = Script::with(|s| (s.ordering, s.in_flight_bytes) = (ordering, 1 << 30));
    script.commits_answer = true;
    let assignment = script.assign(0);
    let mut records = scattered();
    let behind = records.split_off(1);
    script.arrivals(assignment, records);
    assert_eq!(script.called(), [[0]]);
    let stuck = script.calls.pop_front();
    script.arrivals(assignment, behind);
    while let Some(call) = script.calls.pop_front() {
        let accepted = call.records.iter().map(|_| nothing()).collect();
        script.answer(&call, Answer::Verdicts(accepted));
    }
    script.wait(2_000);
    script.calls.extend(stuck);
    script
}

#[test]
fn ten_thousand_scattered_records_stand_in_one_memo() {
    for ordering in [Ordering::Key, Ordering::None] {
        let script = settled_ahead(ordering);
        let entry = script.committed.clone().expect("a commit");
        let (offset, memo) = script.stands_committed();
        assert_eq!((offset, memo.settled.len() as i64), (0, SCATTERED), "{ordering:?}");
        assert!(entry.memo.len() <= MAX_CHARS, "{} characters", entry.memo.len());
    }
}

#[test]
fn what_was_settled_ahead_is_not_called_again_after_a_crash_a_hand_over_or_a_change_of_ordering() {
    for before in [Ordering::Key, Ordering::None] {
        for (after, handed_over) in ORDERINGS.into_iter().flat_map(|o| [(o, false), (o, true)]) {
            let mut script = settled_ahead(before);
            let (offset, memo) = match handed_over {
                true => {
                    let assignment = script.task.view().partitions[0].assignment;
                    script.hand_over(assignment)
                }
                // What is found after a crash is the last commit.
                false => (0, script.committed.clone().map(|entry| entry.memo)),
            };
            let mut next = Script::with(|s| (s.ordering, s.in_flight_bytes) = (after, 1 << 30));
            let assignment = next.assign_at(0, offset, memo);
            next.arrivals(assignment, scattered());
            let called: Vec<Vec<i64>> = next.calls.iter().map(offsets).collect();
            assert_eq!(called, [[0]], "{before:?} to {after:?}, handed over: {handed_over}");
            next.run(|_| None);
            let (offset, memo) = next.stands_committed();
            assert_eq!(offset, 2 * SCATTERED + 1);
            assert_eq!((memo.totals[0], memo.settled), (SCATTERED as u64 + 1, Vec::new()));
        }
    }
}

#[test]
fn where_no_memo_would_hold_it_the_partition_waits_for_its_oldest_record_and_says_which() {
    for ordering in [Ordering::Key, Ordering::None] {
        let mut script = settled_ahead(ordering);
        let assignment = script.task.view().partitions[0].assignment;
        let from = SCATTERED * 2 + 1;
        script.arrivals(assignment, (from..from + 20_000).map(|o| arrival(0, o, None)).collect());
        let stuck = script.call();
        while let Some(call) = script.calls.pop_front() {
            let accepted = call.records.iter().map(|_| nothing()).collect();
            script.answer(&call, Answer::Verdicts(accepted));
        }
        script.wait(2_000);
        let waits = |n: &Notice| matches!(n, Notice::WaitsForOldest { id } if id == "orders/0/0");
        assert_eq!(script.noticed(waits), 1, "{ordering:?}");
        let entry = script.committed.clone().expect("a commit");
        assert!(entry.memo.len() <= MAX_CHARS, "{} characters", entry.memo.len());
        assert!(Memo::decode(&entry.memo, entry.offset).is_ok());
        script.succeed(&stuck);
        script.run(|_| None);
        assert_eq!(script.stands_committed().0, from + 20_000);
    }
}
