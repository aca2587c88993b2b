//! The product's own function code as the client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fnbridge::auth::AuthSettings;
use fnbridge::delivery::answer::{Answer, Verdict};
use fnbridge::delivery::event::{Assignment, Call, CallId};
use fnbridge::delivery::record::{Header, Output, Record, TopicPartition};
use fnbridge::function::{ContractKind, Function, FunctionSettings};
use fnbridge::http::{AddressPolicy, AnswerPool};
use fnbridge::json::Formats;
use hyper::Uri;
use serde_json::Value;

/// A function as a pipeline's document sets it, with one sink.
pub fn settings(url: Uri, contract: ContractKind) -> FunctionSettings {
    FunctionSettings {
        pipeline: "orders-enrich".to_owned(),
        url,
        contract,
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(30),
        max_response_bytes: 1 << 20,
        auth: AuthSettings::None,
        headers: Vec::new(),
        overrides: BTreeMap::new(),
        sinks: vec!["enriched".to_owned()],
        formats: Formats::default(),
        max_in_flight: 16,
        policy: Arc::new(AddressPolicy::default()),
    }
}

/// Calls a function with one batch.
pub fn call(settings: FunctionSettings, records: Vec<Record>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let function = Function::new(settings, AnswerPool::new(1 << 20)).unwrap();
    let call = Call {
        id: CallId(1),
        assignment: Assignment(1),
        records: records.into_iter().map(Arc::new).collect(),
        attempt: 1,
        probe: false,
    };
    runtime.block_on(function.call(&call, None))
}

/// The results of each record.
///
/// # Panics
/// If the answer is another one.
pub fn results(answer: Answer) -> Vec<Vec<Output>> {
    let Answer::Verdicts(verdicts) = answer else {
        panic!("expected results, found {answer:#?}")
    };
    let results = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Deliver(results) => results,
        other => panic!("expected results, found {other:?}"),
    });
    results.collect()
}

/// A result's value as JSON.
pub fn json(result: &Output) -> Value {
    let value = result.value.as_deref().expect("a value");
    serde_json::from_slice(value).unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(value)))
}

/// A record of `orders/3`.
pub fn record(offset: i64, value: impl Into<Bytes>) -> Record {
    Record {
        source: TopicPartition {
            topic: Arc::from("orders"),
            partition: 3,
        },
        offset,
        generation: 0,
        timestamp_ms: 1_764_000_000_123,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Adds a header to a record.
pub fn with_header(mut record: Record, name: &str, value: impl Into<Bytes>) -> Record {
    record.headers.push(Header {
        name: name.to_owned(),
        value: Some(value.into()),
    });
    record
}
