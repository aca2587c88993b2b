//! The gateway's requests and answers: keys and values are base64, 64-bit numbers are text.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::decoded;
use crate::store::{Condition, Entry, Order, Revision};

pub(super) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    revision: String,
}

impl Header {
    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision.parse().unwrap_or_default())
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RangeRequest {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    range_end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort_target: Option<&'static str>,
}

impl RangeRequest {
    pub(super) fn one(key: String) -> RangeRequest {
        RangeRequest {
            key,
            range_end: None,
            limit: None,
            sort_order: None,
            sort_target: None,
        }
    }

    pub(super) fn of(key: String, end: String, order: Order, limit: usize) -> RangeRequest {
        RangeRequest {
            key,
            range_end: Some(end),
            limit: Some(limit.to_string()),
            sort_order: Some(match order {
                Order::Ascending => "ASCEND",
                Order::Descending => "DESCEND",
            }),
            sort_target: Some("KEY"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RangeResponse {
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(super) more: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    mod_revision: String,
}

impl KeyValue {
    /// The key as the store's users know it.
    pub(super) fn key(&self, prefix: &str) -> Option<String> {
        let whole = String::from_utf8(decoded(&self.key)?.to_vec()).ok()?;
        whole.strip_prefix(prefix).map(str::to_owned)
    }

    pub(super) fn entry(&self, prefix: &str) -> Option<Entry> {
        Some(Entry {
            key: self.key(prefix)?,
            value: decoded(&self.value)?,
            revision: self.revision(),
        })
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.mod_revision.parse().unwrap_or_default())
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PutRequest {
    pub(super) key: String,
    pub(super) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lease: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct DeleteRequest {
    key: String,
}

/// One of the three is there.
#[derive(Debug, Default, Serialize)]
pub(super) struct Operation {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_put: Option<PutRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_delete_range: Option<DeleteRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_range: Option<RangeRequest>,
}

impl Operation {
    pub(super) fn put(request: PutRequest) -> Operation {
        Operation {
            request_put: Some(request),
            ..Operation::default()
        }
    }

    pub(super) fn delete(key: String) -> Operation {
        Operation {
            request_delete_range: Some(DeleteRequest { key }),
            ..Operation::default()
        }
    }

    pub(super) fn range(key: String) -> Operation {
        Operation {
            request_range: Some(RangeRequest::one(key)),
            ..Operation::default()
        }
    }
}

/// A key that is not there has the modification revision 0.
#[derive(Debug, Serialize)]
pub(super) struct Compare {
    key: String,
    target: &'static str,
    result: &'static str,
    mod_revision: String,
}

impl Compare {
    pub(super) fn of(condition: &Condition, key: impl Fn(&str) -> String) -> Compare {
        Compare {
            key: key(key_of(condition)),
            target: "MOD",
            result: "EQUAL",
            mod_revision: expected(condition).map_or(0, |revision| revision.0).to_string(),
        }
    }
}

pub(super) fn key_of(condition: &Condition) -> &str {
    match condition {
        Condition::Absent(key) | Condition::At(key, _) => key,
    }
}

fn expected(condition: &Condition) -> Option<Revision> {
    match condition {
        Condition::Absent(_) => None,
        Condition::At(_, revision) => Some(*revision),
    }
}

pub(super) fn holds(condition: &Condition, found: Option<Revision>) -> bool {
    expected(condition) == found
}

#[derive(Debug, Serialize)]
pub(super) struct TxnRequest {
    pub(super) compare: Vec<Compare>,
    pub(super) success: Vec<Operation>,
    pub(super) failure: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TxnResponse {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<OperationResponse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationResponse {
    #[serde(default)]
    response_range: Option<RangeResponse>,
}

impl OperationResponse {
    pub(super) fn found(self) -> Option<Revision> {
        self.response_range?.kvs.first().map(KeyValue::revision)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct LeaseGrant {
    #[serde(rename = "TTL")]
    ttl: String,
}

impl LeaseGrant {
    /// etcd counts in whole seconds.
    pub(super) fn of(lives: Duration) -> LeaseGrant {
        LeaseGrant {
            ttl: lives.as_millis().div_ceil(1000).max(1).to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "ID")]
    pub(super) id: String,
}

#[derive(Debug, Serialize)]
pub(super) struct WatchRequest {
    pub(super) create_request: WatchCreate,
}

#[derive(Debug, Serialize)]
pub(super) struct WatchCreate {
    pub(super) key: String,
    pub(super) range_end: String,
}

/// One line of the stream.
#[derive(Debug, Deserialize)]
pub(super) struct WatchLine {
    pub(super) result: Option<WatchResult>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchResult {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) events: Vec<WatchEvent>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WatchEvent {
    #[serde(default)]
    pub(super) kv: KeyValue,
}
