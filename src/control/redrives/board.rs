//! Where jobs are posted: two keys each, what was asked for and how far it is, so that a worker notes its progress without
//! taking back what somebody has just said.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::control::audit::{self, Audited};
use crate::control::registry::Author;
use crate::letters::Passed;
use crate::redrive::{Edit, Job, Progress, State, To, Wanted, WrongState};
use crate::store::{CommitError, Condition, MAX_VALUE_BYTES, Order, Revision, Store, StoreError, Transaction, Write};

/// Jobs that are over stay as long as there are no more than so many.
const KEPT: usize = 500;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The pipeline.
    pub pipeline: String,
    /// The cluster of its dead-letter topic.
    pub cluster: String,
    /// Its dead-letter topic.
    pub topic: String,
    /// Which letters.
    pub wanted: Wanted,
    /// Where they lie: the first offset, and the one after the last, by partition.
    pub ranges: BTreeMap<i32, (i64, i64)>,
    /// How many there are.
    pub expected: u64,
    /// Records of their keys that went through behind them.
    pub passed: Option<Passed>,
    /// Where to.
    pub to: To,
    /// Letters of which nobody knows whether they were redriven go, too.
    pub unknown: bool,
    /// At most so many a second.
    pub rate: Option<f64>,
    /// At most so many.
    pub max: Option<u64>,
    /// It stops where more than this part fails again.
    pub max_failed: f64,
    /// The one letter goes with another value.
    pub edit: Option<Edit>,
    /// Why.
    pub why: String,
}

/// A job as it stands, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    /// What was asked for.
    pub job: Job,
    /// How far it is.
    pub progress: Progress,
    pub(super) job_at: Revision,
    pub(super) progress_at: Option<Revision>,
}

/// Why a job was not posted, or not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be told that as it stands.
    #[error(transparent)]
    Wrong(#[from] WrongState),
    /// It is larger than what the store takes.
    #[error(
        "found {found} bytes, expected at most {MAX_VALUE_BYTES}: redrive fewer letters by id, or send a smaller value"
    )]
    TooLarge {
        /// Its size.
        found: usize,
    },
}

/// The jobs of a fleet.
#[derive(Clone, Debug)]
pub struct Board {
    store: Arc<dyn Store>,
}

