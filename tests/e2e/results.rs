//! What goes over the wire, to the function and to the sinks: bytes, headers, places.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::server::{Reply, Server};
use crate::harness::test::{Test, suite};
use crate::harness::topics::Entry;

suite![
    a_batch_is_posted_as_the_json_contract_says,
    a_result_inherits_what_the_function_left_out,
    a_result_without_a_key_follows_its_source_partition,
    keys_are_partitioned_as_java_does,
    tombstones_empty_keys_and_no_keys_pass_as_they_are,
    records_of_one_mebibyte_pass_whole,
    every_compression_is_read,
    raw_carries_the_bytes_and_nothing_else,
    without_a_function_records_pass_as_they_are,
    an_http_sink_gets_results_in_order_with_a_key,
    stdout_gets_one_line_a_result,
    without_sinks_a_2xx_is_enough,
];

fn a_batch_is_posted_as_the_json_contract_says(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::start(|_| Reply::of(204, ""));
    let entries = [
        Entry::value(r#"{"amount": 7.00, "text":"\u00e9"}"#)
            .key("k1")
            .header("h", Some(b"v")),
        Entry::value("null")
            .key([0xff, 0x00])
            .header("b", Some(b"\xff\xfe"))
            .header("r", Some(b"1"))
            .header("r", Some(b"2")),
        Entry::tombstone().key("").header("n", None),
    ];
    test.client()
        .produce(&source, entries.map(|entry| entry.at(1_764_000_000_000)));
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .set("batch.linger", "500ms");
    let pipeline = pipeline.set("function.headers", json!({"x-team": "payments"}));
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[3]);

    let requests = function.requests();
    assert_eq!(requests.len(), 1, "one batch");
    let (request, batch) = (&requests[0], format!("{source}/0/0-2"));
    assert_eq!(request.uri.path(), "/");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(
        request.header("idempotency-key"),
        format!("{}/{batch}", pipeline.name())
    );
    assert_eq!(request.header("fnbridge-pipeline"), pipeline.name());
    assert_eq!(request.header("fnbridge-attempt"), "1");
    assert_eq!(request.header("x-team"), "payments");
    assert_eq!(request.header("traceparent").len(), 55);
    let record = |offset: i64, more: Value| {
        let mut record = json!({"id": format!("{source}/0/{offset}"), "topic": source, "partition": 0, "offset": offset,
            "timestamp": 1_764_000_000_000_i64, "attempt": 1});
        record
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        record
    };
    let expected = json!({"pipeline": pipeline.name(), "batch": batch, "records": [
        record(0, json!({"key": "k1", "value": {"amount": 7.00, "text": "é"}, "headers": {"h": "v"}})),
        record(1, json!({"key_base64": "/wA=", "value": null, "headers": {"b": {"base64": "//4="}, "r": ["1", "2"]}})),
        record(2, json!({"key": "", "value": null, "headers": {"n": null}})),
    ]});
    assert_eq!(request.json(), expected);
    let body = String::from_utf8_lossy(&request.body);
    assert!(
        body.contains(r#"{"amount": 7.00, "text":"\u00e9"}"#),
        "the value's text is not rebuilt: {body}"
    );
}

fn a_result_inherits_what_the_function_left_out(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        let id = &request.ids()[0];
        Reply::of(
            200,
            format!(
                r#"{{"results":[{{"id":"{id}","action":"deliver","records":[
                    {{"value":{{"amount" : 7.50}}}},
                    {{"value_base64":"AP8=","key":"other","headers":{{"x":"y"}}}},
                    {{"value":null}}]}}]}}"#
            ),
        )
    });
    test.client().produce(
        &source,
        [Entry::value("1")
            .key("k1")
            .header("h", Some(b"\xff"))
            .at(1_764_000_000_123)],
    );
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[1]);

    let read = test.client().read_all(&out);
    assert_eq!(read.len(), 3);
    let values: Vec<Option<&[u8]>> = read.iter().map(|entry| entry.value.as_deref()).collect();
    assert_eq!(
        values,
        [Some(b"{\"amount\" : 7.50}".as_slice()), Some(&[0x00, 0xff]), None]
    );
    let keys: Vec<Option<&[u8]>> = read.iter().map(|entry| entry.key.as_deref()).collect();
    assert_eq!(keys, [Some(b"k1".as_slice()), Some(b"other"), Some(b"k1")]);
    assert!(read.iter().all(|entry| entry.timestamp == Some(1_764_000_000_123)));
    for (index, entry) in read.iter().enumerate() {
        assert_eq!(entry.header_text("fnbridge.source"), format!("{source}/0/0#{index}"));
    }
    let (inherited, own) = (Some(b"\xff".to_vec()), ("x".to_owned(), Some(b"y".to_vec())));
    assert!(
        [0, 2]
            .iter()
            .all(|i: &usize| read[*i].headers.contains(&("h".to_owned(), inherited.clone())))
    );
    assert!(
        read[1].headers.contains(&own) && !read[1].has_header("h"),
        "{:?}",
        read[1].headers
    );
}

