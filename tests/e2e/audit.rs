//! Whether anything was lost, proved from the logs.

use serde_json::{Value, json};

use crate::harness::load::numbers;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    what_became_of_each_record_adds_up_through_drops_letters_and_redrives,
    a_result_that_was_taken_away_is_named,
];

fn audit(test: &Test, worker: &Worker, arguments: &[&str]) -> (bool, Value) {
    let url = worker.url();
    let ended = Worker::run(
        test.folder(),
        &[&["audit"], arguments, &["-o", "json", "--url", &url]].concat(),
    );
    let audit = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{}{}", ended.output, ended.log));
    (ended.status.success(), audit)
}

fn await_settled(test: &Test, worker: &Worker, name: &str, records: u64) -> Value {
    wait::until("all records to be settled", || {
        let (_, audit) = audit(test, worker, &[name]);
        (audit["records"] == json!(records) && audit["unsettled"] == json!(0)).then_some(audit)
    })
}

fn what_became_of_each_record_adds_up_through_drops_letters_and_redrives(test: &Test) {
    let function = Server::start(|request| {
        Reply::verdicts(request, |record| {
            let number = record["value"].as_i64().unwrap_or_default();
            match number % 10 {
                0 => json!({"action": "dead_letter", "reason": "no"}),
                1 => json!({"action": "drop"}),
                _ => json!({"action": "deliver", "records": [{"value": number}]}),
            }
        })
    });
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let (source, sink, name) = (test.topic("in", 2), test.topic("out", 2), test.name("p"));
    let to = format!("kafka:{sink}");
    let url = function.url();
    worker.command(
        test.folder(),
        &["register", &source, &url, "--name", &name, "--sink", &to],
    );
    // An aborted transaction leaves offsets that hold no record.
    test.client().produce(&source, numbers(0..100).map(|entry| entry.to(0)));
    test.client()
        .produce_in_transaction(&source, false, numbers(0..7).map(|entry| entry.to(0)));
    test.client()
        .produce_in_transaction(&source, true, numbers(100..200).map(|entry| entry.to(0)));
    let first = await_settled(test, &worker, &name, 200);
    assert_eq!(first["adds_up"], json!(true), "{first}");
    for (field, count) in [
        ("with_result", 160),
        ("with_letter", 20),
        ("neither", 20),
        ("missing", 0),
        ("uncounted", 0),
    ] {
        assert_eq!(first[field], json!(count), "{field}: {first}");
    }
    assert_eq!(
        (
            &first["settled"]["delivered"],
            &first["settled"]["dropped"],
            &first["settled"]["dead_lettered"]
        ),
        (&json!(160), &json!(20), &json!(20)),
        "{first}"
    );
    assert_eq!(first["letters"], json!({"open": 20}));

    function.answer(|request| {
        Reply::verdicts(
            request,
            |record| json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        )
    });
    wait::until_true("all letters to be listed", || {
        let found = worker.answer(test.folder(), &["dlq", "list", &name]);
        found["letters"].as_array().unwrap().len() == 20
    });
    worker.command(test.folder(), &["dlq", "redrive", &name, "--all", "--max", "15"]);
    worker.command(test.folder(), &["dlq", "discard", &name, "--all", "--why", "old"]);
    let (adds_up, then) = audit(test, &worker, &[&name]);
    assert!(adds_up, "{then}");
    assert_eq!(
        (&then["with_result"], &then["letters"]),
        (&json!(175), &json!({"redriven": 15, "discarded": 5})),
        "{then}"
    );
    let printed = worker.command(test.folder(), &["audit", &name]);
    assert!(printed.contains("adds up, from its beginning to "), "{printed}");
    let later = worker.command(test.folder(), &["audit", &name, "--from", "0s"]);
    assert!(later.contains("adds up, from 20"), "it begins at a checkpoint: {later}");
}

fn a_result_that_was_taken_away_is_named(test: &Test) {
    let function = Server::start(|request| {
        Reply::verdicts(
            request,
            |record| json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        )
    });
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let (source, sink, name) = (test.topic("in", 2), test.topic("out", 2), test.name("p"));
    let to = format!("kafka:{sink}");
    worker.command(
        test.folder(),
        &["register", &source, &function.url(), "--name", &name, "--sink", &to],
    );
    test.client().produce(&source, numbers(0..50).map(|entry| entry.to(1)));
    let sound = await_settled(test, &worker, &name, 50);
    assert_eq!(sound["adds_up"], json!(true), "{sound}");
    test.client().delete_records_before(&sink, 1, 1);
    let (adds_up, found) = audit(test, &worker, &[&name]);
    assert!(!adds_up, "the command ends with 1: {found}");
    assert_eq!(
        (&found["missing"], &found["suspects"]),
        (&json!(1), &json!([format!("{source}/1/0")])),
        "{found}"
    );
}
