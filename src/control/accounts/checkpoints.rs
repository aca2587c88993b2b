//! Once a minute, what stands committed for each pipeline is noted in the store, by the worker that leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::have_run::has_run;
use crate::audit::{Checkpoint, Point, superfluous};
use crate::kafka::{KafkaError, SourceSettings, committed};
use crate::store::{CommitError, MAX_OPERATIONS, Store, StoreError, Transaction, Write};

const LOOK_EVERY: Duration = Duration::from_secs(2);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// What this worker says of itself and of the fleet.
pub(in crate::control) trait Leads: Send + Sync + 'static {
    /// Whether this worker leads.
    fn leads(&self) -> bool;
    /// The fleet's pipelines by name, as far as their documents can be built here, and what they read.
    fn sources(&self) -> BoxFuture<'_, Result<Vec<(String, SourceSettings)>, StoreError>>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// Notes checkpoints for as long as this worker leads. A pipeline's first is noted as soon as it has committed anything.
pub(in crate::control) async fn keep(around: Arc<impl Leads>, store: Arc<dyn Store>) {
    let mut noted: BTreeMap<String, (Instant, Checkpoint)> = BTreeMap::new();
    let mut pruned: Option<Instant> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !around.leads() {
            noted.clear();
            continue;
        }
        // A store or a cluster that is away is asked again.
        let Ok(pipelines) = around.sources().await else {
            continue;
        };
        noted.retain(|name, _| pipelines.iter().any(|(other, _)| other == name));
        for (pipeline, source) in pipelines {
            let last = noted.get(&pipeline);
            if last.is_some_and(|(at, _)| at.elapsed() < CHECKPOINT_EVERY) {
                continue;
            }
            let Ok(now) = take(&source, around.now_ms()).await else {
                continue;
            };
            let is_same = last.is_some_and(|(_, last)| last.partitions == now.partitions);
            let first = last.is_none().then(|| has_run(&pipeline, &source));
            if now.partitions.is_empty() || (!is_same && note(&*store, &pipeline, &now, first).await.is_err()) {
                continue;
            }
            noted.insert(pipeline, (Instant::now(), now));
        }
        if pruned.is_none_or(|at| at.elapsed() >= PRUNE_EVERY) && prune(&*store, around.now_ms()).await.is_ok() {
            pruned = Some(Instant::now());
        }
    }
}

/// What stands committed for a pipeline now.
pub(super) async fn take(source: &SourceSettings, now_ms: i64) -> Result<Checkpoint, KafkaError> {
    let source = source.clone();
    let asked = tokio::task::spawn_blocking(move || committed(&source));
    let found = asked
        .await
        .unwrap_or_else(|error| Err(KafkaError::new(crate::kafka::Kind::Other, error.to_string())))?;
    let points = found.into_iter().filter_map(|(place, (offset, memo))| {
        // What a later version wrote is not this one's to hold against anything.
        Some((place.to_string(), Point::of(offset, Some(&memo)).ok()?))
    });
    Ok(Checkpoint {
        at_ms: now_ms,
        partitions: points.collect(),
    })
}

/// A pipeline's checkpoints, the oldest first.
pub(super) async fn of(store: &dyn Store, pipeline: &str) -> Result<Vec<Checkpoint>, StoreError> {
    let entries = store.all(&format!("checkpoints/{pipeline}/")).await?;
    Ok(entries
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
        .collect())
}

async fn note(
    store: &dyn Store,
    pipeline: &str,
    checkpoint: &Checkpoint,
    first: Option<Write>,
) -> Result<(), StoreError> {
    let value = serde_json::to_vec(checkpoint).expect("a checkpoint is JSON");
    let noted = Write::put(key(pipeline, checkpoint.at_ms), value);
    write(store, [noted].into_iter().chain(first).collect()).await
}

async fn prune(store: &dyn Store, now_ms: i64) -> Result<(), StoreError> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for entry in store.all("checkpoints/").await? {
        let mut parts = entry.key.split('/').skip(1);
        if let (Some(pipeline), Some(Ok(time))) = (parts.next(), parts.next().map(str::parse)) {
            times.entry(pipeline.to_owned()).or_default().push(time);
        }
    }
    let gone = times.iter().flat_map(|(pipeline, times)| {
        let gone = superfluous(times, now_ms);
        gone.into_iter().map(|time| Write::Delete {
            key: key(pipeline, time),
        })
    });
    let gone: Vec<Write> = gone.collect();
    for some in gone.chunks(MAX_OPERATIONS) {
        write(store, some.to_vec()).await?;
    }
    Ok(())
}

async fn write(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
    };
    match store.commit(transaction).await {
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}

fn key(pipeline: &str, at_ms: i64) -> String {
    format!("checkpoints/{pipeline}/{at_ms:015}")
}
