//! `aws_lambda`: events as AWS Lambda gives them to functions that are attached to Kafka, to a function's URL or to the
//! Invoke API.

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::text::{Object, push_list, push_number};
use super::{Batch, Contract, Encoded, Replies, in_offset_order, room};
use crate::delivery::answer::Verdict;
use crate::delivery::record::{Header, Record};
use crate::function::reply::members;
use crate::function::settings::{AwsLambdaSettings, ItemFailures};
use crate::json::explain;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const FAILURES: &str = "batchItemFailures";
/// Names and numbers of a record take about this much.
const RECORD_OVERHEAD_BYTES: usize = 200;

#[derive(Debug)]
pub(super) struct AwsLambda {
    settings: AwsLambdaSettings,
    /// The URL is the Invoke API's, not the function's own.
    is_invoke: bool,
    replies: Replies,
}

/// One element of `batchItemFailures`.
#[derive(Deserialize)]
#[serde(expecting = "an object with itemIdentifier")]
struct ItemFailure {
    #[serde(rename = "itemIdentifier")]
    id: ItemId,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with partition and offset")]
struct ItemId {
    partition: String,
    offset: i64,
}

impl AwsLambda {
    pub(super) fn new(settings: AwsLambdaSettings, url: &Uri, replies: Replies) -> AwsLambda {
        let path = url.path();
        AwsLambda {
            settings,
            is_invoke: path.starts_with("/2015-03-31/functions/") && path.ends_with("/invocations"),
            replies,
        }
    }

    /// What `batchItemFailures` says: where it names a record that was not sent, nothing can be told of any.
    fn partial(&self, listed: &RawValue, batch: &Batch<'_>) -> Result<Vec<Verdict>, String> {
        let wrong = |error| format!("its {FAILURES} are wrong {}", explain(listed.get(), &error));
        let listed: Option<Vec<ItemFailure>> = serde_json::from_str(listed.get()).map_err(wrong)?;
        let place = place(&batch.records[0]);
        let mut failed = BTreeSet::new();
        for ItemFailure { id } in listed.into_iter().flatten() {
            let sent = id.partition == place && batch.records.iter().any(|record| record.offset == id.offset);
            if !sent {
                let partition: String = id.partition.chars().take(100).collect();
                return Err(format!(
                    "its {FAILURES} name offset {} of {partition:?}, which was not in the event",
                    id.offset
                ));
            }
            failed.insert(id.offset);
        }
        let lowest = match self.settings.item_failures {
            ItemFailures::FromFirst => failed.first().copied().unwrap_or(i64::MAX),
            ItemFailures::Listed => i64::MAX,
        };
        let verdict = |offset: i64| match failed.contains(&offset) {
            true => Verdict::Retry {
                after: None,
                reason: format!("the function lists it in {FAILURES}"),
            },
            false if offset > lowest => Verdict::Again,
            false => Verdict::Deliver(Vec::new()),
        };
        Ok(batch.records.iter().map(|record| verdict(record.offset)).collect())
    }
}

impl Contract for AwsLambda {
    fn encode(&self, batch: &Batch<'_>) -> Encoded {
        let mut out = room(batch, RECORD_OVERHEAD_BYTES);
        let mut event = Object::begin(&mut out);
        match &self.settings.cluster_arn {
            Some(arn) => {
                event.text("eventSource", "aws:kafka");
                event.text("eventSourceArn", arn);
            }
            None => event.text("eventSource", "SelfManagedKafka"),
        }
        event.text("bootstrapServers", &self.settings.bootstrap_servers);
        let mut records = Object::begin(event.member("records"));
        push_list(
            records.member(&place(&batch.records[0])),
            in_offset_order(batch),
            push_record,
        );
        records.end();
        event.end();
        let invoke = (INVOCATION_TYPE, HeaderValue::from_static("RequestResponse"));
        Encoded {
            content_type: Some(HeaderValue::from_static("application/json")),
            headers: self.is_invoke.then_some(invoke).into_iter().collect(),
            body: Bytes::from(out),
        }
    }

    fn decode(
        &self,
        _status: u16,
        _headers: &HeaderMap,
        body: &Bytes,
        batch: &Batch<'_>,
    ) -> Result<Vec<Verdict>, String> {
        let reply = self.replies.to(batch);
        let answer = match serde_json::from_slice::<&RawValue>(body) {
            Ok(answer) => answer,
            Err(error) if names_failures(body) => {
                let text = String::from_utf8_lossy(body);
                return Err(format!("its body is not JSON {}", explain(&text, &error)));
            }
            Err(_) => return reply.verdicts(body),
        };
        let Some(members) = members(answer) else {
            return match answer.get() {
                "null" => Ok(reply.accepted()),
                _ => reply.verdicts(body),
            };
        };
        let mut failures = members.iter().filter(|(name, _)| name == FAILURES);
        match (failures.next(), members.len()) {
            (Some((_, listed)), 1) => self.partial(listed, batch),
            (Some(_), _) if failures.next().is_some() => Err(format!("`{FAILURES}` stands there twice")),
            (Some(_), _) if members.iter().any(|(name, _)| name == "records" || name == "results") => Err(format!(
                "`{FAILURES}` stands beside `records` or `results`, expected one of them"
            )),
            (Some((_, listed)), _) => self.partial(listed, batch),
            (None, 0) => Ok(reply.accepted()),
            (None, _) => reply.verdicts(body),
        }
    }
}

/// `<topic>-<partition>`
fn place(record: &Record) -> String {
    format!("{}-{}", record.source.topic, record.source.partition)
}

/// A body that was cut off may still be one that lists failures.
fn names_failures(body: &[u8]) -> bool {
    body.windows(FAILURES.len()).any(|bytes| bytes == FAILURES.as_bytes())
}

fn push_record(out: &mut Vec<u8>, record: &Record) {
    let mut object = Object::begin(out);
    object.text("topic", &record.source.topic);
    object.number("partition", record.source.partition);
    object.number("offset", record.offset);
    object.number("timestamp", record.timestamp_ms);
    let has_time = record.timestamp_ms >= 0;
    object.text(
        "timestampType",
        if has_time { "CREATE_TIME" } else { "NO_TIMESTAMP_TYPE" },
    );
    object.base64("key", record.key.as_deref());
    object.base64("value", record.value.as_deref());
    push_list(object.member("headers"), &record.headers, push_header);
    object.end();
}

/// A header's bytes are signed numbers; null has none.
fn push_header(out: &mut Vec<u8>, header: &Header) {
    let mut object = Object::begin(out);
    let bytes = header.value.as_deref().unwrap_or_default();
    push_list(object.member(&header.name), bytes, |out, byte| {
        push_number(out, byte.cast_signed());
    });
    object.end();
}
