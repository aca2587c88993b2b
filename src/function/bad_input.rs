//! What functions, gateways and networks answer that they should not: the same table over every contract.

use std::io::Write;
use std::time::{Duration, SystemTime};

use super::tests::{call_of, settings};
use super::*;
use crate::http::testing::{Server, Then, answer};

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Accepted,
    Result,
    Failed,
    Refused,
    TooLarge,
    Busy,
    Misregistered,
    Away,
}

use Came::{Accepted, Away, Busy, Failed, Misregistered, Refused, Result as OneResult, TooLarge};

/// An answer, what it comes to, and in which contracts to something else.
struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    then: Then,
    came: Came,
    but: &'static [(&'static str, Came)],
}

fn row(name: &'static str, bytes: Vec<u8>, came: Came, but: &'static [(&'static str, Came)]) -> Row {
    Row {
        name,
        bytes,
        then: Then::Keep,
        came,
        but,
    }
}

const JSON: &str = "content-type: application/json\r\n";
const HTML: &str = "content-type: text/html\r\n";
/// Bytes are bytes.
const RAW: &[(&str, Came)] = &[("raw", OneResult)];
/// Whatever a function of Function Compute returns is a result.
const RAW_AND_FC: &[(&str, Came)] = &[("raw", OneResult), ("aliyun_fc", OneResult)];

fn contracts() -> Vec<(&'static str, ContractKind)> {
    let events = |mode| {
        ContractKind::CloudEvents(CloudEventsSettings {
            mode,
            source: "/s".to_owned(),
            kind: "t".to_owned(),
        })
    };
    vec![
        ("json", ContractKind::Json),
        ("raw", ContractKind::Raw),
        ("cloudevents_binary", events(CloudEventsMode::Binary)),
        ("cloudevents_structured", events(CloudEventsMode::Structured)),
        ("cloudevents_batch", events(CloudEventsMode::Batch)),
        (
            "aws_lambda",
            ContractKind::AwsLambda(AwsLambdaSettings {
                bootstrap_servers: "b:9092".to_owned(),
                cluster_arn: None,
                item_failures: ItemFailures::FromFirst,
            }),
        ),
        (
            "aliyun_fc",
            ContractKind::AliyunFc(AliyunFcSettings {
                format: AliyunEventFormat::Objects,
                instance: "i".to_owned(),
                account: "a".to_owned(),
            }),
        ),
    ]
}

fn table() -> Vec<Row> {
    let verdict = |id: i64| format!(r#"{{"id":"orders/3/{id}","action":"deliver","records":[{{"value":1}}]}}"#);
    let results = |ids: &[i64]| {
        let verdicts: Vec<String> = ids.iter().map(|id| verdict(*id)).collect();
        answer(200, JSON, &format!(r#"{{"results":[{}]}}"#, verdicts.join(",")))
    };
    let html = "<!DOCTYPE html><html><body>Welcome</body></html>";
    let mut rows = vec![
        row("nothing to deliver", answer(204, "", ""), Accepted, &[]),
        row("an empty body", answer(200, JSON, ""), Accepted, &[]),
        row(
            "it raises",
            answer(500, JSON, r#"{"errorMessage":"boom"}"#),
            Failed,
            &[],
        ),
        row("a gateway's page at 502", answer(502, HTML, html), Failed, &[]),
        row("a gateway's page at 200", answer(200, HTML, html), Failed, RAW),
        row(
            "another shape",
            answer(200, JSON, r#"{"status":"ok"}"#),
            Failed,
            RAW_AND_FC,
        ),
        row(
            "text",
            answer(200, "content-type: text/plain\r\n", "OK"),
            Failed,
            RAW_AND_FC,
        ),
        row("a list that is too long", results(&[42, 43, 44, 45]), Failed, RAW),
        row("a record twice", results(&[42, 42]), Failed, RAW),
        row("other ids", results(&[99]), Failed, RAW),
        row("null in an array", answer(200, JSON, "[null]"), Failed, RAW),
        row("JSON that is cut off", answer(200, JSON, r#"[{"value":"#), Failed, RAW),
        row(
            "it failed, at 200, by Function Compute's word",
            answer(200, "x-fc-error-type: UnhandledInvocationError\r\n", "[]"),
            Failed,
            &[],
        ),
        row(
            "it failed, at 200, by Lambda's word",
            answer(200, "x-amz-function-error: Unhandled\r\n", r#"{"errorMessage":"boom"}"#),
            Failed,
            &[],
        ),
        row(
            "a redirect",
            answer(302, "location: https://login.example.com/\r\n", ""),
            Misregistered,
            &[],
        ),
        row(
            "an expired token",
            answer(401, "www-authenticate: Bearer error=\"invalid_token\"\r\n", ""),
            Misregistered,
            &[],
        ),
        row("it went away", answer(410, "", ""), Misregistered, &[]),
        row("the data are refused", answer(422, JSON, "{}"), Refused, &[]),
        row("too large", answer(413, "", ""), TooLarge, &[]),
        row("throttled", answer(429, "retry-after: 3\r\n", ""), Busy, &[]),
        row(
            "no resources",
            answer(503, "", r#"{"errorCode":"ResourceExhausted"}"#),
            Busy,
            &[],
        ),
        row("a status that nobody knows", answer(599, "", ""), Failed, &[]),
        row("a gzip bomb", bomb(), Failed, &[]),
        row("no HTTP at all", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Failed, &[]),
    ];
    let then = |name, bytes: &[u8], then| Row {
        then,
        ..row(name, bytes.to_vec(), Failed, &[])
    };
    rows.push(then("it hangs", b"", Then::Hang));
    rows.push(then(
        "it hangs within its answer",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1",
        Then::Hang,
    ));
    rows.push(then("the connection is reset", b"", Then::Reset));
    rows.push(then(
        "it ends within its answer",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1",
        Then::Close,
    ));
    rows.push(then(
        "it never ends",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        Then::Pour,
    ));
    rows
}

/// An answer in an encoding that nobody asked for.
fn bomb() -> Vec<u8> {
    let mut gzip = Vec::new();
    // What it holds is never looked at.
    gzip.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    gzip.extend(vec![0; 4096]);
    let mut bytes = Vec::new();
    let _ = write!(
        bytes,
        "HTTP/1.1 200 OK\r\n{JSON}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        gzip.len()
    );
    bytes.extend(gzip);
    bytes
}

fn came(answer: &Answer) -> Came {
    match answer {
        Answer::Verdicts(verdicts) => {
            let results = verdicts.iter().any(|verdict| match verdict {
                crate::delivery::answer::Verdict::Deliver(outputs) => !outputs.is_empty(),
                other => panic!("{other:?}"),
            });
            if results { OneResult } else { Accepted }
        }
        Answer::Failed(_) => Failed,
        Answer::Refused(_) => Refused,
        Answer::TooLarge(_) => TooLarge,
        Answer::Busy { .. } => Busy,
        Answer::Misregistered(_) => Misregistered,
        Answer::Away(_) => Away,
        other => panic!("{other:?}"),
    }
}

fn function_at(url: hyper::Uri, contract: ContractKind) -> Function {
    let settings = FunctionSettings {
        contract,
        timeout: Duration::from_millis(400),
        max_response_bytes: 256 * 1024,
        ..settings(url)
    };
    Function::new(settings, AnswerPool::new(1 << 20)).unwrap()
}

fn call_for(contract: &ContractKind) -> Call {
    match contract.takes_one_record() {
        true => call_of(42..43),
        false => call_of(42..44),
    }
}

#[tokio::test]
async fn each_bad_answer_means_the_same_in_every_contract() {
    for row in table() {
        for (name, contract) in contracts() {
            let (bytes, then) = (row.bytes.clone(), row.then);
            let server = Server::start(move |_| (bytes.clone(), then)).await;
            let call = call_for(&contract);
            let answer = function_at(server.url("/"), contract).call(&call, None).await;
            let expected = row
                .but
                .iter()
                .find(|(of, _)| *of == name)
                .map_or(row.came, |(_, came)| *came);
            assert_eq!(came(&answer), expected, "{name}: {}: {answer:?}", row.name);
            if let Some(failure) = answer.came_to().1 {
                let said = &failure.reason;
                assert!(said.len() > 10 && !said.contains('\n'), "{name}: {}: {said}", row.name);
            }
        }
    }
}

#[tokio::test]
async fn a_function_that_is_not_there_is_away_in_every_contract() {
    for (name, contract) in contracts() {
        let call = call_for(&contract);
        let nowhere = hyper::Uri::from_static("http://127.0.0.1:1/");
        let answer = function_at(nowhere, contract).call(&call, None).await;
        assert_eq!(came(&answer), Away, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_twenty_minutes_off_is_named_where_proof_is_refused() {
    let there = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(20 * 60 + 30));
    for status in [401, 403] {
        let date = format!("date: {there}\r\n");
        let server = Server::answering(answer(status, &date, r#"{"message":"Signature expired"}"#)).await;
        let answer = function_at(server.url("/"), ContractKind::Json)
            .call(&call_of([42]), None)
            .await;
        let Answer::Misregistered(failure) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            failure
                .reason
                .ends_with("; its clock is 20 minutes ahead of this worker's"),
            "{}",
            failure.reason
        );
    }
    let date = format!("date: {}\r\n", httpdate::fmt_http_date(SystemTime::now()));
    let server = Server::answering(answer(403, &date, "")).await;
    let refused = function_at(server.url("/"), ContractKind::Json)
        .call(&call_of([42]), None)
        .await;
    assert!(!refused.came_to().1.unwrap().reason.contains("clock"));
}
