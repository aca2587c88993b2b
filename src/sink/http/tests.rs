//! The sink against a server that answers as each test says.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;

use super::{HttpSink, HttpSinkSettings};
use crate::auth::{AuthSettings, OidcSettings, Secret, TokenRequest};
use crate::delivery::answer::Receipt;
use crate::delivery::event::Store;
use crate::http::testing::{Received, Server, Then, answer};
use crate::http::{AddressPolicy, AnswerPool};
use crate::sink::Sink;
use crate::sink::testing::{output, record, store};

/// Records 42, 43, … of `orders/3` with so many results each: `[record, index]`.
fn results(counts: &[usize]) -> Store {
    let items = (42..).zip(counts).map(|(offset, count)| {
        let mut outputs = vec![output(Some("k"), "0"); *count];
        for (index, output) in outputs.iter_mut().enumerate() {
            output.value = Some(format!("[{offset},{index}]").into());
        }
        (record(3, offset), outputs)
    });
    store(items.collect())
}

/// The n-th request gets the n-th status, those after that the last.
async fn server(statuses: &'static [u16]) -> Server {
    Server::start(move |nth| {
        let status = statuses[nth.min(statuses.len() - 1)];
        (answer(status, "", "no such customer"), Then::Keep)
    })
    .await
}

async fn stored(server: &Server, store: Store) -> Vec<Receipt> {
    let sink = HttpSink::open(settings(server), AnswerPool::new(1 << 20)).unwrap();
    sink.store(store).await
}

fn settings(server: &Server) -> HttpSinkSettings {
    HttpSinkSettings {
        pipeline: "p".into(),
        sink: "ledger".into(),
        url: server.url("/in"),
        headers: vec![("x-team".into(), "payments".into())],
        auth: AuthSettings::None,
        timeout: Duration::from_secs(20),
        policy: Arc::new(AddressPolicy::default()),
    }
}

