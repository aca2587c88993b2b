//! Calling a pipeline's function: a batch becomes a request, and what comes back becomes an answer.
//!
//! `contracts` know the shapes of request and answer, `status` what an HTTP answer means; both are pure.

#[cfg(test)]
mod bad_input;
mod contracts;
#[cfg(test)]
mod proof;
mod reply;
mod settings;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};

use crate::auth::{self, Auth, NotAnswered, Unproven};
use crate::delivery::answer::{Answer, Failure, Verdict};
use crate::delivery::event::Call;
use crate::delivery::identity::batch_id;
use crate::delivery::record::Record;
use crate::http::{AnswerPool, HttpAnswer, HttpClient, HttpError, HttpSettings};
use contracts::{Batch, Contract};
use status::Class;

pub use crate::http::{check_header, check_url};
pub use settings::{
    AliyunEventFormat, AliyunFcSettings, AwsLambdaSettings, CloudEventsMode, CloudEventsSettings, ContractKind,
    FunctionSettings, ItemFailures, Override,
};

/// What a contract and a call set: room for it is made at once.
const HEADERS_OF_A_CALL: usize = 8;

/// The beginning of an answer that a failure keeps.
const KEPT_RESPONSE_BYTES: usize = 4096;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PIPELINE: HeaderName = HeaderName::from_static("fnbridge-pipeline");
const TRIAL: HeaderName = HeaderName::from_static("fnbridge-trial");
const ATTEMPT: HeaderName = HeaderName::from_static("fnbridge-attempt");

/// A pipeline's function, ready to be called. It holds its own connections.
#[derive(Debug)]
pub struct Function {
    settings: FunctionSettings,
    contract: Box<dyn Contract>,
    auth: Option<Box<dyn Auth>>,
    /// What each request carries whatever its batch.
    headers: Vec<(HeaderName, HeaderValue)>,
    http: HttpClient,
    pool: Arc<AnswerPool>,
}

/// What a call outside of any delivery came to.
#[derive(Debug)]
pub struct Tried {
    /// The request's body.
    pub request: Bytes,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// The answer's body.
    pub response: Bytes,
    /// What it means.
    pub answer: Answer,
}

