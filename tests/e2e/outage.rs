//! Promises 4, 5 and 6: functions, sinks and brokers that are away, and what is not lost, not repeated, not committed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::checker::{self, Found};
use crate::harness::kafka::Broker;
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::{Client, Entry};
use crate::harness::worker::Setting;

suite![
    a_function_that_is_not_there_is_waited_for,
    html_at_200_gives_up_three_records_at_most,
    errors_500_give_up_three_records_at_most,
    a_401_gives_up_none_and_says_so,
    an_http_sink_outage_calls_the_function_once_a_batch,
    a_sink_that_is_away_does_not_repeat_what_another_stored,
    a_dead_letter_that_can_not_be_written_is_not_committed,
    a_broker_that_restarts_costs_nothing,
];

const GUARDED: usize = 3;

fn a_function_that_is_not_there_is_waited_for(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = Server::not_started(Reply::echo);
    test.client().produce(&source, numbers(2, 100));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    worker.await_metric("fnbridge_breaker_open", &[], 1.0);
    worker.await_metric("fnbridge_attempts_total", &[r#"outcome="away""#], 4.0);
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    test.sees_what_the_page_says(&worker, pipeline.name());
    function.listen();
    test.client().await_committed(&pipeline.group(), &source, &[100, 100]);

    worker.await_metrics("the breaker to be closed", |metrics| {
        metrics.sum("fnbridge_breaker_open", &[]) == 0.0
    });
    assert!(
        function
            .requests()
            .iter()
            .all(|request| request.header("fnbridge-attempt") == "1"),
        "not charged"
    );
    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_counts(&read, &[100, 100]),
        Found { first: 200, again: 0 }
    );
}

fn html_at_200_gives_up_three_records_at_most(test: &Test) {
    outage_with_answers(test, 30, |_| {
        Reply::of(200, "<html>It works!</html>").header("content-type", "text/html")
    });
}

fn errors_500_give_up_three_records_at_most(test: &Test) {
    outage_with_answers(test, 30, |_| Reply::of(500, "boom"));
}

/// Everything fails in the same way for a number of calls; then the function is back.
fn outage_with_answers(test: &Test, calls: usize, answer: fn(&Request) -> Reply) {
    let (source, out) = (test.topic("in", 4), test.topic("out", 4));
    let function = Server::start(answer);
    test.client().produce(&source, numbers(4, 25));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 2).set("retry.max_attempts", 2);
    let worker = test.worker(&pipeline);
    worker.await_metric("fnbridge_breaker_open", &[], 1.0);
    function.wait_count(calls);
    test.sees_what_the_page_says(&worker, pipeline.name());
    let given_up = test.client().read_all(&pipeline.dead_letter_topic()).len();
    assert!(
        given_up <= GUARDED,
        "{given_up} records were given up while nothing succeeded"
    );
    function.answer(Reply::echo);
    test.client().await_committed(&pipeline.group(), &source, &[25; 4]);

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert!(
        letters.len() <= GUARDED,
        "{} records were given up for an outage",
        letters.len()
    );
    let results = test.client().read_all(&out);
    let delivered: BTreeSet<(i32, i64)> = results.iter().map(checker::place_of).collect();
    assert_eq!(
        (results.len(), delivered.len()),
        (100 - letters.len(), 100 - letters.len()),
        "the others once each"
    );
}

fn a_401_gives_up_none_and_says_so(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = Server::start(|_| Reply::of(401, "who are you?"));
    test.client().produce(&source, numbers(2, 50));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("retry.max_attempts", 2);
    let worker = test.worker(&pipeline);
    worker.await_log(&[pipeline.name(), "401"]);
    worker.await_metric("fnbridge_breaker_open", &[], 1.0);
    function.wait_count(8);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    function.answer(Reply::echo);
    test.client().await_committed(&pipeline.group(), &source, &[50, 50]);

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[50, 50]), Found { first: 100, again: 0 });
}

