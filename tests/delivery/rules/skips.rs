//! What an operator passes over.

use fnbridge_delivery::answer::{Answer, Receipt, Stage};
use fnbridge_delivery::event::{Admission, Event, GuardKind, Notice};
use fnbridge_delivery::memo::MAX_CHARS;
use fnbridge_delivery::settings::{OnExhausted, Ordering};

use crate::script::{Script, arrival, failure, nothing, offsets, retry, source};

fn skip(script: &mut Script, from: i64, to: i64) {
    script.give(Event::Skip {
        source: source(0),
        from,
        to,
        reason: "a bad import".into(),
    });
}

/// Dispositions that stand in the committed memo: delivered, dropped, filtered, dead-lettered, skipped, expired.
fn totals(script: &mut Script) -> [u64; 6] {
    script.wait(2_000);
    script.stands_committed().1.totals
}

/// Letters are written until no more come.
fn write_letters(script: &mut Script) {
    while let Some(letter) = script.letters.pop_front() {
        script.answer_letter(letter, Receipt::Stored);
    }
}

#[test]
fn a_record_that_waits_becomes_a_dead_letter_of_the_operator_without_a_call() {
    let mut script = Script::with(|s| s.batch.max_records = 2);
    script.letters_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..6);
    skip(&mut script, 3, 4);
    let facts: Vec<_> = script
        .letters
        .iter()
        .map(|l| (l.record.offset, l.facts.clone()))
        .collect();
    assert_eq!(facts.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [3, 4]);
    let (_, facts) = &facts[0];
    assert_eq!(
        (facts.stage, facts.failure.reason.as_str(), facts.attempts),
        (Stage::Operator, "a bad import", 0)
    );
    script.letters_answer = true;
    let mut called = Vec::new();
    script.run(|offsets| {
        called.extend(offsets.to_vec());
        None
    });
    assert_eq!((called, script.stored[0].clone()), (vec![0, 1, 2, 5], vec![0, 1, 2, 5]));
    assert_eq!(totals(&mut script), [4, 0, 0, 0, 2, 0]);
    assert_eq!(script.stands_committed().0, 6);
}

#[test]
fn records_that_arrive_later_are_passed_over_too_and_the_rest_is_called() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    skip(&mut script, 1, 2);
    script.arrive(assignment, 0, 0..2);
    script.arrive(assignment, 0, 2..4);
    script.run(|_| None);
    assert_eq!(
        (script.stored[0].clone(), script.lettered.clone()),
        (vec![0, 3], vec![1, 2])
    );
}

#[test]
fn what_was_settled_already_stays_what_it_is_and_the_same_range_twice_changes_nothing() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    script.run(|_| None);
    script.arrive(assignment, 0, 3..4);
    skip(&mut script, 0, 3);
    skip(&mut script, 0, 3);
    let call = script.call();
    script.fail(&call);
    skip(&mut script, 0, 3);
    assert_eq!(
        (script.lettered.clone(), totals(&mut script)),
        (vec![3], [3, 0, 0, 0, 1, 0])
    );
}

#[test]
fn of_a_batch_on_the_wire_only_the_records_that_were_told_are_passed_over_once_the_call_has_ended() {
    let retried = |_: usize| retry(None);
    let answers = [
        (Answer::Failed(failure(500)), vec![0, 2]),
        (Answer::Refused(failure(400)), vec![0]),
        (Answer::Verdicts((0..3).map(retried).collect()), vec![0, 2]),
    ];
    for (answer, called_again) in answers {
        let mut script = Script::with(|_| {});
        let assignment = script.assign(0);
        script.arrive(assignment, 0, 0..3);
        let call = script.call();
        skip(&mut script, 1, 1);
        assert!(
            script.lettered.is_empty() && script.abandoned.is_empty(),
            "the call goes on"
        );
        script.answer(&call, answer);
        assert_eq!(script.lettered, [1]);
        let (_, again) = script.wait_for_call(60_000);
        assert_eq!((offsets(&again), again.attempt), (called_again, 2));
        script.succeed(&again);
        script.run(|_| None);
        assert_eq!(
            (script.stored[0].clone(), script.lettered.clone()),
            (vec![0, 2], vec![1])
        );
    }
}

