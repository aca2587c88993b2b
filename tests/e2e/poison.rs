//! Promise 3, verdicts, and what a dead letter holds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::checker::{self, Found};
use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    one_poison_record_in_a_batch_of_100_costs_one_record,
    refused_records_are_found_by_halving_and_the_rest_is_delivered,
    each_record_gets_its_verdict,
    a_retry_verdict_waits_and_is_charged_to_the_record_alone,
    retry_after_is_waited_for_and_not_charged,
    a_value_that_is_not_json_is_a_dead_letter_of_stage_convert,
    a_dead_letter_is_the_record_byte_for_byte_with_the_reason,
    the_dead_letter_topic_keeps_for_ever_and_has_the_sources_partitions,
    an_answer_that_makes_no_sense_is_a_failed_attempt_that_says_why,
    a_batch_too_large_for_the_function_is_halved,
    responses_can_drop_what_the_function_is_done_with,
    a_result_that_a_sink_refuses_is_a_dead_letter_of_stage_sink,
];

fn one_poison_record_in_a_batch_of_100_costs_one_record(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        if request.place().1.contains(&37) {
            Reply::of(500, "boom")
        } else {
            Reply::echo(request)
        }
    });
    test.client().produce(&source, numbers(100));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.linger", "500ms");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[100]);

    let requests = function.requests();
    assert_eq!(requests[0].records().len(), 100);
    assert!(
        requests.len() <= 5 + 2 * 7 + 1,
        "{} calls, expected at most max_attempts + 2·⌈log₂ 100⌉ + 1",
        requests.len()
    );
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("__connect.errors.offset")),
        ("37", "37")
    );
    let read = test.client().read_all(&out);
    let others = (0..100).filter(|offset| *offset != 37).collect();
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 99, again: 0 }
    );
}

fn refused_records_are_found_by_halving_and_the_rest_is_delivered(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let bad = [3, 4, 17, 29];
    let function = Server::start(move |request| {
        let refuses = request.place().1.iter().any(|offset| bad.contains(offset));
        if refuses {
            Reply::of(422, "no such customer")
        } else {
            Reply::echo(request)
        }
    });
    test.client().produce(&source, numbers(40));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[40]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    let offsets: Vec<&str> = letters
        .iter()
        .map(|letter| letter.header_text("__connect.errors.offset"))
        .collect();
    assert_eq!(offsets, ["3", "4", "17", "29"]);
    assert!(
        letters
            .iter()
            .all(|letter| letter.header_text("fnbridge.http.status") == "422")
    );
    let alone = function
        .requests()
        .iter()
        .filter(|request| request.place().1 == [17])
        .count();
    assert_eq!(alone, 1, "a refusal is not tried again");
    let read = test.client().read_all(&out);
    let others = (0..40).filter(|offset| !bad.contains(offset)).collect();
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 36, again: 0 }
    );
}

fn each_record_gets_its_verdict(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        Reply::verdicts(request, |record| match record["offset"].as_i64() {
            Some(1) => json!({"action": "drop"}),
            Some(2) => json!({"action": "dead_letter", "reason": "unknown customer"}),
            Some(3) => json!({"action": "deliver", "records": []}),
            _ => json!({"action": "deliver", "records": [{"value": record["value"]}, {"value": "twice"}]}),
        })
    });
    test.client().produce(&source, numbers(5));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.linger", "300ms");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5]);

    assert_eq!(function.count(), 1);
    let read = test.client().read_all(&out);
    let results: Vec<String> = read
        .iter()
        .map(|e| e.header_text("fnbridge.source").to_owned())
        .collect();
    assert_eq!(
        results,
        [(0, 0), (0, 1), (4, 0), (4, 1)].map(|(offset, i)| format!("{source}/0/{offset}#{i}"))
    );
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].text(), "2");
    assert_eq!(letters[0].header_text("fnbridge.reason"), "unknown customer");
    assert_eq!(letters[0].header_text("fnbridge.stage"), "function");
    for (disposition, count) in [("delivered", 3.0), ("dropped", 1.0), ("dead_lettered", 1.0)] {
        let label = format!("disposition=\"{disposition}\"");
        worker.await_metrics(&label, |m| m.sum("fnbridge_settled_records_total", &[&label]) == count);
    }
}

fn a_retry_verdict_waits_and_is_charged_to_the_record_alone(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        let again = request.number == 0;
        Reply::verdicts(request, |record| match record["offset"].as_i64() {
            Some(1) if again => json!({"action": "retry", "after_ms": 700}),
            _ => json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        })
    });
    test.client().produce(&source, numbers(4));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.linger", "300ms");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[4]);

    let requests = function.requests();
    assert_eq!(
        requests.iter().map(|r| r.place().1).collect::<Vec<_>>(),
        [vec![0, 1, 2, 3], vec![1]]
    );
    assert_eq!(requests[1].records()[0]["attempt"], 2);
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(690));
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_counts(&read, &[4]),
        Found { first: 4, again: 0 },
        "in order, behind it too"
    );
}

