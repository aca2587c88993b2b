//! Everything is bounded: pauses, memos, drains.

use fnbridge_delivery::answer::{Answer, Verdict};
use fnbridge_delivery::event::{Admission, Arrival, Event, Notice};
use fnbridge_delivery::memo::MAX_CHARS;
use fnbridge_delivery::settings::Ordering;

use crate::script::{Script, arrival, nothing, retry};

#[test]
fn a_full_partition_is_paused_and_resumed_only_when_far_below_its_share() {
    let mut script = Script::with(|s| s.in_flight_bytes = 100_000);
    let assignment = script.assign(0);
    let weight = arrival(0, 0, None).record.weight_bytes() as i64;
    let share = 50_000 / weight;
    script.arrive(assignment, 0, 0..share);
    assert!(script.paused.is_empty());
    script.arrive(assignment, 0, share..share + 2);
    assert_eq!(script.paused, [assignment]);
    while script.resumed.is_empty() {
        assert!(script.task.held_bytes() > 100_000 / 16, "resumed somewhere");
        let call = script.call();
        script.answer(
            &call,
            Answer::Verdicts(call.records.iter().map(|_| nothing()).collect()),
        );
    }
    let held = script.task.view().partitions[0].held_bytes;
    assert!(held <= 50_000 / 4, "{held} bytes are held");
    assert_eq!(script.paused, [assignment], "once");
}

#[test]
fn a_smaller_share_of_the_worker_holds_at_once_and_a_larger_one_brings_the_limit_back_and_no_more() {
    let mut script = Script::with(|s| (s.in_flight_bytes, s.batch.max_records) = (100_000, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..200);
    let held = script.task.held_bytes();
    assert!(script.paused.is_empty() && held > 20_000);
    script.give(Event::SetShare {
        in_flight_bytes: 20_000,
    });
    assert_eq!(
        (script.paused.clone(), script.task.in_flight_bytes()),
        (vec![assignment], held)
    );
    while script.resumed.is_empty() {
        let call = script.call();
        script.answer(&call, Answer::Verdicts(vec![nothing()]));
    }
    assert!(script.task.held_bytes() <= 10_000, "far below its share");
    assert_eq!(script.task.in_flight_bytes(), 20_000);
    script.give(Event::SetShare {
        in_flight_bytes: 1 << 40,
    });
    assert_eq!(script.task.in_flight_bytes(), 100_000, "its own limit");
    let used = script.task.view().usage.held_bytes;
    assert_eq!(used.limit, Some(100_000.0));
}

#[test]
fn a_task_whose_share_is_used_up_still_has_one_call_on_the_wire() {
    let mut script = Script::with(|s| (s.batch.max_records, s.ordering) = (1, Ordering::None));
    let assignment = script.assign(0);
    script.give(Event::SetShare { in_flight_bytes: 1 });
    script.arrive(assignment, 0, 0..10);
    for _ in 0..10 {
        assert_eq!(script.calls.len(), 1);
        let call = script.call();
        script.answer(&call, Answer::Verdicts(vec![nothing()]));
    }
    assert_eq!(script.task.held_bytes(), 0);
}

#[test]
fn a_partition_that_stands_still_does_not_keep_others_from_being_fetched() {
    let mut script = Script::with(|s| s.in_flight_bytes = 100_000);
    let (stuck, lively) = (script.assign(0), script.assign(1));
    for hand_over in 0.. {
        script.arrive(stuck, 0, hand_over * 50..hand_over * 50 + 50);
        if script.paused.contains(&stuck) {
            break;
        }
    }
    let call = script.call();
    assert_eq!(call.assignment, stuck);
    for round in 0..20 {
        script.arrive(lively, 1, round * 100..round * 100 + 100);
        while let Some(call) = script.calls.pop_front() {
            script.answer(
                &call,
                Answer::Verdicts(call.records.iter().map(|_| nothing()).collect()),
            );
        }
        let paused = script.task.view().partitions[1].paused;
        assert!(!paused, "round {round}");
    }
}

#[test]
fn records_are_only_called_while_the_memo_has_room_for_whatever_comes_of_them() {
    let mut script = Script::with(|s| {
        (s.ordering, s.batch.max_records, s.max_in_flight) = (Ordering::Key, 1, 100_000);
        s.in_flight_bytes = 1 << 30;
    });
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "stuck")]);
    // Far apart, so that each takes as much as it can.
    let records: Vec<Arrival> = (1..4_000).map(|n| arrival(0, n * 300, None)).collect();
    script.arrivals(assignment, records);
    let stuck = script.call();
    let mut settled = 0;
    while let Some(call) = script.calls.pop_front() {
        settled += 1;
        script.answer(&call, Answer::Verdicts(vec![nothing()]));
        script.wait(10);
    }
    assert!((100..3_999).contains(&settled), "{settled} were settled ahead");
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::WaitsForOldest { id } if id == "orders/0/0")),
        1
    );
    script.wait(2_000);
    let entry = script.committed.clone().expect("a commit");
    assert!(
        entry.offset == 0 && entry.memo.len() <= MAX_CHARS,
        "{} characters",
        entry.memo.len()
    );
    script.succeed(&stuck);
    script.run(|offsets| Some(Answer::Verdicts(offsets.iter().map(|_| nothing()).collect())));
    assert_eq!(script.stands_committed().1.totals[0], 4_000);
}

