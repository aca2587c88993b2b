//! Tokens of endpoints that misbehave, and functions that refuse them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Function;
use super::tests::{call_of, settings};
use crate::auth::{AuthSettings, OidcSettings, Secret, TokenRequest};
use crate::delivery::answer::Answer;
use crate::http::AnswerPool;
use crate::http::testing::{Server, Then, answer};

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
