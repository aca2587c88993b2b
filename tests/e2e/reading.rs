//! Where reading starts, and what topics do to a reader: rules of "Where reading starts".

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::checker::{self, Found};
use crate::harness::pipeline::Pipeline;
use crate::harness::server::{Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;

suite![
    earliest_reads_what_was_there_before,
    latest_reads_only_what_comes_after,
    a_time_starts_at_the_first_record_from_then_on,
    start_applies_once,
    a_partition_added_later_is_read_from_its_beginning,
    a_pattern_takes_new_topics_and_never_its_own_outputs,
    a_recreated_topic_is_read_from_its_beginning,
    a_topic_recreated_while_it_is_read_gets_keys_that_were_never_used,
    records_that_retention_removed_are_counted_and_reading_goes_on,
    aborted_transactions_are_not_seen,
    a_compacted_topic_is_read_across_its_gaps,
];

fn earliest_reads_what_was_there_before(test: &Test) {
    let source = test.topic("in", 2);
    test.client()
        .produce(&source, numbers(0, 0..10).chain(numbers(1, 0..5)));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10, 5]);
    assert_eq!(called(&function), places(&source, &[(0, 0..10), (1, 0..5)]));
}

fn latest_reads_only_what_comes_after(test: &Test) {
    let source = test.topic("in", 2);
    test.client()
        .produce(&source, numbers(0, 0..10).chain(numbers(1, 0..5)));
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("source.start", "latest");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10, 5]);
    assert_eq!(
        function.count(),
        0,
        "offsets are committed before the first record is taken"
    );
    test.client()
        .produce(&source, numbers(0, 10..14).chain(numbers(1, 5..6)));
    test.client().await_committed(&pipeline.group(), &source, &[14, 6]);
    assert_eq!(called(&function), places(&source, &[(0, 10..14), (1, 5..6)]));
}

fn a_time_starts_at_the_first_record_from_then_on(test: &Test) {
    let source = test.topic("in", 2);
    let noon = 1_764_072_000_000;
    let timed = |partition: i32, times: [i64; 4]| times.map(|time| Entry::value("1").at(noon + time).to(partition));
    test.client().produce(&source, timed(0, [-2, -1, 0, 1]));
    test.client().produce(&source, timed(1, [-4, -3, -2, -1]));
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("source.start", "2025-11-25T12:00:00Z");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[4, 4]);
    assert_eq!(
        called(&function),
        places(&source, &[(0, 2..4)]),
        "where none is that young, reading starts at the end"
    );
    test.client().produce(&source, [Entry::value("2").to(1)]);
    test.client().await_committed(&pipeline.group(), &source, &[4, 5]);
    assert_eq!(called(&function), places(&source, &[(0, 2..4), (1, 4..5)]));
}

fn start_applies_once(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(0, 0..10));
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("source.start", "latest");
    let first = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    assert!(first.stop().success());
    test.client().produce(&source, numbers(0, 10..20));
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    assert_eq!(called(&function), places(&source, &[(0, 10..20)]));
}

fn a_partition_added_later_is_read_from_its_beginning(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(0, 0..5));
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("source.start", "latest");
    let setting = crate::harness::worker::Setting::plaintext(&test.broker().bootstrap());
    let setting = setting.property("topic.metadata.refresh.interval.ms", "1000");
    let worker = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5]);
    assert!(worker.stop().success());
    test.client().add_partitions(&source, 2);
    test.client().produce(&source, numbers(1, 0..7));
    let worker = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5, 7]);
    assert_eq!(called(&function), places(&source, &[(1, 0..7)]));
    test.client().add_partitions(&source, 3);
    test.client().produce(&source, numbers(2, 0..3));
    test.client().await_committed(&pipeline.group(), &source, &[5, 7, 3]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_eq!(
        called(&function),
        places(&source, &[(1, 0..7), (2, 0..3)]),
        "also while the worker runs"
    );
}

fn a_pattern_takes_new_topics_and_never_its_own_outputs(test: &Test) {
    let (first, second) = (test.topic("in-a", 1), test.name("in-b"));
    let out = test.topic("in-out", 1);
    test.client().create(&test.name("other-in-c"), 1, &[]);
    test.client().produce(&test.name("other-in-c"), numbers(0, 0..3));
    test.client().produce(&first, numbers(0, 0..5));
    let function = Server::echo();
    let pattern = format!("{}.*", test.name("in-"));
    let pipeline =
        Pipeline::new(&test.name("p"), "").set("source", json!({"topic_pattern": pattern, "start": "latest"}));
    let pipeline = pipeline
        .function(&function.url())
        .topic_sink(&out)
        .set("dead_letter.topic", test.name("in-dead"));
    let setting = crate::harness::worker::Setting::plaintext(&test.broker().bootstrap());
    let worker = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &first, &[5]);
    test.client().create(&second, 1, &[]);
    test.client().produce(&second, numbers(0, 0..4));
    test.client().produce(&first, numbers(0, 5..8));
    test.client().await_committed(&pipeline.group(), &second, &[4]);
    test.client().await_committed(&pipeline.group(), &first, &[8]);

    let mut expected = places(&second, &[(0, 0..4)]);
    expected.extend(places(&first, &[(0, 5..8)]));
    assert_eq!(
        called(&function),
        expected,
        "a topic that appears later is read from its beginning"
    );
    let read = test.client().read_all(&out);
    assert_eq!(read.len(), 7);
    assert!(test.client().committed(&pipeline.group(), &out).is_empty());
    assert!(
        test.client()
            .committed(&pipeline.group(), &pipeline.dead_letter_topic())
            .is_empty()
    );
    assert!(worker.is_healthy());
}

