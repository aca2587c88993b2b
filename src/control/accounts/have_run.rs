//! Which groups have committed before. Brokers forget the offsets of a group that nobody was in for a week; the store does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::kafka::SourceSettings;
use crate::store::{Revision, Store, StoreError, Write};

/// The kind of a key that says so; behind it come cluster and group.
const KIND: &str = "ran";

/// What says that a pipeline's group has committed.
pub(super) fn has_run(pipeline: &str, source: &SourceSettings) -> Write {
    Write::put(
        format!("{KIND}/{}/{}", source.cluster.name, source.group),
        pipeline.to_owned(),
    )
}

/// What says so no more: its offsets were deleted by an operator's order.
pub(in crate::control) fn has_never_run(cluster: &str, group: &str) -> Write {
    Write::Delete {
        key: format!("{KIND}/{cluster}/{group}"),
    }
}

/// The groups that have committed, with their pipelines, read again where the store tells of a change.
#[derive(Debug)]
pub(in crate::control) struct HaveRun {
    store: Arc<dyn Store>,
    changes: watch::Receiver<Revision>,
    known: Option<Arc<BTreeMap<String, String>>>,
}

impl HaveRun {
    /// Those that this store knows of. Must be called within a Tokio runtime.
    pub(in crate::control) fn new(store: Arc<dyn Store>) -> HaveRun {
        HaveRun {
            changes: store.watch(KIND),
            store,
            known: None,
        }
    }

    /// All of them: `cluster/group`, and the pipeline's name.
    ///
    /// # Errors
    /// The store is away, and they have to be read.
    pub(in crate::control) async fn all(&mut self) -> Result<Arc<BTreeMap<String, String>>, StoreError> {
        let changed = self.changes.has_changed().unwrap_or(true);
        if let Some(known) = self.known.as_ref().filter(|_| !changed) {
            return Ok(Arc::clone(known));
        }
        // A change that comes while they are read is read the next time.
        self.changes.mark_unchanged();
        self.known = None;
        let entries = self.store.all(&format!("{KIND}/")).await?;
        let read = entries.iter().filter_map(|entry| {
            let group = entry.key.strip_prefix(KIND)?.strip_prefix('/')?;
            Some((group.to_owned(), String::from_utf8_lossy(&entry.value).into_owned()))
        });
        let known = Arc::new(read.collect());
        self.known = Some(Arc::clone(&known));
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{ClusterSettings, Topics};
    use crate::store::Transaction;

    #[tokio::test]
    async fn a_group_has_run_until_its_offsets_are_deleted_by_order() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let mut have_run = HaveRun::new(store.clone());
        assert!(have_run.all().await.unwrap().is_empty());
        let cluster = Arc::new(ClusterSettings::plaintext("main", "127.0.0.1:1"));
        let source = SourceSettings::new(cluster, "p", "w", "g", Topics::Named(vec!["t".to_owned()]));
        let commit = async |write| {
            let writes = vec![write];
            store
                .commit(Transaction {
                    conditions: Vec::new(),
                    writes,
                })
                .await
                .unwrap();
        };
        commit(has_run("p", &source)).await;
        let expected = BTreeMap::from([("main/g".to_owned(), "p".to_owned())]);
        assert_eq!(*have_run.all().await.unwrap(), expected);
        commit(has_never_run("main", "g")).await;
        assert!(have_run.all().await.unwrap().is_empty());
    }
}
