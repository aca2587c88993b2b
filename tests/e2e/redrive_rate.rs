//! How fast letters are redriven: `./run tests redrives` prints it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::server::{Reply, Server};
use crate::harness::test::{Suite, Test};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Setting;

const LETTERS: i64 = 20_000;
const PARTITIONS: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(300);

/// The tests of this file.
pub fn tests() -> Suite {
    let name = "e2e::redrive_rate::letters_of_one_pipeline_are_all_redriven_and_it_is_told_how_fast";
    Suite::new().with_long(name, letters_of_one_pipeline_are_all_redriven_and_it_is_told_how_fast)
}

fn letters_of_one_pipeline_are_all_redriven_and_it_is_told_how_fast(test: &Test) {
    let function = Server::start(|request| {
        Reply::verdicts(
            request,
            |record| json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        )
    });
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", json!(store));
    let worker = test.member(&setting);
    let (source, sink, name) = (
        test.topic("in", PARTITIONS),
        test.topic("out", PARTITIONS),
        test.name("p"),
    );
    let to = format!("kafka:{sink}");
    worker.command(
        test.folder(),
        &["register", &source, &function.url(), "--name", &name, "--sink", &to],
    );
    let now = jiff::Timestamp::now().to_string();
    let letters = (0..LETTERS).map(|n| {
        let partition = i32::try_from(n).unwrap() % PARTITIONS;
        let headers = [
            ("__connect.errors.topic", source.clone()),
            ("__connect.errors.partition", partition.to_string()),
            ("__connect.errors.offset", n.to_string()),
            ("fnbridge.pipeline", name.clone()),
            ("fnbridge.stage", "function".to_owned()),
            ("fnbridge.reason", format!("customer {n} is unknown")),
            ("fnbridge.last-failed", now.clone()),
        ];
        let letter = Entry::value(format!("{{\"n\":{n},\"padding\":\"{}\"}}", "x".repeat(900)))
            .key(format!("k{n}"))
            .to(partition);
        headers.iter().fold(letter, |letter, (name, value)| {
            letter.header(name, Some(value.as_bytes()))
        })
    });
    test.client().produce(&format!("{name}.dead-letter"), letters);
    let began = Instant::now();
    wait::within(PATIENCE, "all letters to be indexed", || {
        let groups = worker.answer(test.folder(), &["dlq", "groups", &name]);
        (groups["groups"][0]["count"] == json!(LETTERS)).then_some(())
    });
    println!(
        "| {LETTERS} letters of 1 KiB are found in the index | within {:.1} s |",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let done = worker.answer(test.folder(), &["dlq", "redrive", &name, "--all"]);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(
        (&done["state"], &done["delivered"]),
        (&json!("done"), &json!(LETTERS)),
        "{done}"
    );
    println!(
        "| {LETTERS} letters are redriven and marked, in SQLite | {:.0} a second |",
        LETTERS as f64 / took
    );
    let began = Instant::now();
    let exported = worker.command(test.folder(), &["dlq", "export", &name, "--mark", "all"]);
    assert_eq!(exported.lines().count(), usize::try_from(LETTERS).unwrap());
    println!(
        "| they are exported | {:.0} a second |",
        LETTERS as f64 / began.elapsed().as_secs_f64()
    );
}