#[test]
fn what_the_call_on_the_wire_settles_stays_settled() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    skip(&mut script, 1, 1);
    script.answer(&call, Answer::Verdicts(vec![nothing(); 3]));
    assert_eq!((totals(&mut script), script.lettered.len()), ([3, 0, 0, 0, 0, 0], 0));
}

#[test]
fn results_that_no_sink_has_yet_go_nowhere_and_those_behind_them_go_on() {
    let mut script = Script::with(|_| {});
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    skip(&mut script, 1, 1);
    script.succeed(&call);
    let store = script.stores.pop_front().expect("a request");
    assert_eq!(store.items[0].record.offset, 0);
    script.sinks_answer = true;
    script.answer_store(store, vec![Receipt::Stored]);
    script.run(|_| None);
    assert_eq!(
        (script.stored[0].clone(), script.lettered.clone()),
        (vec![0, 2], vec![1])
    );
    assert_eq!(totals(&mut script), [2, 0, 0, 0, 1, 0]);
}

#[test]
fn it_is_the_way_out_where_the_guard_has_tripped_and_it_counts_for_no_guard() {
    let mut script = Script::with(|s| (s.retry.max_attempts, s.batch.max_records, s.guard.failed) = (1, 1, 3));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..10);
    for _ in 0..6 {
        let (_, call) = script.wait_for_call(600_000);
        script.fail(&call);
    }
    assert_eq!(script.lettered, [0, 1, 2]);
    skip(&mut script, 3, 7);
    assert_eq!(script.lettered, [0, 1, 2, 3, 4, 5, 6, 7]);
    let (_, call) = script.wait_for_call(60_000);
    assert_eq!(offsets(&call), [8]);
    script.succeed(&call);
    assert_eq!(
        script.noticed(|n| matches!(
            n,
            Notice::GuardReleased {
                guard: GuardKind::Failed
            }
        )),
        1
    );
    script.run(|_| None);
    assert_eq!(totals(&mut script), [2, 0, 0, 3, 5, 0]);
}

#[test]
fn it_frees_a_lane_that_is_blocked_once_nothing_blocks_it_any_more() {
    let mut script = Script::with(|s| {
        (s.ordering, s.on_exhausted, s.retry.max_attempts) = (Ordering::Partition, OnExhausted::Block, 1);
    });
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    let call = script.call();
    script.answer(&call, Answer::Block(failure(409)));
    script.arrive(assignment, 0, 4..6);
    skip(&mut script, 0, 2);
    script.wait(60_000);
    assert!(script.calls.is_empty(), "3 stands blocked still");
    skip(&mut script, 3, 3);
    assert_eq!(script.called(), [[4, 5]]);
    assert_eq!(script.lettered, [0, 1, 2, 3]);
    script.run(|_| None);
    assert_eq!(totals(&mut script), [2, 0, 0, 0, 4, 0]);
}

#[test]
fn it_frees_records_that_the_guard_on_refusals_holds() {
    let mut script = Script::with(|s| s.guard.refused = 2);
    let assignment = script.assign(0);
    let mut records: Vec<_> = (0..6).map(|offset| arrival(0, offset, None)).collect();
    for record in &mut records[..5] {
        record.admission = Admission::Refused {
            stage: Stage::Convert,
            reason: "not JSON".into(),
        };
    }
    script.arrivals(assignment, records);
    assert_eq!((script.lettered.clone(), script.calls.len()), (vec![0, 1], 0));
    skip(&mut script, 2, 4);
    assert_eq!((script.lettered.len(), script.called()), (5, vec![vec![5]]));
    script.run(|_| None);
    assert_eq!(totals(&mut script), [1, 0, 0, 2, 3, 0]);
}

#[test]
fn it_frees_results_that_a_sink_refuses() {
    let mut script = Script::with(|s| s.guard.refused = 1);
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    script.succeed(&call);
    let refused = |_: &_| Receipt::Refused {
        index: 0,
        failure: failure(400),
    };
    let store = script.stores.pop_front().expect("a request");
    let receipts = store.items.iter().map(refused).collect();
    script.answer_store(store, receipts);
    assert_eq!(script.lettered, [0]);
    skip(&mut script, 1, 1);
    assert_eq!(script.lettered, [0, 1]);
    script.sinks_answer = true;
    script.run(|_| None);
    assert_eq!(
        (script.stored[0].clone(), totals(&mut script)),
        (vec![2], [1, 0, 0, 1, 1, 0])
    );
}