impl Function {
    /// A function that was not called yet. Answers are read while `pool` has room.
    ///
    /// # Errors
    /// A URL or a header that can't be sent, and why.
    pub fn new(settings: FunctionSettings, pool: Arc<AnswerPool>) -> Result<Function, String> {
        check_url(&settings.url)?;
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("fnbridge/", env!("CARGO_PKG_VERSION"))),
        );
        for (name, value) in &settings.headers {
            let (name, value) = check_header(name, value)?;
            headers.insert(name, value);
        }
        headers.insert(PIPELINE, header_value(settings.pipeline.clone())?);
        let http = HttpClient::new(&HttpSettings {
            connect_timeout: settings.connect_timeout.min(settings.timeout * 9 / 10),
            policy: Arc::clone(&settings.policy),
            max_in_flight: settings.max_in_flight,
        });
        Ok(Function {
            contract: contracts::of(&settings),
            auth: auth::of(&settings.auth, &settings.policy)?,
            headers: (headers.iter())
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            http,
            pool,
            settings,
        })
    }

    /// Calls the function with a batch, and says what came of it. `traceparent` is the W3C context of this attempt;
    /// results inherit it where their source record has none.
    pub async fn call(&self, call: &Call, traceparent: Option<&str>) -> Answer {
        if call.records.is_empty() {
            return Answer::Verdicts(Vec::new());
        }
        let traceparent = traceparent.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let batch = Batch {
            pipeline: &self.settings.pipeline,
            id: &batch_id(&call.records),
            records: &call.records,
            attempt: call.attempt,
            traceparent: traceparent.as_ref(),
        };
        let request = match self.request(&batch) {
            Ok(request) => request,
            Err(unsendable) => return unsendable.answer(),
        };
        match self.send(request).await {
            Ok(answer) => self.meaning(&answer, &batch),
            Err(answer) => answer,
        }
    }

    /// Calls the function with one record, outside of any delivery; the request says so in `fnbridge-trial`.
    pub async fn trial(&self, record: Arc<Record>) -> Tried {
        let records = [record];
        let id = batch_id(&records);
        let batch = self.alone(&records, &id);
        let mut tried = Tried {
            request: Bytes::new(),
            status: None,
            response: Bytes::new(),
            answer: Answer::DeliverNothing,
        };
        let mut request = match self.request(&batch) {
            Ok(request) => request,
            Err(unsendable) => {
                tried.answer = unsendable.answer();
                return tried;
            }
        };
        request.headers_mut().insert(TRIAL, HeaderValue::from_static("true"));
        tried.request = request.body().clone();
        tried.answer = match self.send(request).await {
            Ok(answer) => {
                tried.status = Some(answer.status.as_u16());
                tried.response = answer.body.clone();
                self.meaning(&answer, &batch)
            }
            Err(answer) => answer,
        };
        tried
    }

    /// The request that a first call with one record would be; nothing is sent.
    ///
    /// # Errors
    /// What can't be said in a request.
    pub fn would_send(&self, record: Arc<Record>) -> Result<Request<Bytes>, String> {
        let records = [record];
        let id = batch_id(&records);
        self.request(&self.alone(&records, &id))
            .map_err(|unsendable| match unsendable {
                Unsendable::TooLarge(reason) | Unsendable::Unnameable(reason) => reason,
            })
    }

    fn alone<'a>(&'a self, records: &'a [Arc<Record>], id: &'a str) -> Batch<'a> {
        Batch {
            pipeline: &self.settings.pipeline,
            id,
            records,
            attempt: 1,
            traceparent: None,
        }
    }

    fn request(&self, batch: &Batch<'_>) -> Result<Request<Bytes>, Unsendable> {
        let contract = &self.settings.contract;
        if batch.records.len() > 1 && contract.takes_one_record() {
            let found = batch.records.len();
            return Err(Unsendable::TooLarge(format!(
                "the contract takes one record a call, found {found}"
            )));
        }
        let encoded = self.contract.encode(batch);
        if let Some(most) = contract.max_request_bytes().filter(|most| encoded.body.len() > *most) {
            let found = encoded.body.len();
            return Err(Unsendable::TooLarge(format!(
                "the request would have {found} bytes, and the contract takes at most {most}: it was not sent"
            )));
        }
        let mut request = Request::new(encoded.body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.url.clone();
        let mut headers = HeaderMap::with_capacity(self.headers.len() + HEADERS_OF_A_CALL);
        headers.extend(self.headers.iter().cloned());
        if let Some(content_type) = encoded.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let key = header_value(idempotency_key(batch)).map_err(Unsendable::Unnameable)?;
        headers.insert(IDEMPOTENCY_KEY, key);
        headers.insert(ATTEMPT, HeaderValue::from(batch.attempt));
        if let Some(traceparent) = batch.traceparent {
            let value = HeaderValue::from_maybe_shared(traceparent.clone());
            headers.insert(
                TRACEPARENT,
                value.map_err(|_| Unsendable::Unnameable("the trace context can't be sent in a header".to_owned()))?,
            );
        }
        headers.extend(encoded.headers);
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<HttpAnswer, Answer> {
        let (timeout, max_bytes) = (self.settings.timeout, self.settings.max_response_bytes);
        let send = |request| self.http.send(request, timeout, max_bytes, &self.pool);
        let answer = auth::send(self.auth.as_deref(), request, send).await;
        answer.map_err(|error| match error {
            NotAnswered::Unproven(why) => unproven(why),
            NotAnswered::Http(error) => without_answer(error),
        })
    }

    fn meaning(&self, answer: &HttpAnswer, batch: &Batch<'_>) -> Answer {
        let status = answer.status.as_u16();
        let class = match self.contract.function_error(&answer.headers) {
            Some(reason) => Class::FunctionError(reason),
            None => status::classify(status, &answer.headers, &self.settings.overrides, SystemTime::now()),
        };
        let failure = |reason: String| Failure {
            reason,
            status: Some(status),
            response: Bytes::copy_from_slice(&answer.body[..answer.body.len().min(KEPT_RESPONSE_BYTES)]),
        };
        match class {
            Class::Done => match self.decode(answer, batch) {
                Ok(verdicts) => Answer::Verdicts(verdicts),
                Err(reason) => Answer::Failed(failure(format!("the answer ({status}) is not usable: {reason}"))),
            },
            Class::FunctionError(reason) => Answer::Failed(failure(reason)),
            other => status::answer(other, failure(status::reason(answer, SystemTime::now()))),
        }
    }

    fn decode(&self, answer: &HttpAnswer, batch: &Batch<'_>) -> Result<Vec<Verdict>, String> {
        // Nobody asked for one: it may be a thousand times as large as it looks.
        let encoding = answer
            .headers
            .get(CONTENT_ENCODING)
            .filter(|encoding| *encoding != "identity");
        if let Some(encoding) = encoding.filter(|_| !answer.body.is_empty()) {
            let encoding: String = String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect();
            return Err(format!("its body has the encoding {encoding}, which was not asked for"));
        }
        self.contract
            .decode(answer.status.as_u16(), &answer.headers, &answer.body, batch)
    }
}

/// Why a batch can't be sent as it is.
enum Unsendable {
    /// Fewer records may be sent.
    TooLarge(String),
    /// A name can't stand in a header.
    Unnameable(String),
}

impl Unsendable {
    fn answer(self) -> Answer {
        match self {
            Unsendable::TooLarge(reason) => Answer::TooLarge(Failure::of(reason)),
            Unsendable::Unnameable(reason) => Answer::Failed(Failure::of(reason)),
        }
    }
}

/// `<pipeline>/<batch>`, and `;g=<n>` where the same offsets named other records before.
fn idempotency_key(batch: &Batch<'_>) -> String {
    let key = [batch.pipeline, "/", batch.id].concat();
    match batch.records.first().map_or(0, |record| record.generation) {
        0 => key,
        generation => format!("{key};g={generation}"),
    }
}

fn header_value(text: String) -> Result<HeaderValue, String> {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .map_err(|_| "a name of the pipeline or topic has characters that can't be sent in a header".to_owned())
}

/// What a call comes to that can't be signed.
fn unproven(why: Unproven) -> Answer {
    match why {
        Unproven::Away(reason) => Answer::Away(Failure::of(reason)),
        Unproven::Wrong(reason) => Answer::Misregistered(Failure::of(reason)),
    }
}

/// What a call came to that got no whole answer.
fn without_answer(error: HttpError) -> Answer {
    match error {
        HttpError::Away(reason) => Answer::Away(Failure::of(reason)),
        // Waiting won't help, a person has to: the worker's configuration keeps this function from being called.
        HttpError::Denied(reason) => Answer::Misregistered(Failure::of(reason)),
        HttpError::Lost(reason) | HttpError::TimedOut(reason) => Answer::Failed(Failure::of(reason)),
        HttpError::TooLarge { reason, status } => Answer::Failed(Failure {
            status: Some(status.as_u16()),
            ..Failure::of(reason)
        }),
    }
}
