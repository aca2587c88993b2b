//! Dead-letter topics that are taken away, and records that are gone by the time somebody looks.

use serde_json::{Value, json};

use super::numbers;
use crate::harness::checker;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

suite![
    a_dead_letter_topic_that_is_deleted_blocks_and_nothing_is_committed_past_its_letter,
    a_dead_letter_outlives_its_record_and_is_redriven,
    a_letter_of_somebody_else_with_endless_names_is_listed_with_the_others,
];

fn a_dead_letter_topic_that_is_deleted_blocks_and_nothing_is_committed_past_its_letter(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.place().1.contains(&3) {
        true => Reply::of(422, "no"),
        false => Reply::echo(request),
    });
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 1);
    let letters = pipeline.dead_letter_topic();
    let worker = test.worker(&pipeline);
    test.client().delete(&letters);
    test.client().produce(&source, numbers(10));
    test.sees_what_the_page_says(&worker, pipeline.name());
    test.client().await_committed(&pipeline.group(), &source, &[3]);
    test.client().create(&letters, 1, &[("retention.ms", "-1")]);
    test.client().await_committed(&pipeline.group(), &source, &[10]);

    let written = test.client().read_all(&letters);
    assert_eq!(written.len(), 1);
    assert_eq!(
        (written[0].text(), written[0].header_text("__connect.errors.offset")),
        ("3", "3")
    );
    let read = test.client().read_all(&out);
    let others = (0..10).filter(|offset| *offset != 3).collect();
    assert_eq!(checker::check_partitions(&read, &[(0, others)].into()).first, 9);
}

fn register(test: &Test, worker: &crate::harness::worker::Worker, source: &str, url: &str, sink: &str) -> String {
    let (name, to) = (test.name("p"), format!("kafka:{sink}"));
    worker.command(
        test.folder(),
        &["register", source, url, "--name", &name, "--sink", &to],
    );
    name
}

fn a_dead_letter_outlives_its_record_and_is_redriven(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        Reply::verdicts(request, |record| match record["offset"] == 3 {
            true => json!({"action": "dead_letter", "reason": "unknown customer"}),
            false => json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        })
    });
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let name = register(test, &worker, &source, &function.url(), &out);
    test.client().produce(
        &source,
        (0..10).map(|n| Entry::value(format!("{{\"n\":{n}}}")).key("k")),
    );
    test.client()
        .await_committed(&format!("fnbridge-{name}"), &source, &[10]);
    test.client().delete_records_before(&source, 0, 10);
    let id = format!("{name}.dead-letter/0/0");
    let shown = wait::until("the letter to be listed", || {
        let listed = worker.answer(test.folder(), &["dlq", "list", &name]);
        let is_there = !listed["letters"].as_array().expect("letters").is_empty();
        is_there.then(|| worker.answer(test.folder(), &["dlq", "show", &id]))
    });
    assert_eq!(
        (&shown["source"], &shown["key"], &shown["value"]),
        (&json!(format!("{source}/0/3")), &json!("k"), &json!({"n": 3})),
        "{shown}"
    );
    test.sees_what_the_page_says(&worker, &name);
    function.answer(Reply::echo);
    worker.command(test.folder(), &["dlq", "redrive", &id]);
    let read = test.client().read_count(&out, 10);
    assert_eq!(
        (read[9].text(), read[9].header_text("fnbridge.source")),
        ("{\"n\":3}", format!("{source}/0/3#0").as_str())
    );
}

fn a_letter_of_somebody_else_with_endless_names_is_listed_with_the_others(test: &Test) {
    let topic = test.topic("errors", 1);
    let setting = Setting::plaintext(&test.broker().bootstrap()).with_cluster("dead_letter_topics", json!([topic]));
    let worker = test.member(&setting);
    let endless = "x".repeat(20_000);
    let entry = Entry::value("1")
        .header("__connect.errors.connector.name", Some(endless.as_bytes()))
        .header("__connect.errors.stage", Some(endless.as_bytes()))
        .header("__connect.errors.exception.message", Some(b"\x1b]0;gotcha\x07boom"));
    let plain = Entry::value("2").header("__connect.errors.stage", Some(b"TASK_PUT"));
    test.client().produce(&topic, [entry, plain]);
    let listed = wait::until("both to be listed", || {
        let listed = worker.answer(test.folder(), &["dlq", "list", "--topic", &topic, "--oldest-first"]);
        let letters = listed["letters"].as_array().expect("letters").clone();
        (letters.len() == 2).then_some(letters)
    });
    let length = |value: &Value| value.as_str().expect("text").len();
    assert_eq!(
        (length(&listed[0]["pipeline"]), length(&listed[0]["stage"])),
        (249, 249)
    );
    let printed = worker.command(test.folder(), &["dlq", "show", &format!("{topic}/0/0")]);
    assert!(
        printed.contains("·]0;gotcha·boom") && !printed.contains('\u{1b}'),
        "{printed}"
    );
}
