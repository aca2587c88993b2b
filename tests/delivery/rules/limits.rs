//! Limits on what may go a second.

use std::sync::Arc;

use bytes::Bytes;
use fnbridge_delivery::answer::Answer;
use fnbridge_delivery::event::{Admission, Arrival};
use fnbridge_delivery::rate::Rate;
use fnbridge_delivery::settings::Ordering;
use proptest::prelude::*;

use crate::script::{Script, arrival, failure, nothing, offsets};

fn rate(thousandths: u64) -> Option<Rate> {
    Rate::from_thousandths(thousandths)
}

/// A record whose value has so many bytes, and that has nothing else.
fn of_bytes(offset: i64, bytes: usize) -> Arrival {
    let plain = arrival(0, offset, None);
    let mut record = (*plain.record).clone();
    record.value = Some(Bytes::from(vec![b'v'; bytes]));
    Arrival {
        record: Arc::new(record),
        admission: Admission::Pass,
    }
}

/// Answers every call at once, for so long. Returns when each went, and with how many records.
fn answer_at_once(script: &mut Script, ms: u64) -> Vec<(u64, usize)> {
    let mut went = Vec::new();
    let until = script.now + ms;
    loop {
        while let Some(call) = script.calls.pop_front() {
            went.push((script.now, call.records.len()));
            script.answer(&call, Answer::Verdicts(vec![nothing(); call.records.len()]));
        }
        match script.task.next_wakeup().map(|at| at.0).filter(|at| *at <= until) {
            Some(at) => script.wait(at - script.now),
            None => return went,
        }
    }
}

/// What a bucket that is looked at each millisecond lets go of `waiting` records. It is full at first, and loses nothing of the
/// millisecond in which a token is whole.
fn naive(thousandths: u64, waiting: usize, max_records: usize, ms: u64) -> Vec<(u64, usize)> {
    let full = (thousandths as i64 * 1000).max(1_000_000);
    let most = full.max(999_999 + thousandths as i64);
    let (mut level, mut left) = (full, waiting);
    let mut went = Vec::new();
    for now in 0..=ms {
        if now > 0 {
            level = (level + thousandths as i64).min(most);
        }
        while level >= 1_000_000 && left > 0 {
            let batch = max_records.min(left);
            (level, left) = (level - batch as i64 * 1_000_000, left - batch);
            went.push((now, batch));
        }
    }
    went
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn records_go_at_the_millisecond_at_which_the_limit_lets_them_and_not_later(
        thousandths in prop::sample::select(vec![300u64, 1_000, 1_500, 33_333, 250_000]),
        max_records in 1usize..40, waiting in 1usize..600, ms in 0u64..20_000,
    ) {
        let mut script = Script::with(|s| {
            (s.limits.records_per_second, s.batch.max_records) = (rate(thousandths), max_records);
        });
        let assignment = script.assign(0);
        script.arrive(assignment, 0, 0..waiting as i64);
        prop_assert_eq!(answer_at_once(&mut script, ms), naive(thousandths, waiting, max_records, ms));
    }

    #[test]
    fn without_a_function_the_same_limit_holds_for_what_the_sinks_get(
        thousandths in prop::sample::select(vec![300u64, 1_500, 33_333, 250_000]), waiting in 1i64..600, ms in 0u64..20_000,
    ) {
        let mut script = Script::with(|s| (s.limits.records_per_second, s.has_function) = (rate(thousandths), false));
        let assignment = script.assign(0);
        script.arrive(assignment, 0, 0..waiting);
        let allowed = naive(thousandths, waiting as usize, 1, ms).len();
        script.wait(ms);
        prop_assert_eq!(script.stored[0].clone(), (0..allowed as i64).collect::<Vec<_>>());
    }
}

#[test]
fn a_batch_larger_than_a_seconds_worth_goes_and_is_paid_for_afterwards() {
    let mut script = Script::with(|s| s.limits.bytes_per_second = rate(1_000_000));
    let assignment = script.assign(0);
    script.arrivals(assignment, vec![of_bytes(0, 10_000)]);
    script.arrivals(assignment, vec![of_bytes(1, 10), of_bytes(2, 10)]);
    // 9,000 of 10,000 bytes are owed, and one more byte has to come.
    assert_eq!(answer_at_once(&mut script, 20_000), [(0, 1), (9_001, 2)]);
}

