//! What an answer means: each row of section 8, charged or not, halved or not.

use fnbridge_delivery::answer::{Answer, Verdict};
use fnbridge_delivery::event::Notice;
use fnbridge_delivery::settings::OnExhausted;
use fnbridge_delivery::time::Millis;

use crate::script::{Script, busy, failure, nothing, offsets, retry};

/// Answers a batch of four, and says what is called next: after how long, what, as which attempt.
fn after(answer: Answer) -> (u64, Vec<i64>, u32) {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    let call = script.call();
    script.answer(&call, answer);
    let (waited, call) = script.wait_for_call(60_000);
    (waited, offsets(&call), call.attempt)
}

#[test]
fn a_failed_attempt_is_charged_and_comes_again_after_a_backoff() {
    assert_eq!(after(Answer::Failed(failure(500))), (100, vec![0, 1, 2, 3], 2));
}

#[test]
fn a_refusal_is_charged_and_halves_at_once() {
    assert_eq!(after(Answer::Refused(failure(400))), (0, vec![0, 1], 2));
}

#[test]
fn too_large_is_halved_at_once_and_not_charged() {
    assert_eq!(after(Answer::TooLarge(failure(413))), (0, vec![0, 1], 1));
}

#[test]
fn busy_waits_as_long_as_it_was_asked_to_and_is_not_charged() {
    assert_eq!(after(busy(Some(5_000))), (5_000, vec![0, 1, 2, 3], 1));
    assert_eq!(after(busy(None)), (100, vec![0, 1, 2, 3], 1));
}

#[test]
fn nobody_can_ask_for_more_than_a_quarter_of_an_hour() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    let call = script.call();
    script.answer(&call, busy(Some(86_400_000)));
    script.wait(15 * 60 * 1000);
    assert_eq!(script.called(), [[0]]);
}

#[test]
fn away_and_wrongly_registered_are_waited_for_and_not_charged() {
    for answer in [Answer::Away(failure(0)), Answer::Misregistered(failure(401))] {
        let (waited, records, attempt) = after(answer);
        assert_eq!((records, attempt), (vec![0, 1, 2, 3], 1));
        assert!((100..=200).contains(&waited), "probed after {waited} ms");
    }
}

#[test]
fn dropped_or_dead_lettered_by_status_acts_on_a_record_alone_and_halving_is_not_charged() {
    for answer in [Answer::Drop(failure(409)), Answer::DeadLetter(failure(409))] {
        assert_eq!(after(answer), (0, vec![0, 1], 1));
    }
    let by_status = |answer: fn() -> Answer| {
        let mut script = Script::with(|_| {});
        let assignment = script.assign(0);
        script.arrive(assignment, 0, 0..4);
        script.run(|offsets| offsets.contains(&2).then(answer));
        (
            script.stored[0].clone(),
            script.lettered.clone(),
            script.stands_committed().1.totals,
        )
    };
    assert_eq!(
        by_status(|| Answer::Drop(failure(409))),
        (vec![0, 1, 3], vec![], [3, 1, 0, 0, 0, 0])
    );
    assert_eq!(
        by_status(|| Answer::DeadLetter(failure(409))),
        (vec![0, 1, 3], vec![2], [3, 0, 0, 1, 0, 0])
    );
}

#[test]
fn deliver_nothing_settles_the_whole_batch() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    script.run(|_| Some(Answer::DeliverNothing));
    assert_eq!(script.stands_committed().0, 4);
    assert_eq!(script.stands_committed().1.totals[0], 4);
    assert!(script.stored[0].is_empty());
}

#[test]
fn block_stops_the_lane_until_somebody_acts() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    assert_eq!(script.run(|_| Some(Answer::Block(failure(402)))), 1);
    script.arrive(assignment, 0, 4..8);
    script.wait(60_000);
    assert!(script.calls.is_empty());
    assert!(script.noticed(|n| matches!(n, Notice::LaneBlocked { .. })) > 0);
}

