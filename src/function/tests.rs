use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::auth::AuthSettings;
use crate::delivery::answer::Verdict;
use crate::delivery::event::{Assignment, CallId};
use crate::delivery::record::{Record, TopicPartition};
use crate::delivery::time::Millis;
use crate::http::AddressPolicy;
use crate::http::testing::{Server, Then, answer};
use crate::json::Formats;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const AMPLE: Duration = Duration::from_secs(20);

pub(super) fn settings(url: hyper::Uri) -> FunctionSettings {
    FunctionSettings {
        pipeline: "orders-enrich".to_owned(),
        url,
        contract: ContractKind::Json,
        connect_timeout: Duration::from_secs(5),
        timeout: AMPLE,
        max_response_bytes: 1 << 20,
        auth: AuthSettings::None,
        headers: vec![("X-Team".to_owned(), "payments".to_owned())],
        overrides: BTreeMap::new(),
        sinks: vec!["enriched".to_owned()],
        formats: Formats::default(),
        max_in_flight: 16,
        policy: Arc::new(AddressPolicy::default()),
    }
}

fn function(settings: FunctionSettings) -> Function {
    Function::new(settings, AnswerPool::new(1 << 20)).unwrap()
}

pub(super) fn call_of(offsets: impl IntoIterator<Item = i64>) -> Call {
    let record = |offset| {
        Arc::new(Record {
            source: TopicPartition {
                topic: Arc::from("orders"),
                partition: 3,
            },
            offset,
            generation: 0,
            timestamp_ms: 1_764_000_000_000,
            key: Some(Bytes::from_static(b"k1")),
            value: Some(Bytes::from_static(br#"{"amount":7}"#)),
            headers: vec![],
        })
    };
    Call {
        id: CallId(1),
        assignment: Assignment(1),
        records: offsets.into_iter().map(record).collect(),
        attempt: 2,
        probe: false,
    }
}

/// What a call of two records comes to that gets this answer.
async fn answered(bytes: Vec<u8>, then: Then, change: impl FnOnce(&mut FunctionSettings)) -> Answer {
    let server = Server::start(move |_| (bytes.clone(), then)).await;
    let mut settings = settings(server.url("/"));
    change(&mut settings);
    function(settings).call(&call_of(42..44), None).await
}

fn failed(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => panic!("expected a failed attempt, found {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_goes_out_as_a_post_with_headers_that_name_it() {
    let mut server = Server::answering(answer(204, "", "")).await;
    let function = function(settings(server.url("/enrich?v=1")));
    let answer = function.call(&call_of([42, 43, 45]), Some(TRACE)).await;
    assert_eq!(answer, Answer::Verdicts(vec![Verdict::Deliver(vec![]); 3]));
    let request = server.requests.recv().await.unwrap();
    assert!(
        request.head.starts_with("POST /enrich?v=1 HTTP/1.1\n"),
        "{}",
        request.head
    );
    for (name, value) in [
        ("content-type", "application/json"),
        ("idempotency-key", "orders-enrich/orders/3/42-43,45"),
        ("traceparent", TRACE),
        ("fnbridge-pipeline", "orders-enrich"),
        ("fnbridge-attempt", "2"),
        ("x-team", "payments"),
        ("user-agent", concat!("fnbridge/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let body = String::from_utf8(request.body).unwrap();
    assert!(
        body.starts_with(r#"{"pipeline":"orders-enrich","batch":"orders/3/42-43,45","records":[{"id":"orders/3/42","#),
        "{body}"
    );
    assert_eq!(body.matches(r#""attempt":2}"#).count(), 3);
}

#[tokio::test]
async fn a_raw_call_is_one_record() {
    let mut server = Server::answering(answer(200, "", "result")).await;
    let function = function(FunctionSettings {
        contract: ContractKind::Raw,
        ..settings(server.url("/"))
    });
    let mut call = call_of([42]);
    let answer = function.call(&call, None).await;
    let Answer::Verdicts(verdicts) = answer else {
        panic!("{answer:?}")
    };
    assert!(matches!(&verdicts[..], [Verdict::Deliver(outputs)] if outputs[0].value.as_deref() == Some(b"result")));
    let request = server.requests.recv().await.unwrap();
    assert_eq!(request.body, br#"{"amount":7}"#);
    for (name, value) in [
        ("content-type", Some("application/octet-stream")),
        ("fnbridge-record", Some("orders/3/42")),
        ("fnbridge-key", Some("azE=")),
        ("idempotency-key", Some("orders-enrich/orders/3/42")),
        ("fnbridge-attempt", Some("2")),
        ("traceparent", None),
        ("fnbridge-tombstone", None),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    Arc::get_mut(&mut call.records[0]).unwrap().value = None;
    function.call(&call, None).await;
    let request = server.requests.recv().await.unwrap();
    assert_eq!(request.header("content-length"), Some("0"));
    assert_eq!(request.header("fnbridge-tombstone"), Some("true"));
}

#[tokio::test]
async fn each_status_is_the_answer_of_its_row() {
    for status in [400, 422] {
        let answer = answered(answer(status, "", "no"), Then::Keep, |_| ()).await;
        assert!(
            matches!(&answer, Answer::Refused(failure) if failure.status == Some(status)),
            "{answer:?}"
        );
    }
    let too_large = answered(answer(413, "", ""), Then::Keep, |_| ()).await;
    assert!(matches!(too_large, Answer::TooLarge(_)), "{too_large:?}");
    for status in [408, 425, 500, 502, 504, 507, 418, 409] {
        let failure = failed(answered(answer(status, "", "no"), Then::Keep, |_| ()).await);
        assert_eq!((failure.status, &failure.response[..]), (Some(status), &b"no"[..]));
    }
    for status in [401, 403, 404, 405, 410, 301, 302, 307, 308, 304] {
        let answer = answered(answer(status, "location: /\r\n", ""), Then::Keep, |_| ()).await;
        assert!(matches!(answer, Answer::Misregistered(_)), "{status}: {answer:?}");
    }
    for (status, unavailable) in [(429, false), (503, true)] {
        let answer = answered(answer(status, "retry-after: 7\r\n", ""), Then::Keep, |_| ()).await;
        let Answer::Busy {
            retry_after,
            unavailable: found,
            ..
        } = answer
        else {
            panic!("{status}: {answer:?}")
        };
        assert_eq!((retry_after, found), (Some(Millis(7000)), unavailable));
    }
}

#[tokio::test]
async fn responses_change_what_a_status_means() {
    let overridden = |chosen| move |settings: &mut FunctionSettings| _ = settings.overrides.insert(409, chosen);
    let conflict = || answer(409, "", "gone");
    let answer = answered(conflict(), Then::Keep, overridden(Override::Drop)).await;
    assert!(
        matches!(&answer, Answer::Drop(failure) if failure.status == Some(409)),
        "{answer:?}"
    );
    let answer = answered(conflict(), Then::Keep, overridden(Override::DeadLetter)).await;
    assert!(
        matches!(&answer, Answer::DeadLetter(failure) if &failure.response[..] == b"gone"),
        "{answer:?}"
    );
    let answer = answered(conflict(), Then::Keep, overridden(Override::DeliverNothing)).await;
    assert_eq!(answer, Answer::DeliverNothing);
    let answer = answered(conflict(), Then::Keep, overridden(Override::Block)).await;
    assert!(matches!(answer, Answer::Block(_)), "{answer:?}");
}

#[tokio::test]
async fn a_success_that_is_none_is_a_failed_attempt() {
    let html = failed(answered(answer(200, "content-type: text/html\r\n", "<html>"), Then::Keep, |_| ()).await);
    assert_eq!(
        html.reason,
        "the answer (200) is not usable: its body looks like HTML, expected JSON"
    );
    assert_eq!((html.status, &html.response[..]), (Some(200), &b"<html>"[..]));
    let error = answered(
        answer(200, "X-Fc-Error-Type: UnhandledInvocationError\r\n", "[]"),
        Then::Keep,
        |_| (),
    )
    .await;
    assert!(
        failed(error)
            .reason
            .contains("x-fc-error-type: UnhandledInvocationError")
    );
    let error = answered(
        answer(200, "X-Amz-Function-Error: Unhandled\r\n", ""),
        Then::Keep,
        |_| (),
    )
    .await;
    assert!(failed(error).reason.contains("x-amz-function-error: Unhandled"));
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[{".to_vec();
    let lost = failed(answered(half, Then::Close, |_| ()).await);
    assert!(lost.reason.contains("lost within the answer"), "{}", lost.reason);
    let large = failed(
        answered(answer(200, "", "[1,2]"), Then::Keep, |settings| {
            settings.max_response_bytes = 4
        })
        .await,
    );
    assert_eq!(large.reason, "the answer (200) is larger than 4 bytes: found 5 bytes");
    assert_eq!(large.status, Some(200));
}

#[tokio::test]
async fn a_call_without_an_answer_tells_away_from_failed() {
    let late = answered(Vec::new(), Then::Hang, |settings| {
        settings.timeout = Duration::from_millis(80)
    })
    .await;
    assert!(failed(late).reason.contains("gave no answer within 80ms"));
    let lost = failed(answered(Vec::new(), Then::Reset, |_| ()).await);
    assert_eq!(lost.status, None);
    let port = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = settings(format!("http://127.0.0.1:{port}/").parse().unwrap());
    let away = function(nobody).call(&call_of([42]), None).await;
    assert!(matches!(away, Answer::Away(_)), "{away:?}");
    let denied = function(settings(hyper::Uri::from_static("http://169.254.169.254/")));
    let denied = denied.call(&call_of([42]), None).await;
    assert!(
        matches!(&denied, Answer::Misregistered(failure) if failure.reason.contains("169.254.0.0/16")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn a_failure_keeps_the_first_4_kib_of_the_answer() {
    let failure = failed(answered(answer(500, "", &"x".repeat(5000)), Then::Keep, |_| ()).await);
    assert_eq!(failure.response.len(), 4096);
}

/// Nothing listens there: what is answered was not sent.
fn nowhere(contract: ContractKind) -> Function {
    let settings = settings(hyper::Uri::from_static("http://127.0.0.1:1/"));
    function(FunctionSettings { contract, ..settings })
}

#[tokio::test]
async fn a_request_over_the_contracts_limit_is_not_sent_and_is_too_large() {
    let lambda = nowhere(ContractKind::AwsLambda(AwsLambdaSettings {
        bootstrap_servers: "b:9092".to_owned(),
        cluster_arn: None,
        item_failures: ItemFailures::FromFirst,
    }));
    let mut call = call_of(42..43);
    let record = Arc::get_mut(&mut call.records[0]).unwrap();
    record.value = Some(Bytes::from(vec![b'x'; 6 << 20]));
    let answer = lambda.call(&call, None).await;
    let Answer::TooLarge(failure) = answer else {
        panic!("{answer:?}")
    };
    assert!(
        failure.reason.contains("takes at most 6291456: it was not sent"),
        "{}",
        failure.reason
    );
    Arc::get_mut(&mut call.records[0]).unwrap().value = Some(Bytes::from(vec![b'x'; 4 << 20]));
    let answer = lambda.call(&call, None).await;
    assert!(matches!(answer, Answer::Away(_)), "it was tried: {answer:?}");
}

#[tokio::test]
async fn a_contract_of_one_record_a_call_has_larger_batches_halved() {
    let answer = nowhere(ContractKind::Raw).call(&call_of(42..44), None).await;
    let Answer::TooLarge(failure) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(failure.reason, "the contract takes one record a call, found 2");
}

#[test]
fn a_function_shows_no_secret_when_it_is_printed() {
    let mut settings = settings(hyper::Uri::from_static("http://127.0.0.1/?code=hidden"));
    settings.headers = vec![("authorization".to_owned(), "Bearer hidden".to_owned())];
    assert!(!format!("{settings:?} {:?}", function(settings.clone())).contains("hidden"));
}

#[test]
fn what_cant_be_called_is_refused_with_a_reason() {
    let mut wrong = settings(hyper::Uri::from_static("http://127.0.0.1/"));
    wrong.headers = vec![("fnbridge-attempt".to_owned(), "9".to_owned())];
    let reason = Function::new(wrong, AnswerPool::new(1)).unwrap_err();
    assert_eq!(
        reason,
        "the header fnbridge-attempt is set by fnbridge and can't be set here"
    );
    let wrong = settings(hyper::Uri::from_static("/relative"));
    assert!(Function::new(wrong, AnswerPool::new(1)).is_err());
}
