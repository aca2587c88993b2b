//! The shapes of request and answer that functions speak, one file each.

mod json;
mod raw;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue};

use super::settings::{ContractKind, FunctionSettings};
use crate::delivery::answer::Verdict;
use crate::delivery::record::Record;

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
    pub(super) content_type: HeaderValue,
    /// Headers of this contract alone.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A shape of request and answer. What it does depends on nothing but its arguments.
pub(super) trait Contract: Debug + Send + Sync {
    /// The request for a batch whose keys and values were found valid in their formats.
    fn encode(&self, batch: &Batch<'_>) -> Encoded;

    /// One verdict for each record, in the batch's order, from an answer whose status is 2xx.
    ///
    /// # Errors
    /// Why the answer is not usable: a failed attempt.
    fn decode(&self, status: u16, headers: &HeaderMap, body: &Bytes, batch: &Batch<'_>)
    -> Result<Vec<Verdict>, String>;
}

/// The contract that a function speaks.
pub(super) fn of(settings: &FunctionSettings) -> Box<dyn Contract> {
    match settings.contract {
        ContractKind::Json => Box::new(json::Json::new(settings.formats, settings.sinks.clone())),
        ContractKind::Raw => Box::new(raw::Raw::new(!settings.sinks.is_empty())),
    }
}
