//! Results to a URL, as JSON arrays.

mod receipt;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use self::receipt::Meaning;
use self::request::Element;
use super::Sink;
use crate::auth::{self, Auth, AuthSettings, NotAnswered};
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::event::Store;
use crate::http::{AddressPolicy, AnswerPool, HttpClient, HttpSettings};
use crate::http::{check_header, check_url};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Of an answer, only the status and the beginning of a refusal matter.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Requests to one sink on the wire.
const MAX_REQUESTS: usize = 64;

/// A URL that results go to.
#[derive(Clone, Debug)]
pub struct HttpSinkSettings {
    /// The pipeline, for the idempotency key.
    pub pipeline: String,
    /// The sink's name, for the same.
    pub sink: String,
    /// Absolute, `http` or `https`.
    pub url: Uri,
    /// Headers of each request.
    pub headers: Vec<(String, String)>,
    /// How requests are authenticated.
    pub auth: AuthSettings,
    /// For a whole request, from the first byte to the last.
    pub timeout: Duration,
    /// Where the sink may be.
    pub policy: Arc<AddressPolicy>,
}

#[derive(Clone)]
pub(super) struct HttpSink(Arc<Inner>);

struct Inner {
    settings: HttpSinkSettings,
    headers: HeaderMap,
    auth: Option<Box<dyn Auth>>,
    http: HttpClient,
    pool: Arc<AnswerPool>,
}

impl HttpSink {
    pub(super) fn open(settings: HttpSinkSettings, pool: Arc<AnswerPool>) -> Result<HttpSink, String> {
        check_url(&settings.url)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let (name, value) = check_header(name, value)?;
            headers.insert(name, value);
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!(
            "fnbridge/",
            env!("CARGO_PKG_VERSION")
        )));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let http = HttpClient::new(&HttpSettings {
            policy: settings.policy.clone(),
            max_in_flight: MAX_REQUESTS,
            ..HttpSettings::default()
        });
        Ok(HttpSink(Arc::new(Inner {
            auth: auth::of(&settings.auth, &settings.policy)?,
            settings,
            headers,
            http,
            pool,
        })))
    }
}

impl Sink for HttpSink {
    fn store(&self, store: Store) -> BoxFuture<'static, Vec<Receipt>> {
        let inner = self.0.clone();
        async move { inner.store(&store).await }.boxed()
    }
}

impl Inner {
    /// Sends the results in order; a request that is refused is halved, until the result that is refused stands alone.
    async fn store(&self, store: &Store) -> Vec<Receipt> {
        let elements = request::elements(store);
        let mut receipts = vec![Receipt::Stored; store.items.len()];
        let mut waiting: Vec<_> = std::iter::once(0..elements.len()).collect();
        while let Some(range) = waiting.pop().filter(|range| !range.is_empty()) {
            let sent = &elements[range.clone()];
            match self.send(sent).await {
                Meaning::Stored => {}
                Meaning::Refused(_) if sent.len() > 1 => {
                    let (first, second) = request::halves(&elements, &range);
                    waiting.extend([second, first]);
                }
                Meaning::Refused(failure) => {
                    let Element { item, index, more, .. } = sent[0];
                    receipts[item] = Receipt::Refused { index, failure };
                    if more {
                        // Its other results come before those of later records, and are asked for again from here.
                        not_sent(&mut receipts, &elements[range.end..]);
                        break;
                    }
                }
                Meaning::Elsewise(receipt) => {
                    sent.iter().for_each(|element| receipts[element.item] = receipt.clone());
                    not_sent(&mut receipts, &elements[range.end..]);
                    break;
                }
            }
        }
        receipts
    }

    async fn send(&self, elements: &[Element<'_>]) -> Meaning {
        let mut sent = hyper::Request::new(request::body(elements));
        *sent.method_mut() = hyper::Method::POST;
        *sent.uri_mut() = self.settings.url.clone();
        *sent.headers_mut() = self.headers.clone();
        let key = request::idempotency_key(&self.settings.pipeline, &self.settings.sink, elements);
        match HeaderValue::try_from(key) {
            Ok(key) => sent.headers_mut().insert(IDEMPOTENCY_KEY, key),
            Err(error) => return receipt::not_sendable(&error.to_string()),
        };
        let send = |sent| (self.http).send(sent, self.settings.timeout, MAX_RESPONSE_BYTES, &self.pool);
        match auth::send(self.auth.as_deref(), sent, send).await {
            Ok(answer) => receipt::meaning(Ok(answer)),
            Err(NotAnswered::Http(error)) => receipt::meaning(Err(error)),
            Err(NotAnswered::Unproven(why)) => receipt::not_signed(why),
        }
    }
}

/// Records that had to wait for another one are tried again.
fn not_sent(receipts: &mut [Receipt], elements: &[Element<'_>]) {
    for element in elements {
        if receipts[element.item] == Receipt::Stored {
            receipts[element.item] = Receipt::TryAgain(Failure::of("a result before it was not stored"));
        }
    }
}
