//! Promises 1, 7, 8 and 9: workers that come, go, die and freeze.

use std::collections::HashSet;
use std::time::Duration;

use crate::harness::checker::{self, Found};
use crate::harness::load::{Load, numbers};
use crate::harness::server::{Gate, Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

suite![
    a_worker_killed_in_mid_batch_loses_nothing_and_repeats_only_that_batch,
    attempts_are_counted_on_after_a_kill,
    three_workers_share_the_load_and_a_clean_leave_repeats_nothing,
    a_worker_killed_under_load_repeats_nothing_below_the_committed_offset,
    a_worker_stopped_past_its_session_comes_back_and_harms_nothing,
    a_worker_that_holds_nothing_leaves_its_group_too,
    a_partition_that_left_while_it_was_paused_is_read_on_when_it_comes_back,
    records_settled_ahead_are_not_called_again_after_a_restart,
];

const SETTLED: &str = "fnbridge_settled_records_total";

fn a_worker_killed_in_mid_batch_loses_nothing_and_repeats_only_that_batch(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| {
        let reply = Reply::echo(request);
        if request.place().1.contains(&30) {
            reply.behind(&held)
        } else {
            reply
        }
    });
    test.client().produce(&source, numbers(0..100));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 10);
    let first = test.worker_on(&quick_session(test), &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[30]);
    let calls_before = function.wait("the call that is held", |requests| {
        requests.iter().any(|request| request.place().1.contains(&30))
    });
    first.kill();
    gate.open();
    test.worker_on(&quick_session(test), &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[100]);

    let after: Vec<i64> = function.requests()[calls_before.len()..]
        .iter()
        .flat_map(|r| r.place().1)
        .collect();
    assert_eq!(
        after,
        (30..100).collect::<Vec<_>>(),
        "called again from the committed offset on, in order"
    );
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[100]), Found { first: 100, again: 0 });
}

fn attempts_are_counted_on_after_a_kill(test: &Test) {
    let source = test.topic("in", 1);
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| match request.number {
        2 => Reply::of(500, "boom").behind(&held),
        _ => Reply::of(500, "boom"),
    });
    test.client().produce(&source, [Entry::value("1").key("poison")]);
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("retry.max_attempts", 4);
    let first = test.worker_on(&quick_session(test), &pipeline);
    function.wait_count(3);
    first.kill();
    gate.open();
    test.worker_on(&quick_session(test), &pipeline);
    let letters = test.client().read_count(&pipeline.dead_letter_topic(), 1);
    test.client().await_committed(&pipeline.group(), &source, &[1]);

    let attempts: Vec<String> = function
        .requests()
        .iter()
        .map(|request| request.header("fnbridge-attempt").to_owned())
        .collect();
    assert_eq!(
        attempts,
        ["1", "2", "3", "3", "4"],
        "only the call that was cut off is not counted"
    );
    assert_eq!(letters[0].header_text("fnbridge.attempts"), "4");
    assert_eq!(letters[0].key.as_deref(), Some(b"poison".as_slice()));
}

fn three_workers_share_the_load_and_a_clean_leave_repeats_nothing(test: &Test) {
    let (source, out) = (test.topic("in", 6), test.topic("out", 6));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(20)));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 10);
    let load = Load::start(test.client(), &source, 6);
    let setting = quick_session(test);
    let first = test.worker_on(&setting, &pipeline);
    first.await_metric(SETTLED, &[], 100.0);
    let second = test.worker_on(&setting, &pipeline);
    second.await_metric(SETTLED, &[], 50.0);
    let third = test.worker_on(&setting, &pipeline);
    third.await_metric(SETTLED, &[], 50.0);
    assert!(first.stop().success(), "the first worker drains and leaves");
    let (before_second, before_third) = (second.metrics().sum(SETTLED, &[]), third.metrics().sum(SETTLED, &[]));
    second.await_metric(SETTLED, &[], before_second + 50.0);
    third.await_metric(SETTLED, &[], before_third + 50.0);
    let counts = load.end();
    test.client().await_committed(&pipeline.group(), &source, &counts);

    let total = usize::try_from(counts.iter().sum::<i64>()).unwrap();
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &counts), Found { first: total, again: 0 });
    let called: usize = function.requests().iter().map(|request| request.records().len()).sum();
    assert_eq!(called, total, "each record was called once");
}

fn a_worker_killed_under_load_repeats_nothing_below_the_committed_offset(test: &Test) {
    let (source, out) = (test.topic("in", 4), test.topic("out", 4));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(20)));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 10);
    let load = Load::start(test.client(), &source, 4);
    let setting = quick_session(test);
    let first = test.worker_on(&setting, &pipeline);
    let second = test.worker_on(&setting, &pipeline);
    first.await_metric(SETTLED, &[], 100.0);
    second.await_metric(SETTLED, &[], 100.0);
    let committed = test.client().committed(&pipeline.group(), &source);
    second.kill();
    let before = first.metrics().sum(SETTLED, &[]);
    first.await_metric(SETTLED, &[], before + 500.0);
    let counts = load.end();
    test.client().await_committed(&pipeline.group(), &source, &counts);

    let read = test.client().read_all(&out);
    let found = checker::check_counts(&read, &counts);
    assert_eq!(found.first, usize::try_from(counts.iter().sum::<i64>()).unwrap());
    let mut seen = HashSet::new();
    for (partition, offset) in read.iter().map(checker::place_of).filter(|place| !seen.insert(*place)) {
        let from = committed.get(&partition).map_or(0, |(offset, _)| *offset);
        assert!(
            offset >= from,
            "{partition}/{offset} stands twice, and {from} was committed before the kill"
        );
    }
}