impl Board {
    /// The jobs in this store.
    pub fn new(store: Arc<dyn Store>) -> Board {
        Board { store }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Posts a job. A worker begins with it when the pipeline's earlier ones do not run any more.
    ///
    /// # Errors
    /// The store is away; a job that is too large.
    pub async fn post(&self, asked: Asked, author: &Author) -> Result<Job, BoardError> {
        let before = self.jobs().await?;
        let newest = before.iter().map(|job| job.generation).max().unwrap_or_default();
        let seconds = u32::try_from(author.at_ms / 1000).unwrap_or(u32::MAX);
        let job = Job {
            id: id(author.at_ms),
            pipeline: asked.pipeline,
            cluster: asked.cluster,
            topic: asked.topic,
            by: author.name.clone(),
            why: asked.why,
            at_ms: author.at_ms,
            // Far above the generations that a log or a seek counts, so that no other call has the same key.
            generation: seconds.max(newest.saturating_add(1)),
            wanted: asked.wanted,
            to: asked.to,
            unknown: asked.unknown,
            rate: asked.rate,
            max: asked.max,
            max_failed: asked.max_failed,
            edit: asked.edit,
            ranges: asked.ranges,
            expected: asked.expected,
            passed: asked.passed,
            state: State::Running,
            said: String::new(),
        };
        let value = serde_json::to_vec(&job).expect("a job is JSON");
        if value.len() > MAX_VALUE_BYTES {
            return Err(BoardError::TooLarge { found: value.len() });
        }
        let mut writes = vec![
            Write::put(job_key(&job.id), value),
            audit::write(&Audited {
                at_ms: author.at_ms,
                by: author.name.clone(),
                action: if job.edit.is_some() {
                    "dead_letter.edited"
                } else {
                    "redrive.started"
                }
                .to_owned(),
                target: job.pipeline.clone(),
                detail: summary(&job),
            }),
        ];
        writes.extend(forgotten(&before));
        let conditions = vec![Condition::Absent(job_key(&job.id))];
        match self.store.commit(Transaction { conditions, writes }).await {
            Ok(_) => Ok(job),
            Err(CommitError::Conflict { key, .. }) => Err(StoreError::Unusable(format!("{key} is taken")).into()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// All jobs, the oldest first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let entries = self.store.all("redrives/").await?;
        Ok(entries.iter().filter_map(|entry| parsed(&entry.value)).collect())
    }

    /// Jobs with how far they are, the newest first, from before the id `before` on; and whether there are more.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(&self, before: Option<&str>, limit: usize) -> Result<(Vec<Posted>, bool), StoreError> {
        let before = before.map(job_key);
        let page = (self.store)
            .list("redrives/", Order::Descending, before.as_deref(), limit)
            .await?;
        let mut jobs = Vec::new();
        for entry in page.entries {
            if let Some(id) = entry.key.strip_prefix("redrives/") {
                jobs.extend(self.get(id).await?);
            }
        }
        Ok((jobs, page.more))
    }

    /// A job, where there is one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn get(&self, id: &str) -> Result<Option<Posted>, StoreError> {
        let Some(job) = self.store.get(&job_key(id)).await? else {
            return Ok(None);
        };
        let progress = self.store.get(&progress_key(id)).await?;
        Ok(parsed(&job.value).map(|found| Posted {
            job: found,
            progress: progress
                .as_ref()
                .and_then(|entry| parsed(&entry.value))
                .unwrap_or_default(),
            job_at: job.revision,
            progress_at: progress.map(|entry| entry.revision),
        }))
    }

    /// Changes how a job stands: what `change` makes of it, and why it stands so.
    ///
    /// # Errors
    /// What `change` says against it; the store is away.
    pub async fn change(
        &self,
        id: &str,
        change: impl Fn(State) -> Result<State, WrongState>,
        said: &str,
        author: &Author,
    ) -> Result<Option<Posted>, BoardError> {
        loop {
            let Some(posted) = self.get(id).await? else {
                return Ok(None);
            };
            let state = change(posted.job.state)?;
            if state == posted.job.state {
                return Ok(Some(posted));
            }
            let job = Job {
                state,
                said: said.to_owned(),
                ..posted.job.clone()
            };
            let transaction = Transaction {
                conditions: vec![Condition::At(job_key(id), posted.job_at)],
                writes: vec![
                    Write::put(job_key(id), serde_json::to_vec(&job).expect("a job is JSON")),
                    audit::write(&Audited {
                        at_ms: author.at_ms,
                        by: author.name.clone(),
                        action: format!("redrive.{}", state.name()),
                        target: job.pipeline.clone(),
                        detail: match said {
                            "" => job.id.clone(),
                            said => format!("{}: {said}", job.id),
                        },
                    }),
                ],
            };
            match self.store.commit(transaction).await {
                Ok(_) => return Ok(self.get(id).await?),
                // Somebody else said something just now: it is looked at again.
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
    }
}

pub(super) fn job_key(id: &str) -> String {
    format!("redrives/{id}")
}

pub(super) fn progress_key(id: &str) -> String {
    format!("redrive-progress/{id}")
}

/// A progress is written under the revision that it was read at: another worker that has taken over is found out.
pub(super) fn progress_write(posted: &Posted) -> Transaction {
    let key = progress_key(&posted.job.id);
    let value = serde_json::to_vec(&posted.progress).expect("a progress is JSON");
    Transaction {
        conditions: vec![match posted.progress_at {
            Some(revision) => Condition::At(key.clone(), revision),
            None => Condition::Absent(key.clone()),
        }],
        writes: vec![Write::put(key, value)],
    }
}

fn id(at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    format!("{}-{:03x}", time.strftime("%Y%m%d-%H%M%S"), fastrand::u32(..0x1000))
}

fn summary(job: &Job) -> String {
    let which = match &job.wanted {
        Wanted::Ids(ids) if ids.len() == 1 => format!("{}/{}/{}", job.topic, ids[0].0, ids[0].1),
        _ => format!("{} letters", job.expected),
    };
    let to = match job.to {
        To::Pipeline => "",
        To::Function => " through the function",
        To::Source => " to the source topic",
    };
    let why = if job.why.is_empty() {
        String::new()
    } else {
        format!(": {}", job.why)
    };
    format!("{}: {which}{to}{why}", job.id)
}

fn forgotten(jobs: &[Job]) -> Vec<Write> {
    let over: Vec<&Job> = jobs.iter().filter(|job| job.state.is_over()).collect();
    let many = over.len().saturating_sub(KEPT).min(20);
    let keys = over[..many]
        .iter()
        .flat_map(|job| [job_key(&job.id), progress_key(&job.id)]);
    keys.map(|key| Write::Delete { key }).collect()
}

/// What can't be read was written by a later version: it is passed over.
fn parsed<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}
