//! What each contract sends, and what it makes of answers, held against files. Requests are whole; an answer stands before
//! what it means:
//!
//! ```text
//! > 200 content-type: application/json
//! > {"batchItemFailures":[{"itemIdentifier":{"partition":"orders-3","offset":43}}]}
//! 42 deliver
//! 43 retry: …
//! ```

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Batch, of};
use crate::delivery::answer::Verdict;
use crate::delivery::identity::batch_id;
use crate::delivery::record::{Header, Output, Record, TopicPartition};
use crate::function::settings::{
    AliyunEventFormat, AliyunFcSettings, AwsLambdaSettings, CloudEventsMode, CloudEventsSettings, ContractKind,
    FunctionSettings, ItemFailures,
};
use crate::json::{Format, Formats};

/// Set to write the files anew.
const REWRITE: &str = "FNBRIDGE_WRITE_GOLDEN";
const TRACE: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn record(
    offset: i64,
    key: Option<&'static [u8]>,
    value: Option<&'static [u8]>,
    headers: &[(&str, &'static [u8])],
) -> Record {
    let header = |(name, value): &(&str, &'static [u8])| Header {
        name: (*name).to_owned(),
        value: Some(Bytes::from_static(value)),
    };
    Record {
        source: TopicPartition {
            topic: Arc::from("orders"),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 1_764_000_000_000 + offset,
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: headers.iter().map(header).collect(),
    }
}

/// JSON with headers, text, a tombstone.
fn plain() -> Vec<Record> {
    vec![
        record(
            42,
            Some(b"k1"),
            Some(br#"{"amount":7,"note":"a \"quote\""}"#),
            &[("tenant", b"acme"), ("X-Letters", "ë".as_bytes())],
        ),
        record(43, None, Some("café — text".as_bytes()), &[]),
        record(44, Some(b"k3"), None, &[]),
    ]
}

/// Bytes that are no text, a log that was made anew, a record without a time.
fn odd() -> Vec<Record> {
    let mut odd = record(45, Some(b"\xffk"), Some(b"\x00\xff"), &[("odd", b"\xfe")]);
    (odd.generation, odd.timestamp_ms) = (2, -1);
    vec![odd]
}

/// A CloudEvent in each mode of Kafka, and two records that only say that they are one.
fn events() -> Vec<Record> {
    let structured =
        br#" {"specversion":"1.0","id":"e-1","source":"/shop","type":"order.made","retries":3,"data":{"amount": 7}} "#;
    vec![
        record(
            50,
            Some(b"k1"),
            Some(b"<order/>"),
            &[
                ("ce_specversion", b"1.0"),
                ("ce_id", b"e-0"),
                ("ce_source", b"/shop"),
                ("ce_type", b"order.made"),
                ("ce_subject", "größe 100% \"x\"".as_bytes()),
                ("content-type", b"application/xml"),
                ("tenant", b"acme"),
            ],
        ),
        record(
            51,
            Some(b"k2"),
            Some(structured),
            &[("content-type", b"application/cloudevents+json; charset=utf-8")],
        ),
        record(
            52,
            None,
            Some(b"{\"id\":\"e-2\"}"),
            &[("content-type", b"application/cloudevents+json")],
        ),
        record(
            53,
            None,
            Some(b"{}"),
            &[("ce_specversion", b"1.0"), ("content-type", b"application/json")],
        ),
    ]
}

pub(super) fn settings(contract: ContractKind, path: &str) -> FunctionSettings {
    let is_fc = matches!(contract, ContractKind::AliyunFc(_));
    FunctionSettings {
        contract,
        sinks: vec!["out".to_owned()],
        formats: match is_fc {
            true => Formats {
                key: Some(Format::String),
                value: Format::String,
            },
            false => Formats {
                key: None,
                value: Format::Bytes,
            },
        },
        ..crate::function::tests::settings(format!("http://fn.example.com{path}").parse().unwrap())
    }
}

pub(super) fn events_as(mode: CloudEventsMode) -> ContractKind {
    ContractKind::CloudEvents(CloudEventsSettings {
        mode,
        source: "/fnbridge/orders-enrich".to_owned(),
        kind: "dev.knative.kafka.event".to_owned(),
    })
}

pub(super) fn lambda(cluster_arn: Option<&str>, item_failures: ItemFailures) -> ContractKind {
    ContractKind::AwsLambda(AwsLambdaSettings {
        bootstrap_servers: "b-2:9092,b-1:9092".to_owned(),
        cluster_arn: cluster_arn.map(str::to_owned),
        item_failures,
    })
}

pub(super) fn fc(format: AliyunEventFormat) -> ContractKind {
    ContractKind::AliyunFc(AliyunFcSettings {
        format,
        instance: "alikafka_pre-cn-1".to_owned(),
        account: "1234567890".to_owned(),
    })
}

/// A batch's request; of a contract that takes one record a call, one for each of them.
fn requests(settings: &FunctionSettings, records: Vec<Record>) -> String {
    let contract = of(settings);
    let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
    let size = if settings.contract.takes_one_record() {
        1
    } else {
        records.len()
    };
    let mut text = String::new();
    for records in records.chunks(size) {
        let encoded = contract.encode(&Batch {
            pipeline: "orders-enrich",
            id: &batch_id(records),
            records,
            attempt: 1,
            traceparent: None,
        });
        let mut headers: Vec<_> = encoded.headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        let _ = writeln!(text, "POST {}", settings.url.path(),);
        if let Some(content_type) = encoded.content_type {
            let _ = writeln!(text, "content-type: {}", content_type.to_str().unwrap());
        }
        for (name, value) in headers {
            let _ = writeln!(text, "{name}: {}", value.to_str().unwrap());
        }
        let body = String::from_utf8(encoded.body.to_vec());
        let body = body.unwrap_or_else(|bytes| bytes.as_bytes().escape_ascii().to_string());
        let _ = writeln!(text, "\n{body}\n");
    }
    text
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/function/contracts/golden")
        .join(name)
}

fn hold_against(name: &str, found: &str) {
    let file = file(name);
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&file, found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is another; {REWRITE}=1 writes it anew. Found:\n{found}\nExpected:\n{expected}"
    );
}

/// All records of the examples, in one batch where the contract takes one.
fn all() -> Vec<Record> {
    [plain(), odd(), events()].concat()
}

#[test]
fn requests_of_cloudevents_are_as_their_bindings_say() {
    for (name, mode) in [
        ("cloudevents_binary.requests", CloudEventsMode::Binary),
        ("cloudevents_structured.requests", CloudEventsMode::Structured),
        ("cloudevents_batch.requests", CloudEventsMode::Batch),
    ] {
        hold_against(name, &requests(&settings(events_as(mode), "/"), all()));
    }
}

#[test]
fn requests_of_aws_lambda_are_events_of_its_kafka_mappings() {
    let own = settings(lambda(None, ItemFailures::FromFirst), "/");
    let arn = "arn:aws:kafka:us-east-1:123456789012:cluster/vpc-2priv-2pub/751d2973-a626-431c-9d4e-d7975eb44dd7-2";
    let msk = settings(
        lambda(Some(arn), ItemFailures::FromFirst),
        "/2015-03-31/functions/enrich/invocations",
    );
    let backwards = all().into_iter().rev().collect();
    hold_against(
        "aws_lambda.requests",
        &(requests(&own, backwards) + &requests(&msk, all())),
    );
}

#[test]
fn requests_of_aliyun_fc_are_lists_of_events() {
    let places = ["/", "/2023-03-30/functions/enrich/invocations", "/invoke"];
    let formats = [
        AliyunEventFormat::Objects,
        AliyunEventFormat::Strings,
        AliyunEventFormat::RawData,
    ];
    let mut text = String::new();
    for (path, format) in places.into_iter().zip(formats) {
        text += &requests(&settings(fc(format), path), plain());
    }
    let mut stated = settings(fc(AliyunEventFormat::RawData), "/");
    stated.formats = Formats {
        key: Some(Format::Bytes),
        value: Format::Bytes,
    };
    hold_against("aliyun_fc.requests", &(text + &requests(&stated, odd())));
}

#[test]
fn answers_mean_what_the_files_say() {
    let json = settings(events_as(CloudEventsMode::Batch), "/");
    answers("cloudevents.answers", &json);
    answers(
        "aws_lambda.answers",
        &settings(lambda(None, ItemFailures::FromFirst), "/"),
    );
    answers(
        "aws_lambda_listed.answers",
        &settings(lambda(None, ItemFailures::Listed), "/"),
    );
    answers("aliyun_fc.answers", &settings(fc(AliyunEventFormat::Objects), "/"));
}

#[test]
fn without_sinks_only_verdicts_say_anything() {
    for (name, contract) in [
        ("cloudevents_no_sink.answers", events_as(CloudEventsMode::Batch)),
        ("aws_lambda_no_sink.answers", lambda(None, ItemFailures::FromFirst)),
        ("aliyun_fc_no_sink.answers", fc(AliyunEventFormat::Objects)),
    ] {
        let mut settings = settings(contract, "/");
        settings.sinks.clear();
        answers(name, &settings);
    }
}

/// Reads the answers of a file, and writes what each means behind it.
fn answers(name: &str, settings: &FunctionSettings) {
    let text = std::fs::read_to_string(file(name)).unwrap();
    let mut found = String::new();
    for block in text.split("\n\n") {
        let asked: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("> ")).collect();
        let comments = block.lines().filter(|line| line.starts_with('#'));
        comments.for_each(|line| found = format!("{found}{line}\n"));
        if let [head, body @ ..] = asked.as_slice() {
            asked.iter().for_each(|line| found = format!("{found}> {line}\n"));
            found += &meaning(settings, head, &body.join("\n"));
        }
        found += "\n";
    }
    hold_against(name, &format!("{}\n", found.trim_end()));
}

fn meaning(settings: &FunctionSettings, head: &str, body: &str) -> String {
    let mut words = head.split(" | ");
    let status: u16 = words.next().unwrap().parse().unwrap();
    let headers: HeaderMap = words
        .map(|header| header.split_once(": ").unwrap())
        .map(|(name, value)| {
            (
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            )
        })
        .collect();
    let records: Vec<Arc<Record>> = plain().into_iter().map(Arc::new).collect();
    let batch = Batch {
        pipeline: "orders-enrich",
        id: &batch_id(&records),
        records: &records,
        attempt: 1,
        traceparent: Some(&Bytes::from_static(TRACE)),
    };
    let contract = of(settings);
    let answer = match contract.function_error(&headers) {
        Some(reason) => Err(reason),
        None => contract.decode(status, &headers, &Bytes::from(body.to_owned()), &batch),
    };
    match answer {
        Err(reason) => format!("failed: {reason}\n"),
        Ok(verdicts) => {
            assert_eq!(verdicts.len(), records.len());
            let lines = records.iter().zip(&verdicts);
            lines
                .map(|(record, verdict)| format!("{} {}\n", record.offset, told(verdict)))
                .collect()
        }
    }
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Deliver(outputs) if outputs.is_empty() => "accepted".to_owned(),
        Verdict::Deliver(outputs) => {
            let results: Vec<String> = outputs.iter().map(result).collect();
            format!("deliver {}", results.join(" and "))
        }
        Verdict::Drop => "drop".to_owned(),
        Verdict::Retry { reason, .. } => format!("retry: {reason}"),
        Verdict::Again => "again".to_owned(),
        Verdict::DeadLetter { reason } => format!("dead letter: {reason}"),
    }
}

fn result(output: &Output) -> String {
    let text = |bytes: &Option<Bytes>| {
        bytes
            .as_ref()
            .map_or("null".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let headers = output
        .headers
        .iter()
        .filter(|header| header.value.as_deref() != Some(TRACE));
    let headers: Vec<String> = headers
        .map(|header| format!("{}={}", header.name, text(&header.value)))
        .collect();
    format!(
        "[{} → {} ({})]",
        text(&output.key),
        text(&output.value),
        headers.join(", ")
    )
}
