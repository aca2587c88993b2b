//! Questions for the index of dead letters, where another worker has it: passed on to that one, and its answer passed back.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use reqwest::{Certificate, Client};

use super::problem::{Kind, Problem};
use super::{App, MAX_BODY_BYTES};
use crate::control::fleet::Identity;

/// Whoever gets a request with this header answers it, or says that it can't.
const FORWARDED: HeaderName = HeaderName::from_static("fnbridge-forwarded");
/// What of a request and of its answer is passed on.
const PASSED_ON: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::LOCATION,
    header::RETRY_AFTER,
];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How other workers of the fleet are asked.
#[derive(Clone, Debug, Default)]
pub struct Peers(Client);

impl Peers {
    /// Trusts these certificates (PEM) beside the system's.
    ///
    /// # Errors
    /// Why they can't be used.
    pub fn trusting(pem: &[u8]) -> Result<Peers, String> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let told = |error: reqwest::Error| error.to_string();
        let certificates = Certificate::from_pem_bundle(pem).map_err(told)?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_certs_merge(certificates);
        Ok(Peers(client.build().map_err(told)?))
    }
}

pub(super) async fn forward(State(app): State<App>, request: Request, next: Next) -> Response {
    if !needs_index(&request) || request.headers().contains_key(FORWARDED) {
        return next.run(request).await;
    }
    match app.fleet.letters().await {
        Ok(Err(Some(Identity { id, url: Some(url), .. }))) => {
            pass_on(&app.peers, &url, request).await.unwrap_or_else(|reason| {
                let detail = format!(
                    "the worker {id} leads, and has the index of dead letters; it was asked at {url}: {reason}. Where others reach \
                     it elsewhere, say so in its `advertise`"
                );
                Problem::new(Kind::IndexElsewhere, detail).into_response()
            })
        }
        // What is in the way is told by who needs the index.
        _ => next.run(request).await,
    }
}

fn needs_index(request: &Request) -> bool {
    let path = request.uri().path();
    path.starts_with("/v1/dead-letters") || (path == "/v1/redrives" && request.method() == Method::POST)
}

async fn pass_on(peers: &Peers, url: &str, request: Request) -> Result<Response, String> {
    let told = |error: reqwest::Error| error.without_url().to_string();
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let body = to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|error| error.to_string())?;
    let answer = peers
        .0
        .request(head.method, format!("{}{target}", url.trim_end_matches('/')))
        .headers(passed_on(&head.headers))
        .header(FORWARDED, "1")
        .body(body)
        .send()
        .await
        .map_err(told)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = passed_on(answer.headers());
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    Ok(response)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let found = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
    PASSED_ON.into_iter().filter_map(found).collect()
}