fn a_recreated_topic_is_read_from_its_beginning(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(0, 0..20));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    assert!(worker.stop().success());
    test.client().delete(&source);
    test.client().create(&source, 1, &[]);
    test.client()
        .produce(&source, (100..105).map(|n| Entry::value(n.to_string())));
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5]);

    let values: Vec<Value> = function
        .requests()
        .iter()
        .flat_map(Request::records)
        .skip(20)
        .map(|record| record["value"].clone())
        .collect();
    assert_eq!(values, [100, 101, 102, 103, 104]);
}

fn a_topic_recreated_while_it_is_read_gets_keys_that_were_never_used(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(0, 0..20));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    test.client().delete(&source);
    test.client().create(&source, 1, &[]);
    let entries = (100..105).map(|n| Entry::value(n.to_string()));
    test.client().produce(&source, entries);
    test.client().await_committed(&pipeline.group(), &source, &[5]);

    worker.await_log(&["so the log is another one", &source]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    let mut called = Vec::new();
    for request in function.requests() {
        let (key, values) = (request.header("idempotency-key"), request.records());
        let is_new = values[0]["value"].as_i64() >= Some(100);
        assert_eq!(key.ends_with(";g=1"), is_new, "{key}");
        called.extend(values.into_iter().map(|record| record["value"].clone()));
    }
    assert_eq!(called[20..], [100, 101, 102, 103, 104]);
}

fn records_that_retention_removed_are_counted_and_reading_goes_on(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    test.client().produce(&source, numbers(0, 0..10));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    assert!(worker.stop().success());
    test.client().produce(&source, numbers(0, 10..100));
    test.client().delete_records_before(&source, 0, 50);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[100]);

    worker.await_metrics("40 records expired", |metrics| {
        metrics.sum("fnbridge_settled_records_total", &[r#"disposition="expired""#]) == 40.0
    });
    test.sees_what_the_page_says(&worker, pipeline.name());
    let line = worker.await_log(&[&source, "50"]);
    assert!(line.contains("10"), "the range is named: {line}");
    let expected: BTreeMap<i32, Vec<i64>> = [(0, (0..10).chain(50..100).collect())].into();
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &expected),
        Found { first: 60, again: 0 }
    );
}

fn aborted_transactions_are_not_seen(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    test.client().produce_in_transaction(&source, true, numbers(0, 0..5));
    test.client().produce_in_transaction(&source, false, numbers(0, 5..10));
    test.client().produce_in_transaction(&source, true, numbers(0, 10..15));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    let read = test.client().read_count(&out, 10);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let values: Vec<&str> = read.iter().map(Entry::text).collect();
    assert_eq!(values, ["0", "1", "2", "3", "4", "10", "11", "12", "13", "14"]);
    let standing: Vec<i64> = test
        .client()
        .read_all(&source)
        .iter()
        .map(|entry| entry.offset)
        .collect();
    let seen: Vec<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert_eq!(seen, standing, "offsets have gaps where transactions ended");
    let last = standing[9];
    wait::until_true("the offset after the last record", || {
        test.client().committed(&pipeline.group(), &source)[&0].0 > last
    });
}

fn a_compacted_topic_is_read_across_its_gaps(test: &Test) {
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "10"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
    ];
    let (source, out) = (test.topic_with("in", 1, &config), test.topic("out", 1));
    for round in 0..6 {
        let entries = (0..20).filter(|key| round == 0 || key % (round + 1) == 0);
        test.client().produce(
            &source,
            entries.map(|key| Entry::value(round.to_string()).key(key.to_string())),
        );
    }
    let total = test.client().read_all(&source).last().expect("records").offset + 1;
    let standing = wait::until("compaction", || {
        test.client().produce(&source, [Entry::value("\"tick\"").key("tick")]);
        let read = test.client().read_all(&source);
        let gaps = read.last().expect("records").offset + 1 - i64::try_from(read.len()).unwrap();
        (gaps >= total / 3).then(|| read.last().expect("records").offset + 1)
    });
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 7);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[standing]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let seen: BTreeSet<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    let now: BTreeSet<i64> = test
        .client()
        .read_all(&source)
        .iter()
        .map(|entry| entry.offset)
        .collect();
    assert!(
        seen.is_superset(&now),
        "each record that still stands was called: {now:?}, {seen:?}"
    );
    assert!(i64::try_from(seen.len()).unwrap() < standing, "there were gaps");
    let read = test.client().read_all(&out);
    let expected = [(0, seen.into_iter().collect())].into();
    checker::check_partitions(&read, &expected);
}

fn numbers(partition: i32, range: std::ops::Range<i64>) -> impl Iterator<Item = Entry> {
    range.map(move |n| Entry::value(n.to_string()).to(partition))
}

/// The ids that the function was called with.
///
/// # Panics
/// If one was called twice.
fn called(function: &Server) -> BTreeSet<String> {
    let ids: Vec<String> = function.requests().iter().flat_map(Request::ids).collect();
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), set.len(), "each record is called once: {ids:?}");
    set
}

fn places(topic: &str, ranges: &[(i32, std::ops::Range<i64>)]) -> BTreeSet<String> {
    let places = ranges
        .iter()
        .flat_map(|(partition, offsets)| offsets.clone().map(move |offset| (*partition, offset)));
    places
        .map(|(partition, offset)| format!("{topic}/{partition}/{offset}"))
        .collect()
}
