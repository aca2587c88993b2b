//! etcd, by its JSON gateway: <https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>.

mod watch;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::changes::Changes;
use super::{
    CALL_TIMEOUT, CommitError, Entry, Order, Page, Revision, Store, StoreError, Transaction, Write, behind, kind,
};
use wire::{Compare, Granted, LeaseGrant, Operation, PutRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse};

/// A store in etcd, all of whose keys begin with the URL's path.
#[derive(Debug)]
pub(super) struct EtcdStore {
    endpoints: Arc<Endpoints>,
    changes: Arc<Changes>,
    watching: JoinHandle<()>,
}

/// The members of the cluster, and where their keys are.
#[derive(Debug)]
struct Endpoints {
    client: Client,
    urls: Vec<String>,
    /// The one that answered last.
    at: AtomicUsize,
    prefix: String,
}

impl EtcdStore {
    /// `etcd://HOST:2379,HOST:2379/PREFIX`.
    pub(super) fn open(url: &str) -> Result<EtcdStore, StoreError> {
        let endpoints = Arc::new(Endpoints::read(url)?);
        let changes = Arc::new(Changes::default());
        let watching = tokio::spawn(watch::watch(endpoints.clone(), changes.clone()));
        Ok(EtcdStore {
            endpoints,
            changes,
            watching,
        })
    }

    async fn carry_out(&self, transaction: Transaction) -> Result<Revision, CommitError> {
        let endpoints = &self.endpoints;
        let mut operations = Vec::with_capacity(transaction.writes.len());
        for write in &transaction.writes {
            let key = endpoints.key(write.key());
            operations.push(match write {
                Write::Put { value, lives, .. } => Operation::put(PutRequest {
                    key,
                    value: wire::encoded(value),
                    lease: match lives {
                        Some(lives) => Some(endpoints.grant(*lives).await?),
                        None => None,
                    },
                }),
                Write::Delete { .. } => Operation::delete(key),
            });
        }
        let request = TxnRequest {
            compare: (transaction.conditions.iter())
                .map(|condition| Compare::of(condition, |key| endpoints.key(key)))
                .collect(),
            success: operations,
            failure: (transaction.conditions.iter())
                .map(|condition| Operation::range(endpoints.key(wire::key_of(condition))))
                .collect(),
        };
        let response: TxnResponse = endpoints.call("kv/txn", &request).await?;
        let revision = response.header.revision();
        if response.succeeded {
            let kinds = transaction.writes.iter().map(|write| kind(write.key()));
            kinds.for_each(|kind| self.changes.tell(kind, revision));
            return Ok(revision);
        }
        let found = response.responses.into_iter().map(|one| one.found());
        let unmet =
            (transaction.conditions.iter().zip(found)).find(|(condition, found)| !wire::holds(condition, *found));
        match unmet {
            Some((condition, found)) => Err(CommitError::Conflict {
                key: wire::key_of(condition).to_owned(),
                found,
            }),
            None => Err(CommitError::Store(StoreError::Away(
                "etcd refused a transaction whose conditions hold".to_owned(),
            ))),
        }
    }
}

impl Endpoints {
    fn read(url: &str) -> Result<Endpoints, StoreError> {
        let rest = url.trim_start_matches("etcd://");
        let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, "fnbridge"));
        let urls: Vec<String> = (hosts.split(',').filter(|host| !host.is_empty()))
            .map(|host| format!("http://{host}/v3/"))
            .collect();
        if urls.is_empty() || prefix.is_empty() {
            return Err(StoreError::Unusable(
                "found an etcd URL without a host or a prefix, expected etcd://HOST:2379,HOST:2379/PREFIX".to_owned(),
            ));
        }
        let client = Client::builder()
            .connect_timeout(CALL_TIMEOUT / 2)
            .no_proxy()
            .build()
            .map_err(|error| StoreError::Unusable(error.to_string()))?;
        Ok(Endpoints {
            client,
            urls,
            at: AtomicUsize::new(0),
            prefix: format!("{}/", prefix.trim_end_matches('/')),
        })
    }

    fn key(&self, key: &str) -> String {
        wire::encoded(format!("{}{key}", self.prefix).as_bytes())
    }

    /// The member that answered last, and its URL for a route.
    fn url(&self, route: &str, turn: usize) -> (usize, String) {
        let at = (self.at.load(Ordering::Relaxed) + turn) % self.urls.len();
        (at, format!("{}{route}", self.urls[at]))
    }

    /// Asks one member after the other.
    async fn call<T: DeserializeOwned>(&self, route: &str, request: &impl Serialize) -> Result<T, StoreError> {
        let mut reason = String::new();
        let each = CALL_TIMEOUT / u32::try_from(self.urls.len()).unwrap_or(1);
        for turn in 0..self.urls.len() {
            let (at, url) = self.url(route, turn);
            let sent = self.client.post(&url).json(request).timeout(each).send().await;
            match sent {
                Ok(response) if response.status().is_success() => {
                    self.at.store(at, Ordering::Relaxed);
                    return response.json().await.map_err(|error| away(&error));
                }
                Ok(response) => {
                    let status = response.status();
                    let text = response.text().await.unwrap_or_default();
                    reason = format!("etcd answered {status}: {}", text.chars().take(300).collect::<String>());
                }
                Err(error) => reason = explained(&error),
            }
        }
        Err(StoreError::Away(reason))
    }

    async fn grant(&self, lives: Duration) -> Result<String, StoreError> {
        let granted: Granted = self.call("lease/grant", &LeaseGrant::of(lives)).await?;
        Ok(granted.id)
    }

    async fn range(&self, prefix: &str, order: Order, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (first, end) = match (order, after) {
            (Order::Ascending, Some(after)) => (format!("{after}\0"), behind(prefix)),
            (Order::Descending, Some(after)) => (prefix.to_owned(), after.to_owned()),
            (Order::Ascending | Order::Descending, None) => (prefix.to_owned(), behind(prefix)),
        };
        let request = RangeRequest::of(self.key(&first), self.key(&end), order, limit);
        let response: RangeResponse = self.call("kv/range", &request).await?;
        let entries = response.kvs.iter().filter_map(|kv| kv.entry(&self.prefix)).collect();
        Ok(Page {
            entries,
            more: response.more,
        })
    }
}

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async move {
            let request = RangeRequest::one(self.endpoints.key(key));
            let response: RangeResponse = self.endpoints.call("kv/range", &request).await?;
            Ok(response.kvs.first().and_then(|kv| kv.entry(&self.endpoints.prefix)))
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        order: Order,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.endpoints.range(prefix, order, after, limit).boxed()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, CommitError>> {
        self.carry_out(transaction).boxed()
    }

    fn watch(&self, kind: &str) -> tokio::sync::watch::Receiver<Revision> {
        self.changes.watch(kind)
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn away(error: &reqwest::Error) -> StoreError {
    StoreError::Away(explained(error))
}

/// The innermost reason says most.
fn explained(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    match error.is_timeout() {
        true => format!("etcd gave no answer within {} s", CALL_TIMEOUT.as_secs()),
        false => format!("etcd: {reason}"),
    }
}

/// What bytes become in JSON, and back.
fn decoded(text: &str) -> Option<Bytes> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()
        .map(Bytes::from)
}