#[test]
fn a_batch_scattered_by_retry_verdicts_still_fits_the_memo() {
    let mut script = Script::with(|s| (s.batch.max_records, s.retry.max_attempts) = (1_000, 100));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1_000);
    let mut seed = 1u64;
    for _ in 0..300 {
        let (_, call) = script.wait_for_call(20 * 60_000);
        let verdicts = call.records.iter().map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            retry(Some(seed >> 50))
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        script.answer(&call, Answer::Verdicts(verdicts));
        let entry = script.committed.clone().expect("a commit");
        assert!(entry.memo.len() <= MAX_CHARS, "{} characters", entry.memo.len());
    }
    script.run(|_| None);
    assert_eq!(script.stands_committed().0, 1_000);
}

#[test]
fn what_retention_removed_is_counted_as_expired_and_reading_goes_on() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    script.give(Event::Overtaken {
        assignment,
        from: 2,
        to: 50,
    });
    script.arrive(assignment, 0, 50..52);
    script.run(|_| None);
    assert_eq!(script.stands_committed().0, 52);
    assert_eq!(script.stands_committed().1.totals, [4, 0, 0, 0, 0, 48]);
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::Overtaken { from: 2, to: 50, .. })),
        1
    );
}

#[test]
fn commits_are_a_second_apart_and_one_is_in_flight() {
    let mut script = Script::with(|s| s.batch.max_records = 1);
    script.commits_answer = false;
    let assignment = script.assign(0);
    let mut commits = Vec::new();
    for offset in 0..1_000 {
        script.arrive(assignment, 0, offset..offset + 1);
        let call = script.call();
        script.succeed(&call);
        script.wait(10);
        assert!(script.commits.len() <= 1);
        if script.now.is_multiple_of(500)
            && let Some(entries) = script.commits.pop_front()
        {
            commits.push(script.now);
            script.answer_commit(entries, Ok(()));
        }
    }
    assert!((9..=11).contains(&commits.len()), "{commits:?}");
}

#[test]
fn a_refused_commit_is_built_anew() {
    let mut script = Script::with(|_| {});
    script.commits_answer = false;
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    let call = script.call();
    script.succeed(&call);
    script.wait(1_000);
    let entries = script.commits.pop_front().expect("a commit");
    script.answer_commit(entries, Err("NOT_COORDINATOR".into()));
    script.arrive(assignment, 0, 1..2);
    let call = script.call();
    script.succeed(&call);
    script.wait(1_000);
    let entries = script.commits.pop_front().expect("another");
    assert_eq!(entries[0].offset, 2);
}

#[test]
fn a_paused_pipeline_keeps_its_partitions_and_calls_nothing() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    script.give(Event::SetPaused(true));
    script.arrive(assignment, 0, 0..2);
    script.wait(60_000);
    assert!(script.calls.is_empty() && script.released.is_empty());
    script.give(Event::SetPaused(false));
    assert_eq!(script.called(), [[0, 1]]);
}

#[test]
fn filtered_records_need_no_call() {
    let mut script = Script::with(|_| {});
    let assignment = script.assign(0);
    let mut records: Vec<Arrival> = (0..500).map(|offset| arrival(0, offset, None)).collect();
    records
        .iter_mut()
        .for_each(|arrival| arrival.admission = Admission::Filtered);
    script.arrivals(assignment, records);
    script.wait(2_000);
    assert!(script.calls.is_empty());
    assert_eq!(script.stands_committed().0, 500);
    assert_eq!(script.stands_committed().1.totals[2], 500);
}
