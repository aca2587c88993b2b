//! Workers among others, and on machines that run out of something.

use std::time::Duration;

use serde_json::json;

use super::numbers;
use crate::harness::checker::{self, Found};
use crate::harness::load::Load;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    a_rebalance_within_a_backoff_does_not_count_attempts_anew,
    a_function_slower_than_the_poll_interval_keeps_its_partitions,
    a_store_whose_disk_is_full_stops_changes_and_no_record,
];

fn quick_session(test: &Test) -> Setting {
    let setting = Setting::plaintext(&test.broker().bootstrap());
    setting
        .property("session.timeout.ms", "6000")
        .property("heartbeat.interval.ms", "500")
}

fn a_rebalance_within_a_backoff_does_not_count_attempts_anew(test: &Test) {
    let source = test.topic("in", 4);
    let function = Server::start(|request| match request.records()[0]["value"] == "poison" {
        true => Reply::of(500, "boom"),
        false => Reply::of(204, ""),
    });
    let poison = |partition| Entry::value("\"poison\"").key("k").to(partition);
    test.client().produce(&source, (0..4).map(poison));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline
        .set("batch.max_records", 1)
        .set(
            "retry",
            json!({"max_attempts": 8, "initial_backoff": "1s", "max_backoff": "2s"}),
        )
        .set("dead_letter.guard", json!({"failed": 100, "refused": 100}));
    let setting = quick_session(test);
    let first = test.worker_on(&setting, &pipeline);
    function.wait_count(8);
    let second = test.worker_on(&setting, &pipeline);
    second.await_metrics("the second to have its share", |metrics| {
        metrics.sum("fnbridge_assigned_partitions", &[]) == 2.0
    });
    assert!(first.stop().success(), "and it moves once more");
    let letters = test.client().read_count(&pipeline.dead_letter_topic(), 4);
    test.client().await_committed(&pipeline.group(), &source, &[1; 4]);

    test.sees_what_the_page_says(&second, pipeline.name());
    for partition in 0..4 {
        let calls = function
            .requests()
            .into_iter()
            .filter(|request| request.place().0 == partition);
        let attempts: Vec<String> = calls
            .map(|request| request.header("fnbridge-attempt").to_owned())
            .collect();
        assert_eq!(
            attempts,
            (1..=8).map(|n| n.to_string()).collect::<Vec<_>>(),
            "partition {partition}"
        );
    }
    assert!(
        letters
            .iter()
            .all(|letter| letter.header_text("fnbridge.attempts") == "8")
    );
}

fn a_function_slower_than_the_poll_interval_keeps_its_partitions(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.number {
        0 => Reply::echo(request).taking(Duration::from_secs(14)),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbers(40));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("batch.max_records", 10)
        .set("function.timeout", "30s")
        .set("drain_timeout", "2s");
    let setting = quick_session(test).property("max.poll.interval.ms", "6000");
    let worker = test.worker_on(&setting, &pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[40]);

    test.sees_what_the_page_says(&worker, pipeline.name());
    let lost = worker
        .metrics()
        .sum("fnbridge_rebalanced_partitions_total", &[r#"change="lost""#]);
    assert!(lost == 0.0, "{lost} partitions were lost");
    let called: Vec<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert_eq!(called, (0..40).collect::<Vec<_>>(), "each once");
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[40]), Found { first: 40, again: 0 });
}

fn a_store_whose_disk_is_full_stops_changes_and_no_record(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let function = Server::echo();
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", store.into());
    let worker = test.member(&setting);
    let (name, to) = (test.name("p"), format!("kafka:{out}"));
    worker.command(
        test.folder(),
        &["register", &source, &function.url(), "--name", &name, "--sink", &to],
    );
    let load = Load::start(test.client(), &source, 2);
    worker.await_metric("fnbridge_settled_records_total", &[], 100.0);
    worker.limit_files(Some(0));
    let url = worker.url();
    wait::until_true("a change to be refused", || {
        let paused = Worker::run(test.folder(), &["pipelines", "pause", &name, "--url", &url]);
        !paused.status.success() && paused.log.contains("store")
    });
    // Its lease in the store is over by then.
    worker.await_log(&["this worker leads the fleet no more"]);
    let before = worker.metrics().sum("fnbridge_settled_records_total", &[]);
    worker.await_metric("fnbridge_settled_records_total", &[], before + 1000.0);
    test.sees_what_the_page_says(&worker, &name);
    worker.limit_files(None);
    wait::until_true("changes to be taken again", || {
        Worker::run(test.folder(), &["pipelines", "restart", &name, "--url", &url])
            .status
            .success()
    });
    let counts = load.end();
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &counts);
    let read = test.client().read_all(&out);
    let first = usize::try_from(counts.iter().sum::<i64>()).unwrap();
    assert_eq!(checker::check_counts(&read, &counts), Found { first, again: 0 });
}
