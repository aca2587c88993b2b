//! Drains, memos, and what the next owner does with them.

use fnbridge_delivery::answer::{Answer, Receipt, Verdict};
use fnbridge_delivery::event::{Event, Notice};
use fnbridge_delivery::memo::{Memo, MemoBatch, MemoPart};
use fnbridge_delivery::record::Output;
use fnbridge_delivery::settings::Ordering;
use fnbridge_delivery::time::Millis;

use crate::script::{Script, busy, nothing, offsets, retry};

#[test]
fn what_waits_is_let_go_at_once_with_its_attempts_and_boundaries() {
    let mut script = Script::with(|s| s.batch.max_records = 3);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.fail(&call);
    let (_, call) = script.wait_for_call(60_000);
    script.answer(&call, busy(Some(600_000)));
    let begun = script.now;
    let (offset, memo) = {
        script.give(Event::Revoked {
            assignments: vec![assignment],
        });
        assert_eq!(
            (script.released.clone(), script.now),
            (vec![assignment], begun),
            "at once"
        );
        let entry = script.committed.clone().expect("a commit");
        (entry.offset, Some(entry.memo))
    };
    let mut next = Script::with(|s| s.batch.max_records = 100);
    let assignment = next.assign_at(0, offset, memo);
    next.arrive(assignment, 0, 0..2);
    assert!(next.calls.is_empty(), "it waits for the batch's other records");
    next.arrive(assignment, 0, 2..5);
    let call = next.call();
    assert_eq!((offsets(&call), call.attempt), (vec![0, 1, 2], 2));
}

#[test]
fn a_first_call_that_the_deadline_cuts_off_keeps_its_boundaries() {
    let mut script = Script::with(|s| (s.batch.max_records, s.drain_timeout) = (3, Millis(1_000)));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    script.wait(999);
    assert!(script.released.is_empty() && script.abandoned.is_empty());
    script.wait(1);
    assert_eq!(
        (script.abandoned.clone(), script.released.clone()),
        (vec![call.id], vec![assignment])
    );
    script.succeed(&call);
    assert_eq!(script.noticed(|n| matches!(n, Notice::LateDiscarded { .. })), 1);
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::Drained { in_time: false, .. })),
        1
    );
    let (_, memo) = script.stands_committed();
    assert_eq!(memo.batches[0].parts[0].offsets, [0, 1, 2]);
}

#[test]
fn a_call_that_ends_in_time_is_stored_and_committed_before_the_partition_is_let_go() {
    let mut script = Script::with(|s| s.batch.max_records = 3);
    script.sinks_answer = false;
    script.commits_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    script.succeed(&call);
    assert!(script.calls.is_empty(), "nothing new is called");
    let store = script.stores.pop_front().expect("results are sent");
    script.answer_store(store, vec![Receipt::Stored; 3]);
    assert!(script.released.is_empty(), "not before the commit has ended");
    let entries = script.commits.pop_front().expect("the last commit");
    assert_eq!(entries[0].offset, 3);
    script.answer_commit(entries, Ok(()));
    assert_eq!(script.released, [assignment]);
}

#[test]
fn results_that_are_not_acked_by_the_deadline_are_purged_and_what_is_still_owned_is_sent_anew() {
    let mut script = Script::with(|s| s.drain_timeout = Millis(1_000));
    script.sinks_answer = false;
    let (leaving, kept) = (script.assign(0), script.assign(1));
    script.arrive(leaving, 0, 0..2);
    script.arrive(kept, 1, 0..2);
    for _ in 0..2 {
        let call = script.call();
        script.succeed(&call);
    }
    let late = script.stores.clone();
    script.give(Event::Revoked {
        assignments: vec![leaving],
    });
    script.wait(1_000);
    assert_eq!((script.recycled, script.released.clone()), (1, vec![leaving]));
    let sent: Vec<String> = script
        .stores
        .iter()
        .flat_map(|s| s.items.iter().map(|i| i.record.id().to_string()))
        .collect();
    assert_eq!(sent, ["orders/1/0", "orders/1/1"]);
    for store in late {
        let receipts = vec![Receipt::Stored; store.items.len()];
        script.give(Event::Stored {
            store: store.id,
            receipts,
        });
    }
    script.wait(5_000);
    assert!(
        script.committed.as_ref().is_none_or(|entry| entry.offset == 0),
        "late receipts count for nothing"
    );
}

#[test]
fn a_lost_partition_is_neither_drained_nor_committed() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.give(Event::Lost {
        assignments: vec![assignment],
    });
    script.succeed(&call);
    script.wait(60_000);
    assert!(script.commits.is_empty() && script.committed.is_none() && script.released.is_empty());
    assert!(script.stored[0].is_empty());
}

