//! Results to a URL, as JSON arrays.

mod receipt;
mod request;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use self::receipt::Meaning;
use super::Sink;
use crate::delivery::answer::Receipt;
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
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let http = HttpClient::new(&HttpSettings {
            policy: settings.policy.clone(),
            max_in_flight: MAX_REQUESTS,
            ..HttpSettings::default()
        });
        Ok(HttpSink(Arc::new(Inner {
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
        let results = request::results(store);
        let mut receipts = vec![Receipt::Stored; store.items.len()];
        let mut waiting: Vec<_> = std::iter::once(0..results.len()).collect();
        while let Some(range) = waiting.pop().filter(|range| !range.is_empty()) {
            match self.send(&results[range.clone()]).await {
                Meaning::Stored => {}
                Meaning::Refused(_) if range.len() > 1 => {
                    let middle = range.start + range.len().div_ceil(2);
                    waiting.push(middle..range.end);
                    waiting.push(range.start..middle);
                }
                Meaning::Refused(failure) => {
                    let (item, index) = results[range.start].place;
                    receipts[item] = Receipt::Refused { index, failure };
                    // The rest of this record's results waits for the next request.
                    skip_record(&mut waiting, &results, item);
                }
                Meaning::Elsewise(receipt) => {
                    results[range.start..].iter().for_each(|result| {
                        let (item, _) = result.place;
                        if receipts[item] == Receipt::Stored {
                            receipts[item] = receipt.clone();
                        }
                    });
                    break;
                }
            }
        }
        receipts
    }

    async fn send(&self, results: &[request::Result]) -> Meaning {
        let mut sent = hyper::Request::new(request::body(results));
        *sent.method_mut() = hyper::Method::POST;
        *sent.uri_mut() = self.settings.url.clone();
        *sent.headers_mut() = self.headers.clone();
        let key = request::idempotency_key(&self.settings.pipeline, &self.settings.sink, results);
        match HeaderValue::try_from(key) {
            Ok(key) => sent.headers_mut().insert(IDEMPOTENCY_KEY, key),
            Err(error) => return receipt::not_sendable(&error.to_string()),
        };
        receipt::meaning(
            self.http
                .send(sent, self.settings.timeout, MAX_RESPONSE_BYTES, &self.pool)
                .await,
        )
    }
}

/// Takes a record's results out of what is still to be sent.
fn skip_record(waiting: &mut [std::ops::Range<usize>], results: &[request::Result], item: usize) {
    for range in waiting {
        while results[range.clone()]
            .first()
            .is_some_and(|result| result.place.0 == item)
        {
            range.start += 1;
        }
    }
}
