//! The API, from outside.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderName};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::wire::{FieldProblem, ProblemDocument};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(35);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a command came to nothing.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) enum Failure {
    /// The fleet answered with a problem.
    Problem(Box<ProblemDocument>),
    /// A sentence.
    Said(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Said(sentence) => f.write_str(sentence),
            Failure::Problem(problem) => {
                write!(f, "{}: {}", problem.title, problem.detail)?;
                let field = problem
                    .field
                    .as_deref()
                    .filter(|field| !field.is_empty() && problem.problems.is_empty());
                if let Some(field) = field {
                    write!(f, " (field {field})")?;
                }
                write!(f, " [{}]", problem.code)?;
                problem
                    .problems
                    .iter()
                    .try_for_each(|one| write!(f, "\n  {}", Told(one)))
            }
        }
    }
}

/// One problem of a document, in a line.
struct Told<'a>(&'a FieldProblem);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.0.line {
            write!(f, "line {line}: ")?;
        }
        if !self.0.field.is_empty() {
            write!(f, "{}: ", self.0.field)?;
        }
        write!(f, "{} [{}]", self.0.message, self.0.code)
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Failure {
        Failure::Said(sentence)
    }
}

/// An answer: as it came, and as what it is.
#[derive(Debug)]
pub(in crate::cli) struct Found<T> {
    /// As it came.
    pub(in crate::cli) raw: Value,
    /// As what it is.
    pub(in crate::cli) value: T,
    /// The revision, from the entity tag.
    pub(in crate::cli) revision: Option<u64>,
}

/// A client of one fleet.
#[derive(Clone)]
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<String>,
}

impl Client {
    /// A client of the fleet at this URL. `ca`: a file of certificates that its own may chain to.
    pub(super) fn new(url: &str, token: Option<String>, ca: Option<&Path>) -> Result<Client, Failure> {
        let wrong = |why: String| Failure::Said(format!("found the URL {url:?}: {why}; expected http://HOST:PORT"));
        let parsed: Url = url.parse().map_err(|error| wrong(format!("{error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("its scheme is {}", parsed.scheme())));
        }
        // Another crate of the process may have chosen the provider already; it is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if let Some(ca) = ca {
            let wrong = |error: &dyn fmt::Display| Failure::Said(format!("{} can't be used: {error}", ca.display()));
            let text = std::fs::read(ca).map_err(|error| wrong(&error))?;
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&text).map_err(|error| wrong(&error))?);
        }
        let http = builder.build();
        Ok(Client {
            http: http.map_err(|error| Failure::Said(format!("no HTTP client: {error}")))?,
            url: parsed,
            token,
        })
    }

    /// The URL of the fleet.
    pub(in crate::cli) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(in crate::cli) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<Found<T>, Failure> {
        let request = self.request(Method::GET, path)?.query(query);
        self.found(request).await
    }

    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Found<T>, Failure> {
        let request = self.request(Method::POST, path)?.json(body);
        self.found(request).await
    }

    /// Sends a document as it was written.
    pub(in crate::cli) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        text: String,
        condition: Option<(HeaderName, String)>,
    ) -> Result<Found<T>, Failure> {
        let headers: HeaderMap = (condition.into_iter())
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let request = self
            .request(method, path)?
            .headers(headers)
            .header(CONTENT_TYPE, "application/yaml")
            .body(text);
        self.found(request).await
    }

    /// Writes something whose answer has no body.
    pub(in crate::cli) async fn put(&self, path: &[&str], body: &impl Serialize) -> Result<(), Failure> {
        let request = self.request(Method::PUT, path)?.json(body);
        self.answer(request.timeout(TIMEOUT)).await.map(drop)
    }

    pub(in crate::cli) async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, path)?.query(query);
        self.answer(request.timeout(TIMEOUT)).await.map(drop)
    }

    /// A stream of events: the data of each, as it comes.
    pub(in crate::cli) async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        mut each: impl FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let data = |line: &[u8]| {
            let line = String::from_utf8_lossy(line);
            match line.trim_end().strip_prefix("data:") {
                Some(data) => each(data.trim_start()),
                None => Ok(()),
            }
        };
        self.lines(path, query, data).await
    }

    /// A stream of lines, each with its end, as they come; one that has none is the beginning of a line that broke off.
    pub(in crate::cli) async fn lines(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        mut each: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut response = self.answer(self.request(Method::GET, path)?.query(query)).await?;
        let mut held: Vec<u8> = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            let mut rest = &chunk[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                held.extend_from_slice(&rest[..=end]);
                rest = &rest[end + 1..];
                each(&held)?;
                held.clear();
            }
            held.extend_from_slice(rest);
        }
        match held.is_empty() {
            true => Ok(()),
            false => each(&held),
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Failure> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Said(format!("{} can't have a path", self.url)))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn found<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Found<T>, Failure> {
        let response = self.answer(request.timeout(TIMEOUT)).await?;
        let tag = response
            .headers()
            .get(ETAG)
            .and_then(|tag| tag.to_str().ok()?.trim_matches('"').parse().ok());
        let raw: Value = response.json().await.map_err(|error| self.unreachable(&error))?;
        let value = serde_json::from_value(raw.clone()).map_err(|error| {
            Failure::Said(format!(
                "{} answered in a way that this version does not know: {error}",
                self.url()
            ))
        })?;
        Ok(Found {
            raw,
            value,
            revision: tag,
        })
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        Err(match serde_json::from_str(&text) {
            Ok(problem) => Failure::Problem(Box::new(problem)),
            Err(_) => Failure::Said(format!("{} answered {status}, and is no fnbridge", self.url())),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut reason: &dyn std::error::Error = error;
        while let Some(deeper) = reason.source() {
            reason = deeper;
        }
        Failure::Said(format!(
            "no worker answers at {}: {reason}. Start one with `fnbridge serve` or `fnbridge dev`, or name another with --url",
            self.url()
        ))
    }
}
