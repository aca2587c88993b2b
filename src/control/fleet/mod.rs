//! The workers of a fleet: each tells of itself and hears what it is to run; one of them, whoever holds the leader's lease,
//! decides which.
//!
//! What a worker runs, it goes on running while store or leader is away. Partitions are Kafka's to share out: where two
//! workers run the same pipeline for a while, they are members of one group.

mod desk;
mod here;
mod leader;
mod member;
pub mod placement;
mod plane;
mod remote;
mod report;
mod scaling;
mod seeker;
mod surroundings;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::access::Secrets;
use super::accounts::{self, Audits};
use super::letters::{Letters, dead_letter_topic};
use super::redrives::{Board, Marks, Shift};
use super::registry::{Followed, Registry};
use crate::config::{Foundation, Registration};
use crate::kafka::ClusterSettings;
use crate::letters::{Index, IndexError, Marked};
use crate::store::{CommitError, Store, StoreError, Transaction, Write};
use crate::telemetry::{PipelineEvent, status};
use desk::AtDesk;
use leader::{Decided, Leader};
use surroundings::Surroundings;

pub use desk::{Changes, Desk};
pub use here::Here;
pub use member::{Member, Standing};
pub use plane::{Unheard, Work};
pub use remote::Remote;
pub use report::{Duty, Identity, LEASE, Report};
pub use scaling::{Demand, wanted_workers};
pub use seeker::seek_to;

/// The code of the problem that a worker meets where another live one has its id.
pub const WORKER_ID_IN_USE: &str = "worker_id_in_use";

/// For how long a pipeline that somebody looked at is told of in full.
const LOOKED_AT: Duration = Duration::from_secs(15);

/// The control plane, as this worker has it: what is registered, who is alive, and who runs what.
#[derive(Debug)]
pub struct Fleet {
    here: Arc<Here>,
    store: Arc<dyn Store>,
    registry: Registry,
    secrets: Secrets,
    desk: Desk,
    letters: Letters,
    decided: Arc<Mutex<Decided>>,
    board: Board,
    marks: Marks,
    audits: Audits,
    /// What leads, and what redrives.
    leading: Mutex<Vec<JoinHandle<()>>>,
}

impl Fleet {
    /// Takes part in leading the fleet whose state is in this store. Must be called within a Tokio runtime.
    pub fn lead(here: Arc<Here>, store: Arc<dyn Store>, secrets: Secrets, letters: Letters) -> Arc<Fleet> {
        let registry = Registry::new(store.clone());
        let desk = Desk::new(store.clone(), secrets.clone(), Followed::new(registry.clone()));
        let decided: Arc<Mutex<Decided>> = Arc::default();
        let leader = Leader::new(
            &here,
            &letters,
            store.clone(),
            desk.clone(),
            secrets.clone(),
            decided.clone(),
        );
        let around = Surroundings {
            here: here.clone(),
            store: store.clone(),
            desk: desk.clone(),
            secrets: secrets.clone(),
            letters: letters.clone(),
            decided: decided.clone(),
            apart: Mutex::default(),
            sources: Mutex::default(),
        };
        let around = Arc::new(around);
        let shift = Shift::new(around.clone(), store.clone(), LEASE);
        let accounts = accounts::keep(around, store.clone());
        Arc::new(Fleet {
            here,
            board: Board::new(store.clone()),
            marks: Marks::new(store.clone()),
            audits: Audits::default(),
            store,
            registry,
            secrets,
            desk,
            letters,
            decided,
            leading: Mutex::new(vec![
                tokio::spawn(leader.run()),
                tokio::spawn(shift.run()),
                tokio::spawn(accounts),
            ]),
        })
    }

    /// This worker joins its own fleet.
    pub fn join(&self) -> Member {
        let identity = self.here.identity.clone();
        Member::join(self.here.clone(), AtDesk::new(self.desk.clone(), identity))
    }

    /// Who this worker is.
    pub fn identity(&self) -> &Identity {
        &self.here.identity
    }

    /// The pipelines that are registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where the fleet's state is.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Hears workers, and tells them what to run.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The index of dead letters, where it is this worker's to ask: in a database that all share, or kept fresh here. Else the
    /// worker that has it, where one leads.
    ///
    /// # Errors
    /// The store is away.
    pub async fn letters(&self) -> Result<Result<&Index, Option<Identity>>, StoreError> {
        if self.letters.is_shared || lock(&self.decided).leads {
            return Ok(Ok(&self.letters.index));
        }
        let leader = self.leader().await?;
        let reports = reports(&*self.store).await?;
        let report = reports
            .into_iter()
            .find(|report| Some(&report.identity.id) == leader.as_ref());
        Ok(Err(report.map(|report| report.identity)))
    }