#[test]
fn both_limits_hold_at_once() {
    let mut script = Script::with(|s| {
        (s.limits.records_per_second, s.limits.bytes_per_second) = (rate(2_000), rate(100_000));
        s.batch.max_records = 1;
    });
    let assignment = script.assign(0);
    let large = [
        of_bytes(0, 1),
        of_bytes(1, 300),
        of_bytes(2, 1),
        of_bytes(3, 1),
        of_bytes(4, 1),
    ];
    script.arrivals(assignment, large.into());
    // Two records at once; then 201 bytes are owed, and one more has to come; then it is half a second a record.
    let went: Vec<u64> = answer_at_once(&mut script, 20_000).iter().map(|(at, _)| *at).collect();
    assert_eq!(went, [0, 0, 2_020, 2_030, 2_520]);
}

#[test]
fn a_retry_is_not_charged_again_and_does_not_wait_for_the_limit() {
    let mut script = Script::with(|s| {
        (s.ordering, s.batch.max_records) = (Ordering::None, 1);
        s.limits.records_per_second = rate(1_000);
        s.retry.max_attempts = 3;
    });
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    assert!(script.calls.is_empty() && script.task.view().usage.throttled);
    script.fail(&call);
    script.wait(900);
    let again = script.call();
    assert_eq!((offsets(&again), again.attempt), (vec![0], 2));
    script.succeed(&again);
    script.wait(99);
    assert!(script.calls.is_empty());
    script.wait(1);
    assert_eq!(script.called(), [[1]]);
}

#[test]
fn a_limit_changes_no_order_and_holds_up_nobody_elses_partition() {
    let mut script = Script::with(|s| {
        (s.limits.records_per_second, s.has_function) = (rate(10_000), false);
    });
    let (first, second) = (script.assign(0), script.assign(1));
    script.arrive(first, 0, 0..400);
    script.arrive(second, 1, 0..400);
    script.wait(20_000);
    let view = script.task.view();
    let settled: Vec<u64> = view.partitions.iter().map(|p| p.totals[0]).collect();
    assert_eq!(settled.iter().sum::<u64>(), 210);
    assert!(settled.iter().all(|n| (90..=120).contains(n)), "{settled:?}");
}

#[test]
fn a_partition_that_waits_for_the_limit_is_paused_by_what_it_holds() {
    let mut script = Script::with(|s| {
        (s.limits.records_per_second, s.in_flight_bytes) = (rate(1_000), 100_000);
        s.batch.max_records = 1;
    });
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1_000);
    assert_eq!(script.paused, [assignment]);
    answer_at_once(&mut script, 2_000_000);
    assert_eq!(script.resumed, [assignment]);
    assert_eq!(script.stands_committed().0, 1_000);
}

#[test]
fn the_view_says_what_is_used_of_each_limit() {
    let mut script = Script::with(|s| {
        s.limits.records_per_second = rate(10_000);
        (s.batch.max_records, s.max_in_flight, s.in_flight_bytes) = (1, 7, 1_000_000);
    });
    let assignment = script.assign(0);
    script.arrivals(assignment, (0..500).map(|offset| of_bytes(offset, 100)).collect());
    answer_at_once(&mut script, 8_000);
    let usage = script.task.view().usage;
    let used: Vec<(&str, Option<f64>)> = usage.by_name().iter().map(|(name, used)| (*name, used.limit)).collect();
    assert_eq!(
        used,
        [
            ("limits.records_per_second", Some(10.0)),
            ("limits.bytes_per_second", None),
            ("concurrency.max_in_flight", Some(7.0)),
            ("limits.in_flight_bytes", Some(1_000_000.0)),
        ]
    );
    assert_eq!(
        (usage.records_per_second.used, usage.bytes_per_second.used),
        (10.0, 1_000.0)
    );
    assert!(usage.throttled && usage.held_bytes.used > 0.0);
    let call = {
        let (_, call) = script.wait_for_call(1_000);
        call
    };
    assert_eq!(script.task.view().usage.calls.used, 1.0);
    script.answer(&call, Answer::Failed(failure(500)));
    assert_eq!(script.task.view().usage.calls.used, 0.0);
}