#[test]
fn where_attempts_are_used_up_and_blocking_was_asked_for_the_lane_waits() {
    let mut script = Script::with(|s| s.on_exhausted = OnExhausted::Block);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    script.run(|offsets| offsets.contains(&1).then(|| Answer::Failed(failure(500))));
    assert_eq!((script.stored[0].clone(), script.lettered.clone()), (vec![0], vec![]));
    assert_eq!(script.stands_committed().0, 1);
}

#[test]
fn busy_max_attempts_times_in_a_row_while_others_succeed_is_a_failed_attempt() {
    let mut script = Script::with(|s| s.retry.max_attempts = 3);
    let (busy_one, fine) = (script.assign(0), script.assign(1));
    script.arrive(busy_one, 0, 0..1);
    let mut call = script.call();
    for round in 1..=3 {
        assert_eq!(call.attempt, 1, "round {round}");
        script.answer(&call, busy(None));
        script.arrive(fine, 1, round..round + 1);
        let (_, other) = script.wait_for_call(60_000);
        let (first, second) = match other.assignment == fine {
            true => (other, None),
            false => (script.wait_for_call(60_000).1, Some(other)),
        };
        script.succeed(&first);
        call = second.unwrap_or_else(|| script.wait_for_call(60_000).1);
    }
    assert_eq!(call.attempt, 2);
}

#[test]
fn busy_however_often_while_nobody_succeeds_is_not_charged() {
    let mut script = Script::with(|s| s.retry.max_attempts = 3);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    for _ in 0..10 {
        let (_, call) = script.wait_for_call(60_000);
        assert_eq!(call.attempt, 1);
        script.answer(&call, busy(None));
    }
}

#[test]
fn a_401_that_one_batch_gets_while_another_lane_succeeds_is_its_own_failed_attempt() {
    let mut script = Script::with(|_| {});
    let (odd, fine) = (script.assign(0), script.assign(1));
    script.arrive(odd, 0, 0..1);
    let call = script.call();
    script.answer(&call, Answer::Misregistered(failure(401)));
    script.arrive(fine, 1, 0..1);
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let (_, call) = script.wait_for_call(60_000);
        if call.assignment == odd {
            attempts.push(call.attempt);
            script.answer(&call, Answer::Misregistered(failure(401)));
        } else {
            script.succeed(&call);
            script.arrive(fine, 1, script.now as i64..script.now as i64 + 1);
        }
    }
    assert!(attempts.contains(&2), "{attempts:?}");
}

#[test]
fn a_retry_verdict_lets_those_behind_it_pass_but_no_later_batch_and_holds_their_results() {
    let mut script = Script::with(|s| s.batch.max_records = 3);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..6);
    let call = script.call();
    let deliver =
        |at: usize| Verdict::Deliver(vec![fnbridge_delivery::record::Output::pass_through(&call.records[at])]);
    script.answer(
        &call,
        Answer::Verdicts(vec![deliver(0), retry(Some(7_000)), deliver(2)]),
    );
    assert_eq!(script.stored[0], [0], "what stands behind waits for its lane");
    let (waited, again) = script.wait_for_call(60_000);
    assert_eq!((waited, offsets(&again), again.attempt), (7_000, vec![1], 2));
    script.succeed(&again);
    assert_eq!(script.stored[0], [0, 1, 2]);
    assert_eq!(script.called(), [[3, 4, 5]]);
}

#[test]
fn a_retry_verdict_is_charged_to_its_record_alone_and_ends_at_max_attempts() {
    let mut script = Script::with(|s| s.retry.max_attempts = 3);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let calls = script.run(|offsets| {
        let verdict = |offset: &i64| if *offset == 1 { retry(Some(10)) } else { nothing() };
        Some(Answer::Verdicts(offsets.iter().map(verdict).collect()))
    });
    assert_eq!((calls, script.lettered.clone()), (3, vec![1]));
}

#[test]
fn a_record_older_than_max_age_is_given_up_at_its_next_failure() {
    let mut script = Script::with(|s| s.retry.max_age = Some(Millis(60_000)));
    let assignment = script.assign(0);
    script.now = 50_000;
    script.arrive(assignment, 0, 0..1);
    let call = script.call();
    script.fail(&call);
    script.wait(11_000);
    let call = script.call();
    script.fail(&call);
    assert_eq!(script.lettered, [0]);
}
