//! Signatures against the owners' own signers, tokens against endpoints that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use super::*;
use crate::delivery::answer::Answer;
use crate::function::Function;
use crate::function::tests::{call_of, settings};
use crate::http::AnswerPool;
use crate::http::testing::{Server, Then, answer};

/// 2025-11-24T16:00:00Z
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_764_000_000)
}

fn vectors(text: &str) -> Vec<Value> {
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    assert!(vectors.len() >= 6);
    vectors
}

fn request(vector: &Value) -> Request<Bytes> {
    let body = Bytes::from(vector["body"].as_str().unwrap().to_owned());
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    if let Some(url) = vector["url"].as_str() {
        *request.uri_mut() = url.parse().unwrap();
    }
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

fn keys(id: &str, secret: &str, vector: &Value) -> CloudKeys {
    CloudKeys {
        id: id.to_owned(),
        secret: Secret(secret.to_owned()),
        token: vector["token"].as_str().map(|token| Secret(token.to_owned())),
    }
}

#[test]
fn signatures_of_aws_are_those_of_botocore() {
    let signer = aws_sigv4::AwsSigv4::new(AwsSettings {
        region: "eu-west-1".to_owned(),
        service: "lambda".to_owned(),
        keys: Some(keys("unused", "unused", &Value::Null)),
    });
    let signer = signer.unwrap();
    for vector in vectors(include_str!("vectors/aws_sigv4.json")) {
        let mut request = request(&vector);
        request
            .headers_mut()
            .insert("x-amz-invocation-type", HeaderValue::from_static("RequestResponse"));
        request
            .headers_mut()
            .insert("traceparent", HeaderValue::from_static("not signed"));
        let keys = keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &vector);
        signer.sign_with(&mut request, &keys, noon()).unwrap();
        assert_eq!(
            request.headers()[AUTHORIZATION],
            vector["authorization"].as_str().unwrap(),
            "{vector}"
        );
        assert_eq!(request.headers()["x-amz-date"], "20251124T160000Z");
        let token = request.headers().get("x-amz-security-token");
        assert_eq!(token.map(|token| token.to_str().unwrap()), vector["token"].as_str());
    }
}

#[test]
fn signatures_of_alibaba_cloud_are_those_of_its_own_library() {
    for vector in vectors(include_str!("vectors/aliyun_acs3.json")) {
        let mut request = request(&vector);
        request
            .headers_mut()
            .insert("traceparent", HeaderValue::from_static("not signed"));
        let keys = keys("LTAIEXAMPLE", "a-secret", &vector);
        aliyun_acs3::sign_with(&mut request, &keys, noon(), "00112233445566778899aabbccddeeff").unwrap();
        assert_eq!(
            request.headers()[AUTHORIZATION],
            vector["authorization"].as_str().unwrap(),
            "{vector}"
        );
    }
}

#[tokio::test]
async fn signatures_of_webhooks_are_those_of_the_standards_own_library() {
    for vector in vectors(include_str!("vectors/standard_webhooks.json")) {
        let mut request = request(&vector);
        let id = HeaderValue::from_str(vector["id"].as_str().unwrap()).unwrap();
        request.headers_mut().insert("idempotency-key", id.clone());
        let keys: Vec<Secret> = vector["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| Secret(key.as_str().unwrap().to_owned()))
            .collect();
        hmac::Hmac::new(&keys)
            .unwrap()
            .sign(&mut request, noon())
            .await
            .unwrap();
        assert_eq!(
            request.headers()["webhook-signature"],
            vector["signature"].as_str().unwrap()
        );
        assert_eq!(
            (
                &request.headers()["webhook-id"],
                &request.headers()["webhook-timestamp"]
            ),
            (&id, &HeaderValue::from(1_764_000_000))
        );
    }
}

#[tokio::test]
async fn a_token_and_a_password_stand_in_authorization() {
    let cases: [(Box<dyn Auth>, &str); 2] = [
        (
            Box::new(bearer::Bearer::new(&Secret("t-1".to_owned())).unwrap()),
            "Bearer t-1",
        ),
        (
            // RFC 7617, section 2.
            Box::new(
                basic::Basic::new(&BasicSettings {
                    username: "Aladdin".to_owned(),
                    password: Secret("open sesame".to_owned()),
                })
                .unwrap(),
            ),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
    ];
    for (auth, expected) in cases {
        let mut request = Request::new(Bytes::new());
        auth.sign(&mut request, noon()).await.unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], expected);
        assert!(request.headers()[AUTHORIZATION].is_sensitive());
        assert!(!auth.renew(Proof::default()), "there is no other");
        assert!(!format!("{auth:?}").contains("t-1"));
    }
}

