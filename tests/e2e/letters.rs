//! Dead letters as whoever is on call finds them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::load::numbers;
use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::{Setting, Worker};

suite![
    three_failures_are_three_groups_and_each_letter_is_found_and_shown,
    what_is_no_letter_of_ours_is_told_all_the_same_and_what_retention_removed_is_gone,
    an_index_that_is_lost_is_read_from_the_topic_again,
    every_worker_answers_for_the_letters_that_the_leader_has_in_its_index,
];

/// A function that refuses every tenth record in one of three ways, each naming the record.
fn broken() -> Server {
    Server::start(|request| {
        Reply::verdicts(request, |record| {
            let number = record["value"].as_i64().unwrap_or_default();
            let reason = match number % 30 {
                0 => format!("unknown customer {number}"),
                10 => format!("amount \"{number}.50\" is below zero"),
                20 => format!("no stock for order o-{number}"),
                _ => return json!({"action": "drop"}),
            };
            json!({"action": "dead_letter", "reason": reason})
        })
    })
}

fn register(test: &Test, worker: &Worker, function: &Server) -> (String, String) {
    let (source, name) = (test.topic("in", 2), test.name("p"));
    worker.command(test.folder(), &["register", &source, &function.url(), "--name", &name]);
    (source, name)
}

fn letters(test: &Test, worker: &Worker, arguments: &[&str]) -> Vec<Value> {
    let answer = worker.answer(test.folder(), &[&["dlq", "list"], arguments].concat());
    answer["letters"].as_array().unwrap().clone()
}