fn retry_after_is_waited_for_and_not_charged(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.number {
        0 => Reply::of(429, "").header("retry-after", "1"),
        1 => Reply::of(503, "").header("retry-after", "1"),
        _ => Reply::echo(request),
    });
    test.client().produce(&source, numbers(5));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.linger", "300ms");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let requests = function.requests();
    assert_eq!(requests.len(), 3);
    for pair in requests.windows(2) {
        assert!(
            pair[1].at - pair[0].at >= Duration::from_millis(990),
            "{:?}",
            pair[1].at - pair[0].at
        );
    }
    assert!(requests.iter().all(|request| request.header("fnbridge-attempt") == "1"));
    assert_eq!(requests[0].batch(), requests[2].batch(), "a batch keeps its boundaries");
    assert_eq!(
        requests[0].header("idempotency-key"),
        requests[2].header("idempotency-key")
    );
}

fn a_value_that_is_not_json_is_a_dead_letter_of_stage_convert(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    let bad = ["{\"amount\": 7", "", "NaN"];
    let entries = (0..12).map(|n| {
        Entry::value(if n % 4 == 1 {
            bad[n / 4].to_owned()
        } else {
            n.to_string()
        })
    });
    test.client().produce(&source, entries);
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[12]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    let texts: Vec<&str> = letters.iter().map(Entry::text).collect();
    assert_eq!(texts, bad);
    for letter in &letters {
        assert_eq!(letter.header_text("fnbridge.stage"), "convert");
        assert_eq!(letter.header_text("fnbridge.attempts"), "0");
        assert!(letter.header_text("fnbridge.reason").contains("json"), "{letter:?}");
    }
    let good: Vec<i64> = (0..12).filter(|n| n % 4 != 1).collect();
    let called: Vec<i64> = function
        .requests()
        .iter()
        .flat_map(|request| request.place().1)
        .collect();
    assert_eq!(called, good, "the function never sees them");
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, good)].into()),
        Found { first: 9, again: 0 }
    );
}

fn a_dead_letter_is_the_record_byte_for_byte_with_the_reason(test: &Test) {
    let source = test.topic("in", 2);
    let function = Server::start(|_| Reply::of(422, "no such customer"));
    let sent = Entry::value("  {\"n\" : 1.0}\n")
        .key([0xff, 0x00, b'k'])
        .header("h", Some(b"\xfe"))
        .header("h", None)
        .header("fnbridge.stage", Some(b"of another time"))
        .header("__connect.errors.topic", Some(b"of another time"))
        .at(1_764_000_000_123)
        .to(1);
    test.client().produce(&source, [sent.clone()]);
    let pipeline = test.pipeline(&source).function(&function.url());
    let worker = test.worker(&pipeline);
    let letter = test.client().read_count(&pipeline.dead_letter_topic(), 1).remove(0);
    test.sees_what_the_page_says(&worker, pipeline.name());

    assert_eq!(
        (&letter.key, &letter.value, letter.timestamp),
        (&sent.key, &sent.value, sent.timestamp)
    );
    assert_eq!(letter.headers[..2], sent.headers[..2], "the source's headers, in order");
    let expected = [
        ("__connect.errors.topic", source.as_str()),
        ("__connect.errors.partition", "1"),
        ("__connect.errors.offset", "0"),
        ("__connect.errors.connector.name", pipeline.name()),
        ("fnbridge.pipeline", pipeline.name()),
        ("fnbridge.stage", "function"),
        ("fnbridge.http.status", "422"),
        ("fnbridge.response", "no such customer"),
        ("fnbridge.attempts", "1"),
        ("fnbridge.redrives", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(letter.header_text(name), value, "{name}");
    }
    let stated = [
        "task.id",
        "stage",
        "class.name",
        "exception.class.name",
        "exception.message",
        "exception.stacktrace",
    ];
    for name in stated.map(|name| format!("__connect.errors.{name}")) {
        assert!(!letter.header_text(&name).is_empty(), "{name}");
    }
    for name in ["fnbridge.revision", "fnbridge.fingerprint"] {
        assert!(!letter.header_text(name).is_empty(), "{name}");
    }
    assert!(letter.header_text("fnbridge.reason").contains("422"), "{letter:?}");
    for name in ["fnbridge.first-failed", "fnbridge.last-failed"] {
        let time: jiff::Timestamp = letter.header_text(name).parse().expect("a time of RFC 3339");
        assert!(
            (jiff::Timestamp::now().as_second() - time.as_second()).abs() < 600,
            "{name}: {time}"
        );
    }
    assert!(!letter.has_header("fnbridge.sink") && !letter.has_header("fnbridge.result"));
}

fn the_dead_letter_topic_keeps_for_ever_and_has_the_sources_partitions(test: &Test) {
    let source = test.topic_with("in", 5, &[("max.message.bytes", "2000000")]);
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url());
    test.worker(&pipeline);
    let topic = pipeline.dead_letter_topic();
    crate::harness::wait::until_true("the dead-letter topic", || test.client().partitions(&topic) == 5);
    for (name, value) in [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("max.message.bytes", "3048576"),
    ] {
        assert_eq!(test.client().topic_setting(&topic, name), value, "{name}");
    }
}

