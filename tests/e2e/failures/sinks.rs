//! Sinks that refuse, are taken away, or are kept by too few brokers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{assert_nothing_committed, numbers};
use crate::harness::checker::{self, Found};
use crate::harness::cluster::{BROKERS, Cluster};
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

suite![
    a_sink_that_does_not_let_us_in_is_waited_for_and_nothing_is_committed_past_it,
    a_sink_that_is_full_is_left_alone_as_long_as_it_asks_to_be,
    a_result_too_large_for_its_topic_is_a_dead_letter_and_the_rest_is_stored,
    a_sink_topic_that_is_deleted_is_waited_for,
    a_sink_topic_that_too_few_brokers_keep_is_waited_for,
];

fn a_sink_that_does_not_let_us_in_is_waited_for_and_nothing_is_committed_past_it(test: &Test) {
    let source = test.topic("in", 1);
    let (function, sink) = (Server::echo(), Server::start(|_| Reply::of(403, "who are you?")));
    test.client().produce(&source, numbers(40));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline
        .sink(json!({"name": "ledger", "http": {"url": sink.url()}}))
        .set("batch.max_records", 10);
    let worker = test.worker(&pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    sink.wait_count(3);
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    let in_vain = sink.count();
    sink.answer(|_| Reply::of(200, ""));
    test.client().await_committed(&pipeline.group(), &source, &[40]);

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let stored: Vec<Value> = sink.requests()[in_vain..].iter().flat_map(results).collect();
    let values: BTreeSet<i64> = stored.iter().filter_map(|result| result["value"].as_i64()).collect();
    assert_eq!(values, (0..40).collect());
    assert_eq!(called(&function), (0..40).collect::<Vec<_>>(), "each once");
}

fn a_sink_that_is_full_is_left_alone_as_long_as_it_asks_to_be(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    let sink = Server::start(|request| match request.number {
        0 => Reply::of(507, "disk full"),
        1 => Reply::of(429, "slower").header("retry-after", "2"),
        _ => Reply::of(200, ""),
    });
    test.client().produce(&source, numbers(10));
    let pipeline = test.pipeline(&source).function(&function.url()).http_sink(&sink.url());
    let worker = test.worker(&pipeline.set("batch.linger", "300ms"));
    sink.wait_count(2);
    test.sees_what_the_page_says(&worker, &test.name("p"));
    test.client()
        .await_committed(&format!("fnbridge-{}", test.name("p")), &source, &[10]);

    let requests = sink.requests();
    assert!(requests[2].at - requests[1].at >= std::time::Duration::from_millis(1990));
    assert_eq!(called(&function), (0..10).collect::<Vec<_>>(), "each once");
    assert_eq!(
        requests[..3].iter().map(|request| request.json()).collect::<Vec<_>>(),
        vec![requests[0].json(); 3]
    );
}

fn a_result_too_large_for_its_topic_is_a_dead_letter_and_the_rest_is_stored(test: &Test) {
    let (source, out) = (
        test.topic("in", 1),
        test.topic_with("out", 1, &[("max.message.bytes", "2000")]),
    );
    let function = Server::echo();
    let large = format!("\"{}\"", random_letters(10_000));
    let entries = (0..20).map(|n| Entry::value(if n == 7 { large.clone() } else { n.to_string() }));
    test.client().produce(&source, entries);
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline.sink(json!({"name": "small", "kafka": {"topic": out}}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("fnbridge.stage")),
        (large.as_str(), "sink")
    );
    assert_eq!(letters[0].header_text("fnbridge.sink"), "small");
    let kept: Value = serde_json::from_str(letters[0].header_text("fnbridge.result")).expect("JSON");
    assert_eq!(
        kept["value"], large,
        "the result is kept, to be stored when there is room"
    );
    let read = test.client().read_all(&out);
    let others = (0..20).filter(|offset| *offset != 7).collect();
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 19, again: 0 }
    );
    assert_eq!(called(&function), (0..20).collect::<Vec<_>>(), "each once");
}

fn a_sink_topic_that_is_deleted_is_waited_for(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    test.client().produce(&source, numbers(10));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    test.client().delete(&out);
    test.client()
        .produce(&source, (10..30).map(|n| Entry::value(n.to_string())));
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_eq!(test.client().committed(&pipeline.group(), &source)[&0].0, 10);
    test.client().create(&out, 1, &[]);
    test.client().await_committed(&pipeline.group(), &source, &[30]);

    let read = test.client().read_all(&out);
    let values: Vec<&str> = read.iter().map(Entry::text).collect();
    assert_eq!(values, (10..30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(called(&function), (0..30).collect::<Vec<_>>(), "each once");
}

fn a_sink_topic_that_too_few_brokers_keep_is_waited_for(test: &Test) {
    let cluster = Cluster::start(0);
    let client = cluster.client();
    let (source, out) = (test.name("in"), test.name("out"));
    client.create(&source, 1, &[]);
    // Three replicas, and all of them have to have what is acknowledged.
    client.create(&out, 1, &[("min.insync.replicas", "3")]);
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let brokers: Vec<String> = (0..BROKERS).map(|broker| cluster.broker(broker).bootstrap()).collect();
    let worker = test.worker_on(&Setting::plaintext(&brokers.join(",")), &pipeline);
    client.produce(&source, numbers(10));
    client.await_committed(&pipeline.group(), &source, &[10]);
    cluster.broker(2).kill();
    wait::until_true("two replicas to be left", || client.in_sync(&out) == Some(2));
    client.produce(&source, (10..30).map(|n| Entry::value(n.to_string())));
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_eq!(client.committed(&pipeline.group(), &source)[&0].0, 10);
    cluster.resume(2, std::slice::from_ref(&out), wait::PATIENCE);
    client.await_committed(&pipeline.group(), &source, &[30]);

    let read = client.read_all(&out);
    assert_eq!(checker::check_counts(&read, &[30]), Found { first: 30, again: 0 });
    assert_eq!(called(&function), (0..30).collect::<Vec<_>>(), "each once");
    worker.await_metrics("the sink to be back", |metrics| {
        metrics.sum("fnbridge_sink_away", &[]) == 0.0
    });
}

fn results(request: &Request) -> Vec<Value> {
    request.json().as_array().expect("an array").clone()
}

/// The offsets that the function was called with, in order.
fn called(function: &Server) -> Vec<i64> {
    function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect()
}

/// Letters that no compression makes small.
fn random_letters(count: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(count).collect()
}
