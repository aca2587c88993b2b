//! The registry over its store: read, decide, write with conditions, and begin anew where somebody was faster.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{Author, Changed, Outcome, Refusal, Registered, Verb};
use crate::control::accounts::has_never_run;
use crate::control::audit::{self, Audited};
use crate::store::{CommitError, Condition, Entry, Order, Revision, Store, StoreError, Transaction, Write};

/// So many changes of a pipeline are kept.
const KEPT_CHANGES: u64 = 200;
/// How often a change begins anew, where others change the same pipeline.
const TRIES: usize = 10;

/// The pipelines that are registered, in their store.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Arc<dyn Store>,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeError {
    /// The registry's rules stand against it.
    Refused(Refusal),
    /// The consumer group belongs to another pipeline.
    GroupTaken {
        /// The group.
        group: String,
        /// The pipeline that it belongs to.
        by: String,
    },
    /// The store is away, or can't be used.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> ChangeError {
        ChangeError::Store(error)
    }
}

/// A pipeline after a change.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The pipeline, `None` where it was deleted.
    pub pipeline: Option<Registered>,
    /// What was changed; `None`: nothing differed.
    pub changed: Option<Changed>,
}

/// A group whose offsets are to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Forgotten {
    /// Its cluster.
    pub cluster: String,
    /// The group.
    pub group: String,
    /// Who deleted its pipeline, and when.
    pub by: Author,
}

impl Registry {
    /// The registry in this store.
    pub fn new(store: Arc<dyn Store>) -> Registry {
        Registry { store }
    }

    /// A pipeline.
    ///
    /// # Errors
    /// The store is away.
    pub async fn get(&self, name: &str) -> Result<Option<Registered>, StoreError> {
        let entry = self.store.get(&key(name)).await?;
        entry.as_ref().map(read).transpose()
    }