fn a_worker_stopped_past_its_session_comes_back_and_harms_nothing(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| match request.number {
        0..10 => Reply::echo(request),
        10 | 11 => Reply::echo(request).behind(&held),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, both(0..300));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 5);
    let setting = quick_session(test);
    let first = test.worker_on(&setting, &pipeline);
    function.wait_count(12);
    first.freeze();
    let second = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[300, 300]);
    gate.open();
    first.thaw();
    wait::until_true("the first worker to answer again", || first.is_healthy());
    test.client().produce(&source, both(300..400));
    test.client().await_committed(&pipeline.group(), &source, &[400, 400]);
    first.await_metrics("the first worker to be in the group again", |metrics| {
        metrics.sum("fnbridge_assigned_partitions", &[]) > 0.0
    });
    test.client().produce(&source, both(400..500));
    test.client().await_committed(&pipeline.group(), &source, &[500, 500]);

    assert!(second.is_healthy());
    let read = test.client().read_all(&out);
    let found = checker::check_counts(&read, &[500, 500]);
    assert_eq!(found.first, 1000);
    assert!(
        found.again <= 60,
        "{} results stand again, more than was under way",
        found.again
    );
}

fn a_worker_that_holds_nothing_leaves_its_group_too(test: &Test) {
    let source = test.topic("in", 1);
    let pipeline = test.pipeline(&source).function(&Server::echo().url());
    let first = test.worker(&pipeline);
    let second = test.worker(&pipeline);
    wait::until_true("both to be members", || test.client().members(&pipeline.group()) == 2);
    for worker in [second, first] {
        let left = test.client().members(&pipeline.group()) - 1;
        assert!(worker.stop().success());
        let has_left = || (test.client().members(&pipeline.group()) == left).then_some(());
        wait::within(
            Duration::from_secs(10),
            "the worker to be gone before its session is",
            has_left,
        );
    }
}

fn a_partition_that_left_while_it_was_paused_is_read_on_when_it_comes_back(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let slow = |request: &Request| Reply::echo(request).taking(Duration::from_millis(200));
    let function = Server::start(slow);
    let large = "x".repeat(2000);
    let entries = (0..400).flat_map(|_| (0..2).map(|partition| Entry::value(format!("\"{large}\"")).to(partition)));
    test.client().produce(&source, entries);
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 2)
        .set("batch.max_bytes", "16KiB")
        .set("limits.in_flight_bytes", "64KiB");
    let first = test.worker_on(&quick_session(test), &pipeline);
    first.await_metric("fnbridge_paused", &[], 2.0);
    let second = test.worker_on(&quick_session(test), &pipeline);
    first.await_metrics(
        "one partition to leave the first worker while it is paused",
        |metrics| metrics.sum("fnbridge_assigned_partitions", &[]) == 1.0,
    );
    assert!(second.stop().success());
    function.answer(Reply::echo);
    test.client().await_committed(&pipeline.group(), &source, &[400, 400]);

    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_counts(&read, &[400, 400]),
        Found { first: 800, again: 0 }
    );
}

fn records_settled_ahead_are_not_called_again_after_a_restart(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| {
        let reply = Reply::echo(request);
        if request.place().1 == [0] {
            reply.behind(&held)
        } else {
            reply
        }
    });
    test.client().produce(
        &source,
        (0..50).map(|n| Entry::value(n.to_string()).key(format!("k{n}"))),
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("ordering", "key")
        .set("batch.max_records", 1)
        .set("drain_timeout", "1s");
    let first = test.worker(&pipeline);
    test.client().read_count(&out, 49);
    assert!(first.stop().success());
    assert_eq!(function.count(), 50);
    let committed = test.client().committed(&pipeline.group(), &source);
    assert_eq!(
        committed[&0].0, 0,
        "nothing is committed past the record that is not settled"
    );
    gate.open();
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[50]);

    let again: Vec<Vec<i64>> = function.requests()[50..]
        .iter()
        .map(|request| request.place().1)
        .collect();
    assert_eq!(again, [[0]], "only the record that was not settled is called again");
    assert_eq!(test.client().read_all(&out).len(), 50, "and nothing is delivered twice");
}

/// A group that notices a dead worker after six seconds.
fn quick_session(test: &Test) -> Setting {
    let setting = Setting::plaintext(&test.broker().bootstrap());
    setting
        .property("session.timeout.ms", "6000")
        .property("heartbeat.interval.ms", "500")
}

/// The same numbers in two partitions.
fn both(range: std::ops::Range<i64>) -> impl Iterator<Item = Entry> {
    numbers(range).flat_map(|entry| [entry.clone().to(0), entry.to(1)])
}
