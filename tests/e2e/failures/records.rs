//! Records that fail while others do not.

use std::collections::BTreeSet;

use serde_json::json;

use super::numbers;
use crate::harness::checker::{self, Found};
use crate::harness::server::{Gate, Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

suite![
    in_a_batch_of_500_the_one_bad_record_is_found_and_named,
    a_record_is_called_as_often_as_was_asked_for,
    a_success_behind_a_failure_does_not_commit_past_it,
    a_key_that_is_not_what_it_should_be_costs_its_record_alone,
    calls_that_fail_now_and_then_leave_the_order_as_it_was,
    thousands_finished_behind_a_stuck_record_are_not_called_again,
    times_from_the_future_and_from_long_ago_are_passed_on,
];

fn in_a_batch_of_500_the_one_bad_record_is_found_and_named(test: &Test) {
    const BAD: i64 = 321;
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.place().1.contains(&BAD) {
        true => Reply::of(500, "boom"),
        false => Reply::echo(request),
    });
    test.client().produce(
        &source,
        numbers(500).map(|entry| entry.key("k").header("h", Some(b"\xff"))),
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch", json!({"max_records": 500, "linger": "1s"}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[500]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let requests = function.requests();
    assert_eq!(requests[0].records().len(), 500);
    assert!(requests.len() <= 5 + 2 * 9 + 1, "{} calls", requests.len());
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((letter.text(), letter.key.as_deref()), ("321", Some(b"k".as_slice())));
    assert_eq!(letter.headers[0], ("h".to_owned(), Some(vec![0xff])));
    assert_eq!(letter.header_text("__connect.errors.offset"), "321");
    let read = test.client().read_all(&out);
    let others = (0..500).filter(|offset| *offset != BAD).collect();
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 499, again: 0 }
    );
}

fn a_record_is_called_as_often_as_was_asked_for(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::start(|request| match request.place().1.contains(&1) {
        true => Reply::of(500, "boom"),
        false => Reply::of(204, ""),
    });
    test.client().produce(&source, numbers(3));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline.set("batch.max_records", 1).set(
        "retry",
        json!({"max_attempts": 25, "initial_backoff": "1ms", "max_backoff": "20ms"}),
    );
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[3]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let calls = function.requests();
    let of_it = calls.iter().filter(|request| request.place().1 == [1]);
    assert_eq!(of_it.count(), 25, "no cap of ours");
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header_text("fnbridge.attempts"), "25");
}

fn a_success_behind_a_failure_does_not_commit_past_it(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.place().1.contains(&3) {
        true => Reply::of(503, "not now"),
        false => Reply::echo(request),
    });
    test.client().produce(
        &source,
        (0..50).map(|n| Entry::value(n.to_string()).key(format!("k{n}"))),
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("ordering", "key")
        .set("batch.max_records", 1)
        .set("retry.max_attempts", 1000);
    let worker = test.worker(&pipeline);
    test.client().read_count(&out, 49);
    test.client().await_committed(&pipeline.group(), &source, &[3]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    let committed = test.client().committed(&pipeline.group(), &source);
    assert_eq!(committed[&0].0, 3, "not past the record that is not settled");
    worker.kill();
    function.answer(Reply::echo);
    let before = function.count();
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[50]);

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let again: Vec<i64> = function.requests()[before..]
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert!(again.contains(&3), "{again:?}");
    assert_eq!(delivered(test, &out), (0..50).collect());
}

fn a_key_that_is_not_what_it_should_be_costs_its_record_alone(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    let bad = [0xff, 0xfe, b'{'];
    let entries = (0..10).map(|n| match n {
        4 => Entry::value("4").key(bad),
        n => Entry::value(n.to_string()).key(format!("{{\"n\":{n}}}")),
    });
    test.client().produce(&source, entries);
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("source.key", json!({"format": "json"}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].key.as_deref(), letters[0].text()),
        (Some(bad.as_slice()), "4")
    );
    assert_eq!(letters[0].header_text("fnbridge.stage"), "convert");
    let others = (0..10).filter(|offset| *offset != 4).collect();
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 9, again: 0 }
    );
}