    /// Pipelines by name, from behind `after` on, and whether there are more.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Registered>, bool), StoreError> {
        let after = after.map(key);
        let page = self
            .store
            .list("pipelines/", Order::Ascending, after.as_deref(), limit)
            .await?;
        let pipelines = page.entries.iter().map(read).collect::<Result<_, _>>()?;
        Ok((pipelines, page.more))
    }

    /// All pipelines.
    ///
    /// # Errors
    /// The store is away.
    pub async fn all(&self) -> Result<Vec<Registered>, StoreError> {
        self.store.all("pipelines/").await?.iter().map(read).collect()
    }

    /// Tells of each change of a pipeline.
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.store.watch("pipelines")
    }

    /// A pipeline's changes, newest first, from before revision `before` on, and whether there are more.
    ///
    /// # Errors
    /// The store is away.
    pub async fn history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Changed>, bool), StoreError> {
        let prefix = format!("history/{name}/");
        let before = before.map(|revision| history_key(name, revision));
        let page = self
            .store
            .list(&prefix, Order::Descending, before.as_deref(), limit)
            .await?;
        let changes = page.entries.iter().map(read).collect::<Result<_, _>>()?;
        Ok((changes, page.more))
    }

    /// Makes a change as `decide` says, given the pipeline as it is and the last revision that the name had.
    ///
    /// # Errors
    /// What stands against it.
    pub async fn change(
        &self,
        name: &str,
        author: &Author,
        detail: &str,
        decide: impl Fn(Option<&Registered>, u64) -> Result<Outcome, Refusal>,
    ) -> Result<Made, ChangeError> {
        for _ in 0..TRIES {
            let entry = self.store.get(&key(name)).await?;
            let existing: Option<Registered> = entry.as_ref().map(read).transpose()?;
            let last = match &existing {
                Some(existing) => existing.revision,
                None => self.last_revision(name).await?,
            };
            let (next, changed) = match decide(existing.as_ref(), last).map_err(ChangeError::Refused)? {
                Outcome::Same(pipeline) => {
                    return Ok(Made {
                        pipeline: Some(pipeline),
                        changed: None,
                    });
                }
                Outcome::Write(next, changed) => (next, changed),
            };
            let transaction = transaction(
                name,
                entry.as_ref(),
                existing.as_ref(),
                next.as_ref(),
                &changed,
                author,
                detail,
            );
            match self.store.commit(transaction).await {
                Ok(_) => {
                    return Ok(Made {
                        pipeline: next,
                        changed: Some(changed),
                    });
                }
                Err(CommitError::Conflict { key, .. }) if key.starts_with("groups/") => {
                    return Err(self.group_taken(&key, name).await?);
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
        let reason = format!("{name} is being changed by many at once; send it again");
        Err(ChangeError::Store(StoreError::Away(reason)))
    }

    /// The groups whose offsets are to go.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forgotten(&self) -> Result<Vec<Forgotten>, StoreError> {
        let entries = self.store.all("forgotten/").await?;
        let read_one = |entry: &Entry| {
            let mut parts = entry.key.splitn(3, '/').skip(1).map(str::to_owned);
            Ok(Forgotten {
                cluster: parts.next().unwrap_or_default(),
                group: parts.next().unwrap_or_default(),
                by: read(entry)?,
            })
        };
        entries.iter().map(read_one).collect()
    }

    /// What became of a group's offsets, for good.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forget(&self, forgotten: &Forgotten, at_ms: i64, detail: &str) -> Result<(), StoreError> {
        let Forgotten { cluster, group, by } = forgotten;
        let key = format!("forgotten/{cluster}/{group}");
        let audited = Audited {
            at_ms,
            by: by.name.clone(),
            action: "group.deleted".to_owned(),
            target: group.clone(),
            detail: detail.to_owned(),
        };
        let transaction = Transaction {
            conditions: Vec::new(),
            writes: vec![
                Write::Delete { key },
                has_never_run(cluster, group),
                audit::write(&audited),
            ],
        };
        match self.store.commit(transaction).await {
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    async fn last_revision(&self, name: &str) -> Result<u64, StoreError> {
        let (changes, _) = self.history(name, None, 1).await?;
        Ok(changes.first().map_or(0, |changed| changed.revision))
    }

    async fn group_taken(&self, key: &str, name: &str) -> Result<ChangeError, StoreError> {
        let by = self.store.get(key).await?;
        let by = by.map_or_else(
            || name.to_owned(),
            |entry| String::from_utf8_lossy(&entry.value).into_owned(),
        );
        let group = key.splitn(3, '/').last().unwrap_or_default().to_owned();
        Ok(ChangeError::GroupTaken { group, by })
    }
}

/// What a change writes: the pipeline, its group, its history, and who did it.
fn transaction(
    name: &str,
    entry: Option<&Entry>,
    existing: Option<&Registered>,
    next: Option<&Registered>,
    changed: &Changed,
    author: &Author,
    detail: &str,
) -> Transaction {
    let mut conditions = vec![match entry {
        Some(entry) => Condition::At(entry.key.clone(), entry.revision),
        None => Condition::Absent(key(name)),
    }];
    let mut writes = vec![Write::put(history_key(name, changed.revision), json(changed))];
    match (existing, next) {
        (None, Some(next)) => {
            let group = group_key(next);
            conditions.push(Condition::Absent(group.clone()));
            writes.push(Write::put(group, name.to_owned()));
            // Offsets that were to go are this pipeline's from now on.
            writes.push(Write::Delete {
                key: forgotten_key(next),
            });
        }
        (Some(existing), None) => {
            writes.push(Write::Delete {
                key: group_key(existing),
            });
            if changed.verb == Verb::DeletedWithOffsets {
                writes.push(Write::put(forgotten_key(existing), json(author)));
            }
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    writes.push(match next {
        Some(next) => Write::put(key(name), json(next)),
        None => Write::Delete { key: key(name) },
    });
    if let Some(old) = changed.revision.checked_sub(KEPT_CHANGES).filter(|old| *old > 0) {
        writes.push(Write::Delete {
            key: history_key(name, old),
        });
    }
    let said = match detail {
        "" => format!("revision {}", changed.revision),
        detail => format!("revision {}, {detail}", changed.revision),
    };
    writes.push(audit::write(&Audited {
        at_ms: author.at_ms,
        by: author.name.clone(),
        action: format!("pipeline.{}", changed.verb.name()),
        target: name.to_owned(),
        detail: said,
    }));
    Transaction { conditions, writes }
}

fn key(name: &str) -> String {
    format!("pipelines/{name}")
}

fn history_key(name: &str, revision: u64) -> String {
    format!("history/{name}/{revision:010}")
}

fn group_key(pipeline: &Registered) -> String {
    let (cluster, group) = super::change::belongs_to(&pipeline.document);
    format!("groups/{cluster}/{group}")
}

fn forgotten_key(pipeline: &Registered) -> String {
    let (cluster, group) = super::change::belongs_to(&pipeline.document);
    format!("forgotten/{cluster}/{group}")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("what the registry keeps has string keys only")
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, StoreError> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        StoreError::Unusable(format!(
            "{} holds what this version can't read: {error}; a newer fnbridge may have written it",
            entry.key
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Precondition, Verb, delete, put, set_state};
    use super::*;

    async fn registry() -> Registry {
        Registry::new(crate::store::open("sqlite::memory:").unwrap())
    }

    fn author() -> Author {
        Author {
            name: "ann".to_owned(),
            at_ms: 1_764_000_000_000,
        }
    }

    fn document(topic: &str, group: &str) -> Value {
        json!({"name": "orders", "source": {"topics": [topic], "group": group}})
    }

    async fn register(registry: &Registry, name: &str, document: Value, at: Precondition) -> Result<Made, ChangeError> {
        let author = Author {
            at_ms: author().at_ms + i64::from(at != Precondition::Absent),
            ..author()
        };
        let decide = |existing: Option<&Registered>, last| put(existing, last, document.clone(), at, &author);
        registry.change(name, &author, "", decide).await
    }

    #[tokio::test]
    async fn what_is_registered_is_there_with_its_history_and_in_the_audit_log() {
        let registry = registry().await;
        let made = register(&registry, "orders", document("orders", "g"), Precondition::Absent).await;
        assert_eq!(made.unwrap().pipeline.unwrap().revision, 1);
        register(&registry, "orders", document("other", "g"), Precondition::At(1))
            .await
            .unwrap();
        let (changes, more) = registry.history("orders", None, 10).await.unwrap();
        let verbs: Vec<_> = changes.iter().map(|c| (c.revision, c.verb)).collect();
        assert_eq!((verbs, more), (vec![(2, Verb::Changed), (1, Verb::Created)], false));
        let (log, _) = audit::list(&*registry.store, None, 10).await.unwrap();
        assert_eq!(
            log.iter().map(|(_, a)| a.action.as_str()).collect::<Vec<_>>(),
            ["pipeline.changed", "pipeline.created"]
        );
    }

    #[tokio::test]
    async fn of_many_writers_at_once_each_change_is_made_once() {
        let registry = registry().await;
        register(&registry, "orders", document("orders", "g"), Precondition::Absent)
            .await
            .unwrap();
        let one = |paused: bool| {
            let registry = registry.clone();
            async move {
                let author = author();
                registry
                    .change("orders", &author, "", |existing, _| {
                        set_state(existing, paused, Precondition::None, &author)
                    })
                    .await
            }
        };
        let made = futures_util::future::join_all((0..8).map(|n| one(n % 2 == 0))).await;
        let changed = made
            .into_iter()
            .filter(|made| made.as_ref().is_ok_and(|m| m.changed.is_some()))
            .count() as u64;
        assert_eq!(registry.get("orders").await.unwrap().unwrap().revision, 1 + changed);
    }

    #[tokio::test]
    async fn a_group_belongs_to_one_pipeline_until_that_is_deleted() {
        let registry = registry().await;
        register(&registry, "orders", document("orders", "g"), Precondition::Absent)
            .await
            .unwrap();
        let mut second = document("orders", "g");
        second["name"] = json!("other");
        let refused = register(&registry, "other", second.clone(), Precondition::Absent).await;
        let taken = ChangeError::GroupTaken {
            group: "g".to_owned(),
            by: "orders".to_owned(),
        };
        assert_eq!(refused, Err(taken));
        let author = author();
        let decide = |existing: Option<&Registered>, _| delete(existing, false, Precondition::None, &author);
        registry.change("orders", &author, "", decide).await.unwrap();
        register(&registry, "other", second, Precondition::Absent)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_name_that_is_used_again_goes_on_counting() {
        let registry = registry().await;
        register(&registry, "orders", document("orders", "g"), Precondition::Absent)
            .await
            .unwrap();
        let author = author();
        let decide = |existing: Option<&Registered>, _| delete(existing, false, Precondition::None, &author);
        registry.change("orders", &author, "", decide).await.unwrap();
        let again = register(&registry, "orders", document("orders", "g"), Precondition::Absent)
            .await
            .unwrap();
        assert_eq!(again.pipeline.unwrap().revision, 3);
    }
}