fn an_http_sink_outage_calls_the_function_once_a_batch(test: &Test) {
    let source = test.topic("in", 1);
    let (function, sink) = (Server::echo(), Server::start(|_| Reply::of(503, "")));
    test.client().produce(&source, numbers(1, 60));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .http_sink(&sink.url())
        .set("batch.max_records", 10);
    let worker = test.worker(&pipeline);
    sink.wait_count(4);
    worker.await_metric("fnbridge_sink_away", &[], 1.0);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_nothing_committed(&test.client(), &pipeline.group(), &source);
    sink.stop();
    let (metric, away) = ("fnbridge_sink_records_total", [r#"receipt="away""#]);
    let before = worker.metrics().sum(metric, &away);
    worker.await_metric(metric, &away, before + 1.0);
    let in_vain = sink.count();
    sink.answer(|_| Reply::of(200, ""));
    sink.listen();
    test.client().await_committed(&pipeline.group(), &source, &[60]);

    let called: Vec<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert_eq!(called, (0..60).collect::<Vec<_>>(), "each record was called once");
    let stored: Vec<Value> = sink.requests()[in_vain..].iter().flat_map(results).collect();
    let ids: Vec<&str> = stored
        .iter()
        .map(|result| result["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, (0..60).map(|n| format!("{source}/0/{n}#0")).collect::<Vec<_>>());
    worker.await_metrics("the sink to be back", |metrics| {
        metrics.sum("fnbridge_sink_away", &[]) == 0.0
    });
}

fn a_sink_that_is_away_does_not_repeat_what_another_stored(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let (function, sink) = (Server::echo(), Server::start(|_| Reply::of(500, "")));
    test.client().produce(&source, numbers(1, 40));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .http_sink(&sink.url());
    let pipeline = pipeline.set("batch.max_records", 10);
    let worker = test.worker(&pipeline);
    sink.wait_count(5);
    test.sees_what_the_page_says(&worker, pipeline.name());
    sink.answer(|_| Reply::of(200, ""));
    test.client().await_committed(&pipeline.group(), &source, &[40]);

    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[40]), Found { first: 40, again: 0 });
    let called: usize = function.requests().iter().map(|request| request.records().len()).sum();
    assert_eq!(called, 40);
}

fn a_dead_letter_that_can_not_be_written_is_not_committed(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        if request.place().1.contains(&5) {
            Reply::of(422, "no")
        } else {
            Reply::echo(request)
        }
    });
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 1);
    let letters = pipeline.dead_letter_topic();
    test.client()
        .create(&letters, 1, &[("max.message.bytes", "5000"), ("retention.ms", "-1")]);
    let large = format!("\"{}\"", random_letters(10_000));
    let entries = (0..20).map(|n| Entry::value(if n == 5 { large.clone() } else { n.to_string() }));
    test.client().produce(&source, entries);
    let worker = test.worker(&pipeline);
    worker.await_metric("fnbridge_dead_letters_blocked", &[], 1.0);
    worker.await_log(&[pipeline.name(), &letters]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().await_committed(&pipeline.group(), &source, &[5]);
    assert!(test.client().read_all(&letters).is_empty());

    test.client()
        .set_topic_settings(&letters, &[("max.message.bytes", "50000"), ("retention.ms", "-1")]);
    let written = test.client().read_count(&letters, 1);
    assert_eq!(written[0].text(), large, "not a byte of the source is cut");
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    worker.await_metrics("letters to be written again", |m| {
        m.sum("fnbridge_dead_letters_blocked", &[]) == 0.0
    });
}

fn a_broker_that_restarts_costs_nothing(test: &Test) {
    let broker = Broker::start(&[]);
    let client = Client::new(&broker.bootstrap());
    let (source, out) = (test.name("in"), test.name("out"));
    client.create(&source, 2, &[]);
    client.create(&out, 2, &[]);
    let function = Server::echo();
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.max_records", 5);
    let setting = Setting::plaintext(&broker.bootstrap());
    let setting = setting
        .property("reconnect.backoff.ms", "50")
        .property("reconnect.backoff.max.ms", "500");
    let worker = test.worker_on(&setting, &pipeline);
    client.produce(&source, numbers(2, 200));
    function.wait_count(5);
    broker.stop();
    worker.await_metric("fnbridge_sink_away", &[], 1.0);
    worker.await_log(&["sink is away", "does not answer"]);
    test.sees_what_the_page_says(&worker, pipeline.name());
    broker.resume();
    client.await_committed(&pipeline.group(), &source, &[200, 200]);
    worker.await_metrics("the sink to be back", |metrics| {
        metrics.sum("fnbridge_sink_away", &[]) == 0.0
    });
    broker.kill();
    broker.resume();
    client.produce(&source, numbers(2, 100));
    client.await_committed(&pipeline.group(), &source, &[300, 300]);

    assert!(worker.is_healthy());
    let read = client.read_all(&out);
    let found = checker::check_counts(&read, &[300, 300]);
    assert_eq!(found.first, 600);
    assert!(found.again <= 400, "{} results stand again", found.again);
}

fn assert_nothing_committed(client: &Client, group: &str, topic: &str) {
    let committed = client.committed(group, topic);
    assert!(committed.values().all(|(offset, _)| *offset == 0), "{committed:?}");
}

fn results(request: &Request) -> Vec<Value> {
    request.json().as_array().expect("an array").clone()
}

/// For each partition, numbers from 0.
fn numbers(partitions: i32, each: i64) -> Vec<Entry> {
    (0..each)
        .flat_map(|n| (0..partitions).map(move |partition| Entry::value(n.to_string()).to(partition)))
        .collect()
}

/// Letters that no compression makes small.
fn random_letters(count: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(count).collect()
}
