//! What is said of a function in a pipeline's document, validated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use crate::auth::AuthSettings;
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
    /// How calls are authenticated.
    pub auth: AuthSettings,
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContractKind {
    /// Batches as JSON, answers as JSON.
    Json,
    /// One record's bytes, and bytes back.
    Raw,
    /// CloudEvents 1.0 over HTTP.
    CloudEvents(CloudEventsSettings),
    /// Events as AWS Lambda gives them to functions that are attached to Kafka.
    AwsLambda(AwsLambdaSettings),
    /// Events as Alibaba Cloud gives them to functions that are attached to Kafka.
    AliyunFc(AliyunFcSettings),
}

impl ContractKind {
    /// The contract carries one record a call: `batch.max_records` has to be 1.
    pub fn takes_one_record(&self) -> bool {
        match self {
            ContractKind::Json | ContractKind::AwsLambda(_) | ContractKind::AliyunFc(_) => false,
            ContractKind::Raw => true,
            ContractKind::CloudEvents(settings) => settings.mode != CloudEventsMode::Batch,
        }
    }

    /// The largest request that its owner takes.
    pub fn max_request_bytes(&self) -> Option<usize> {
        match self {
            ContractKind::Json | ContractKind::Raw | ContractKind::CloudEvents(_) => None,
            ContractKind::AwsLambda(_) => Some(6 << 20),
            ContractKind::AliyunFc(_) => Some(16 << 20),
        }
    }

    /// Keys, values and headers of a batch whose request nearly always fits.
    pub fn max_batch_bytes(&self) -> Option<usize> {
        self.max_request_bytes().map(|bytes| bytes / 2)
    }
}

/// How records become CloudEvents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloudEventsSettings {
    /// How they travel.
    pub mode: CloudEventsMode,
    /// `source` of records that are no events yet, without the topic.
    pub source: String,
    /// Their `type`.
    pub kind: String,
}

/// The content modes of CloudEvents over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloudEventsMode {
    /// One event: attributes are headers, the body is its data.
    Binary,
    /// One event, as JSON.
    Structured,
    /// An array of events, as JSON.
    Batch,
}

/// How records become an event of AWS Lambda.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsLambdaSettings {
    /// Hosts and ports of the source's cluster, with commas between them.
    pub bootstrap_servers: String,
    /// The ARN of the MSK cluster that the event names; `None`: a self-managed one.
    pub cluster_arn: Option<String>,
    /// What a partial answer means.
    pub item_failures: ItemFailures,
}

/// What it means that an answer lists records that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemFailures {
    /// The function stopped at the first of them.
    FromFirst,
    /// It went on behind them.
    Listed,
}

/// How records become events of Alibaba Cloud.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AliyunFcSettings {
    /// How an event stands in the list.
    pub format: AliyunEventFormat,
    /// The instance that its subject names.
    pub instance: String,
    /// The account that it names.
    pub account: String,
}

/// How an event stands in the list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AliyunEventFormat {
    /// As an object.
    Objects,
    /// As a string that holds the object's JSON.
    Strings,
    /// Only its data, as an object.
    RawData,
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