fn an_answer_that_makes_no_sense_is_a_failed_attempt_that_says_why(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::start(|request| match request.place().1[0] {
        0 => Reply::json(&json!({"results": [{"id": "elsewhere/0/0", "action": "drop"}]})),
        2 => {
            let one = json!({"id": request.ids()[0], "action": "drop"});
            Reply::json(&json!({"results": [one, one]}))
        }
        4 => Reply::of(200, "{\"results\": ["),
        _ => Reply::echo(request),
    });
    let out = test.topic("out", 1);
    test.client().produce(&source, numbers(6));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("batch.max_records", 1).set("retry.max_attempts", 2);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[6]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    let found: Vec<(&str, &str)> = letters
        .iter()
        .map(|letter| (letter.text(), letter.header_text("fnbridge.attempts")))
        .collect();
    assert_eq!(found, [("0", "2"), ("2", "2"), ("4", "2")]);
    assert!(letters[0].header_text("fnbridge.reason").contains("unknown id"));
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, vec![1, 3, 5])].into()),
        Found { first: 3, again: 0 }
    );
}

fn a_batch_too_large_for_the_function_is_halved(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| match request.records().len() {
        0..=12 => Reply::echo(request),
        _ => Reply::of(413, ""),
    });
    test.client().produce(&source, numbers(100));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("batch.linger", "300ms");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[100]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    assert!(
        function
            .requests()
            .iter()
            .all(|request| request.header("fnbridge-attempt") == "1"),
        "not charged"
    );
    let read = test.client().read_all(&out);
    assert_eq!(checker::check_counts(&read, &[100]), Found { first: 100, again: 0 });
}

fn responses_can_drop_what_the_function_is_done_with(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        if request.place().1.contains(&5) {
            Reply::of(409, "seen before")
        } else {
            Reply::echo(request)
        }
    });
    test.client().produce(&source, numbers(20));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .topic_sink(&out)
        .set("responses", json!({"409": "drop"}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    assert!(test.client().read_all(&pipeline.dead_letter_topic()).is_empty());
    let others = (0..20).filter(|offset| *offset != 5).collect();
    let read = test.client().read_all(&out);
    assert_eq!(
        checker::check_partitions(&read, &[(0, others)].into()),
        Found { first: 19, again: 0 }
    );
    worker.await_metric("fnbridge_settled_records_total", &[r#"disposition="dropped""#], 1.0);
}

fn a_result_that_a_sink_refuses_is_a_dead_letter_of_stage_sink(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    let sink = Server::start(|request| {
        let results = request.json();
        let refuses = results
            .as_array()
            .expect("an array")
            .iter()
            .any(|result| result["value"] == 7);
        Reply::of(if refuses { 422 } else { 200 }, "amount out of range")
    });
    test.client().produce(&source, numbers(20));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline.sink(json!({"name": "ledger", "http": {"url": sink.url()}}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].text(), "7");
    assert_eq!(letters[0].header_text("fnbridge.stage"), "sink");
    assert_eq!(letters[0].header_text("fnbridge.sink"), "ledger");
    assert!(letters[0].has_header("fnbridge.result"));
    let stored: BTreeSet<i64> = accepted(&sink.requests())
        .iter()
        .filter_map(|result| result["value"].as_i64())
        .collect();
    assert_eq!(stored, (0..20).filter(|n| *n != 7).collect());
    let called: usize = function.requests().iter().map(|request| request.records().len()).sum();
    assert_eq!(called, 20, "a sink's trouble does not call the function again");
}

/// The results of requests that held none to be refused.
fn accepted(requests: &[Request]) -> Vec<Value> {
    let results = requests
        .iter()
        .map(|request| request.json().as_array().expect("an array").clone());
    results
        .filter(|results| results.iter().all(|result| result["value"] != 7))
        .flatten()
        .collect()
}

fn numbers(count: i64) -> impl Iterator<Item = Entry> {
    (0..count).map(|n| Entry::value(n.to_string()))
}
