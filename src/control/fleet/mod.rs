//! The workers of a fleet: each tells of itself and hears what it is to run; one of them, whoever holds the leader's lease,
//! decides which.
//!
//! What a worker runs, it goes on running while store or leader is away. Partitions are Kafka's to share out: where two
//! workers run the same pipeline for a while, they are members of one group.

mod leader;
mod member;
pub mod placement;
mod report;
mod seeker;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::access::Secrets;
use super::registry::Registry;
use super::supervisor::Supervisor;
use crate::config::{Foundation, Registration};
use crate::store::{Store, StoreError, Write};
use crate::telemetry::{PipelineEvent, status};
use leader::{Decided, Leader};
use member::Member;
use seeker::Seeker;

pub use report::{Duty, Identity, LEASE, Report};
pub use seeker::seek_to;

/// For how long a pipeline that somebody looked at is told of in full.
const LOOKED_AT: Duration = Duration::from_secs(15);

/// This worker, as part of its fleet.
#[derive(Debug)]
pub struct Fleet {
    identity: Identity,
    store: Arc<dyn Store>,
    registry: Registry,
    foundation: Foundation,
    supervisor: Arc<Supervisor>,
    files: watch::Receiver<Vec<Registration>>,
    secrets: Secrets,
    decided: Arc<Mutex<Decided>>,
    standing: watch::Sender<Standing>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

/// How this worker stands with its fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not heard of the fleet yet.
    #[default]
    Joining,
    /// It reports, and is heard.
    Joined,
    /// The store is away; what runs goes on.
    Away(String),
    /// Another live worker has its id: it runs nothing.
    Refused(String),
}

/// What a fleet is made of, on one worker.
#[derive(Debug)]
pub struct Parts {
    /// Who this worker is.
    pub identity: Identity,
    /// Where the fleet's state is.
    pub store: Arc<dyn Store>,
    /// What documents are held against.
    pub foundation: Foundation,
    /// What runs pipelines here.
    pub supervisor: Arc<Supervisor>,
    /// The pipelines from files, as they are now.
    pub files: watch::Receiver<Vec<Registration>>,
    /// The secrets that documents refer to.
    pub secrets: Secrets,
}

impl Fleet {
    /// Joins the fleet.
    pub fn join(parts: Parts) -> Arc<Fleet> {
        let Parts {
            identity,
            store,
            foundation,
            supervisor,
            files,
            secrets,
        } = parts;
        let registry = Registry::new(store.clone());
        let fleet = Arc::new(Fleet {
            decided: Arc::default(),
            standing: watch::Sender::default(),
            running: Mutex::default(),
            identity,
            store,
            registry,
            foundation,
            supervisor,
            files,
            secrets,
        });
        let mut running = vec![tokio::spawn(Member::of(&fleet).run())];
        if fleet.identity.duties.contains(&Duty::Control) {
            let leader = Leader {
                id: fleet.identity.id.clone(),
                store: fleet.store.clone(),
                registry: fleet.registry.clone(),
                decided: fleet.decided.clone(),
                lease: None,
                partitions: BTreeMap::new(),
                moved: BTreeMap::new(),
                seeker: Seeker {
                    registry: fleet.registry.clone(),
                    foundation: fleet.foundation.clone(),
                    secrets: fleet.secrets.clone(),
                },
            };
            running.push(tokio::spawn(leader.run()));
        }
        *lock(&fleet.running) = running;
        fleet
    }

    /// Who this worker is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The pipelines that are registered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where the fleet's state is.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What documents are held against.
    pub fn foundation(&self) -> &Foundation {
        &self.foundation
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
        self.files
            .borrow()
            .iter()
            .find(|file| file.settings.name == name)
            .cloned()
    }

    /// How this worker stands with its fleet.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
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
            if report.identity.id == self.identity.id {
                report.tasks = self.tasks();
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
            if worker == self.identity.id {
                tasks.extend(self.task(pipeline));
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
            .filter(|report| report.identity.id != self.identity.id);
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
        member::write_all(&*self.store, vec![write]).await
    }

    /// Reports no more, gives the leases back, and drains what runs.
    pub async fn leave(&self) {
        lock(&self.running).drain(..).for_each(|task| task.abort());
        // Where the store is away, the leases end by themselves.
        let _ = member::give_back(self).await;
    }

    /// The tasks of this worker that run or wait, by pipeline.
    fn tasks(&self) -> BTreeMap<String, status::TaskSummary> {
        let mut all = status::summaries();
        all.retain(|name, _| self.supervisor.has(name));
        all
    }

    fn task(&self, pipeline: &str) -> Option<status::TaskStatus> {
        let here = self.supervisor.has(pipeline);
        here.then(|| status::task(&self.identity.id, pipeline))?
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
