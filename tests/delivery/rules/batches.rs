//! Lanes, batches, attempts and bisection.

use fnbridge_delivery::answer::Answer;
use fnbridge_delivery::settings::Ordering;
use fnbridge_delivery::time::Millis;

use crate::script::{Script, failure, offsets};

#[test]
fn without_linger_a_batch_takes_what_is_there() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    assert_eq!(script.called(), [[0]]);
}

#[test]
fn a_batch_lingers_until_it_is_full_or_its_time_is_over() {
    let mut script = Script::with(|s| (s.batch.linger, s.batch.max_records) = (Millis(50), 3));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    script.wait(49);
    assert!(script.calls.is_empty());
    script.wait(1);
    let call = script.call();
    assert_eq!(offsets(&call), [0, 1]);
    script.succeed(&call);
    script.arrive(assignment, 0, 2..5);
    assert_eq!(script.called(), [[2, 3, 4]]);
}

#[test]
fn a_record_larger_than_a_batch_travels_alone() {
    let mut script = Script::with(|s| s.batch.max_bytes = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    assert_eq!(offsets(&call), [0]);
}

#[test]
fn the_next_batch_is_called_before_the_last_ones_results_are_stored() {
    let mut script = Script::with(|s| s.batch.max_records = 2);
    script.sinks_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    let call = script.call();
    script.succeed(&call);
    assert_eq!(script.called(), [[2, 3]]);
    assert_eq!(script.stores.len(), 1);
}

#[test]
fn under_key_a_batch_holds_several_lanes_and_a_lane_is_in_one_batch_at_a_time() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::Key, 3));
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "a"), (1, "b"), (2, "a")]);
    assert_eq!(script.called(), [[0, 2, 1]]);
    script.arrive_keyed(assignment, &[(3, "a"), (4, "c"), (5, "b")]);
    assert_eq!(script.called(), [vec![0, 2, 1], vec![4]]);
    let call = script.call();
    script.succeed(&call);
    assert_eq!(script.called(), [vec![4], vec![3, 5]]);
}

#[test]
fn an_empty_key_is_a_key_and_no_key_is_a_lane_of_its_own() {
    let mut script = Script::with(|s| (s.ordering, s.batch.max_records) = (Ordering::Key, 1));
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, ""), (1, "")]);
    assert_eq!(script.called(), [[0]]);
    script.arrive(assignment, 0, 2..4);
    assert_eq!(script.called(), [[0], [2], [3]]);
}

#[test]
fn under_none_records_run_as_parallel_as_allowed() {
    let mut script = Script::with(|s| {
        (s.ordering, s.batch.max_records, s.max_in_flight) = (Ordering::None, 1, 4);
    });
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "a"), (1, "a"), (2, "a"), (3, "a"), (4, "a")]);
    assert_eq!(script.called(), [[0], [1], [2], [3]]);
}

#[test]
fn a_batch_at_max_attempts_is_halved_and_a_half_that_fails_is_halved_at_once() {
    let mut script = Script::with(|s| s.retry.max_attempts = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..4);
    let mut seen = Vec::new();
    script.run(|offsets| {
        seen.push(offsets.to_vec());
        offsets.contains(&0).then(|| Answer::Failed(failure(500)))
    });
    let (whole, half) = (vec![0, 1, 2, 3], vec![0, 1]);
    assert_eq!(
        seen,
        [whole.clone(), whole, half, vec![0], vec![0], vec![1], vec![2, 3]]
    );
    assert_eq!(
        (script.stored[0].clone(), script.lettered.clone()),
        (vec![1, 2, 3], vec![0])
    );
}

/// The bound of section 5, for each place in batches of many sizes.
#[test]
fn one_poison_record_costs_at_most_its_bound_of_calls() {
    for records in [1i64, 2, 3, 7, 16, 100] {
        for max_attempts in [1u32, 2, 5] {
            for poison in [0, records / 2, records - 1] {
                let mut script = Script::with(|s| s.retry.max_attempts = max_attempts);
                let assignment = script.assign(0);
                script.arrive(assignment, 0, 0..records);
                let calls = script.run(|offsets| offsets.contains(&poison).then(|| Answer::Failed(failure(500))));
                let bound = max_attempts + 2 * (records as u64).next_power_of_two().ilog2() + 1;
                assert!(
                    calls <= bound as usize,
                    "{calls} calls for {records} records, {bound} allowed"
                );
                assert_eq!(script.lettered, [poison]);
                assert_eq!(script.stored[0].len() as i64, records - 1);
                assert_eq!(script.stands_committed().0, records);
            }
        }
    }
}

#[test]
fn a_batch_that_is_refused_down_to_its_last_attempt_still_gives_a_lone_record_two_calls() {
    let mut script = Script::with(|s| s.retry.max_attempts = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.answer(&call, Answer::Refused(failure(400)));
    let call = script.call();
    script.fail(&call);
    assert!(script.lettered.is_empty(), "one failure of its own is not enough");
    let (waited, call) = script.wait_for_call(60_000);
    assert!(waited > 0, "with backoff");
    script.fail(&call);
    assert_eq!(script.lettered, [0]);
}