/// A token endpoint that gives `t-1`, `t-2`… , and a function that accepts those that `good` does.
struct World {
    endpoint: Server,
    function: Server,
    asked: Arc<AtomicUsize>,
}

async fn world(expires_in: &str, status: u16) -> World {
    let (asked, expires_in) = (Arc::new(AtomicUsize::new(0)), expires_in.to_owned());
    let counted = asked.clone();
    let endpoint = Server::start(move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let body = match status {
            200 => format!(r#"{{"access_token":"t-{n}","token_type":"Bearer"{expires_in}}}"#),
            _ => r#"{"error":"invalid_client"}"#.to_owned(),
        };
        (answer(status, "content-type: application/json\r\n", &body), Then::Keep)
    });
    World {
        endpoint: endpoint.await,
        function: Server::answering(answer(204, "", "")).await,
        asked,
    }
}

fn client(world: &World) -> Function {
    let auth = AuthSettings::Oidc(OidcSettings::Endpoint(TokenRequest {
        url: world.endpoint.url("/token"),
        client_id: "me & you".to_owned(),
        client_secret: Some(Secret("s=1".to_owned())),
        token_file: None,
        scope: Some("a b".to_owned()),
        audience: None,
    }));
    let settings = settings(world.function.url("/"));
    Function::new(
        crate::function::FunctionSettings { auth, ..settings },
        AnswerPool::new(1 << 20),
    )
    .unwrap()
}

