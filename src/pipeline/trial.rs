//! A call of a pipeline's function on one record, of which nothing is delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Uri;

use super::PipelineSettings;
use crate::deadletter::given_up;
use crate::delivery::answer::{Answer, Verdict};
use crate::delivery::event::Admission;
use crate::delivery::record::{Output, Record, TopicPartition};
use crate::function::Function;
use crate::http::AnswerPool;
use crate::kafka::read_record;

/// What a call came to.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The URL that was called, if any was.
    pub url: String,
    /// The request's body.
    pub request: Bytes,
    /// The answer's status, where there was one.
    pub status: Option<u16>,
    /// The answer's body.
    pub response: Bytes,
    /// How long it took.
    pub took: Duration,
    /// What the record would become, in a sentence.
    pub meaning: String,
    /// The results that would go to the sinks.
    pub results: Vec<Output>,
}

/// A request as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldSend {
    /// Where to; it is a POST.
    pub url: String,
    /// The headers; what the pipeline's document or its secrets say in them is left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// The request that the pipeline's function would get for a dead letter's record, by the document as it is now.
///
/// # Errors
/// Why there would be none.
pub fn would_send(settings: &PipelineSettings, letter: Record) -> Result<WouldSend, String> {
    let function = settings
        .function
        .clone()
        .ok_or("the pipeline has no function: records go to the sinks as they are")?;
    let record = given_up(letter);
    if let Some(meaning) = kept_from_function(settings, &record) {
        return Err(format!("it would not be called: {meaning}"));
    }
    let configured: Vec<String> = function.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    let function = Function::new(function, AnswerPool::new(settings.task.in_flight_bytes))?;
    let request = function.would_send(Arc::new(record))?;
    let shown = |name: &str, value: &[u8]| match configured.iter().any(|own| own == name) {
        true => "…".to_owned(),
        false => String::from_utf8_lossy(value).into_owned(),
    };
    Ok(WouldSend {
        url: request.uri().to_string(),
        headers: (request.headers().iter())
            .map(|(name, value)| (name.to_string(), shown(name.as_str(), value.as_bytes())))
            .collect(),
        body: request.into_body(),
    })
}

/// Reads a record and calls the pipeline's function with it once, or another URL's. Of one of the pipeline's dead letters it is
/// called with the record that was given up, as it was.
///
/// # Errors
/// A record that is not there; a pipeline without a function; settings that can't work.
pub async fn try_record(
    settings: &PipelineSettings,
    source: &TopicPartition,
    offset: i64,
    url: Option<Uri>,
) -> Result<Trial, String> {
    let mut function = settings
        .function
        .clone()
        .ok_or("the pipeline has no function: records go to the sinks as they are")?;
    function.url = url.unwrap_or(function.url);
    let url = function.url.to_string();
    let (cluster, place) = (settings.source.cluster.clone(), source.clone());
    let read = tokio::task::spawn_blocking(move || read_record(&cluster, &place, offset)).await;
    let record = read
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let record = match *record.source.topic == *settings.dead_letter.topic {
        true => given_up(record),
        false => record,
    };
    if let Some(meaning) = kept_from_function(settings, &record) {
        return Ok(Trial {
            url,
            request: Bytes::new(),
            status: None,
            response: Bytes::new(),
            took: Duration::ZERO,
            meaning,
            results: Vec::new(),
        });
    }
    let function = Function::new(function, AnswerPool::new(settings.task.in_flight_bytes))?;
    let began = Instant::now();
    let tried = function.trial(Arc::new(record)).await;
    let (meaning, results) = meaning(tried.answer);
    Ok(Trial {
        url,
        request: tried.request,
        status: tried.status,
        response: tried.response,
        took: began.elapsed(),
        meaning,
        results,
    })
}

/// What a record becomes that the function does not see.
fn kept_from_function(settings: &PipelineSettings, record: &Record) -> Option<String> {
    match settings.admit(record) {
        Admission::Pass | Admission::Answered(_) => None,
        Admission::Filtered => Some("the filter leaves it out: it is settled as filtered, without a call".to_owned()),
        Admission::Refused { stage, reason } => {
            let stage = stage.name();
            Some(format!(
                "it becomes a dead letter of stage {stage}, without a call: {reason}"
            ))
        }
    }
}

fn meaning(answer: Answer) -> (String, Vec<Output>) {
    let said = match answer {
        Answer::Verdicts(verdicts) => return verdicts.into_iter().next().map_or_else(accepted, verdict),
        Answer::DeliverNothing => return accepted(),
        Answer::Failed(failure) => format!("a failed attempt, which is retried: {}", failure.reason),
        Answer::Refused(failure) => format!("it becomes a dead letter: {}", failure.reason),
        Answer::TooLarge(failure) => format!("too large: it becomes a dead letter: {}", failure.reason),
        Answer::Busy { failure, .. } => format!("the function is busy, and is waited for: {}", failure.reason),
        Answer::Misregistered(failure) => {
            format!("the registration is wrong, and the pipeline waits: {}", failure.reason)
        }
        Answer::Away(failure) => format!("the function is away, and is waited for: {}", failure.reason),
        Answer::Drop(failure) => format!("it is dropped, as `responses` says: {}", failure.reason),
        Answer::DeadLetter(failure) => format!("it becomes a dead letter, as `responses` says: {}", failure.reason),
        Answer::Block(failure) => format!("its lane is blocked, as `responses` says: {}", failure.reason),
    };
    (said, Vec::new())
}

fn accepted() -> (String, Vec<Output>) {
    ("it is accepted, and nothing is delivered".to_owned(), Vec::new())
}

fn verdict(verdict: Verdict) -> (String, Vec<Output>) {
    match verdict {
        Verdict::Deliver(results) if results.is_empty() => accepted(),
        Verdict::Deliver(results) if results.len() == 1 => ("1 result is delivered".to_owned(), results),
        Verdict::Deliver(results) => (format!("{} results are delivered", results.len()), results),
        Verdict::Drop => ("it is dropped".to_owned(), Vec::new()),
        Verdict::Retry { after, reason } => {
            let wait = after.map_or_else(String::new, |after| format!(" after {after}"));
            (format!("it is retried{wait}: {reason}"), Vec::new())
        }
        Verdict::Again => ("it is called again".to_owned(), Vec::new()),
        Verdict::DeadLetter { reason } => (format!("it becomes a dead letter: {reason}"), Vec::new()),
    }
}
