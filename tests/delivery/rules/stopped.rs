//! A function that stops within a batch and names the record that it stopped at: those behind it are called again, uncharged.

use fnbridge_delivery::answer::{Answer, Verdict};
use fnbridge_delivery::settings::Ordering;

use crate::script::{Script, nothing, offsets, retry};

/// What a function answers that stops at `poison`.
fn stops_at(poison: &[i64], offsets: &[i64]) -> Answer {
    let lowest = offsets.iter().copied().find(|offset| poison.contains(offset));
    let verdict = |offset: &i64| match lowest {
        Some(_) if poison.contains(offset) => retry(None),
        Some(lowest) if *offset > lowest => Verdict::Again,
        _ => nothing(),
    };
    Answer::Verdicts(offsets.iter().map(verdict).collect())
}

#[test]
fn the_record_it_stopped_at_is_charged_and_called_first_and_those_behind_it_are_not_charged() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..5);
    let call = script.call();
    script.answer(&call, stops_at(&[2], &offsets(&call)));
    let (waited, again) = script.wait_for_call(60_000);
    assert_eq!((waited, offsets(&again), again.attempt), (100, vec![2], 2));
    script.succeed(&again);
    let (waited, behind) = script.wait_for_call(60_000);
    assert_eq!((waited, offsets(&behind), behind.attempt), (0, vec![3, 4], 1));
}

#[test]
fn order_holds_where_several_are_named_and_some_between_them_are_not() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..6);
    let call = script.call();
    script.answer(&call, stops_at(&[1, 2, 4], &offsets(&call)));
    let mut called = Vec::new();
    for _ in 0..4 {
        let (_, call) = script.wait_for_call(60_000);
        called.push((offsets(&call), call.attempt));
        script.succeed(&call);
    }
    let expected = [(vec![1, 2], 2), (vec![3], 1), (vec![4], 2), (vec![5], 1)];
    assert_eq!(called, expected);
}

#[test]
fn a_record_that_it_stops_at_each_time_is_given_up_and_costs_no_other_record() {
    for ordering in [Ordering::Partition, Ordering::Key, Ordering::None] {
        let mut script = Script::with(|s| {
            s.ordering = ordering;
            s.retry.max_attempts = 3;
        });
        let assignment = script.assign(0);
        script.arrive(assignment, 0, 0..40);
        let calls = script.run(|offsets| Some(stops_at(&[7, 20], offsets)));
        assert_eq!(script.lettered, [7, 20], "{ordering:?}");
        assert!(calls <= 12, "{calls} calls");
        assert_eq!(script.stands_committed().0, 40);
    }
}

#[test]
fn a_function_that_names_every_other_record_comes_to_an_end() {
    let mut script = Script::with(|s| s.retry.max_attempts = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..60);
    let poison: Vec<i64> = (0..60).step_by(2).collect();
    script.run(|offsets| Some(stops_at(&poison, offsets)));
    assert_eq!(script.lettered, poison);
    assert_eq!(script.stands_committed().0, 60);
}

#[test]
fn a_function_that_names_none_of_those_to_be_called_again_is_charged_at_the_first() {
    let mut script = Script::with(|s| s.retry.max_attempts = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    script.run(|offsets| Some(Answer::Verdicts(vec![Verdict::Again; offsets.len()])));
    assert_eq!(script.lettered, [0, 1, 2]);
}