    /// The clusters whose dead letters go to a topic of this name, as far as pipelines of this fleet say.
    ///
    /// # Errors
    /// The store is away.
    pub async fn clusters_with(&self, topic: &str) -> Result<Vec<Arc<ClusterSettings>>, StoreError> {
        let stored = self.desk.pipelines().await?;
        let files = self.here.files.borrow().clone();
        let from_files = files.iter().map(|file| (&file.settings.name, &file.document));
        let pipelines = stored.iter().map(|(name, pipeline)| (name, &pipeline.document));
        let clusters: BTreeSet<String> = (pipelines.chain(from_files))
            .map(|(name, document)| dead_letter_topic(name, document))
            .filter_map(|(cluster, own)| (own == topic).then_some(cluster))
            .collect();
        let foreign = (self.foundation().worker().foreign_letters.iter())
            .filter(|(_, topics)| topics.contains(topic))
            .map(|(cluster, _)| cluster.clone());
        let clusters: BTreeSet<String> = clusters.into_iter().chain(foreign).collect();
        let known = &self.foundation().worker().clusters;
        Ok(clusters.iter().filter_map(|name| known.get(name)).cloned().collect())
    }

    /// Redrives, as they are asked for and come along.
    pub fn redrives(&self) -> &Board {
        &self.board
    }

    /// Audits under way on this worker.
    pub fn audits(&self) -> &Audits {
        &self.audits
    }

    /// The index shows what was done, where it is this worker's to keep; who else keeps one is told by the store.
    ///
    /// # Errors
    /// The index's own.
    pub async fn show_marks(&self, marked: &[Marked]) -> Result<(), IndexError> {
        match self.letters.is_shared || lock(&self.decided).leads {
            true => self.letters.index.mark(marked).await,
            false => Ok(()),
        }
    }

    /// What was done about dead letters.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What documents are held against.
    pub fn foundation(&self) -> &Foundation {
        &self.here.foundation
    }

    /// The secrets that documents may refer to, with their values.
    ///
    /// # Errors
    /// The store is away.
    pub async fn secrets(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.secrets.values().await
    }

    /// A pipeline of this worker's files.
    pub fn file(&self, name: &str) -> Option<Registration> {
        self.here.file(name)
    }

    /// Why the leader could not place a pipeline, where this worker leads.
    pub fn unplaced(&self, pipeline: &str) -> Option<String> {
        lock(&self.decided).unplaced.get(pipeline).cloned()
    }

    /// The worker that holds the leader's lease.
    ///
    /// # Errors
    /// The store is away.
    pub async fn leader(&self) -> Result<Option<String>, StoreError> {
        let entry = self.store.get("leader").await?;
        Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
    }

    /// What all live workers told last; of this one, what holds now.
    ///
    /// # Errors
    /// The store is away.
    pub async fn reports(&self) -> Result<Vec<Report>, StoreError> {
        let mut reports = reports(&*self.store).await?;
        for report in &mut reports {
            if report.identity.id == self.identity().id {
                report.tasks = self.here.tasks();
            }
        }
        Ok(reports)
    }

    /// The tasks of one pipeline on all workers, whole. Workers that have not been asked for a while answer a moment later.
    ///
    /// # Errors
    /// The store is away.
    pub async fn tasks_of(&self, pipeline: &str) -> Result<Vec<status::TaskStatus>, StoreError> {
        self.look_at(pipeline).await?;
        let mut tasks = Vec::new();
        for report in reports(&*self.store).await? {
            let worker = report.identity.id;
            if worker == self.identity().id {
                tasks.extend(self.here.task(pipeline));
            } else if let Some(task) = report.details.get(pipeline) {
                tasks.push(task.clone());
            } else if let Some(summary) = report.tasks.get(pipeline) {
                tasks.push(status::TaskStatus::short(&worker, summary.clone()));
            }
        }
        Ok(tasks)
    }

    /// What other workers said lately of the pipelines that somebody looks at.
    ///
    /// # Errors
    /// The store is away.
    pub async fn events_elsewhere(&self) -> Result<Vec<PipelineEvent>, StoreError> {
        let reports = reports(&*self.store).await?;
        let others = reports
            .into_iter()
            .filter(|report| report.identity.id != self.identity().id);
        Ok(others.flat_map(|report| report.events).collect())
    }

    /// Asks all workers to tell of a pipeline in full for a while.
    ///
    /// # Errors
    /// The store is away.
    pub async fn look_at(&self, pipeline: &str) -> Result<(), StoreError> {
        let key = format!("looks/{pipeline}");
        let write = Write::Put {
            key,
            value: "".into(),
            lives: Some(LOOKED_AT),
        };
        write_all(&*self.store, vec![write]).await
    }

    /// Leads no more, and gives the lease back where this worker held it.
    pub async fn resign(&self) {
        for leading in lock(&self.leading).drain(..) {
            leading.abort();
        }
        // Where the store is away, the lease ends by itself.
        if self.leader().await.ok().flatten().as_ref() == Some(&self.identity().id) {
            let key = "leader".to_owned();
            let _ = write_all(&*self.store, vec![Write::Delete { key }]).await;
        }
    }
}

async fn reports(store: &dyn Store) -> Result<Vec<Report>, StoreError> {
    let entries = store.all("workers/").await?;
    // What another version says in other words is passed over; it is not this one's to place on.
    Ok(entries
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.value).ok())
        .collect())
}

async fn write_all(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
    };
    match store.commit(transaction).await {
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}

async fn assignments(store: &dyn Store) -> Result<BTreeMap<String, BTreeSet<String>>, StoreError> {
    let entries = store.all("assignments/").await?;
    let lists = entries.iter().filter_map(|entry| {
        let worker = entry.key.strip_prefix("assignments/")?;
        Some((worker.to_owned(), serde_json::from_slice(&entry.value).ok()?))
    });
    Ok(lists.collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
