//! The guards: what is given up in a row, and when it is the function.

use fnbridge_delivery::answer::{Answer, Receipt, Stage, Verdict};
use fnbridge_delivery::event::{Admission, GuardKind, Notice};
use fnbridge_delivery::settings::{OnExhausted, Ordering};

use crate::script::{Script, arrival, failure, nothing, retry};

fn tripped(script: &Script, kind: GuardKind) -> usize {
    script.noticed(|notice| matches!(notice, Notice::GuardTripped { guard, .. } if *guard == kind))
}

#[test]
fn a_function_that_fails_everything_costs_three_dead_letters_and_then_waits() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..50);
    script.calls.iter().for_each(|call| assert_eq!(call.attempt, 1));
    for _ in 0..400 {
        let (_, call) = script.wait_for_call(600_000);
        script.fail(&call);
        assert!(call.attempt <= 5, "no attempt is counted once the guard has tripped");
    }
    assert_eq!(script.lettered.len(), 3);
    assert_eq!(tripped(&script, GuardKind::Failed), 1);
    script.run(|_| None);
    assert_eq!(script.stored[0].len(), 47);
    assert_eq!(script.stands_committed().0, 50);
}

#[test]
fn verdicts_are_not_counted_by_the_guard() {
    let mut script = Script::with(|s| s.retry.max_attempts = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..20);
    let verdict = |offset: &i64| match offset % 2 {
        0 => retry(Some(1)),
        _ => Verdict::DeadLetter { reason: "no".into() },
    };
    script.run(|offsets| Some(Answer::Verdicts(offsets.iter().map(verdict).collect())));
    assert_eq!((script.lettered.len(), tripped(&script, GuardKind::Failed)), (20, 0));
}

#[test]
fn where_the_head_of_every_lane_fails_the_records_that_stand_first_are_named() {
    let mut script = Script::with(|s| (s.retry.max_attempts, s.batch.max_records) = (1, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..10);
    for _ in 0..20 {
        let (_, call) = script.wait_for_call(600_000);
        script.fail(&call);
    }
    assert_eq!(script.lettered, [0, 1, 2]);
    let (_, first) = script.task.view().guards[0].clone();
    assert_eq!(first, ["orders/0/3"]);
}

#[test]
fn a_new_assignment_counts_anew() {
    let mut script = Script::with(|s| (s.retry.max_attempts, s.batch.max_records) = (1, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..10);
    for _ in 0..10 {
        let (_, call) = script.wait_for_call(600_000);
        script.fail(&call);
    }
    assert_eq!(script.lettered.len(), 3);
    script.assign(1);
    for _ in 0..10 {
        let (_, call) = script.wait_for_call(600_000);
        script.fail(&call);
    }
    assert_eq!(script.lettered.len(), 6);
}

#[test]
fn records_refused_by_the_function_block_after_so_many_in_a_row() {
    let mut script = Script::with(|s| (s.guard.refused, s.batch.max_records) = (4, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..10);
    for _ in 0..8 {
        let (_, call) = script.wait_for_call(600_000);
        script.answer(&call, Answer::Refused(failure(400)));
    }
    assert_eq!(script.lettered, [0, 1, 2, 3]);
    assert_eq!(tripped(&script, GuardKind::Refused), 1);
    script.run(|_| None);
    assert_eq!(script.stored[0], (4..10).collect::<Vec<_>>());
}

#[test]
fn records_that_cannot_be_converted_block_after_so_many_in_a_row_until_one_passes() {
    let mut script = Script::with(|s| s.guard.refused = 2);
    let (bad, good) = (script.assign(0), script.assign(1));
    let refused = |offset| {
        let mut arrival = arrival(0, offset, None);
        arrival.admission = Admission::Refused {
            stage: Stage::Convert,
            reason: "not JSON".into(),
        };
        arrival
    };
    script.arrivals(bad, (0..3).map(refused).collect());
    script.arrive(bad, 0, 3..4);
    assert_eq!((script.lettered.clone(), script.calls.len()), (vec![0, 1], 0));
    assert_eq!(tripped(&script, GuardKind::Refused), 1);
    script.arrive(good, 1, 0..1);
    let call = script.call();
    script.succeed(&call);
    assert_eq!(script.lettered, [0, 1, 2]);
    assert_eq!(script.called(), [[3]]);
}

#[test]
fn a_record_that_cannot_be_converted_costs_its_batch_nothing() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    let mut records: Vec<_> = (0..4).map(|offset| arrival(0, offset, None)).collect();
    records[1].admission = Admission::Filtered;
    records[2].admission = Admission::Refused {
        stage: Stage::Convert,
        reason: "not JSON".into(),
    };
    script.arrivals(assignment, records);
    assert_eq!(script.called(), [[0, 3]]);
    script.run(|_| None);
    assert_eq!(script.lettered, [2]);
    assert_eq!(script.stands_committed().1.totals, [2, 0, 1, 1, 0, 0]);
}

#[test]
fn results_that_a_sink_refuses_block_after_so_many_in_a_row() {
    let mut script = Script::with(|s| s.guard.refused = 2);
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.succeed(&call);
    let store = script.stores.pop_front().expect("a request");
    let refused = |_: &_| Receipt::Refused {
        index: 0,
        failure: failure(400),
    };
    let receipts = store.items.iter().map(refused).collect();
    script.answer_store(store, receipts);
    assert_eq!(script.lettered, [0, 1]);
    assert_eq!(tripped(&script, GuardKind::SinkRefused), 1);
    script.sinks_answer = true;
    script.run(|_| Some(Answer::Verdicts(vec![nothing()])));
    assert_eq!(script.stored[0], [2, 3, 4]);
}

#[test]
fn without_a_function_a_record_that_passes_counts_too() {
    let mut script = Script::with(|s| (s.guard.refused, s.has_function) = (2, false));
    let assignment = script.assign(0);
    for offset in 0..20 {
        let mut record = arrival(0, offset, None);
        if offset % 2 == 0 {
            record.admission = Admission::Refused {
                stage: Stage::Convert,
                reason: "not JSON".into(),
            };
        }
        script.arrivals(assignment, vec![record]);
    }
    assert_eq!((script.lettered.len(), script.stored[0].len()), (10, 10));
}

#[test]
fn lanes_that_block_are_not_given_up_and_trip_no_guard() {
    let mut script = Script::with(|s| {
        (s.ordering, s.batch.max_records, s.on_exhausted) = (Ordering::Key, 1, OnExhausted::Block);
        s.retry.max_attempts = 1;
    });
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")]);
    let calls = script.run(|offsets| (offsets[0] < 4).then(|| Answer::Failed(failure(500))));
    assert_eq!((calls, tripped(&script, GuardKind::Failed)), (5, 0));
    assert_eq!((script.stored[0].clone(), script.lettered.clone()), (vec![4], vec![]));
}
