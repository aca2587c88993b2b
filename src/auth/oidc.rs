//! `oidc`: a token by client credentials, by a token that something else gave, or that token itself.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::cached::{Cached, Fetched};
use super::{Auth, OidcSettings, Proof, TokenRequest, Unproven, hidden};
use crate::http::{AddressPolicy, AnswerPool, HttpAnswer, HttpClient, HttpError, HttpSettings};

/// A token endpoint that does not say how long its tokens are good for.
const UNSTATED: Duration = Duration::from_secs(300);
/// A file's token is read again after this.
const REREAD: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[derive(Debug)]
pub(super) struct Oidc {
    settings: OidcSettings,
    tokens: Cached<HeaderValue>,
    http: HttpClient,
    pool: Arc<AnswerPool>,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: Option<f64>,
}

/// What it answers where it gives none.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Oidc {
    pub(super) fn new(settings: OidcSettings, policy: &Arc<AddressPolicy>) -> Oidc {
        let http = HttpSettings {
            policy: Arc::clone(policy),
            max_in_flight: 1,
            ..HttpSettings::default()
        };
        Oidc {
            settings,
            tokens: Cached::new(),
            http: HttpClient::new(&http),
            pool: AnswerPool::new(MAX_ANSWER_BYTES),
        }
    }

    async fn fetch(&self) -> Result<Fetched<HeaderValue>, Unproven> {
        let (token, valid_for) = match &self.settings {
            OidcSettings::File(file) => (read(file).await?, REREAD),
            OidcSettings::Endpoint(wanted) => self.ask(wanted).await?,
        };
        Ok(Fetched {
            value: hidden(&format!("Bearer {token}")).map_err(Unproven::Wrong)?,
            valid_for: Some(valid_for),
        })
    }

    async fn ask(&self, wanted: &TokenRequest) -> Result<(String, Duration), Unproven> {
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", wanted.client_id.clone()),
        ];
        if let Some(secret) = &wanted.client_secret {
            form.push(("client_secret", secret.0.clone()));
        }
        if let Some(file) = &wanted.token_file {
            form.push(("client_assertion_type", JWT_BEARER.to_owned()));
            form.push(("client_assertion", read(file).await?));
        }
        form.extend(wanted.scope.clone().map(|scope| ("scope", scope)));
        form.extend(wanted.audience.clone().map(|audience| ("audience", audience)));
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let mut request = Request::new(Bytes::from(pairs.join("&")));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = wanted.url.clone();
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match self.http.send(request, TIMEOUT, MAX_ANSWER_BYTES, &self.pool).await {
            Ok(answer) => granted(&answer),
            Err(HttpError::Denied(reason)) => Err(Unproven::Wrong(format!("no token: {reason}"))),
            Err(error) => Err(Unproven::Away(format!("no token: {error}"))),
        }
    }
}

impl Auth for Oidc {
    fn sign<'a>(&'a self, request: &'a mut Request<Bytes>, _: SystemTime) -> BoxFuture<'a, Result<Proof, Unproven>> {
        async {
            let (token, proof) = self.tokens.get(self.fetch()).await?;
            request.headers_mut().insert(AUTHORIZATION, token);
            Ok(proof)
        }
        .boxed()
    }

    fn renew(&self, refused: Proof) -> bool {
        self.tokens.renew(refused)
    }
}

fn granted(answer: &HttpAnswer) -> Result<(String, Duration), Unproven> {
    let status = answer.status.as_u16();
    let said = || {
        let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
        let said: String = refusal.map_or(String::new(), |refusal| refusal.error.chars().take(100).collect());
        if said.is_empty() { said } else { format!(" ({said})") }
    };
    match answer.status {
        StatusCode::OK => {
            let grant: Grant = serde_json::from_slice(&answer.body)
                .map_err(|_| Unproven::Wrong("the token endpoint answered 200 without an access_token".to_owned()))?;
            let seconds = grant.expires_in.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            let valid_for = seconds.map_or(UNSTATED, |seconds| Duration::from_secs_f64(seconds.min(86_400.0)));
            Ok((grant.access_token, valid_for))
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => Err(Unproven::Away(
            format!("no token: the endpoint answered {status}{}", said()),
        )),
        _ if answer.status.is_server_error() => Err(Unproven::Away(format!(
            "no token: the endpoint answered {status}{}",
            said()
        ))),
        _ => Err(Unproven::Wrong(format!(
            "no token: the endpoint answered {status}{}",
            said()
        ))),
    }
}

async fn read(file: &Path) -> Result<String, Unproven> {
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|error| Unproven::Away(format!("no token: {} can't be read: {error}", file.display())))?;
    match text.trim() {
        "" => Err(Unproven::Away(format!("no token: {} is empty", file.display()))),
        token => Ok(token.to_owned()),
    }
}
