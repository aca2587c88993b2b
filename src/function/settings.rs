//! What is said of a function in a pipeline's document, validated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use crate::http::AddressPolicy;
use crate::json::Formats;

/// How a pipeline's function is called.
#[derive(Clone)]
pub struct FunctionSettings {
    /// The pipeline's name.
    pub pipeline: String,
    /// Where the function is: absolute, `http` or `https` (see [`crate::http::check_url`]).
    pub url: Uri,
    /// The shape of request and answer.
    pub contract: ContractKind,
    /// For DNS, TCP and TLS together; never more than nine tenths of `timeout`.
    pub connect_timeout: Duration,
    /// For a whole call, from the first byte to the last.
    pub timeout: Duration,
    /// A body larger than this is not read to its end.
    pub max_response_bytes: usize,
    /// Headers of each request (see [`crate::http::check_header`]).
    pub headers: Vec<(String, String)>,
    /// `responses`: exceptions to what a status means.
    pub overrides: BTreeMap<u16, Override>,
    /// The sinks' names; a name's index is its `SinkId`.
    pub sinks: Vec<String>,
    /// How keys and values stand in a request.
    pub formats: Formats,
    /// Calls on the wire at most.
    pub max_in_flight: usize,
    /// Where the function may be.
    pub policy: Arc<AddressPolicy>,
}

impl fmt::Debug for FunctionSettings {
    /// Without URL and headers, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("FunctionSettings"))
            .field("pipeline", &self.pipeline)
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}

/// The shape of request and answer that a function speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContractKind {
    /// Batches as JSON, answers as JSON.
    Json,
    /// One record's bytes, and bytes back.
    Raw,
}

impl ContractKind {
    /// The contract carries one record a call: `batch.max_records` has to be 1.
    pub fn takes_one_record(self) -> bool {
        match self {
            ContractKind::Json => false,
            ContractKind::Raw => true,
        }
    }
}

/// What a status means in `responses`, in place of what it means elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Override {
    /// A failed attempt.
    Retry,
    /// The record is dropped.
    Drop,
    /// The record is given up.
    DeadLetter,
    /// The batch is delivered, with no results.
    DeliverNothing,
    /// The lanes of the batch wait for an operator.
    Block,
}
