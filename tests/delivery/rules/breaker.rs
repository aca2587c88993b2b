//! The breaker, probes, concurrency and slots.

use fnbridge_delivery::answer::Answer;
use fnbridge_delivery::event::Notice;
use fnbridge_delivery::settings::Ordering;

use crate::script::{Script, busy, failure, offsets};

fn opened(script: &Script) -> usize {
    script.noticed(|notice| matches!(notice, Notice::BreakerOpened { .. }))
}

#[test]
fn failed_attempts_of_one_batch_alone_never_open_it() {
    let mut script = Script::with(|s| s.retry.max_attempts = 20);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    for _ in 0..15 {
        let (_, call) = script.wait_for_call(60_000);
        script.fail(&call);
    }
    assert_eq!(opened(&script), 0);
}

#[test]
fn failed_attempts_in_a_row_over_two_lanes_open_it_and_one_success_closes_it() {
    let mut script = Script::with(|s| s.retry.max_attempts = 20);
    for partition in 0..2 {
        let assignment = script.assign(partition);
        script.arrive(assignment, partition, 0..4);
    }
    for _ in 0..5 {
        let (_, call) = script.wait_for_call(60_000);
        script.fail(&call);
    }
    assert_eq!(opened(&script), 1);
    assert!(script.task.view().breaker_open);
    // A call that was on the wire by then is none.
    if let Some(call) = script.calls.pop_front() {
        script.fail(&call);
    }
    let (_, probe) = script.wait_for_call(60_000);
    assert!(probe.probe);
    script.wait(60_000);
    assert!(script.calls.is_empty(), "one probe at a time");
    script.succeed(&probe);
    assert!(!script.task.view().breaker_open);
    assert_eq!(script.calls.len(), 1, "the other lane goes on at once");
}

#[test]
fn probes_go_round_the_lanes_with_growing_waits() {
    let mut script = Script::with(|_| {});
    for partition in 0..3 {
        let assignment = script.assign(partition);
        script.arrive(assignment, partition, 0..1);
    }
    for call in std::mem::take(&mut script.calls) {
        script.answer(&call, Answer::Away(failure(0)));
    }
    let (mut waits, mut lanes) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let (waited, call) = script.wait_for_call(60_000);
        waits.push(waited);
        lanes.push(call.records[0].source.partition);
        script.answer(&call, Answer::Away(failure(0)));
    }
    assert!(
        lanes.chunks(3).all(|round| (0..3).all(|lane| round.contains(&lane))),
        "{lanes:?}"
    );
    assert!(waits[8] > 15_000 && waits.is_sorted(), "{waits:?}");
}

#[test]
fn unavailable_answers_in_a_row_open_it_and_429_does_not() {
    for (unavailable, opens) in [(true, 1), (false, 0)] {
        let mut script = Script::with(|_| {});
        for partition in 0..2 {
            let assignment = script.assign(partition);
            script.arrive(assignment, partition, 0..1);
        }
        for _ in 0..6 {
            let (_, call) = script.wait_for_call(60_000);
            let answer = Answer::Busy {
                failure: failure(503),
                retry_after: None,
                unavailable,
            };
            script.answer(&call, answer);
        }
        assert_eq!(opened(&script), opens, "unavailable: {unavailable}");
    }
}

#[test]
fn concurrency_falls_when_the_function_is_busy_and_comes_back() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records, s.max_in_flight) = (Ordering::None, 1, 8));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..100);
    assert_eq!(script.calls.len(), 8);
    for call in std::mem::take(&mut script.calls) {
        script.answer(&call, busy(Some(60_000)));
    }
    assert_eq!(script.task.view().concurrency, 4, "a round of answers halves it once");
    let calls = script.task.view().usage.calls;
    assert_eq!(
        (calls.limit, calls.now),
        (Some(8.0), Some(4.0)),
        "and the picture says so"
    );
    assert_eq!(script.calls.len(), 4);
    for _ in 0..60 {
        let call = script.call();
        script.succeed(&call);
    }
    assert_eq!(script.task.view().concurrency, 8);
    assert_eq!(script.task.view().usage.calls.now, None);
}

#[test]
fn one_slot_in_four_is_kept_for_new_work() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records, s.max_in_flight) = (Ordering::None, 1, 4));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    for call in std::mem::take(&mut script.calls) {
        script.fail(&call);
    }
    script.wait(60_000);
    let retries: Vec<_> = script.calls.iter().map(offsets).collect();
    assert_eq!(retries.len(), 3, "{retries:?}");
    script.arrive(assignment, 0, 4..8);
    assert_eq!(script.calls.len(), 4);
    assert_eq!(script.calls.back().map(offsets), Some(vec![4]));
}