#[test]
fn neither_a_pause_nor_an_open_breaker_holds_it_up() {
    let mut script = Script::with(|s| s.batch.max_records = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    let call = script.call();
    script.answer(&call, Answer::Away(failure(0)));
    script.give(Event::SetPaused(true));
    skip(&mut script, 0, 2);
    assert_eq!((script.lettered.clone(), script.calls.len()), (vec![0, 1, 2], 0));
    script.give(Event::SetPaused(false));
    script.run(|_| None);
    assert_eq!(script.stored[0], [3]);
}

#[test]
fn what_is_passed_over_ahead_of_a_stuck_record_fits_beside_the_offset() {
    let mut script = Script::with(|s| {
        (s.ordering, s.batch.max_records, s.max_in_flight) = (Ordering::Key, 1, 1);
        s.in_flight_bytes = 1 << 30;
    });
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "stuck")]);
    let stuck = script.call();
    script.letters_answer = false;
    // Far apart, so that each takes as much as it can.
    script.arrivals(assignment, (1..4_000).map(|n| arrival(0, n * 300, None)).collect());
    skip(&mut script, 300, 4_000 * 300);
    write_letters(&mut script);
    let settled = script.lettered.len();
    assert!((100..3_999).contains(&settled), "{settled} were settled ahead");
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::WaitsForOldest { id } if id == "orders/0/0")),
        1
    );
    script.wait(2_000);
    let entry = script.committed.clone().expect("a commit");
    assert!(entry.offset == 0 && entry.memo.len() <= MAX_CHARS);
    script.succeed(&stuck);
    write_letters(&mut script);
    assert_eq!(totals(&mut script), [1, 0, 0, 0, 3_999, 0]);
    assert_eq!(script.stands_committed().0, 3_999 * 300 + 1);
}

#[test]
fn a_batch_that_lost_a_record_keeps_the_rest_of_its_boundaries_across_a_hand_over() {
    let mut script = Script::with(|s| s.batch.max_records = 3);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.fail(&call);
    skip(&mut script, 1, 1);
    let (offset, memo) = script.hand_over(assignment);
    let mut next = Script::with(|_| {});
    let assignment = next.assign_at(0, offset, memo);
    next.arrive(assignment, 0, 0..5);
    let call = next.call();
    assert_eq!((offsets(&call), call.attempt), (vec![0, 2], 2));
}

#[test]
fn it_holds_for_one_assignment_and_is_told_again_to_the_next() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    skip(&mut script, 0, 9);
    script.give(Event::Lost {
        assignments: vec![assignment],
    });
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    skip(&mut script, 0, 9);
    script.arrive(assignment, 0, 2..4);
    assert_eq!(script.lettered, [2, 3]);
    script.fail(&call);
    assert_eq!(script.lettered, [2, 3, 0, 1]);
}

#[test]
fn a_partition_that_is_drained_leaves_what_is_to_be_passed_over_to_its_next_owner() {
    let mut script = Script::with(|s| s.batch.max_records = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    skip(&mut script, 0, 2);
    let call = script.call();
    script.succeed(&call);
    assert_eq!((script.lettered.len(), script.released.clone()), (0, vec![assignment]));
}

#[test]
fn at_most_a_hundred_ranges_of_records_to_come_are_remembered() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    (0..101).for_each(|n| skip(&mut script, n * 2 + 1, n * 2 + 1));
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::TooManySkips { from: 201, to: 201, .. })),
        1
    );
    script.arrive(assignment, 0, 0..203);
    script.run(|_| None);
    assert_eq!((script.lettered.len(), script.stored[0].len()), (100, 103));
    skip(&mut script, 301, 301);
    script.arrive(assignment, 0, 301..303);
    script.run(|_| None);
    assert_eq!((script.lettered.len(), script.stored[0].len()), (101, 104));
}

#[test]
fn without_a_function_records_are_passed_over_too() {
    let mut script = Script::with(|s| s.has_function = false);
    let assignment = script.assign(0);
    skip(&mut script, 1, 1);
    script.arrive(assignment, 0, 0..3);
    script.wait(2_000);
    assert_eq!(
        (script.stored[0].clone(), script.lettered.clone()),
        (vec![0, 2], vec![1])
    );
}
