//! Two budgets: function and sinks are retried apart, each sink apart from the others. Dead letters.

use std::ops::Range;

use fnbridge_delivery::answer::{Answer, Receipt, Stage, Verdict};
use fnbridge_delivery::event::{Admission, Arrival, Event, Notice};
use fnbridge_delivery::record::{Output, SinkId};
use fnbridge_delivery::settings::Ordering;
use fnbridge_delivery::time::Millis;

use crate::script::{Script, arrival, failure};

/// A function was called with these records and succeeded: their results are on their way to the sinks, which have not answered.
fn sent_to(sinks: usize, records: Range<i64>) -> Script {
    let mut script = Script::with(|s| s.sinks = sinks);
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, records);
    let call = script.call();
    script.succeed(&call);
    script
}

#[test]
fn a_sink_that_asks_to_be_left_alone_is_left_alone_so_long() {
    let mut script = sent_to(1, 0..1);
    let store = script.stores.pop_front().expect("a request to the sink");
    script.answer_store(store, vec![Receipt::AwayFor(failure(429), Millis::secs(60))]);
    script.wait(59_000);
    assert!(script.stores.is_empty());
    script.wait(1_000);
    let store = script.stores.pop_front().expect("another request after a minute");
    script.answer_store(store, vec![Receipt::AwayFor(failure(503), Millis::secs(1_000_000))]);
    script.wait(15 * 60 * 1000);
    assert_eq!(script.stores.len(), 1, "at most a quarter of an hour");
}

#[test]
fn a_sink_that_is_away_neither_calls_the_function_again_nor_repeats_what_another_stored() {
    let mut script = sent_to(2, 0..3);
    for round in 0..10 {
        while let Some(store) = script.stores.pop_front() {
            let receipt = match store.sink {
                SinkId(0) => Receipt::Stored,
                _ => Receipt::Away(failure(503)),
            };
            let receipts = vec![receipt; store.items.len()];
            script.answer_store(store, receipts);
        }
        assert!(script.calls.is_empty(), "round {round}");
        assert_eq!(script.stored[0], [0, 1, 2], "round {round}");
        script.wait(40_000);
    }
    assert_eq!(script.noticed(|n| matches!(n, Notice::SinkAway { .. })), 1);
    script.sinks_answer = true;
    script.run(|_| None);
    assert_eq!(
        (script.stored[1].clone(), script.stands_committed().0),
        (vec![0, 1, 2], 3)
    );
    assert_eq!(script.noticed(|n| matches!(n, Notice::SinkBack { .. })), 1);
}

#[test]
fn requests_that_fail_together_are_one_failure() {
    let mut script = Script::with(|s| s.batch.max_records = 1);
    script.sinks_answer = false;
    for partition in 0..16 {
        let assignment = script.assign(partition);
        script.arrive(assignment, partition, 0..1);
        let call = script.call();
        script.succeed(&call);
    }
    assert_eq!(script.stores.len(), 16);
    while let Some(store) = script.stores.pop_front() {
        script.answer_store(store, vec![Receipt::Away(failure(503))]);
    }
    script.wait(200);
    assert_eq!(script.stores.len(), 1, "it is asked again after the first wait");
    assert_eq!(script.noticed(|n| matches!(n, Notice::SinkAway { .. })), 1);
}