fn a_result_without_a_key_follows_its_source_partition(test: &Test) {
    let (source, out) = (test.topic("in", 3), test.topic("out", 2));
    let function = Server::echo();
    test.client()
        .produce(&source, (0..30).map(|n| Entry::value(n.to_string()).to(n % 3)));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[10; 3]);

    let read = test.client().read_all(&out);
    assert_eq!(read.len(), 30);
    for entry in read {
        let number: i32 = entry.text().parse().expect("a number");
        assert_eq!(
            entry.partition,
            Some(number % 3 % 2),
            "record of source partition {}",
            number % 3
        );
    }
}

fn keys_are_partitioned_as_java_does(test: &Test) {
    let (source, out, reference) = (test.topic("in", 1), test.topic("out", 7), test.topic("reference", 7));
    let keys = (0..200).map(|n| format!("customer-{}", n * 37));
    let entries: Vec<Entry> = keys.map(|key| Entry::value("1").key(key)).collect();
    test.client()
        .produce_with(&reference, &[("partitioner", "murmur2_random")], entries.clone());
    test.client().produce(&source, entries);
    let function = Server::echo();
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[200]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let places = |topic: &str| -> Vec<(Option<i32>, Option<Vec<u8>>)> {
        let mut all: Vec<_> = test
            .client()
            .read_all(topic)
            .into_iter()
            .map(|e| (e.partition, e.key))
            .collect();
        all.sort();
        all
    };
    assert_eq!(places(&out), places(&reference));
}

fn tombstones_empty_keys_and_no_keys_pass_as_they_are(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    let binary = [0xc3, 0x28, 0x00];
    let entries = [
        Entry::tombstone().key("gone").header("h", Some(b"\x00\xff")),
        Entry::value("1").key(""),
        Entry::value("2"),
        Entry::value("3").key(binary),
        Entry::tombstone(),
        Entry::value("\"\"")
            .header("twice", Some(b"a"))
            .header("twice", None)
            .header("twice", Some(b"")),
    ];
    test.client().produce(&source, entries.clone());
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[6]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let read = test.client().read_all(&out);
    assert_eq!(read.len(), entries.len());
    for (read, sent) in read.iter().zip(&entries) {
        assert_eq!((&read.key, &read.value), (&sent.key, &sent.value));
        assert_eq!(
            source_headers(read),
            sent.headers,
            "binary, repeated and null headers are inherited"
        );
    }
}

fn records_of_one_mebibyte_pass_whole(test: &Test) {
    const MEBIBYTE: usize = 1024 * 1024;
    let large = [("max.message.bytes", "3000000")];
    let (source, out) = (test.topic_with("in", 1, &large), test.topic_with("out", 1, &large));
    let function = Server::echo();
    let value = |n: u8| format!("\"{}\"", char::from(b'a' + n).to_string().repeat(MEBIBYTE - 2));
    test.client()
        .produce(&source, (0..4).map(|n| Entry::value(value(n)).key([n])));
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[4]);

    let read = test.client().read_all(&out);
    assert_eq!(read.len(), 4);
    for (n, entry) in (0..).zip(&read) {
        assert!(entry.value == Some(value(n).into_bytes()), "record {n}, byte for byte");
    }
}

fn every_compression_is_read(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::echo();
    let codecs = ["zstd", "lz4", "gzip", "snappy", "none"];
    for (n, codec) in codecs.iter().enumerate() {
        let entries = (0..50).map(|i| Entry::value((n * 50 + i).to_string()));
        test.client()
            .produce_with(&source, &[("compression.codec", codec), ("linger.ms", "50")], entries);
    }
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[250]);

    let read = test.client().read_all(&out);
    let values: Vec<&str> = read.iter().map(Entry::text).collect();
    let expected: Vec<String> = (0..250).map(|n| n.to_string()).collect();
    assert_eq!(values, expected);
}

