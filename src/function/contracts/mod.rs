//! The shapes of request and answer that functions speak, one file each.

mod aliyun_fc;
mod aws_lambda;
#[cfg(test)]
mod bad;
mod cloudevents;
#[cfg(test)]
mod golden;
mod json;
mod raw;
mod text;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::reply::Reply;
use super::settings::{ContractKind, FunctionSettings};
use crate::delivery::answer::Verdict;
use crate::delivery::record::Record;
use crate::json::Formats;

/// The records of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    /// The pipeline's name.
    pub(super) pipeline: &'a str,
    /// The batch's id.
    pub(super) id: &'a str,
    /// At least one record, all of one partition.
    pub(super) records: &'a [Arc<Record>],
    /// From 1; the highest of its records.
    pub(super) attempt: u32,
    /// The W3C trace context of this attempt.
    pub(super) traceparent: Option<&'a Bytes>,
}

/// What a contract makes of a batch: a POST, whose other headers are the same in all contracts.
#[derive(Debug)]
pub(super) struct Encoded {
    /// `None`: there are no data that could have one.
    pub(super) content_type: Option<HeaderValue>,
    /// Headers of this contract alone.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A shape of request and answer. What it does depends on nothing but its arguments.
pub(super) trait Contract: Debug + Send + Sync {
    /// The request for a batch whose keys and values were found valid in their formats.
    fn encode(&self, batch: &Batch<'_>) -> Encoded;

    /// Whether an answer's head says in this contract's own way that the function failed, whatever its status, and how.
    fn function_error(&self, _headers: &HeaderMap) -> Option<String> {
        None
    }

    /// One verdict for each record, in the batch's order, from an answer whose status is 2xx.
    ///
    /// # Errors
    /// Why the answer is not usable: a failed attempt.
    fn decode(&self, status: u16, headers: &HeaderMap, body: &Bytes, batch: &Batch<'_>)
    -> Result<Vec<Verdict>, String>;
}

/// The contract that a function speaks.
pub(super) fn of(settings: &FunctionSettings) -> Box<dyn Contract> {
    let replies = || Replies {
        sinks: settings.sinks.clone(),
        formats: settings.formats,
    };
    match &settings.contract {
        ContractKind::Json => Box::new(json::Json::new(settings.formats, settings.sinks.clone())),
        ContractKind::Raw => Box::new(raw::Raw::new(!settings.sinks.is_empty())),
        ContractKind::CloudEvents(events) => cloudevents::of(events, replies()),
        ContractKind::AwsLambda(lambda) => {
            Box::new(aws_lambda::AwsLambda::new(lambda.clone(), &settings.url, replies()))
        }
        ContractKind::AliyunFc(fc) => Box::new(aliyun_fc::AliyunFc::new(fc.clone(), &settings.url, replies())),
    }
}

/// What contracts know of the pipeline to read an answer: one that speaks the contract `json` is understood in all of them
/// but `raw`.
#[derive(Debug)]
struct Replies {
    sinks: Vec<String>,
    formats: Formats,
}

impl Replies {
    fn to<'a>(&'a self, batch: &Batch<'a>) -> Reply<'a> {
        Reply::to(batch.records, &self.sinks, &self.formats, batch.traceparent)
    }
}

/// The records of a batch by their offsets: lanes keep their order, and functions of this contract rely on that of offsets.
fn in_offset_order<'a>(batch: &Batch<'a>) -> Vec<&'a Record> {
    let mut records: Vec<&Record> = batch.records.iter().map(|record| &**record).collect();
    records.sort_by_key(|record| record.offset);
    records
}

/// What is found under a header's name, as far as it is text.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Room for a request: its records' payload and `overhead` for each.
fn room(batch: &Batch<'_>, overhead: usize) -> Vec<u8> {
    let payload = |record: &Arc<Record>| record.payload_bytes() * 3 / 2 + overhead;
    Vec::with_capacity(batch.records.iter().map(payload).sum::<usize>() + overhead)
}
