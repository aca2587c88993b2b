//! How a call ends.

use std::error::Error as _;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};

use super::policy::Denied;
use super::pool::Lease;

/// An answer, whole.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status; redirects are not followed.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; of an answer that is not 2xx perhaps only its beginning.
    pub body: Bytes,
    /// The room that the body takes, given back when the answer is dropped.
    pub lease: Lease,
}

/// How a call ended without a whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address may not be connected to.
    #[error("{0}")]
    Denied(String),
    /// No connection was made: name, TCP or TLS failed, or took too long. Nothing was sent.
    #[error("{0}")]
    Away(String),
    /// The connection was lost after the request was sent, or what came back was not HTTP.
    #[error("{0}")]
    Lost(String),
    /// The whole answer did not come in time. The request may still be worked on.
    #[error("{0}")]
    TimedOut(String),
    /// A 2xx answer is larger than it may be; the rest was not read.
    #[error("{reason}")]
    TooLarge {
        /// What was found, and what was expected.
        reason: String,
        /// The answer's status.
        status: StatusCode,
    },
}

/// How a call ended that the client gave up.
pub(super) fn not_answered(error: &hyper_util::client::legacy::Error, place: &str) -> HttpError {
    if !error.is_connect() {
        return HttpError::Lost(format!("{place} gave no answer: {}", causes(error)));
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(denied) = inner.downcast_ref::<Denied>() {
            return HttpError::Denied(format!("{place} may not be called: {denied}"));
        }
        cause = inner.source();
    }
    HttpError::Away(format!("no connection to {place}: {}", causes(error)))
}

/// What lies under an error, outermost first; the outermost itself says only "client error".
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let word = inner.to_string();
        if words.last().is_none_or(|last| !last.contains(&word)) {
            words.push(word);
        }
        cause = inner.source();
    }
    if words.is_empty() {
        error.to_string()
    } else {
        words.join(": ")
    }
}

/// Host and port, without what else a URL may hold.
pub(super) fn place(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("(no host)");
    match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