fn raw_carries_the_bytes_and_nothing_else(test: &Test) {
    let (source, out) = (test.topic("in", 1), test.topic("out", 1));
    let function = Server::start(|request| {
        let doubled = [&request.body[..], &request.body[..]].concat();
        Reply::of(200, doubled)
    });
    let png = [0x89, b'P', 0x00, 0xff];
    let entries = [
        Entry::value(png).key([0xfe]).header("content-type", Some(b"image/png")),
        Entry::tombstone().key("k"),
    ];
    test.client().produce(&source, entries);
    let pipeline = test.pipeline(&source).function(&function.url()).topic_sink(&out);
    let pipeline = pipeline
        .set("function.contract", "raw")
        .set("batch.max_records", 1)
        .set("source.value.format", "bytes");
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[2]);
    test.sees_what_the_page_says(&worker, pipeline.name());

    let requests = function.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].body[..], png);
    assert_eq!(requests[0].header("content-type"), "image/png");
    assert_eq!(requests[0].header("fnbridge-record"), format!("{source}/0/0"));
    assert_eq!(requests[0].header("fnbridge-key"), STANDARD.encode([0xfe]));
    assert!(!requests[0].headers.contains_key("fnbridge-tombstone"));
    assert!(requests[1].body.is_empty());
    assert_eq!(requests[1].header("fnbridge-tombstone"), "true");
    assert_eq!(requests[1].header("content-type"), "application/octet-stream");
    let read = test.client().read_all(&out);
    assert_eq!(read.len(), 1, "an empty answer delivers nothing");
    assert_eq!(
        (read[0].key.as_deref(), read[0].value.clone()),
        (Some([0xfe].as_slice()), Some(png.repeat(2)))
    );
}

fn without_a_function_records_pass_as_they_are(test: &Test) {
    let (source, out) = (test.topic("in", 2), test.topic("out", 2));
    let entries: Vec<Entry> = (0..100_u8)
        .map(|n| {
            Entry::value([n, 0xff])
                .header("h", Some(&[n]))
                .at(1_764_000_000_000 + i64::from(n))
                .to(i32::from(n % 2))
        })
        .collect();
    test.client().produce(&source, entries.clone());
    let pipeline = test.pipeline(&source).topic_sink(&out);
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[50, 50]);

    let mut read = test.client().read_all(&out);
    read.sort_by_key(|entry| entry.timestamp);
    let read: Vec<Entry> = read
        .into_iter()
        .map(|e| Entry {
            offset: -1,
            headers: source_headers(&e),
            ..e
        })
        .collect();
    assert_eq!(read, entries);
}

fn an_http_sink_gets_results_in_order_with_a_key(test: &Test) {
    let source = test.topic("in", 1);
    let (function, sink) = (Server::echo(), Server::start(|_| Reply::of(200, "")));
    test.client().produce(
        &source,
        (0..50).map(|n| {
            Entry::value(json!({"n": n}).to_string())
                .key("k")
                .header("h", Some(b"v"))
        }),
    );
    let pipeline = test.pipeline(&source).function(&function.url()).http_sink(&sink.url());
    test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[50]);

    let requests = sink.requests();
    let results: Vec<Value> = requests
        .iter()
        .flat_map(|r| r.json().as_array().expect("an array").clone())
        .collect();
    assert_eq!(results.len(), 50);
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["id"], format!("{source}/0/{n}#0"));
        assert_eq!((&result["key"], &result["value"]), (&json!("k"), &json!({"n": n})));
        assert_eq!(result["headers"]["h"], "v");
    }
    let keys: std::collections::BTreeSet<&str> = requests.iter().map(|r| r.header("idempotency-key")).collect();
    assert_eq!(keys.len(), requests.len(), "a key of its own for each request");
}

fn stdout_gets_one_line_a_result(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::echo();
    test.client().produce(
        &source,
        (0..20).map(|n| Entry::value(json!({"n": n}).to_string()).key("k")),
    );
    let pipeline = test
        .pipeline(&source)
        .function(&function.url())
        .sink(json!({"stdout": {}}));
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);
    crate::harness::wait::until_true("the lines to be read", || worker.output().len() >= 20);

    let lines: Vec<Value> = worker
        .output()
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 20);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(
            (&line["id"], &line["value"]),
            (&json!(format!("{source}/0/{n}#0")), &json!({"n": n}))
        );
    }
}

fn without_sinks_a_2xx_is_enough(test: &Test) {
    let source = test.topic("in", 1);
    let function = Server::start(|_| Reply::of(200, "<html>thanks</html>"));
    test.client()
        .produce(&source, (0..20).map(|n| Entry::value(n.to_string())));
    let pipeline = test.pipeline(&source).function(&function.url());
    let worker = test.worker(&pipeline);
    test.client().await_committed(&pipeline.group(), &source, &[20]);

    let ids: Vec<String> = function
        .requests()
        .iter()
        .flat_map(crate::harness::server::Request::ids)
        .collect();
    assert_eq!(ids, (0..20).map(|n| format!("{source}/0/{n}")).collect::<Vec<_>>());
    worker.await_metric("fnbridge_settled_records_total", &[r#"disposition="delivered""#], 20.0);
}

/// Headers that are neither ours nor a trace's.
fn source_headers(entry: &Entry) -> Vec<(String, Option<Vec<u8>>)> {
    let ours = |name: &str| name == "fnbridge.source" || name == "traceparent";
    entry.headers.iter().filter(|(name, _)| !ours(name)).cloned().collect()
}