/// The values of each request, without spaces.
fn values(server: &mut Server) -> Vec<String> {
    let requests = std::iter::from_fn(|| server.requests.try_recv().ok());
    requests
        .map(|request: Received| {
            let elements: Vec<serde_json::Value> = serde_json::from_slice(&request.body).unwrap();
            elements
                .iter()
                .map(|element| element["value"].to_string())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// A receipt in a word, and the index that it names.
fn words(receipts: &[Receipt]) -> Vec<String> {
    let word = |receipt: &Receipt| match receipt {
        Receipt::Stored => "stored".to_owned(),
        Receipt::TryAgain(_) => "again".to_owned(),
        Receipt::Refused { index, failure } => format!("refused {index} {}", failure.status.unwrap_or(0)),
        Receipt::Away(failure) => format!("away {}", failure.status.unwrap_or(0)),
        Receipt::AwayFor(failure, wait) => format!("away {} for {wait}", failure.status.unwrap_or(0)),
        Receipt::Blocked(failure) => format!("blocked {}", failure.status.unwrap_or(0)),
    };
    receipts.iter().map(word).collect()
}

#[tokio::test]
async fn a_request_carries_its_key_the_headers_and_the_results() {
    let mut server = server(&[204]).await;
    assert_eq!(words(&stored(&server, results(&[1])).await), ["stored"]);
    let request = server.requests.recv().await.unwrap();
    assert!(request.head.starts_with("POST /in HTTP/1.1"), "{}", request.head);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-team", "payments"),
        ("idempotency-key", "p/ledger/orders/3/42#0"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(
        request.body,
        br#"[{"id":"orders/3/42#0","key":"k","value":[42,0],"headers":{}}]"#
    );
}

#[tokio::test]
async fn one_refused_record_costs_one_record_and_order_is_kept() {
    // All four, the first two, the last two, the third alone, the fourth alone.
    let mut server = server(&[422, 200, 400, 413, 200]).await;
    let receipts = stored(&server, results(&[1, 1, 1, 1])).await;
    assert_eq!(words(&receipts), ["stored", "stored", "refused 0 413", "stored"]);
    assert_eq!(
        values(&mut server),
        [
            "[42,0] [43,0] [44,0] [45,0]",
            "[42,0] [43,0]",
            "[44,0] [45,0]",
            "[44,0]",
            "[45,0]"
        ]
    );
    let Receipt::Refused { failure, .. } = &receipts[2] else {
        unreachable!()
    };
    assert_eq!(failure.response, "no such customer");
}

#[tokio::test]
async fn a_records_other_results_come_before_those_of_later_records() {
    // All, the first record, its first result: refused. The rest waits for the next request.
    let mut server = server(&[422, 422, 422]).await;
    let receipts = stored(&server, results(&[2, 1])).await;
    assert_eq!(words(&receipts), ["refused 0 422", "again"]);
    assert_eq!(values(&mut server), ["[42,0] [42,1] [43,0]", "[42,0] [42,1]", "[42,0]"]);
}

#[tokio::test]
async fn what_stands_behind_an_outage_is_tried_again_and_what_stands_before_it_is_stored() {
    let server = server(&[422, 200, 503]).await;
    let receipts = stored(&server, results(&[1, 1, 1, 1])).await;
    assert_eq!(words(&receipts), ["stored", "stored", "away 503", "away 503"]);
    let server = self::server(&[422, 503]).await;
    let receipts = stored(&server, results(&[1, 1, 1, 1])).await;
    assert_eq!(words(&receipts), ["away 503", "away 503", "again", "again"]);
}

#[tokio::test]
async fn a_wrong_registration_blocks() {
    for status in [&[401_u16][..], &[403], &[404], &[302]] {
        let server = server(status).await;
        assert_eq!(
            words(&stored(&server, results(&[1])).await),
            [format!("blocked {}", status[0])]
        );
    }
}

#[tokio::test]
async fn a_lost_connection_is_an_outage() {
    let server = Server::start(|_| (Vec::new(), Then::Reset)).await;
    assert_eq!(words(&stored(&server, results(&[1])).await), ["away 0"]);
    let mut gone = settings(&server);
    // Bound and let go: nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    gone.url = format!("http://{free}/").parse().unwrap();
    let sink = HttpSink::open(gone, AnswerPool::new(1 << 20)).unwrap();
    assert_eq!(words(&sink.store(results(&[1, 1])).await), ["away 0", "away 0"]);
}

#[tokio::test]
async fn a_place_that_may_not_be_called_blocks() {
    let server = server(&[200]).await;
    let mut denied = settings(&server);
    denied.policy = Arc::new(AddressPolicy {
        allow: Vec::new(),
        deny: vec!["127.0.0.0/8".parse().unwrap()],
    });
    let sink = HttpSink::open(denied, AnswerPool::new(1 << 20)).unwrap();
    assert_eq!(words(&sink.store(results(&[1])).await), ["blocked 0"]);
}

#[tokio::test]
async fn a_sink_says_how_long_it_is_to_be_left_alone() {
    for (status, expected) in [
        (429, "away 429 for 7.0 s"),
        (503, "away 503 for 7.0 s"),
        (500, "away 500"),
    ] {
        let server = Server::answering(answer(status, "retry-after: 7\r\n", "")).await;
        assert_eq!(words(&stored(&server, results(&[1])).await), [expected]);
    }
}

#[tokio::test]
async fn a_long_answer_at_2xx_is_stored_all_the_same() {
    let long = "x".repeat(1 << 20);
    let server = Server::answering(answer(200, "", &long)).await;
    assert_eq!(words(&stored(&server, results(&[1])).await), ["stored"]);
}

async fn stored_with(server: &Server, auth: AuthSettings) -> Vec<String> {
    let settings = HttpSinkSettings {
        auth,
        ..settings(server)
    };
    let sink = HttpSink::open(settings, AnswerPool::new(1 << 20)).unwrap();
    words(&sink.store(results(&[1])).await)
}

fn tokens_of(url: Uri) -> AuthSettings {
    AuthSettings::Oidc(OidcSettings::Endpoint(TokenRequest {
        url,
        client_id: "c".into(),
        client_secret: Some(Secret("s".into())),
        token_file: None,
        scope: None,
        audience: None,
    }))
}

#[tokio::test]
async fn a_webhook_is_signed_under_the_results_key() {
    let mut server = server(&[204]).await;
    let key = Secret("whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB".into());
    assert_eq!(stored_with(&server, AuthSettings::Hmac(vec![key])).await, ["stored"]);
    let request = server.requests.recv().await.unwrap();
    assert_eq!(request.header("webhook-id"), Some("p/ledger/orders/3/42#0"));
    let timestamp = request.header("webhook-timestamp").unwrap();
    let mut signed = format!("p/ledger/orders/3/42#0.{timestamp}.").into_bytes();
    signed.extend(&request.body);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[1; 24]), &signed);
    let expected = format!("v1,{}", STANDARD.encode(signature));
    assert_eq!(request.header("webhook-signature"), Some(&*expected));
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_before_it_blocks() {
    let endpoint = Server::start(|nth| {
        let token = format!(r#"{{"access_token":"t-{}"}}"#, nth + 1);
        (answer(200, "", &token), Then::Keep)
    })
    .await;
    let mut once = server(&[401, 204]).await;
    assert_eq!(stored_with(&once, tokens_of(endpoint.url("/token"))).await, ["stored"]);
    let mut sent = Vec::new();
    while let Ok(request) = once.requests.try_recv() {
        sent.push(request.header("authorization").unwrap().to_owned());
    }
    assert_eq!(sent, ["Bearer t-1", "Bearer t-2"]);
    let always = server(&[401]).await;
    assert_eq!(
        stored_with(&always, tokens_of(endpoint.url("/token"))).await,
        ["blocked 401"]
    );
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_to_the_sink() {
    let mut sink = server(&[204]).await;
    for (status, expected) in [(503, "away 0"), (401, "blocked 0")] {
        let endpoint = Server::answering(answer(status, "", "")).await;
        assert_eq!(stored_with(&sink, tokens_of(endpoint.url("/token"))).await, [expected]);
    }
    assert!(sink.requests.try_recv().is_err());
}
