//! What others do to topics and groups.

use super::numbers;
use crate::harness::checker::{self, Found};
use crate::harness::server::{Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    offsets_that_have_expired_are_not_taken_for_a_new_pipeline,
    a_memo_that_another_tool_wrote_over_is_said_and_reading_goes_on_where_the_tool_says,
    a_group_that_somebody_else_reads_with_is_refused_by_name,
];

fn offsets_that_have_expired_are_not_taken_for_a_new_pipeline(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    test.client().produce(&source, numbers(10));
    let function = Server::echo();
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", store.into());
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("source.start", "latest");
    let worker = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    test.client()
        .produce(&source, (10..15).map(|n| Entry::value(n.to_string())));
    test.client().await_committed(&pipeline.group(), &source, &[15]);
    wait::until_true("the store to know that the pipeline has run", || {
        let arguments = ["audit", pipeline.name(), "--from", "0s", "--url", &worker.url()];
        let audit = Worker::run(test.folder(), &arguments);
        audit.output.contains("from 20")
    });
    assert!(worker.stop().success());
    // Brokers forget a group that nobody was in for a week.
    test.client().delete_group(&pipeline.group());
    test.client()
        .produce(&source, (15..20).map(|n| Entry::value(n.to_string())));
    let worker = test.worker_on(&setting, &pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    let called: Vec<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert_eq!(
        called,
        (10..15).chain(0..20).collect::<Vec<_>>(),
        "from the beginning, whatever `start` says"
    );
    assert_eq!(test.client().read_all(&out).len(), 25);
}

fn a_memo_that_another_tool_wrote_over_is_said_and_reading_goes_on_where_the_tool_says(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    test.client().produce(&source, numbers(10));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
    assert!(worker.stop().success());
    let before = function.count();
    test.client()
        .commit(&pipeline.group(), &source, 0, 4, "fnb1.moved by another tool");
    let worker = test.worker(&pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().await_committed(&pipeline.group(), &source, &[10]);

    let again: Vec<i64> = function.requests()[before..]
        .iter()
        .flat_map(|request| Request::place(request).1)
        .collect();
    assert_eq!(again, (4..10).collect::<Vec<_>>());
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[10]), Found { first: 10, again: 6 });
}

fn a_group_that_somebody_else_reads_with_is_refused_by_name(test: &Test) {
    let source = test.topic("in", 1);
    test.client().produce(&source, numbers(10));
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    let stranger = test.client().join(&pipeline.group(), &source);
    let setting = Setting::plaintext(&test.broker().bootstrap());
    let worker = test.worker_not_ready(&setting, &pipeline);
    test.sees_what_the_page_says(&worker, pipeline.name());
    assert_eq!(function.count(), 0);
    drop(stranger);
    test.client().await_committed(&pipeline.group(), &source, &[10]);
}
