//! The client against small servers, over real sockets.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::contexts::{Context, Contexts};
use super::{Client, Failure, Remote};

async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Answers with what it was asked.
fn mirror() -> Router {
    let tell = |method: axum::http::Method, uri: Uri, headers: HeaderMap, body: String| async move {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &header::HeaderValue| value.to_str().ok())
        };
        let asked = json!({
            "method": method.as_str(), "uri": uri.to_string(), "token": text(header::AUTHORIZATION), "body": body,
        });
        ([(header::ETAG, "\"7\"")], Json(asked))
    };
    Router::new().fallback(any(tell))
}

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), Some("secret".to_owned()), None).unwrap()
}

fn said<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn a_request_has_its_path_its_query_its_body_and_its_token() {
    let client = client(serve(mirror()).await);
    let query = [("after", "a&b".to_owned())];
    let found = client.get::<Value>(&["pipelines", "a/../b"], &query).await.unwrap();
    assert_eq!(
        found.raw["uri"], "/v1/pipelines/a%2F..%2Fb?after=a%26b",
        "a name is one part of the path"
    );
    assert_eq!(
        (&found.raw["token"], found.revision),
        (&json!("Bearer secret"), Some(7))
    );
    let posted = client.post::<Value>(&["x"], &json!({"a": 1})).await.unwrap();
    assert_eq!(
        (&posted.raw["method"], &posted.raw["body"]),
        (&json!("POST"), &json!("{\"a\":1}"))
    );
}

#[tokio::test]
async fn what_answers_in_the_wrong_way_is_named_and_so_is_nobody() {
    let problem = json!({
        "type": "/v1/errors#forbidden", "title": "The token may not do this", "status": 403, "code": "forbidden", "detail": "expected admin",
    });
    let routes = Router::new()
        .route(
            "/v1/problem",
            get(move || async move { (StatusCode::FORBIDDEN, Json(problem)) }),
        )
        .route("/v1/page", get(|| async { (StatusCode::BAD_GATEWAY, "<html>") }))
        .route("/v1/odd", get(|| async { Json(json!({"pipelines": 3})) }));
    let address = serve(routes).await;
    let client = client(address);
    let refused = said(client.get::<Value>(&["problem"], &[]).await);
    assert_eq!(refused, "The token may not do this: expected admin [forbidden]");
    let page = said(client.get::<Value>(&["page"], &[]).await);
    assert_eq!(
        page,
        format!("http://{address} answered 502 Bad Gateway, and is no fnbridge")
    );
    let odd = said(client.get::<crate::api::wire::PipelineList>(&["odd"], &[]).await);
    assert!(odd.contains("in a way that this version does not know"), "{odd}");
    let nobody = Client::new("http://127.0.0.1:1", None, None).unwrap();
    let nobody = said(nobody.get::<Value>(&["x"], &[]).await);
    assert!(
        nobody.starts_with("no worker answers at http://127.0.0.1:1: Connection refused"),
        "{nobody}"
    );
    for wrong in ["here", "ftp://here", "http://"] {
        assert!(
            said(Client::new(wrong, None, None).map(|_| ())).contains("expected http://HOST:PORT"),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_read_line_by_line_however_it_is_cut() {
    let text = "event: info\ndata: {\"a\":\"é\"}\n\n: still here\n\ndata:{\"b\":2}\n\n";
    let chunks: Vec<_> = text
        .bytes()
        .map(|byte| Ok::<_, std::convert::Infallible>(Bytes::from(vec![byte])))
        .collect();
    let body = move || async move { Body::from_stream(stream::iter(chunks)).into_response() };
    let client = client(serve(Router::new().route("/v1/events", get(body))).await);
    let mut seen = Vec::new();
    let each = |data: &str| {
        seen.push(data.to_owned());
        Ok(())
    };
    client.stream(&["events"], &[], each).await.unwrap();
    assert_eq!(seen, ["{\"a\":\"é\"}", "{\"b\":2}"]);
}

#[tokio::test]
async fn a_context_is_for_its_own_fleet_alone() {
    let own = format!("http://{}", serve(mirror()).await);
    let other = format!("http://{}", serve(mirror()).await);
    let token = std::env::temp_dir().join(format!("fnbridge-token-{}", std::process::id()));
    std::fs::write(&token, "of-a\n").unwrap();
    let context = |url: &str, token_file: Option<&PathBuf>| Context {
        url: url.to_owned(),
        token_file: token_file.cloned(),
        ca: None,
    };
    let contexts = Contexts {
        current: Some("a".to_owned()),
        contexts: [
            ("a".to_owned(), context(&own, Some(&token))),
            ("b".to_owned(), context(&other, None)),
        ]
        .into(),
    };
    let asked = async |url: Option<&str>, stated: Option<&str>, context: Option<&str>| {
        let remote = Remote {
            url: url.map(str::to_owned),
            token: stated.map(str::to_owned),
            ca: None,
            context: context.map(str::to_owned),
        };
        let client = remote.client_of(&contexts)?;
        let found = client.get::<Value>(&["x"], &[]).await?;
        Ok::<_, Failure>((client.url().to_owned(), found.raw["token"].clone()))
    };
    assert_eq!(
        asked(None, None, None).await.unwrap(),
        (own.clone(), json!("Bearer of-a"))
    );
    assert_eq!(
        asked(Some(&own), None, None).await.unwrap(),
        (own.clone(), json!("Bearer of-a"))
    );
    assert_eq!(
        asked(Some(&other), None, None).await.unwrap(),
        (other.clone(), Value::Null)
    );
    assert_eq!(asked(None, None, Some("b")).await.unwrap(), (other, Value::Null));
    assert_eq!(
        asked(None, Some("mine"), None).await.unwrap(),
        (own, json!("Bearer mine"))
    );
    assert!(said(asked(None, None, Some("c")).await).contains("no context named \"c\""));
    std::fs::remove_file(&token).unwrap();
    let unreadable = said(asked(None, None, None).await);
    assert!(
        unreadable.starts_with("the context's token can't be read from"),
        "{unreadable}"
    );
}
