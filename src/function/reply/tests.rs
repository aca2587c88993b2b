use super::*;
use crate::delivery::record::{Header, SinkId, TopicPartition};
use crate::json::Format;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn header(name: &str, value: &'static str) -> Header {
    Header {
        name: name.to_owned(),
        value: Some(Bytes::from_static(value.as_bytes())),
    }
}

/// Records `orders/3/<offset>` with the key `k<offset>`, the header `h: v` and the timestamp 1000 + offset.
fn batch(offsets: impl IntoIterator<Item = i64>) -> Vec<Arc<Record>> {
    let record = |offset| Record {
        source: TopicPartition {
            topic: Arc::from("orders"),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 1000 + offset,
        key: Some(Bytes::from(format!("k{offset}"))),
        value: Some(Bytes::from_static(b"{}")),
        headers: vec![header("h", "v")],
    };
    offsets.into_iter().map(|offset| Arc::new(record(offset))).collect()
}

fn read_as(records: &[Arc<Record>], sinks: &[&str], key: Option<Format>, body: &str) -> Result<Vec<Verdict>, String> {
    let sinks: Vec<String> = sinks.iter().map(|name| (*name).to_owned()).collect();
    let formats = Formats {
        key,
        value: Format::Json,
    };
    let trace = Bytes::from_static(TRACE.as_bytes());
    Reply::to(records, &sinks, &formats, Some(&trace)).verdicts(&Bytes::copy_from_slice(body.as_bytes()))
}

/// An answer to `orders/3/42-44`, for a pipeline with the sinks `gold` and `rest`.
fn read(body: &str) -> Result<Vec<Verdict>, String> {
    read_as(&batch(42..45), &["gold", "rest"], None, body)
}

/// The results of each record, as the text of their values.
fn values(verdicts: Result<Vec<Verdict>, String>) -> Vec<Vec<String>> {
    let text = |output: &Output| {
        (output.value.as_ref()).map_or("(tombstone)".to_owned(), |value| {
            String::from_utf8_lossy(value).into_owned()
        })
    };
    (verdicts.unwrap().iter())
        .map(|verdict| match verdict {
            Verdict::Deliver(outputs) => outputs.iter().map(text).collect(),
            other => vec![format!("{other:?}")],
        })
        .collect()
}

/// The one result of an answer to `orders/3/42`.
fn only(body: &str) -> Output {
    only_as(None, body)
}

fn only_as(key: Option<Format>, body: &str) -> Output {
    match read_as(&batch([42]), &["gold", "rest"], key, body).unwrap().remove(0) {
        Verdict::Deliver(mut outputs) if outputs.len() == 1 => outputs.remove(0),
        other => panic!("expected one result, found {other:?}"),
    }
}

#[test]
fn an_empty_body_accepts_all_and_delivers_nothing() {
    assert_eq!(read(""), Ok(vec![Verdict::Deliver(vec![]); 3]));
    assert_eq!(read("[]"), Ok(vec![Verdict::Deliver(vec![]); 3]));
    assert_eq!(read(r#"{"records":[]}"#), Ok(vec![Verdict::Deliver(vec![]); 3]));
}

#[test]
fn records_belong_by_position_where_the_counts_match() {
    let body = r#"{"records":[{"value":1},{"value":2},{"value":3}]}"#;
    assert_eq!(values(read(body)), [["1"], ["2"], ["3"]]);
}

#[test]
fn records_belong_to_the_last_where_the_counts_do_not_match() {
    let none: Vec<String> = vec![];
    let body = r#"{"records":[{"value":1},{"value":2}]}"#;
    assert_eq!(
        values(read(body)),
        [none.clone(), none.clone(), vec!["1".into(), "2".into()]]
    );
    let body = r#"{"records":[{"value":1},{"value":2},{"value":3},{"value":4}]}"#;
    assert_eq!(values(read(body))[2].len(), 4);
}

#[test]
fn a_result_with_an_id_belongs_to_that_record_and_one_without_among_them_to_the_last() {
    let body = r#"{"records":[{"id":"orders/3/43","value":1},{"id":"orders/3/42","value":2},{"value":3}]}"#;
    assert_eq!(values(read(body)), [["2"], ["1"], ["3"]]);
    let body = r#"{"records":[{"value":1},{"value":2},{"id":"orders/3/42","value":3}]}"#;
    let none: Vec<String> = vec![];
    assert_eq!(
        values(read(body)),
        [vec!["3".to_owned()], none, vec!["1".into(), "2".into()]]
    );
    let body = r#"{"records":[{"id":null,"value":1},{"id":null,"value":2},{"id":null,"value":3}]}"#;
    assert_eq!(values(read(body)), [["1"], ["2"], ["3"]], "a null id is none");
}

#[test]
fn each_element_of_a_bare_array_is_a_value() {
    assert_eq!(
        values(read(r#"[ {"a": 1} , "two",[3]]"#)),
        [[r#"{"a": 1}"#], [r#""two""#], ["[3]"]]
    );
    let own_ids = r#"[{"id":7,"value":1},{"id":"orders/3/42"},{"id":"orders/3/42"}]"#;
    assert_eq!(
        values(read(own_ids))[1],
        [r#"{"id":"orders/3/42"}"#],
        "ids in values are the values' own"
    );
    let none: Vec<String> = vec![];
    assert_eq!(values(read("[1]")), [none.clone(), none, vec!["1".to_owned()]]);
}

#[test]
fn verdicts_say_what_becomes_of_each_record() {
    let body = r#"{"results":[
        {"id":"orders/3/42","action":"deliver","records":[{"value":{"amount":7,"tier":"gold"}},{"value":2}]},
        {"id":"orders/3/43","action":"drop"},
        {"id":"orders/3/44","action":"retry","after_ms":5000,"reason":"later"},
        {"id":"orders/3/45","action":"dead_letter","reason":"unknown customer"},
        {"id":"orders/3/46","action":"deliver"}]}"#;
    let verdicts = read_as(&batch(42..47), &["gold"], None, body).unwrap();
    let Verdict::Deliver(outputs) = &verdicts[0] else {
        panic!("{verdicts:?}")
    };
    assert_eq!(outputs.len(), 2);
    assert_eq!(outputs[0].value.as_deref(), Some(&br#"{"amount":7,"tier":"gold"}"#[..]));
    let rest = [
        Verdict::Drop,
        Verdict::Retry {
            after: Some(Millis(5000)),
            reason: "later".to_owned(),
        },
        Verdict::DeadLetter {
            reason: "unknown customer".to_owned(),
        },
        Verdict::Deliver(vec![]),
    ];
    assert_eq!(verdicts[1..], rest);
}

#[test]
fn verdicts_may_come_in_any_order() {
    let body = r#"{"results":[{"id":"orders/3/44","action":"deliver","records":[{"value":44}]},
        {"id":"orders/3/42","action":"deliver","records":[{"value":42}]},
        {"id":"orders/3/43","action":"deliver","records":[{"value":43},{"id":"orders/3/43","value":"again"}]}]}"#;
    let expected: [&[&str]; 3] = [&["42"], &["43", r#""again""#], &["44"]];
    assert_eq!(values(read(body)), expected);
}

#[test]
fn a_record_without_a_verdict_has_failed_and_says_so() {
    let verdicts = read(r#"{"results":[{"id":"orders/3/43","action":"drop"}]}"#).unwrap();
    let missing = |id: &str| Verdict::Retry {
        after: None,
        reason: format!("the answer has no verdict for {id}"),
    };
    assert_eq!(
        verdicts,
        [missing("orders/3/42"), Verdict::Drop, missing("orders/3/44")]
    );
    assert_eq!(read(r#"{"results":[]}"#).unwrap()[0], missing("orders/3/42"));
}

#[test]
fn a_retry_waits_a_quarter_of_an_hour_at_most() {
    let table = [
        ("0", Some(0)),
        ("5000.7", Some(5000)),
        ("900001", Some(900_000)),
        ("1e300", Some(900_000)),
        ("null", None),
    ];
    for (after_ms, expected) in table {
        let body = format!(r#"{{"results":[{{"id":"orders/3/42","action":"retry","after_ms":{after_ms}}}]}}"#);
        let verdicts = read_as(&batch([42]), &[], None, &body).unwrap();
        let Verdict::Retry { after, reason } = &verdicts[0] else {
            panic!("{verdicts:?}")
        };
        assert_eq!(*after, expected.map(Millis), "{after_ms}");
        assert_eq!(reason, "the function asked to be called again with this record");
    }
}

#[test]
fn a_reason_is_kept_in_the_functions_words_up_to_a_bound() {
    let table = [
        (r#""caf\u00e9""#.to_owned(), "café".to_owned()),
        (r#"{"code":7}"#.to_owned(), r#"{"code":7}"#.to_owned()),
        (
            "null".to_owned(),
            "the function gave the record up without a reason".to_owned(),
        ),
        (format!("\"{}\"", "ä".repeat(3000)), "ä".repeat(1000)),
    ];
    for (given, kept) in table {
        let body = format!(r#"{{"results":[{{"id":"orders/3/42","action":"dead_letter","reason":{given}}}]}}"#);
        let verdicts = read_as(&batch([42]), &["gold"], None, &body).unwrap();
        assert_eq!(verdicts, [Verdict::DeadLetter { reason: kept }]);
    }
}

#[test]
fn unusable_bodies_are_failed_attempts_with_a_reason() {
    let table = [
        (
            "<html><body>502</body></html>",
            "its body looks like HTML, expected JSON",
        ),
        ("oops", "its body is not JSON at byte 0 of 4: expected value"),
        (
            r#"{"records":[{"value":1}"#,
            "its body is not JSON at byte 23 of 23: EOF while parsing a list",
        ),
        ("[1] 2", "its body is not JSON at byte 4 of 5: trailing characters"),
        ("\n", "its body is not JSON at byte 1 of 1: EOF while parsing a value"),
        (
            "null",
            "its body is wrong at byte 3 of 4: found null, expected an object with `records` or `results`, or an array of values",
        ),
        (
            r#""secret""#,
            "its body is wrong at byte 7 of 8: found string, expected an object with `records` or `results`, or an array of values",
        ),
        (
            r#"{"ok":true}"#,
            "its body is wrong at byte 10 of 11: found an object without `records` and `results`, expected an object with `records` or `results`, or an array of values",
        ),
        (
            r#"{"records":[],"results":[]}"#,
            "its body is wrong at byte 22 of 27: `records` and `results` stand there twice or together, expected one of them",
        ),
        (
            "[1,null,3]",
            "its body is wrong at byte 7 of 10: element 1 is null, expected a value",
        ),
        (
            r#"{"records":[{"value":1},null]}"#,
            "its body is wrong at byte 27 of 30: found null, expected a result: an object with `value` or `value_base64`",
        ),
        (
            r#"{"records":["secret"]}"#,
            "its body is wrong at byte 19 of 22: found string, expected a result: an object with `value` or `value_base64`",
        ),
        (
            r#"{"records":[[1]]}"#,
            "its body is wrong at byte 12 of 17: found sequence, expected a result: an object with `value` or `value_base64`",
        ),
        (
            r#"{"records":null}"#,
            "its body is wrong at byte 14 of 16: found null, expected an array",
        ),
        (
            r#"{"results":[null]}"#,
            "its body is wrong at byte 15 of 18: found null, expected a verdict: an object with `id` and `action`",
        ),
        (
            r#"{"records":[{"value":1,"value":2}]}"#,
            "its body is wrong at byte 29 of 35: `value` stands there twice",
        ),
        (
            r#"{"records":[{"key":"k"}]}"#,
            "records[0] has neither value nor value_base64 (a tombstone is \"value\": null)",
        ),
        (
            r#"{"records":[{"value":1,"value_base64":"eA=="}]}"#,
            "records[0] has both value and value_base64, expected one of them",
        ),
        (
            r#"{"records":[{"value_base64":"!"}]}"#,
            "records[0] has a string that is not base64 as its value_base64, expected base64",
        ),
        (
            r#"{"records":[{"value":1,"sink":"goldd"}]}"#,
            "records[0] names the unknown sink \"goldd\", expected one of gold, rest",
        ),
        (
            r#"{"records":[{"value":1,"id":"orders/3/99"}]}"#,
            "records[0] has the unknown id orders/3/99, which was not in the batch",
        ),
        (
            r#"{"records":[{"value":1,"id":"orders/3/042"}]}"#,
            "records[0] has an unknown id, expected one of the batch, like orders/3/42",
        ),
        (
            r#"{"records":[{"value":1,"id":"orders/4/42"}]}"#,
            "records[0] has an unknown id, expected one of the batch, like orders/3/42",
        ),
        (
            r#"{"records":[{"value":1,"id":42}]}"#,
            "records[0] has a number as its id, expected a string",
        ),
        (
            r#"{"records":[{"value":1,"id":"orders/3/42"},{"value":2,"id":"orders/3/42"}]}"#,
            "records[1] repeats the id orders/3/42; several results of a record go into a verdict",
        ),
        (
            r#"{"records":[{"value":1,"headers":["a"]}]}"#,
            "records[0] has an array as its headers, expected an object",
        ),
        (
            r#"{"records":[{"value":1,"headers":{"a":{"b":1}}}]}"#,
            "records[0] has a header with an object, expected strings, null, {\"base64\": …} or arrays of these",
        ),
        (
            r#"{"records":[{"value":1,"timestamp":"now"}]}"#,
            "records[0] has a timestamp that is not a whole number of milliseconds from 0",
        ),
        (r#"{"results":[{"action":"drop"}]}"#, "results[0] has no id"),
        (
            r#"{"results":[{"id":"orders/3/45","action":"drop"}]}"#,
            "results[0] has the unknown id orders/3/45, which was not in the batch",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"drop"},{"id":"orders/3/42","action":"drop"}]}"#,
            "results[1] repeats the id orders/3/42",
        ),
        (
            r#"{"results":[{"id":"orders/3/42"}]}"#,
            "results[0] has no action, expected deliver, drop, retry or dead_letter",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"explode"}]}"#,
            "results[0] has the unknown action \"explode\", expected deliver, drop, retry or dead_letter",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"retry","after_ms":-1}]}"#,
            "results[0] has an after_ms that is not a number of milliseconds from 0",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"drop","records":[{"value":1}]}]}"#,
            "results[0] has records, but its action is not deliver",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"deliver","records":[{"value":1},{}]}]}"#,
            "results[0] has a records[1] that has neither value nor value_base64 (a tombstone is \"value\": null)",
        ),
        (
            r#"{"results":[{"id":"orders/3/42","action":"deliver","records":[{"value":1,"id":"orders/3/43"}]}]}"#,
            "results[0] has a records[0] that has the id of another record than orders/3/42",
        ),
    ];
    let wrong: Vec<_> = (table.iter())
        .map(|(body, reason)| (body, read(body).map_err(|found| (found, *reason))))
        .filter(|(_, read)| !matches!(read, Err((found, expected)) if found == expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read("\u{feff}[]").unwrap_err().contains("not JSON at byte 0"));
}

#[test]
fn a_body_that_is_not_utf8_is_unusable() {
    let records = batch([42]);
    let (sinks, formats) = (["gold".to_owned()], Formats::default());
    let reply = Reply::to(&records, &sinks, &formats, None);
    let reason = reply.verdicts(&Bytes::from_static(b"[\"\xff\"]")).unwrap_err();
    assert_eq!(reason, "its body is not UTF-8 at byte 2, expected JSON");
}

#[test]
fn without_sinks_any_body_means_done_unless_it_is_a_results_object() {
    let done = Ok(vec![Verdict::Deliver(vec![]); 3]);
    let any = [
        "ok",
        "<html>",
        "null",
        "{}",
        "{\"a\":",
        "[null]",
        r#"{"records":[{"sink":"x"}]}"#,
        "[[1]]",
    ];
    for body in any {
        assert_eq!(read_as(&batch(42..45), &[], None, body), done, "{body}");
    }
    let verdicts = read_as(
        &batch([42]),
        &[],
        None,
        r#"{"results":[{"id":"orders/3/42","action":"drop"}]}"#,
    );
    assert_eq!(verdicts, Ok(vec![Verdict::Drop]));
    let delivered = r#"{"results":[{"id":"orders/3/42","action":"deliver","records":[{"value":1}]}]}"#;
    assert_eq!(
        read_as(&batch([42]), &[], None, delivered),
        Ok(vec![Verdict::Deliver(vec![])])
    );
    for broken in [
        r#"{"results":[{"id":"#,
        r#"{"results":[{"id":"orders/3/43","action":"drop"}]}"#,
    ] {
        assert!(read_as(&batch([42]), &[], None, broken).is_err(), "{broken}");
    }
    let sink = r#"{"results":[{"id":"orders/3/42","action":"deliver","records":[{"value":1,"sink":"x"}]}]}"#;
    let reason = read_as(&batch([42]), &[], None, sink).unwrap_err();
    assert!(reason.ends_with("names a sink, and the pipeline has none"), "{reason}");
}

#[test]
fn a_result_inherits_key_timestamp_headers_and_traceparent() {
    let output = only(r#"{"records":[{"value":1}]}"#);
    assert_eq!(output.sink, None);
    assert_eq!(output.key.as_deref(), Some(&b"k42"[..]));
    assert_eq!(output.timestamp_ms, 1042);
    assert_eq!(output.headers, [header("h", "v"), header("traceparent", TRACE)]);
    assert_eq!(output, only("[1]"), "a bare value inherits the same");
    let verdict = r#"{"results":[{"id":"orders/3/42","action":"deliver","records":[{"value":1}]}]}"#;
    assert_eq!(output, only(verdict));
}

#[test]
fn a_results_own_headers_stand_in_place_of_the_sources_but_for_traceparent() {
    let output = only(r#"{"records":[{"value":1,"headers":{}}]}"#);
    assert_eq!(output.headers, [header("traceparent", TRACE)]);
    let output = only(r#"{"records":[{"value":1,"headers":{"a":"b","traceparent":"mine"}}]}"#);
    assert_eq!(output.headers, [header("a", "b"), header("traceparent", "mine")]);
    let output = only(r#"{"records":[{"value":1,"headers":null}]}"#);
    assert_eq!(output.headers, [header("h", "v"), header("traceparent", TRACE)]);
}

#[test]
fn the_sources_traceparent_goes_before_the_attempts() {
    let mut record = Record::clone(&batch([42])[0]);
    record.headers.push(header("traceparent", "the source's"));
    let records = [Arc::new(record)];
    for body in ["[1]", r#"{"records":[{"value":1,"headers":{}}]}"#] {
        let verdicts = read_as(&records, &["gold"], None, body).unwrap();
        let Verdict::Deliver(outputs) = &verdicts[0] else {
            panic!("{verdicts:?}")
        };
        assert_eq!(outputs[0].headers.last(), Some(&header("traceparent", "the source's")));
        assert_eq!(outputs[0].headers.iter().filter(|h| h.name == "traceparent").count(), 1);
    }
}

#[test]
fn header_values_are_read_as_they_are_written() {
    let output = only(
        r#"{"records":[{"value":1,"headers":{"r":["1",{"base64":"/w=="},null],"n":null,"c":5,"e":[],"u":"caf\u00e9"}}]}"#,
    );
    let bytes = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let expected = [
        bytes("r", Some(b"1")),
        bytes("r", Some(b"\xff")),
        bytes("r", None),
        bytes("n", None),
        bytes("c", Some(b"5")),
        bytes("u", Some("café".as_bytes())),
        header("traceparent", TRACE),
    ];
    assert_eq!(output.headers, expected);
}

#[test]
fn a_key_is_text_unless_keys_are_json() {
    type Row = (Option<Format>, &'static str, Option<&'static [u8]>);
    let table: [Row; 11] = [
        (None, r#""key":"a\"b","#, Some(b"a\"b")),
        (None, r#""key":"plain","#, Some(b"plain")),
        (None, r#""key":"","#, Some(b"")),
        (None, r#""key":null,"#, None),
        (None, r#""key":7,"#, Some(b"7")),
        (None, r#""key_base64":"/w==","#, Some(b"\xff")),
        (None, r#""key":null,"key_base64":"/w","#, Some(b"\xff")),
        (None, r#""key_base64":null,"#, Some(b"k42")),
        (Some(Format::Json), r#""key":"k1","#, Some(b"\"k1\"")),
        (Some(Format::Json), r#""key":{"a" : 1},"#, Some(b"{\"a\" : 1}")),
        (Some(Format::Json), r#""key":null,"#, None),
    ];
    for (format, key, expected) in table {
        let output = only_as(format, &format!(r#"{{"records":[{{{key}"value":1}}]}}"#));
        assert_eq!(output.key.as_deref(), expected, "{key}");
    }
}

#[test]
fn a_value_is_its_own_text_or_bytes_or_a_tombstone() {
    let table: [(&str, Option<&[u8]>); 7] = [
        (
            r#""value": {"b" :1, "a":[1.0, 1e2]} "#,
            Some(br#"{"b" :1, "a":[1.0, 1e2]}"#),
        ),
        (r#""value":"t\u00e9xt""#, Some(br#""t\u00e9xt""#)),
        (r#""value":12345678901234567890.10"#, Some(b"12345678901234567890.10")),
        (r#""value":null"#, None),
        (r#""value_base64":"AP8=""#, Some(b"\x00\xff")),
        (r#""value_base64":"AP8","value":null"#, Some(b"\x00\xff")),
        (r#""value":null,"value_base64":null"#, None),
    ];
    for (value, expected) in table {
        let output = only(&format!(r#"{{"records":[{{"extra":[null],{value}}}]}}"#));
        assert_eq!(output.value.as_deref(), expected, "{value}");
    }
}

#[test]
fn a_result_may_name_its_sink_and_its_timestamp() {
    let output = only(r#"{"records":[{"value":1,"sink":"rest","timestamp":5}]}"#);
    assert_eq!((output.sink, output.timestamp_ms), (Some(SinkId(1)), 5));
    assert_eq!(only(r#"{"records":[{"value":1,"sink":null}]}"#).sink, None);
}

#[test]
fn a_record_that_is_echoed_is_a_result_that_belongs_to_it() {
    let body = r#"{"records":[{"id":"orders/3/42","topic":"orders","partition":3,"offset":42,"timestamp":1042,
        "key":"k42","value":{},"headers":{"h":"v"},"attempt":1}]}"#;
    assert_eq!(only(body), only(r#"{"records":[{"value":{}}]}"#));
}

#[test]
fn values_share_the_bodys_memory() {
    let body = Bytes::from_static(br#"[{"a":1}]"#);
    let records = batch([42]);
    let (sinks, formats) = (["gold".to_owned()], Formats::default());
    let reply = Reply::to(&records, &sinks, &formats, None);
    let verdicts = reply.verdicts(&body).unwrap();
    let Verdict::Deliver(outputs) = &verdicts[0] else {
        panic!("{verdicts:?}")
    };
    assert!(
        body.as_ptr_range()
            .contains(&outputs[0].value.as_ref().unwrap().as_ptr())
    );
}

#[test]
fn an_answer_that_would_fill_the_memory_is_unusable() {
    let many = |element: &str, count: usize| vec![element; count].join(",");
    assert_eq!(values(read(&format!("[{}]", many("1", 50_000))))[2].len(), 50_000);
    for body in [
        format!("[{}]", many("1", 50_001)),
        format!(r#"{{"records":[{}]}}"#, many(r#"{"value":1}"#, 50_001)),
        format!(r#"{{"results":[{{"records":[{}]}}]}}"#, many("{}", 50_001)),
    ] {
        let reason = read(&body).unwrap_err();
        assert!(reason.ends_with("there are more than 50000 results"), "{reason}");
    }
    let headers = format!(
        r#"{{"records":[{{"value":1,"headers":{{"h":[{}]}}}}]}}"#,
        many("1", 250_001)
    );
    assert_eq!(read(&headers).unwrap_err(), "records[0] has more than 250000 headers");
    let mut record = Record::clone(&batch([42])[0]);
    record.headers = vec![header("h", "v"); 10];
    let reason = read_as(
        &[Arc::new(record)],
        &["gold"],
        None,
        &format!("[{}]", many("1", 30_000)),
    )
    .unwrap_err();
    assert_eq!(reason, "its results have more than 250000 headers");
}