fn three_failures_are_three_groups_and_each_letter_is_found_and_shown(test: &Test) {
    let function = broken();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let (source, name) = register(test, &worker, &function);
    let entries = numbers(0..300).map(|entry| {
        let key = format!("k{}", entry.text());
        entry.key(key).to(1).header("trace", Some(b"t"))
    });
    test.client().produce(&source, entries);
    let all = || letters(test, &worker, &[&name, "--limit", "0"]);
    wait::until_true("all thirty to be listed", || all().len() == 30);

    let groups = worker.answer(test.folder(), &["dlq", "groups", &name]);
    let counts: Vec<u64> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|g| g["count"].as_u64())
        .collect();
    assert_eq!(counts, [10, 10, 10], "ids do not split a group: {groups}");
    let printed = worker.command(test.folder(), &["dlq", "groups", &name]);
    assert!(printed.contains("30 dead letters in 3 groups"), "{printed}");

    let fingerprint = groups["groups"][0]["fingerprint"].as_str().unwrap();
    let of_group = format!("group=\"{fingerprint}\"");
    worker.await_metric("fnbridge_dead_letters_arrived_total", &[&of_group], 10.0);
    worker.await_metric("fnbridge_dead_letters_open", &[&of_group], 10.0);
    worker.await_log(&["a new kind of dead letter", fingerprint]);
    for (arguments, count) in [
        (vec!["--fingerprint", fingerprint], 10),
        (vec!["--reason", "UNKNOWN customer 9"], 1),
        (vec!["--key", "k120"], 1),
        (vec!["--stage", "function"], 30),
        (vec!["--stage", "convert"], 0),
        (vec!["--since", "1h"], 30),
        (vec!["--until", "2020-01-01T00:00:00Z"], 0),
        (vec!["--from-offset", "5", "--to-offset", "9"], 5),
    ] {
        let mut whole = vec![name.as_str(), "--limit", "0"];
        whole.extend(&arguments);
        assert_eq!(letters(test, &worker, &whole).len(), count, "{arguments:?}");
    }
    let oldest = letters(test, &worker, &[&name, "--oldest-first", "--limit", "7"]);
    let sources: Vec<String> = oldest
        .iter()
        .map(|letter| letter["source"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        sources,
        (0..7).map(|n| format!("{source}/1/{}", n * 10)).collect::<Vec<_>>()
    );

    let id = letters(test, &worker, &[&name, "--key", "k150"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = worker.answer(test.folder(), &["dlq", "show", &id]);
    assert_eq!(
        (
            &shown["source"],
            &shown["key"],
            &shown["value"],
            &shown["reason"],
            &shown["headers"]
        ),
        (
            &json!(format!("{source}/1/150")),
            &json!("k150"),
            &json!(150),
            &json!("unknown customer 150"),
            &json!([{"name": "trace", "value": "t"}])
        ),
        "{shown}"
    );
    assert_eq!(shown["would_send"]["url"], json!(function.url()), "{shown}");
    let body: Value = serde_json::from_str(shown["would_send"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["records"][0]["id"], json!(format!("{source}/1/150")), "{body}");
    let later = &shown["later"];
    assert_eq!(
        (&later["records"], &later["looked_at"], &later["to_the_end"]),
        (&json!(0), &json!(149), &json!(true)),
        "{later}"
    );
    test.client().produce(
        &source,
        [Entry::value("1").key("k150").to(1), Entry::value("2").key("k150").to(1)],
    );
    wait::until_true("later records of the key to have gone through", || {
        let later = &worker.answer(test.folder(), &["dlq", "show", &id])["later"];
        (&later["records"], &later["passed"]) == (&json!(2), &json!(2))
    });
    let printed = worker.command(test.folder(), &["dlq", "show", &id]);
    for part in [
        "request, as it would be sent now",
        "2 records of this key in 151 that followed, to the end of the log; 2 of them went through by the last commit",
    ] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    for (arguments, count) in [
        (["--header", "trace=t"], 30),
        (["--header", "trace=u"], 0),
        (["--value", "$=150"], 1),
    ] {
        let found = letters(
            test,
            &worker,
            &[&[name.as_str(), "--limit", "0"], &arguments[..]].concat(),
        );
        assert_eq!(found.len(), count, "{arguments:?}");
    }
    for of_records in ["", "&header=trace"] {
        let url = format!("{}/v1/dead-letters?after=nothing{of_records}", worker.url());
        let refused = reqwest::blocking::get(url).unwrap();
        assert_eq!(refused.status(), 400, "{}", refused.text().unwrap());
    }
    let file = test.folder().join("letters.ndjson");
    let to = file.display().to_string();
    worker.command(
        test.folder(),
        &["dlq", "export", &name, "--reason", "unknown customer", "--to", &to],
    );
    let exported = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let values: Vec<&Value> = lines.iter().map(|line| &line["value"]).collect();
    assert_eq!(
        values,
        (0..10)
            .map(|n| json!(n * 30))
            .collect::<Vec<_>>()
            .iter()
            .collect::<Vec<_>>()
    );
    assert_eq!((&lines[5]["id"], &lines[5]["key"]), (&json!(id), &json!("k150")));
    let fixed = Server::echo();
    let tried = worker.answer(test.folder(), &["try", &name, "--at", &id, "--function", &fixed.url()]);
    assert_eq!(
        (&tried["status"], &tried["meaning"]),
        (&json!(200), &json!("it is accepted, and nothing is delivered")),
        "{tried}"
    );
    let record = &fixed.wait_count(1)[0].records()[0];
    assert_eq!(
        (&record["id"], &record["headers"]),
        (&json!(format!("{source}/1/150")), &json!({"trace": "t"})),
        "it is called with the record as it was"
    );
    let missing = Worker::run(
        test.folder(),
        &[
            "dlq",
            "show",
            &format!("{name}.dead-letter/1/999"),
            "--url",
            &worker.url(),
        ],
    );
    assert!(missing.log.contains("[not_found]"), "{}", missing.log);
}

fn what_is_no_letter_of_ours_is_told_all_the_same_and_what_retention_removed_is_gone(test: &Test) {
    let function = broken();
    let worker = test.member(&Setting::plaintext(&test.broker().bootstrap()));
    let (_, name) = register(test, &worker, &function);
    let topic = format!("{name}.dead-letter");
    let connect = Entry::value("x")
        .to(0)
        .header("__connect.errors.topic", Some(b"elsewhere"))
        .header("__connect.errors.partition", Some(b"2"))
        .header("__connect.errors.offset", Some(b"7"))
        .header("__connect.errors.stage", Some(b"VALUE_CONVERTER"))
        .header("__connect.errors.exception.message", Some(b"boom"));
    let broken_headers = Entry::tombstone()
        .to(0)
        .header("fnbridge.stage", Some(&[0xff, 0]))
        .header("fnbridge.attempts", None);
    test.client()
        .produce(&topic, [Entry::value(vec![0xff, 0xfe]).to(0), connect, broken_headers]);
    let all = || letters(test, &worker, &["--topic", &topic, "--oldest-first"]);
    wait::until_true("all three to be listed", || all().len() == 3);
    let found = all();
    assert_eq!(
        (&found[0]["stage"], &found[0]["reason"], &found[0]["pipeline"]),
        (&json!("unknown"), &json!("no header says why"), &json!(name))
    );
    assert_eq!(
        (&found[1]["source"], &found[1]["stage"], &found[1]["foreign"]),
        (&json!("elsewhere/2/7"), &json!("value_converter"), &json!(true))
    );
    let raw = worker.answer(test.folder(), &["dlq", "show", &format!("{topic}/0/0")]);
    assert_eq!((&raw["value"], &raw["value_base64"]), (&Value::Null, &json!("//4=")));
    test.client().delete_records_before(&topic, 0, 2);
    wait::within(Duration::from_secs(30), "what is gone to be gone here, too", || {
        (all().len() == 1).then_some(())
    });
}

fn an_index_that_is_lost_is_read_from_the_topic_again(test: &Test) {
    let function = broken();
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", json!(store));
    let worker = test.member(&setting);
    let (source, name) = register(test, &worker, &function);
    test.client().produce(&source, numbers(0..100).map(|entry| entry.to(0)));
    let count = |worker: &Worker| letters(test, worker, &[&name, "--limit", "0"]).len();
    wait::until_true("all ten to be listed", || count(&worker) == 10);
    assert!(worker.stop().success());
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(test.folder().join(format!("fleet-letters.db{suffix}")));
    }
    let again = test.member(&setting);
    wait::until_true("all ten to be listed again", || count(&again) == 10);
}

fn every_worker_answers_for_the_letters_that_the_leader_has_in_its_index(test: &Test) {
    let function = broken();
    let store = format!("sqlite://{}/fleet.db", test.folder().display());
    let setting = Setting::plaintext(&test.broker().bootstrap()).with("store", json!(store));
    let first = test.member(&setting);
    let second = test.member(&setting);
    let (source, name) = register(test, &second, &function);
    test.client().produce(&source, numbers(0..100).map(|entry| entry.to(0)));
    for worker in [&first, &second] {
        wait::until_true("all ten to be listed", || {
            letters(test, worker, &[&name, "--limit", "0"]).len() == 10
        });
        let id = letters(test, worker, &[&name])[0]["id"].as_str().unwrap().to_owned();
        let shown = worker.answer(test.folder(), &["dlq", "show", &id]);
        assert_eq!(shown["id"], json!(id), "{shown}");
        let exported = worker.command(test.folder(), &["dlq", "export", &name]);
        assert_eq!(exported.lines().count(), 10);
        let plan = worker.answer(test.folder(), &["dlq", "redrive", &name, "--all", "--dry-run"]);
        assert_eq!(plan["letters"], json!(10), "{plan}");
    }
    first.kill();
    wait::within(Duration::from_secs(40), "whoever leads now to answer", || {
        let run = Worker::run(test.folder(), &["dlq", "list", &name, "--url", &second.url()]);
        run.status.success().then_some(())
    });
    wait::until_true("all ten to be listed by the second", || {
        letters(test, &second, &[&name, "--limit", "0"]).len() == 10
    });
}
