//! Contracts other than `json` and `raw`, and filters, on the real path.

use serde_json::{Value, json};

use crate::harness::server::{Reply, Request, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    a_filter_leaves_out_what_does_not_match_and_what_it_cant_judge_is_a_dead_letter,
    a_lambda_that_stops_at_one_record_costs_that_record_and_keeps_the_order,
    cloudevents_travel_as_the_events_they_are_and_answers_become_events_in_kafka,
    a_function_compute_handler_gets_its_events_and_its_array_is_a_result_an_element,
    a_record_too_large_for_a_lambda_is_a_dead_letter_and_no_other_record_is,
];

fn a_filter_leaves_out_what_does_not_match_and_what_it_cant_judge_is_a_dead_letter(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    test.client().produce(
        &source,
        [
            Entry::value(r#"{"amount":7}"#).header("tenant", Some(b"acme")),
            Entry::value(r#"{"amount":0}"#).header("tenant", Some(b"acme")),
            Entry::value(r#"{"sum":7}"#).header("tenant", Some(b"acme")),
            Entry::value(r#"{"amount":9}"#).header("tenant", Some(b"other")),
            Entry::value(r#"{"amount":8}"#).header("tenant", Some(b"acme")),
        ],
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline.set("filter", "headers.tenant == 'acme' && value.amount > 0");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[5]);

    let read = test.client().read_all(&out);
    let values: Vec<&str> = read.iter().map(Entry::text).collect();
    assert_eq!(values, [r#"{"amount":7}"#, r#"{"amount":8}"#]);
    let called: Vec<String> = function.requests().iter().flat_map(Request::ids).collect();
    assert_eq!(called, [format!("{source}/0/0"), format!("{source}/0/4")]);
    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("fnbridge.stage")),
        (r#"{"sum":7}"#, "filter")
    );
    assert_eq!(
        letters[0].header_text("fnbridge.reason"),
        "the filter looks for amount, which is not there; has(…) asks whether it is"
    );
    worker.await_metric("fnbridge_settled_records_total", &[r#"disposition="filtered""#], 2.0);
}

fn a_lambda_that_stops_at_one_record_costs_that_record_and_keeps_the_order(test: &Test) {
    let source = test.topic("in", 1);
    // A handler of streams: it works record by record, and says where it stopped.
    let function = Server::start(|request| {
        let event = request.json();
        let (place, records) = event["records"].as_object().unwrap().iter().next().unwrap();
        let poison = records
            .as_array()
            .unwrap()
            .iter()
            .find(|record| record["value"] == json!("cG9pc29u"));
        let failures: Vec<Value> = (poison.into_iter())
            .map(|record| json!({"itemIdentifier": {"partition": place, "offset": record["offset"]}}))
            .collect();
        Reply::json(&json!({"batchItemFailures": failures}))
    });
    let value = |n: i32| if n == 7 { "poison".to_owned() } else { n.to_string() };
    test.client()
        .produce(&source, (0..20).map(|n| Entry::value(value(n)).key("k")));
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline
        .set("function.contract", "aws_lambda")
        .set("batch.linger", "500ms")
        .set("retry.max_attempts", 3);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].text(), letters[0].header_text("fnbridge.attempts")),
        ("poison", "3")
    );
    let offsets = |request: &Request| -> Vec<i64> {
        let event = request.json();
        let records = event["records"][format!("{source}-0")].as_array().unwrap().clone();
        records
            .iter()
            .map(|record| record["offset"].as_i64().unwrap())
            .collect()
    };
    let called: Vec<Vec<i64>> = function.requests().iter().map(offsets).collect();
    let expected = [(0..20).collect(), vec![7], vec![7], (8..20).collect::<Vec<i64>>()];
    assert_eq!(called, expected);
    let event = function.requests()[0].json();
    assert_eq!(event["eventSource"], "SelfManagedKafka");
    assert_eq!(event["bootstrapServers"], test.broker().bootstrap());
}

fn cloudevents_travel_as_the_events_they_are_and_answers_become_events_in_kafka(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        let events: Vec<Value> = (request.json().as_array().unwrap().iter())
            .map(|event| {
                json!({"specversion": "1.0", "id": event["id"], "source": "/enrich", "type": "order.enriched",
                    "data": {"of": event["type"]}})
            })
            .collect();
        Reply::of(200, Value::Array(events).to_string()).header("content-type", "application/cloudevents-batch+json")
    });
    let attributes = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-0"),
        ("ce_source", "/shop"),
        ("ce_type", "order.made"),
    ];
    let binary = (attributes.iter()).fold(Entry::value("<order/>"), |entry, (name, value)| {
        entry.header(name, Some(value.as_bytes()))
    });
    test.client().produce(
        &source,
        [
            binary.header("content-type", Some(b"application/xml")).key("k0"),
            Entry::value(r#"{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.made","data":1}"#)
                .header("content-type", Some(b"application/cloudevents+json")),
            Entry::value(r#"{"amount":7}"#).key("k2"),
        ],
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("function.contract", "cloudevents_batch")
        .set("function.event_type", "order.raw")
        .set("batch.linger", "500ms");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[3]);

    let sent = function.requests()[0].json();
    assert_eq!(sent[0]["id"], "e-0");
    assert_eq!(
        (&sent[0]["data"], &sent[0]["datacontenttype"]),
        (&json!("<order/>"), &json!("application/xml"))
    );
    assert_eq!(sent[1]["id"], "e-1");
    assert_eq!(
        (&sent[2]["id"], &sent[2]["type"]),
        (&json!("partition:0/offset:2"), &json!("order.raw"))
    );
    assert_eq!(sent[2]["source"], format!("/fnbridge/{}#{source}", pipeline.name()));
    let read = test.client().read_all(&out);
    let told: Vec<(&str, &str)> = (read.iter())
        .map(|entry| (entry.header_text("ce_id"), entry.text()))
        .collect();
    let expected = [
        ("e-0", r#"{"of":"order.made"}"#),
        ("e-1", r#"{"of":"order.made"}"#),
        ("partition:0/offset:2", r#"{"of":"order.raw"}"#),
    ];
    assert_eq!(told, expected);
    let keys: Vec<Option<&[u8]>> = read.iter().map(|entry| entry.key.as_deref()).collect();
    assert_eq!(keys, [Some(b"k0".as_slice()), None, Some(b"k2")]);
    assert!(
        read.iter()
            .all(|entry| entry.header_text("ce_type") == "order.enriched")
    );
    assert!(
        read.iter()
            .all(|entry| entry.header_text("content-type") == "application/json")
    );
}

fn a_function_compute_handler_gets_its_events_and_its_array_is_a_result_an_element(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    // A handler of events as text: it loads each, and returns what it makes of them.
    let function = Server::start(|request| {
        let events = request.json();
        let made = events.as_array().unwrap().iter().map(|event| {
            let event: Value = serde_json::from_str(event.as_str().unwrap()).unwrap();
            let value: Value = serde_json::from_str(event["data"]["value"].as_str().unwrap()).unwrap();
            json!({"key": event["data"]["key"], "doubled": value["n"].as_i64().unwrap() * 2})
        });
        Reply::json(&made.collect())
    });
    test.client().produce(
        &source,
        (0..3).map(|n| Entry::value(format!(r#"{{"n":{n}}}"#)).key(format!("k{n}"))),
    );
    let pipeline = test
        .pipeline(&source)
        .function(&format!("{}invoke", function.url()))
        .topic_sink(&out);
    let pipeline = pipeline
        .set("function.contract", "aliyun_fc")
        .set("function.event_format", "strings")
        .set("batch.linger", "500ms");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[3]);

    assert_eq!(function.requests()[0].header("x-fc-control-path"), "/invoke");
    let read = test.client().read_all(&out);
    let values: Vec<&str> = read.iter().map(Entry::text).collect();
    let made = |n: i32| json!({"key": format!("k{n}"), "doubled": n * 2}).to_string();
    assert_eq!(values, [made(0), made(1), made(2)]);
}

fn a_record_too_large_for_a_lambda_is_a_dead_letter_and_no_other_record_is(test: &Test) {
    let source = test.topic_with("in", 1, &[("max.message.bytes", "8388608")]);
    let function = Server::start(|_| Reply::of(200, "null"));
    let large = "x".repeat(5 << 20);
    let entries = [Entry::value("1"), Entry::value(large.clone()), Entry::value("2")];
    let properties = [("message.max.bytes", "8388608")];
    test.client().produce_with(&source, &properties, entries);
    let pipeline = test.pipeline(&source).function(&function.url());
    let pipeline = pipeline
        .set("function.contract", "aws_lambda")
        .set("batch.max_bytes", "16MiB");
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[3]);

    let letters = test.client().read_all(&pipeline.dead_letter_topic());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].text().len(), large.len());
    let reason = letters[0].header_text("fnbridge.reason");
    assert!(
        reason.contains("and the contract takes at most 6291456: it was not sent"),
        "{reason}"
    );
    let bodies: Vec<usize> = function.requests().iter().map(|request| request.body.len()).collect();
    assert!(bodies.iter().all(|bytes| *bytes < 6 << 20), "{bodies:?}");
}