#[tokio::test]
async fn a_token_is_asked_for_once_by_many_calls_and_kept() {
    let mut world = world(r#","expires_in":3600"#, 200).await;
    let function = client(&world);
    let call = call_of([42]);
    let calls = futures_util::future::join_all((0..20).map(|_| function.call(&call, None)));
    assert!(calls.await.iter().all(|answer| matches!(answer, Answer::Verdicts(_))));
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    let asked = world.endpoint.requests.recv().await.unwrap();
    assert_eq!(
        String::from_utf8(asked.body).unwrap(),
        "grant_type=client%5Fcredentials&client_id=me%20%26%20you&client_secret=s%3D1&scope=a%20b"
    );
    for _ in 0..20 {
        let request = world.function.requests.recv().await.unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer t-1"));
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let mut world = world(r#","expires_in":0.05"#, 200).await;
    let function = client(&world);
    let call = call_of([42]);
    let mut tokens = std::collections::BTreeSet::new();
    while tokens.len() < 3 {
        function.call(&call, None).await;
        let request = world.function.requests.recv().await.unwrap();
        tokens.insert(request.header("authorization").unwrap().to_owned());
    }
    assert!(world.asked.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn a_token_that_cant_be_renewed_is_used_until_its_end() {
    let mut world = world("", 200).await;
    let asked = world.asked.clone();
    world.endpoint = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (
            answer(200, "", r#"{"access_token":"t-1","expires_in":2.5}"#),
            Then::Keep,
        ),
        _ => (answer(503, "", ""), Then::Keep),
    })
    .await;
    let function = client(&world);
    let call = call_of([42]);
    while world.asked.load(Ordering::SeqCst) < 2 {
        let answer = function.call(&call, None).await;
        assert!(matches!(answer, Answer::Verdicts(_)), "{answer:?}");
        let request = world.function.requests.recv().await.unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer t-1"));
    }
    // Its end comes, and nothing is sent with it any more.
    while !matches!(function.call(&call, None).await, Answer::Away(_)) {}
    assert!(world.asked.load(Ordering::SeqCst) < 10, "not asked for by each call");
}

#[tokio::test]
async fn a_token_s_time_runs_from_when_it_was_asked_for() {
    let mut world = world("", 200).await;
    let asked = world.asked.clone();
    world.endpoint = Server::start(move |_| {
        let n = asked.fetch_add(1, Ordering::SeqCst) + 1;
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        let body = format!(r#"{{"access_token":"t-{n}","expires_in":0.2}}"#);
        (answer(200, "", &body), Then::Keep)
    })
    .await;
    let function = client(&world);
    for token in ["Bearer t-1", "Bearer t-2"] {
        function.call(&call_of([42]), None).await;
        let request = world.function.requests.recv().await.unwrap();
        assert_eq!(
            request.header("authorization"),
            Some(token),
            "it had ended when it came"
        );
    }
}

#[tokio::test]
async fn a_401_renews_once_before_it_counts() {
    let mut world = world(r#","expires_in":3600"#, 200).await;
    // The first call is refused, what comes after it is not.
    world.function = Server::start(|nth| match nth {
        0 => (answer(401, "", "expired"), Then::Keep),
        _ => (answer(204, "", ""), Then::Keep),
    })
    .await;
    let function = client(&world);
    let answer_of = function.call(&call_of([42]), None).await;
    assert!(matches!(answer_of, Answer::Verdicts(_)), "{answer_of:?}");
    let mut sent = Vec::new();
    for _ in 0..2 {
        let request = world.function.requests.recv().await.unwrap();
        sent.push(request.header("authorization").unwrap().to_owned());
    }
    assert_eq!(sent, ["Bearer t-1", "Bearer t-2"]);
    world.function = Server::answering(answer(401, "", "")).await;
    let function = client(&world);
    let refused = function.call(&call_of([42]), None).await;
    assert!(
        matches!(refused, Answer::Misregistered(_)),
        "the second one counts: {refused:?}"
    );
    assert_eq!(world.asked.load(Ordering::SeqCst), 4, "two by each function");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_nothing_is_charged() {
    for (status, is_away) in [(503, true), (429, true), (400, false), (401, false), (302, false)] {
        let mut world = world("", status).await;
        let answer = client(&world).call(&call_of([42]), None).await;
        let failure = match (&answer, is_away) {
            (Answer::Away(failure), true) | (Answer::Misregistered(failure), false) => failure,
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(
            failure.reason,
            format!("no token: the endpoint answered {status} (invalid_client)")
        );
        assert!(world.function.requests.try_recv().is_err());
    }
    let mut denied = settings(hyper::Uri::from_static("http://127.0.0.1:1/"));
    denied.auth = AuthSettings::Oidc(OidcSettings::Endpoint(TokenRequest {
        url: hyper::Uri::from_static("http://169.254.169.254/token"),
        client_id: "c".to_owned(),
        client_secret: None,
        token_file: None,
        scope: None,
        audience: None,
    }));
    let function = Function::new(denied, AnswerPool::new(1 << 20)).unwrap();
    let answer = function.call(&call_of([42]), None).await;
    assert!(
        matches!(&answer, Answer::Misregistered(failure) if failure.reason.contains("169.254.0.0/16")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_token_in_a_file_is_sent_as_it_is_or_proves_who_the_client_is() {
    let file = std::env::temp_dir().join(format!("fnbridge-token-{}", std::process::id()));
    std::fs::write(&file, "a.b.c\n").unwrap();
    let mut world = world("", 200).await;
    let mut settings = settings(world.function.url("/"));
    settings.auth = AuthSettings::Oidc(OidcSettings::File(file.clone()));
    let sent_as_it_is = Function::new(settings.clone(), AnswerPool::new(1 << 20)).unwrap();
    sent_as_it_is.call(&call_of([42]), None).await;
    let request = world.function.requests.recv().await.unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer a.b.c"));
    settings.auth = AuthSettings::Oidc(OidcSettings::Endpoint(TokenRequest {
        url: world.endpoint.url("/token"),
        client_id: "c".to_owned(),
        client_secret: None,
        token_file: Some(file.clone()),
        scope: None,
        audience: Some("fn".to_owned()),
    }));
    let exchanged = Function::new(settings, AnswerPool::new(1 << 20)).unwrap();
    exchanged.call(&call_of([42]), None).await;
    std::fs::remove_file(&file).unwrap();
    let asked = String::from_utf8(world.endpoint.requests.recv().await.unwrap().body).unwrap();
    assert!(
        asked.contains("client%2Dassertion%2Dtype%3Ajwt%2Dbearer&client_assertion=a%2Eb%2Ec&audience=fn"),
        "{asked}"
    );
}

#[test]
fn keys_of_webhooks_are_checked_and_not_shown() {
    let said = |key: &str| hmac::Hmac::new(&[Secret(key.to_owned())]).map_or_else(|wrong| wrong, |_| String::new());
    assert_eq!(said("whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"), "");
    for (key, wrong) in [
        ("hunter2", "a key without whsec_ before it"),
        ("whsec_hunter2!", "a key that is not base64"),
        ("whsec_aHVudGVyMg==", "a key of 7 bytes"),
    ] {
        let found = said(key);
        assert!(found.starts_with(wrong) && !found.contains("hunter2"), "{found}");
    }
}
