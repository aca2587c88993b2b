//! Promise 2: order, and what may run beside what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::harness::checker::{self, Found};
use crate::harness::server::{Gate, Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    a_partition_is_called_and_delivered_in_offset_order,
    each_key_keeps_its_order_while_keys_run_in_parallel,
    without_order_records_of_one_partition_run_in_parallel,
    a_slow_partition_holds_back_no_other,
];

fn a_partition_is_called_and_delivered_in_offset_order(test: &Test) {
    let (source, out) = (test.topic("in", 3), test.topic("out", 3));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(3)));
    test.client().produce(&source, numbered(3, 200));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 7);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[200; 3]);

    let expected: BTreeMap<i32, Vec<i64>> = (0..3).map(|partition| (partition, (0..200).collect())).collect();
    assert_eq!(
        called(&function.requests()),
        expected,
        "each record called once, in order"
    );
    assert!(function.requests().iter().all(|request| request.records().len() <= 7));
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[200; 3]), Found { first: 600, again: 0 });
    for entry in &read {
        let id = entry.header_text("fnbridge.source");
        let number = entry.text();
        assert!(id.ends_with(&format!("/{number}#0")), "{id} holds {number}");
    }
}

fn each_key_keeps_its_order_while_keys_run_in_parallel(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| Reply::echo(request).taking(Duration::from_millis(10)));
    let entries = (0..400).map(|n| Entry::value(n.to_string()).key(format!("k{}", n % 8)));
    test.client().produce(&source, entries);
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("ordering", "key");
    let pipeline = pipeline.set("batch.max_records", 1);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[400]);

    let mut offsets_of_key: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for record in function.requests().iter().flat_map(Request::records) {
        let key = record["key"].as_str().expect("a key").to_owned();
        offsets_of_key
            .entry(key)
            .or_default()
            .push(record["offset"].as_i64().expect("an offset"));
    }
    for key in 0..8 {
        let expected: Vec<i64> = (0..50).map(|n| n * 8 + key).collect();
        assert_eq!(offsets_of_key[&format!("k{key}")], expected);
        let read = test.client().read_all(&out);
        let delivered = read
            .iter()
            .filter(|entry| entry.key == Some(format!("k{key}").into_bytes()));
        let delivered: Vec<i64> = delivered.map(|entry| entry.text().parse().expect("a number")).collect();
        assert_eq!(delivered, expected);
    }
    assert!(
        (2..=8).contains(&function.most_in_flight()),
        "{} calls at once for 8 keys",
        function.most_in_flight()
    );
}

fn without_order_records_of_one_partition_run_in_parallel(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| Reply::echo(request).behind(&held));
    test.client().produce(&source, numbered(1, 40));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("ordering", "none");
    let pipeline = pipeline.set("batch.max_records", 1).set("concurrency.max_in_flight", 6);
    test.worker(&pipeline);
    function.wait_count(6);
    gate.open();
    test.client().await_committed(&pipeline.group(), &source, &[40]);

    assert_eq!(function.most_in_flight(), 6, "as parallel as allowed, and no more");
    let ids: Vec<String> = function.requests().iter().flat_map(Request::ids).collect();
    assert_eq!(ids.len(), 40);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 40);
    let read = test.client().read_all(&out);
    let delivered: BTreeSet<&str> = read.iter().map(|entry| entry.header_text("fnbridge.source")).collect();
    assert_eq!((read.len(), delivered.len()), (40, 40));
}

fn a_slow_partition_holds_back_no_other(test: &Test) {
    let (source, out) = (test.topic("in", 3), test.topic("out", 3));
    let gate = Gate::closed();
    let held = gate.clone();
    let function = Server::start(move |request| match request.place() {
        (0, _) => Reply::echo(request).behind(&held),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbered(3, 100));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 5).set("concurrency.max_in_flight", 2);
    let worker = test.worker(&pipeline);
    test.client()
        .read_until(&out, "the fast partitions' results", |read| read.len() == 200);
    let committed = test.client().committed(&pipeline.group(), &source);
    assert!(
        committed.get(&0).is_none_or(|(offset, _)| *offset == 0),
        "{committed:?}"
    );
    let slow: Vec<Vec<i64>> = function
        .requests()
        .iter()
        .map(Request::place)
        .filter(|(p, _)| *p == 0)
        .map(|(_, offsets)| offsets)
        .collect();
    assert_eq!(slow.len(), 1, "one call of the slow partition at a time");

    test.sees_what_the_page_says(&worker, pipeline.name());
    gate.open();
    test.client().await_committed(&pipeline.group(), &source, &[100; 3]);
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[100; 3]), Found { first: 300, again: 0 });
}

/// For each partition, records whose values are their offsets.
fn numbered(partitions: i32, each: i64) -> Vec<Entry> {
    let place = (0..partitions).flat_map(|partition| (0..each).map(move |n| (partition, n)));
    place
        .map(|(partition, n)| Entry::value(json!(n).to_string()).key(format!("k{n}")).to(partition))
        .collect()
}

/// The offsets of each partition in the order in which the function saw them.
fn called(requests: &[Request]) -> BTreeMap<i32, Vec<i64>> {
    let mut all: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offsets) in requests.iter().map(Request::place) {
        all.entry(partition).or_default().extend(offsets);
    }
    all
}
