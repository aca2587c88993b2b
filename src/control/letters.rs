//! The fleet's dead letters: whoever leads reads their topics into an index.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::redrives::Marks;
use super::registry::belongs_to;
use crate::config::Foundation;
use crate::letters::{Index, IndexError, Tail, Tailed};
use crate::store::{Revision, Store, StoreError};
use crate::telemetry::WorkerTelemetry;

/// After trouble, marks are read anew.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Letters are counted so often.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Where a fleet's index of dead letters is.
#[derive(Clone, Debug)]
pub struct Letters {
    /// The index.
    pub index: Arc<Index>,
    /// All workers have the same index; else each worker has one of its own, and only the leader's is kept fresh.
    pub is_shared: bool,
}

impl Letters {
    /// The index that goes with a store: in the same PostgreSQL, else in a file beside the worker. `base` is the folder of the
    /// worker's configuration. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the store's URL.
    pub fn beside(store: &str, base: &Path) -> Result<Letters, IndexError> {
        let is_shared = store.starts_with("postgres");
        let url = match store.strip_prefix("sqlite://") {
            Some(file) => format!("sqlite://{}-letters.db", file.trim_end_matches(".db")),
            None if store.starts_with("etcd:") => format!("sqlite://{}", base.join("fnbridge-letters.db").display()),
            None => store.to_owned(),
        };
        Ok(Letters {
            index: Arc::new(Index::open(&url)?),
            is_shared,
        })
    }
}

/// Where a pipeline's dead letters go, stated or by default: a cluster and a topic.
pub fn dead_letter_topic(name: &str, document: &Value) -> (String, String) {
    let (cluster, _) = belongs_to(document);
    let topic = document["dead_letter"]["topic"].as_str();
    (
        cluster,
        topic.map_or_else(|| format!("{name}.dead-letter"), str::to_owned),
    )
}

/// The tails of all clusters, while this worker leads.
#[derive(Debug)]
pub(super) struct Tails {
    index: Arc<Index>,
    marks: Marks,
    foundation: Foundation,
    /// While this worker leads: when the store was made, and what tells the index of marks and counts its letters.
    leading: Option<(i64, [JoinHandle<()>; 2])>,
    tails: BTreeMap<String, (watch::Sender<Tailed>, Tail)>,
}

impl Tails {
    pub(super) fn new(letters: &Letters, store: Arc<dyn Store>, foundation: Foundation) -> Tails {
        Tails {
            index: letters.index.clone(),
            marks: Marks::new(store),
            foundation,
            leading: None,
            tails: BTreeMap::new(),
        }
    }

    /// Another worker leads.
    pub(super) fn stop(&mut self) {
        self.tails.clear();
        if let Some((_, tasks)) = self.leading.take() {
            tasks.iter().for_each(JoinHandle::abort);
            WorkerTelemetry.letters_open(Vec::new());
        }
    }

    /// Reads the dead letters of these pipelines, each a name and a document, from now on.
    ///
    /// # Errors
    /// The store is away.
    pub(super) async fn follow<'a>(
        &mut self,
        pipelines: impl Iterator<Item = (&'a str, &'a Value)>,
    ) -> Result<(), StoreError> {
        let born_ms = match &self.leading {
            Some((born_ms, _)) => *born_ms,
            None => {
                let born_ms = self.marks.born_ms(now_ms()).await?;
                // An index from beside another store says what was done to letters as that one had it.
                if let Err(error) = self.index.belongs_to(born_ms).await {
                    WorkerTelemetry.warned(&format_args!("{error}; it is tried again"));
                    return Ok(());
                }
                let marking = tokio::spawn(mark(self.marks.clone(), self.index.clone()));
                let counting = tokio::spawn(count(self.index.clone()));
                self.leading.insert((born_ms, [marking, counting])).0
            }
        };
        let mut wanted: BTreeMap<String, Tailed> = BTreeMap::new();
        for (cluster, topics) in &self.foundation.worker().foreign_letters {
            let nobodys = topics.iter().map(|topic| (topic.clone(), None));
            wanted.entry(cluster.clone()).or_default().extend(nobodys);
        }
        wanted.retain(|_, topics| !topics.is_empty());
        for (name, document) in pipelines {
            let (cluster, topic) = dead_letter_topic(name, document);
            wanted.entry(cluster).or_default().insert(topic, Some(name.to_owned()));
        }
        self.tails.retain(|cluster, _| wanted.contains_key(cluster));
        for (cluster, topics) in wanted {
            if let Some((told, _)) = self.tails.get(&cluster) {
                told.send_if_modified(|known| {
                    let new = *known != topics;
                    *known = topics;
                    new
                });
            } else if let Some(settings) = self.foundation.worker().clusters.get(&cluster) {
                let (told, heard) = watch::channel(topics);
                let tail = Tail::start(settings.clone(), self.index.clone(), heard, born_ms);
                self.tails.insert(cluster, (told, tail));
            }
        }
        Ok(())
    }
}

/// Counts the letters that somebody has to see to, again and again: in a hundredth of the time, at most.
async fn count(index: Arc<Index>) {
    loop {
        let began = Instant::now();
        if let Ok(open) = index.open_letters().await {
            WorkerTelemetry.letters_open(open);
        }
        tokio::time::sleep(COUNT_EVERY.max(began.elapsed() * 100)).await;
    }
}

/// Tells the index what was done about letters: everything that the store has, and from then on what is added.
async fn mark(marks: Marks, index: Arc<Index>) {
    let mut changes = marks.changes();
    let mut said = String::new();
    loop {
        let Err(trouble) = mark_on(&marks, &index, &mut changes).await;
        if said != trouble {
            WorkerTelemetry.warned(&format_args!(
                "what was done about dead letters is not shown, and is tried again: {trouble}"
            ));
        }
        said = trouble;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn mark_on(
    marks: &Marks,
    index: &Index,
    changes: &mut watch::Receiver<Revision>,
) -> Result<std::convert::Infallible, String> {
    let mut seen = *changes.borrow_and_update();
    let mut after = None;
    loop {
        let (marked, next) = marks.page(after.as_deref()).await.map_err(|error| error.to_string())?;
        index.mark(&marked).await.map_err(|error| error.to_string())?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let (marked, up_to) = marks.since(seen).await.map_err(|error| error.to_string())?;
        index.mark(&marked).await.map_err(|error| error.to_string())?;
        seen = up_to;
        changes.changed().await.map_err(|error| error.to_string())?;
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
