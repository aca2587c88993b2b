//! The pipelines as they are now, for those who look often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Registered, Registry};
use crate::store::{Revision, StoreError};

/// They are read anew after so long, whatever the store told.
const READ_AGAIN: Duration = Duration::from_secs(30);

/// All pipelines, read again where the store tells of a change. What another process changed is seen as soon as its store
/// tells of it.
#[derive(Debug)]
pub struct Followed {
    registry: Registry,
    changes: watch::Receiver<Revision>,
    known: Option<(Instant, Arc<BTreeMap<String, Registered>>)>,
}

impl Followed {
    /// The pipelines of a registry. Must be called within a Tokio runtime.
    pub fn new(registry: Registry) -> Followed {
        Followed {
            changes: registry.watch(),
            registry,
            known: None,
        }
    }

    /// All pipelines, by name.
    ///
    /// # Errors
    /// The store is away, and they have to be read.
    pub async fn all(&mut self) -> Result<Arc<BTreeMap<String, Registered>>, StoreError> {
        let fresh = |(read, _): &&(Instant, _)| read.elapsed() < READ_AGAIN;
        let changed = self.changes.has_changed().unwrap_or(true);
        if let Some((_, known)) = self.known.as_ref().filter(fresh).filter(|_| !changed) {
            return Ok(known.clone());
        }
        // A change that comes while they are read is read the next time.
        self.changes.mark_unchanged();
        self.known = None;
        let read = self.registry.all().await?.into_iter();
        let pipelines = Arc::new(read.map(|pipeline| (pipeline.name.clone(), pipeline)).collect());
        self.known = Some((Instant::now(), Arc::clone(&pipelines)));
        Ok(pipelines)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::registry::{Author, Precondition, put};

    #[tokio::test]
    async fn what_was_changed_is_seen_by_the_next_look() {
        let registry = Registry::new(crate::store::open("sqlite::memory:").unwrap());
        let mut followed = Followed::new(registry.clone());
        assert!(followed.all().await.unwrap().is_empty());
        for (name, known) in [("a", 1), ("b", 2)] {
            let author = Author {
                name: "ann".to_owned(),
                at_ms: 1,
            };
            let document = json!({"name": name, "source": {"topics": ["t"]}});
            let decide = |existing: Option<&Registered>, last| {
                put(existing, last, document.clone(), Precondition::None, &author)
            };
            registry.change(name, &author, "", decide).await.unwrap();
            assert_eq!(followed.all().await.unwrap().len(), known);
            assert_eq!(followed.all().await.unwrap().len(), known, "nor is anything forgotten");
        }
    }
}