fn calls_that_fail_now_and_then_leave_the_order_as_it_was(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = Server::start(|request| match request.number % 3 {
        1 => Reply::of(500, "now and then"),
        _ => Reply::echo(request),
    });
    test.client()
        .produce(&source, (0..400).map(|n| Entry::value((n / 2).to_string()).to(n % 2)));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 7).set(
        "retry",
        json!({"max_attempts": 50, "initial_backoff": "1ms", "max_backoff": "10ms"}),
    );
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[200, 200]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_counts(&read, &[200, 200]),
        Found { first: 400, again: 0 }
    );
}

fn thousands_finished_behind_a_stuck_record_are_not_called_again(test: &Test) {
    const RECORDS: usize = 5000;
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| match request.place().1.contains(&0) {
        true => Reply::echo(request).behind(&held),
        false => Reply::echo(request),
    });
    let keyed = |n: usize| Entry::value(n.to_string()).key(format!("k{n}"));
    // The stuck one goes alone, so that no other waits for its call.
    test.client().produce(&source, [keyed(0)]);
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("ordering", "key")
        .set("function.timeout", "5m")
        .set("drain_timeout", "1s");
    let setting = Setting::plaintext(&test.broker().bootstrap()).property("session.timeout.ms", "6000");
    let first = test.worker_on(&setting, &pipeline);
    function.wait_count(1);
    test.client().produce(&source, (1..RECORDS).map(keyed));
    test.client().read_count(&out, RECORDS - 1);
    test.sees_what_the_page_says(&first, pipeline.name());
    wait::until_true("all that is finished to stand beside the offset", || {
        let committed = test.client().committed(&pipeline.group(), &source);
        let (offset, memo) = committed.get(&0).cloned().unwrap_or_default();
        let memo = fnbridge::delivery::memo::Memo::decode(&memo, offset);
        offset == 0 && memo.is_ok_and(|memo| memo.settled.len() == RECORDS - 1)
    });
    first.kill();
    gate.open();
    let before = function.count();
    test.worker_on(&setting, &pipeline);
    test.client()
        .await_committed(&pipeline.group(), &source, &[i64::try_from(RECORDS).unwrap()]);

    let again: Vec<Vec<i64>> = function.requests()[before..]
        .iter()
        .map(|request| Request::place(request).1)
        .collect();
    assert_eq!(again, [[0]], "only the record that was stuck");
    assert_eq!(
        test.client().read_all(&out).len(),
        RECORDS,
        "and nothing is delivered twice"
    );
    assert_eq!(delivered(test, &out), (0..i64::try_from(RECORDS).unwrap()).collect());
}

/// The offsets of the records that an output topic has results of.
fn delivered(test: &Test, out: &str) -> BTreeSet<i64> {
    let read = test.client().read_all(out);
    read.iter().map(|entry| checker::place_of(entry).1).collect()
}

fn times_from_the_future_and_from_long_ago_are_passed_on(test: &Test) {
    const DAY_MS: i64 = 86_400_000;
    let far = [("message.timestamp.after.max.ms", "100000000000")];
    let (source, out) = (test.topic_with("in", 1, &far), test.topic_with("out", 1, &far));
    let now = jiff::Timestamp::now().as_millisecond();
    let times = [now + 400 * DAY_MS, 1, 2, now - 4000 * DAY_MS, now + DAY_MS, now];
    let function = Server::start(|request| match request.place().1[..] {
        [1] | [4] => Reply::of(422, "no"),
        _ => Reply::echo(request),
    });
    test.client()
        .produce(&source, times.map(|time| Entry::value("1").at(time)));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 1).set("retry.max_age", "1h");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[6]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let timed = |entries: Vec<Entry>| -> Vec<Option<i64>> { entries.iter().map(|entry| entry.timestamp).collect() };
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(timed(letters), [1, 4].map(|at: usize| Some(times[at])));
    let results = test.client().read_all(&out);
    assert_eq!(timed(results), [0, 2, 3, 5].map(|at: usize| Some(times[at])));
}
