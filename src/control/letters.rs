//! The fleet's dead letters: whoever leads reads their topics into an index.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::registry::belongs_to;
use crate::config::Foundation;
use crate::letters::{Index, IndexError, Tail, Tailed};

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
    foundation: Foundation,
    tails: BTreeMap<String, (watch::Sender<Tailed>, Tail)>,
}

impl Tails {
    pub(super) fn new(letters: &Letters, foundation: Foundation) -> Tails {
        Tails {
            index: letters.index.clone(),
            foundation,
            tails: BTreeMap::new(),
        }
    }

    /// Another worker leads.
    pub(super) fn stop(&mut self) {
        self.tails.clear();
    }

    /// Reads the dead letters of these pipelines, each a name and a document, from now on.
    pub(super) fn follow<'a>(&mut self, pipelines: impl Iterator<Item = (&'a str, &'a Value)>) {
        let mut wanted: BTreeMap<String, Tailed> = BTreeMap::new();
        for (name, document) in pipelines {
            let (cluster, topic) = dead_letter_topic(name, document);
            wanted.entry(cluster).or_default().insert(topic, name.to_owned());
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
                let tail = Tail::start(settings.clone(), self.index.clone(), heard);
                self.tails.insert(cluster, (told, tail));
            }
        }
    }
}