#[test]
fn a_sink_that_does_not_store_for_another_reason_says_so() {
    let mut script = sent_to(1, 0..1);
    let (away, missing) = (Receipt::Away(failure(503)), Receipt::Blocked(failure(404)));
    for receipt in [&away, &away, &missing, &missing, &away] {
        let store = script.stores.pop_front().expect("it is asked again");
        script.answer_store(store, vec![receipt.clone()]);
        script.wait(30_000);
    }
    let said = script.notices.iter().filter_map(|notice| match notice {
        Notice::SinkAway { failure, blocked, .. } => Some((failure.status, *blocked)),
        _ => None,
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [(Some(503), false), (Some(404), true), (Some(503), false)]
    );
    script.sinks_answer = true;
    script.run(|_| None);
    assert_eq!(script.noticed(|n| matches!(n, Notice::SinkBack { .. })), 1);
}

#[test]
fn what_a_sink_stored_of_a_request_is_not_sent_again() {
    let mut script = sent_to(1, 0..3);
    let store = script.stores.pop_front().expect("a request");
    let again = || Receipt::TryAgain(failure(500));
    script.answer_store(store, vec![Receipt::Stored, again(), again()]);
    script.sinks_answer = true;
    script.run(|_| None);
    assert_eq!(script.stored[0], [0, 1, 2]);
}

#[test]
fn a_result_goes_to_the_sink_that_it_names_or_to_all() {
    let mut script = Script::with(|s| s.sinks = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    let to = |at: usize, sink| Output {
        sink,
        ..Output::pass_through(&call.records[at])
    };
    let verdicts = vec![
        Verdict::Deliver(vec![to(0, Some(SinkId(1)))]),
        Verdict::Deliver(vec![to(1, None)]),
    ];
    script.answer(&call, Answer::Verdicts(verdicts));
    assert_eq!(script.stored, [vec![1], vec![0, 1]]);
}

#[test]
fn a_result_that_a_sink_refuses_becomes_a_dead_letter_and_those_behind_it_go_on() {
    let mut script = Script::with(|_| {});
    script.sinks_answer = false;
    script.letters_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    let call = script.call();
    let result = Output::pass_through(&call.records[0]);
    script.answer(
        &call,
        Answer::Verdicts(vec![Verdict::Deliver(vec![result.clone(), result])]),
    );
    let store = script.stores.pop_front().expect("a request");
    let refused = Receipt::Refused {
        index: 0,
        failure: failure(413),
    };
    script.answer_store(store, vec![refused]);
    let rest = script.stores.pop_front().expect("the rest of the record");
    assert_eq!(rest.items[0].from, 1);
    script.answer_store(rest, vec![Receipt::Stored]);
    script.wait(60_000);
    assert!(script.committed.is_none(), "not before the dead letter is written");
    let letter = script.letters.pop_front().expect("a dead letter");
    assert_eq!((letter.facts.stage, letter.facts.sink), (Stage::Sink, Some(SinkId(0))));
    assert!(letter.facts.result.is_some());
    script.answer_letter(letter, Receipt::Stored);
    script.wait(2_000);
    assert_eq!(script.stands_committed().0, 1);
    assert_eq!(script.stands_committed().1.totals[3], 1);
}

#[test]
fn a_dead_letter_that_cannot_be_written_is_not_committed_and_blocks_the_task() {
    let mut script = Script::with(|s| s.batch.max_records = 1);
    script.letters_answer = false;
    let (assignment, other) = (script.assign(0), script.assign(1));
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.answer(&call, Answer::Refused(failure(400)));
    let call = script.call();
    script.succeed(&call);
    for _ in 0..5 {
        let letter = script.letters.pop_front().expect("it is tried again");
        script.answer_letter(letter, Receipt::Away(failure(0)));
        script.arrive(other, 1, 0..1);
        script.wait(60_000);
        assert!(script.calls.is_empty(), "nothing new is called");
    }
    assert_eq!(script.committed.as_ref().map_or(0, |entry| entry.offset), 0);
    assert_eq!(script.noticed(|n| matches!(n, Notice::LettersBlocked { .. })), 1);
    script.letters_answer = true;
    let letter = script.letters.pop_front().expect("it is tried again");
    script.answer_letter(letter, Receipt::Stored);
    script.run(|_| None);
    assert_eq!(script.lettered, [0]);
    assert_eq!(script.noticed(|n| matches!(n, Notice::LettersBack)), 1);
}

#[test]
fn without_a_function_records_go_to_the_sinks_as_they_are() {
    let mut script = Script::with(|s| (s.has_function, s.sinks) = (false, 2));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    script.wait(2_000);
    assert_eq!(script.stored, [vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]]);
    assert_eq!(script.stands_committed().0, 5);
}

#[test]
fn a_lane_that_waits_for_a_sink_holds_up_no_other() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::Key, 1));
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "a")]);
    let call = script.call();
    script.succeed(&call);
    script.arrive_keyed(assignment, &[(1, "b"), (2, "a")]);
    for _ in 0..2 {
        let call = script.call();
        script.succeed(&call);
    }
    let sent: Vec<i64> = script
        .stores
        .iter()
        .flat_map(|s| s.items.iter().map(|i| i.record.offset))
        .collect();
    assert_eq!(sent, [0, 1], "2 waits for 0, the first of its lane");
}

#[test]
fn what_arrives_for_an_old_assignment_is_discarded_and_counted() {
    let mut script = Script::with(|_| {});
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.succeed(&call);
    script.arrive(assignment, 0, 2..4);
    let (call, store) = (script.call(), script.stores.pop_front().expect("a request"));
    script.give(Event::Lost {
        assignments: vec![assignment],
    });
    assert_eq!(script.abandoned, [call.id]);
    script.succeed(&call);
    script.answer_store(store, vec![Receipt::Stored; 2]);
    assert!(script.noticed(|n| matches!(n, Notice::LateDiscarded { .. })) >= 2);
    assert!(script.committed.is_none() && script.task.is_idle());
    assert_eq!(script.task.held_bytes(), 0);
}

#[test]
fn results_that_are_known_from_before_are_stored_in_their_place_without_a_call() {
    let mut script = Script::with(|s| (s.sinks, s.batch.max_records) = (2, 1));
    let assignment = script.assign(0);
    let mut arrivals: Vec<Arrival> = (0..3).map(|offset| arrival(0, offset, None)).collect();
    let known = Output {
        sink: Some(SinkId(1)),
        ..Output::pass_through(&arrivals[1].record)
    };
    arrivals[1].admission = Admission::Answered(vec![known]);
    script.arrivals(assignment, arrivals);
    for offset in [0, 2] {
        let call = script.call();
        assert_eq!(call.records[0].offset, offset, "the one between is not called");
        script.succeed(&call);
    }
    assert_eq!(script.stored[1], [0, 1, 2]);
    assert_eq!(script.stored[0], [0, 2], "it goes to the sink that it names");
    script.wait(1_000);
    assert_eq!(script.committed.as_ref().map(|entry| entry.offset), Some(3));
}