#[test]
fn records_settled_ahead_are_not_called_again_by_the_next_owner() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    for call in std::mem::take(&mut script.calls) {
        match call.records[0].offset {
            1 => script.answer(&call, busy(Some(600_000))),
            _ => script.succeed(&call),
        }
    }
    let (offset, memo) = script.hand_over(assignment);
    assert_eq!(offset, 1);
    let mut next = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 1));
    let assignment = next.assign_at(0, offset, memo);
    next.arrive(assignment, 0, 1..6);
    let mut called = next.called();
    called.sort_unstable();
    assert_eq!(called, [[1], [5]]);
    next.run(|_| None);
    assert_eq!(next.stands_committed().0, 6);
    assert_eq!(next.stands_committed().1.totals[0], 6);
}

#[test]
fn under_another_ordering_what_is_settled_and_the_attempts_stay_and_boundaries_go() {
    let memo = Memo {
        ordering: Some(Ordering::Partition),
        batches: vec![batch(3, &[10, 11])],
        settled: vec![12],
        ..Memo::default()
    };
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 1));
    let assignment = script.assign_at(0, 10, Some(memo.encode(10)));
    script.arrive(assignment, 0, 10..14);
    let calls: Vec<_> = script.calls.iter().map(|call| (offsets(call), call.attempt)).collect();
    assert_eq!(calls, [(vec![10], 4), (vec![11], 4), (vec![13], 1)]);
}

#[test]
fn a_batch_that_comes_back_with_its_attempts_spent_is_split_at_once() {
    let memo = Memo {
        ordering: Some(Ordering::Partition),
        batches: vec![batch(5, &[0, 1, 2, 3])],
        ..Memo::default()
    };
    let mut script = Script::with(|_| {});
    let assignment = script.assign_at(0, 0, Some(memo.encode(0)));
    script.arrive(assignment, 0, 0..4);
    assert_eq!(script.called(), [[0, 1]]);
}

#[test]
fn a_memo_that_cannot_be_used_is_said_and_work_is_done_again() {
    let good = Memo {
        settled: vec![1],
        ..Memo::default()
    };
    let moved = good.encode(5);
    for memo in ["fnb9.AAAA".to_owned(), good.encode(0).replace('A', "B"), moved] {
        let mut script = Script::with(|_| {});
        let assignment = script.assign_at(0, 0, Some(memo));
        assert_eq!(script.noticed(|n| matches!(n, Notice::MemoUnusable { .. })), 1);
        script.arrive(assignment, 0, 0..3);
        assert_eq!(script.called(), [[0, 1, 2]]);
    }
}

#[test]
fn after_a_crash_what_was_answered_and_not_stored_is_called_before_what_comes_behind_it() {
    let memo = Memo {
        ordering: Some(Ordering::Partition),
        batches: vec![batch(1, &[3, 4])],
        ..Memo::default()
    };
    let mut script = Script::with(|_| {});
    let assignment = script.assign_at(0, 0, Some(memo.encode(0)));
    script.arrive(assignment, 0, 0..8);
    let mut called = Vec::new();
    script.run(|offsets| {
        called.push(offsets.to_vec());
        None
    });
    assert_eq!(called, [vec![0, 1, 2], vec![3, 4], vec![5, 6, 7]]);
}

#[test]
fn a_crash_between_two_calls_loses_no_attempt() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    for _ in 0..3 {
        let (_, call) = script.wait_for_call(60_000);
        script.fail(&call);
    }
    let (offset, memo) = script.stands_committed();
    let mut next = Script::with(|_| {});
    let assignment = next.assign_at(0, offset, Some(memo.encode(offset)));
    next.arrive(assignment, 0, 0..2);
    let call = next.call();
    assert_eq!((offsets(&call), call.attempt), (vec![0, 1], 4));
}

#[test]
fn results_held_behind_a_retry_are_called_again_after_a_crash() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    let deliver = Verdict::Deliver(vec![Output::pass_through(&call.records[2])]);
    script.answer(&call, Answer::Verdicts(vec![nothing(), retry(Some(60_000)), deliver]));
    let (offset, memo) = script.stands_committed();
    assert_eq!((offset, memo.settled.clone()), (1, vec![]));
    let mut next = Script::with(|_| {});
    let assignment = next.assign_at(0, offset, Some(memo.encode(offset)));
    next.arrive(assignment, 0, 1..3);
    next.run(|_| None);
    assert_eq!(next.stored[0], [1, 2]);
}

fn batch(attempts: u32, offsets: &[i64]) -> MemoBatch {
    MemoBatch {
        parts: vec![MemoPart {
            attempts,
            split: false,
            failed_alone: false,
            offsets: offsets.to_vec(),
        }],
    }
}
