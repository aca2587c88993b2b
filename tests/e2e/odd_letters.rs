//! Dead letters of others, and what happens to letters and redrives when something is taken away from under them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::load::numbers;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    letters_of_kafka_connect_are_listed_grouped_and_shown_until_their_topic_is_deleted,
    two_redrives_of_the_same_letters_at_once_send_each_letter_once,
    a_redrive_whose_pipeline_is_gone_stops_and_goes_on_once_it_is_back,
];

const LETTERS: usize = 20;

/// A pipeline whose dead letters go through as soon as they come again.
struct Setup {
    function: Server,
    source: String,
    sink: String,
    name: String,
}

fn with_letters(test: &Test, worker: &Worker) -> Setup {
    let function = Server::start(|request| {
        let is_redrive = request.header("idempotency-key").contains(";g=");
        Reply::verdicts(request, |record| match is_redrive {
            true => json!({"action": "deliver", "records": [{"value": record["value"]}]}),
            false => json!({"action": "dead_letter", "reason": format!("no customer {}", record["value"])}),
        })
    });
    let (source, sink, name) = (test.topic("in", 2), test.topic("out", 2), test.name("p"));
    let setup = Setup {
        function,
        source,
        sink,
        name,
    };
    register(test, worker, &setup);
    test.client().produce(&setup.source, numbers(0..LETTERS as i64));
    await_letters(test, worker, &setup.name, LETTERS);
    setup
}

fn register(test: &Test, worker: &Worker, setup: &Setup) {
    let (url, to) = (setup.function.url(), format!("kafka:{}", setup.sink));
    worker.command(
        test.folder(),
        &["register", &setup.source, &url, "--name", &setup.name, "--sink", &to],
    );
}

fn await_letters(test: &Test, worker: &Worker, name: &str, count: usize) {
    wait::until_true("all letters to be listed", || {
        let answer = worker.answer(test.folder(), &["dlq", "list", name, "--limit", "0"]);
        answer["letters"].as_array().unwrap().len() == count
    });
}

fn job(test: &Test, worker: &Worker, arguments: &[&str]) -> String {
    let started = worker.answer(test.folder(), &[&["dlq", "redrive"], arguments].concat());
    started["id"].as_str().unwrap().to_owned()
}

fn await_job(test: &Test, worker: &Worker, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    wait::within(Duration::from_secs(40), &format!("the redrive to be {state}"), || {
        last = worker.answer(test.folder(), &["dlq", "redrives", id]);
        (last["state"] == json!(state)).then_some(())
    });
    last
}

fn letters_of_kafka_connect_are_listed_grouped_and_shown_until_their_topic_is_deleted(test: &Test) {
    let topic = test.topic("connect-errors", 1);
    let setting = Setting::plaintext(&test.broker().bootstrap()).with_cluster("dead_letter_topics", json!([topic]));
    let worker = test.member(&setting);
    let entries = (0..6).map(|n| {
        let headers = [
            ("topic", "payments".to_owned()),
            ("partition", "3".to_owned()),
            ("offset", format!("{}", 40 + n)),
            ("connector.name", "jdbc-sink".to_owned()),
            ("task.id", "0".to_owned()),
            ("stage", "TASK_PUT".to_owned()),
            ("class.name", "io.confluent.connect.jdbc.sink.JdbcSinkTask".to_owned()),
            ("exception.class.name", "java.sql.SQLException".to_owned()),
            ("exception.message", format!("row {n} is too long")),
            ("exception.stacktrace", "at java.sql".to_owned()),
        ];
        headers
            .iter()
            .fold(Entry::value(format!("{{\"n\":{n}}}")), |entry, (name, value)| {
                entry.header(&format!("__connect.errors.{name}"), Some(value.as_bytes()))
            })
    });
    test.client().produce(&topic, entries);
    wait::until_true("all six to be listed", || {
        let listed = worker.answer(test.folder(), &["dlq", "list", "--topic", &topic]);
        listed["letters"].as_array().unwrap().len() == 6
    });
    let groups = worker.answer(test.folder(), &["dlq", "groups", "--topic", &topic]);
    let groups = groups["groups"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[0]["count"]), (1, &json!(6)), "{groups:?}");
    let shown = worker.answer(test.folder(), &["dlq", "show", &format!("{topic}/0/2")]);
    assert_eq!(
        (
            &shown["source"],
            &shown["stage"],
            &shown["reason"],
            &shown["foreign"],
            &shown["value"]
        ),
        (
            &json!("payments/3/42"),
            &json!("task_put"),
            &json!("row 2 is too long"),
            &json!(true),
            &json!({"n": 2})
        ),
        "{shown}"
    );
    test.client().delete(&topic);
    wait::within(Duration::from_secs(40), "no letter to be listed", || {
        let listed = worker.answer(test.folder(), &["dlq", "list", "--topic", &topic]);
        listed["letters"].as_array().unwrap().is_empty().then_some(())
    });
}

fn two_redrives_of_the_same_letters_at_once_send_each_letter_once(test: &Test) {
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let setup = with_letters(test, &worker);
    let name = &setup.name;
    let ids: Vec<String> = (0..2)
        .map(|_| job(test, &worker, &[name, "--all", "--rate", "20", "--detach"]))
        .collect();
    let ends: Vec<Value> = ids.iter().map(|id| await_job(test, &worker, id, "done")).collect();
    let sent = |end: &Value| end["delivered"].as_u64().unwrap();
    assert_eq!(sent(&ends[0]) + sent(&ends[1]), LETTERS as u64, "{ends:?}");
    assert_eq!(test.client().read_all(&setup.sink).len(), LETTERS);
}

fn a_redrive_whose_pipeline_is_gone_stops_and_goes_on_once_it_is_back(test: &Test) {
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let setup = with_letters(test, &worker);
    let name = &setup.name;
    let id = job(test, &worker, &[name, "--all", "--rate", "2", "--detach"]);
    wait::until_true("a letter to be redriven", || {
        worker.answer(test.folder(), &["dlq", "redrives", &id])["done"].as_u64() > Some(0)
    });
    worker.command(test.folder(), &["pipelines", "delete", name, "--yes"]);
    let url = worker.url();
    wait::within(Duration::from_secs(40), "the redrive to stop", || {
        let shown = Worker::run(test.folder(), &["dlq", "redrives", &id, "--url", &url]);
        shown.log.contains("register it again and resume").then_some(())
    });
    register(test, &worker, &setup);
    worker.command(test.folder(), &["dlq", "redrives", &id, "--resume"]);
    let done = await_job(test, &worker, &id, "done");
    assert_eq!(done["delivered"], json!(LETTERS), "{done}");
    assert_eq!(test.client().read_all(&setup.sink).len(), LETTERS);
}
