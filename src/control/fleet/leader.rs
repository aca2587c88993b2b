//! The one that places pipelines: whoever holds the leader's lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::desk::Desk;
use super::here::Here;
use super::placement::{Candidate, Demand, Placed, Placement, place};
use super::report::{LEASE, Report};
use super::seeker::Seeker;
use crate::control::access::Secrets;
use crate::control::letters::{Letters, Tails};
use crate::control::registry::{Registered, Registry};
use crate::store::{CommitError, Condition, Revision, Store, StoreError, Transaction, Write};
use crate::telemetry::WorkerTelemetry;

/// How often the leader looks, where nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a change, others that come with it are waited for.
const GATHER: Duration = Duration::from_millis(50);
/// A pipeline that was moved for its load stays for so long.
const SETTLE: Duration = Duration::from_secs(300);
/// One record costs as much as so many bytes.
const BYTES_A_RECORD: f64 = 1000.0;

/// Runs for the lease, and places pipelines while it holds it.
pub(super) struct Leader {
    id: String,
    store: Arc<dyn Store>,
    desk: Desk,
    decided: Arc<Mutex<Decided>>,
    lease: Option<Revision>,
    /// The most partitions that each pipeline was seen with.
    partitions: BTreeMap<String, u32>,
    moved: BTreeMap<String, Instant>,
    seeker: Seeker,
    here: Arc<Here>,
    tails: Tails,
}

/// What the leader decided last, on this worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Decided {
    pub(super) leads: bool,
    pub(super) unplaced: BTreeMap<String, String>,
}

impl Leader {
    pub(super) fn new(
        here: &Arc<Here>,
        letters: &Letters,
        store: Arc<dyn Store>,
        desk: Desk,
        secrets: Secrets,
        decided: Arc<Mutex<Decided>>,
    ) -> Leader {
        Leader {
            id: here.identity.id.clone(),
            seeker: Seeker {
                registry: Registry::new(store.clone()),
                foundation: here.foundation.clone(),
                secrets,
            },
            tails: Tails::new(letters, store.clone(), here.foundation.clone()),
            here: here.clone(),
            store,
            desk,
            decided,
            lease: None,
            partitions: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut pipelines = self.store.watch("pipelines");
        let mut workers = self.store.watch("members");
        loop {
            let leads = self.round().await.is_ok_and(|leads| leads);
            if !leads {
                self.tails.stop();
            }
            if std::mem::replace(&mut super::lock(&self.decided).leads, leads) != leads {
                WorkerTelemetry.leads(leads);
            }
            // Both wake up before the time at a change.
            let _ = timeout(LOOK_EVERY, async {
                tokio::select! {
                    _ = pipelines.changed() => {}
                    _ = workers.changed() => {}
                }
                tokio::time::sleep(GATHER).await;
            })
            .await;
        }
    }

    /// Whether this worker leads; then everything is placed.
    async fn round(&mut self) -> Result<bool, StoreError> {
        if !self.hold_lease().await? {
            return Ok(false);
        }
        let reports = super::reports(&*self.store).await?;
        let pipelines = self.desk.pipelines().await?;
        let current = super::assignments(&*self.store).await?;
        self.learn(&reports, &pipelines);
        let placed = self.decide(&reports, &pipelines, &by_pipeline(&current));
        let now = Instant::now();
        self.moved.retain(|_, at| now.duration_since(*at) < SETTLE);
        self.moved
            .extend(placed.moved_for_load.iter().map(|name| (name.clone(), now)));
        self.write(&reports, &placed, &current).await?;
        self.seeker.see_to(&pipelines).await?;
        self.seeker.forget().await?;
        super::lock(&self.decided).unplaced = placed.unplaced;
        self.follow_letters(&pipelines).await?;
        Ok(true)
    }

    async fn follow_letters(&mut self, pipelines: &BTreeMap<String, Registered>) -> Result<(), StoreError> {
        let files = self.here.files.borrow().clone();
        let from_files = files.iter().map(|file| (file.settings.name.as_str(), &file.document));
        let stored = pipelines
            .iter()
            .map(|(name, pipeline)| (name.as_str(), &pipeline.document));
        self.tails.follow(stored.chain(from_files)).await
    }

    async fn hold_lease(&mut self) -> Result<bool, StoreError> {
        let condition = match self.lease {
            Some(revision) => Condition::At("leader".to_owned(), revision),
            None => Condition::Absent("leader".to_owned()),
        };
        let transaction = Transaction {
            conditions: vec![condition],
            writes: vec![Write::Put {
                key: "leader".to_owned(),
                value: self.id.clone().into(),
                lives: Some(LEASE),
            }],
        };
        match self.store.commit(transaction).await {
            Ok(revision) => {
                self.lease = Some(revision);
                Ok(true)
            }
            Err(CommitError::Conflict { .. }) => {
                self.lease = None;
                Ok(false)
            }
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    fn learn(&mut self, reports: &[Report], pipelines: &BTreeMap<String, Registered>) {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for (name, task) in reports.iter().flat_map(|report| &report.tasks) {
            *seen.entry(name).or_default() += u32::try_from(task.partitions).unwrap_or(u32::MAX);
        }
        self.partitions.retain(|name, _| pipelines.contains_key(name));
        for pipeline in pipelines.values() {
            if let Some(count) = seen.get(pipeline.name.as_str()).filter(|count| **count > 0) {
                let most = self.partitions.entry(pipeline.name.clone()).or_default();
                *most = (*most).max(*count);
            }
        }
    }

    fn decide(&self, reports: &[Report], pipelines: &BTreeMap<String, Registered>, current: &Placement) -> Placed {
        let candidates: Vec<Candidate> = (reports.iter())
            .map(|report| Candidate {
                id: report.identity.id.clone(),
                labels: report.identity.labels.clone(),
                takes: report.takes(),
            })
            .collect();
        let held_by_files: BTreeSet<&String> = reports.iter().flat_map(|report| report.files.keys()).collect();
        let mut loads: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
        for (name, task) in reports.iter().flat_map(|report| &report.tasks) {
            let load = loads.entry(name).or_default();
            load.0 += task.records_per_second + task.bytes_per_second / BYTES_A_RECORD;
            load.1 += 1;
        }
        let demands: Vec<Demand> = (pipelines.values())
            .filter(|pipeline| !held_by_files.contains(&pipeline.name))
            .map(|pipeline| {
                let (load, tasks) = loads.get(pipeline.name.as_str()).copied().unwrap_or_default();
                Demand {
                    name: pipeline.name.clone(),
                    tasks: self.tasks(pipeline, current.get(&pipeline.name).map_or(0, BTreeSet::len)),
                    labels: labels(pipeline),
                    load: load / f64::from(tasks.max(1)),
                    settling: self.moved.contains_key(&pipeline.name),
                }
            })
            .collect();
        place(&candidates, &demands, current)
    }

    /// As many as the document allows, never more than it has partitions; what is not known yet stays as it is.
    fn tasks(&self, pipeline: &Registered, running: usize) -> u32 {
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        let known = self.partitions.get(&pipeline.name).copied().unwrap_or(running).max(1);
        let stated = pipeline.document["tasks"]
            .as_u64()
            .and_then(|tasks| u32::try_from(tasks).ok());
        stated.map_or(known, |tasks| tasks.min(known.max(running).max(1)))
    }

    /// Each worker's list, where it differs; a leader whose lease is over writes nothing.
    async fn write(
        &self,
        reports: &[Report],
        placed: &Placed,
        current: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<(), StoreError> {
        let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for report in reports {
            lists.insert(report.identity.id.clone(), BTreeSet::new());
        }
        for (pipeline, workers) in &placed.placement {
            for worker in workers {
                lists.entry(worker.clone()).or_default().insert(pipeline.clone());
            }
        }
        let mut writes: Vec<Write> = (lists.iter())
            .filter(|(worker, list)| current.get(*worker) != Some(list))
            .map(|(worker, list)| {
                let value = serde_json::to_vec(list).expect("names are JSON");
                Write::put(format!("assignments/{worker}"), value)
            })
            .collect();
        writes.extend(
            (current.keys().filter(|worker| !lists.contains_key(*worker))).map(|worker| Write::Delete {
                key: format!("assignments/{worker}"),
            }),
        );
        for some in writes.chunks(crate::store::MAX_OPERATIONS) {
            let transaction = Transaction {
                conditions: self
                    .lease
                    .map(|lease| Condition::At("leader".to_owned(), lease))
                    .into_iter()
                    .collect(),
                writes: some.to_vec(),
            };
            match self.store.commit(transaction).await {
                Ok(_) => {}
                Err(CommitError::Conflict { .. }) => return Ok(()),
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

fn by_pipeline(assignments: &BTreeMap<String, BTreeSet<String>>) -> Placement {
    let mut placement = Placement::new();
    for (worker, pipelines) in assignments {
        for pipeline in pipelines {
            placement.entry(pipeline.clone()).or_default().insert(worker.clone());
        }
    }
    placement
}

fn labels(pipeline: &Registered) -> BTreeMap<String, String> {
    let labels = pipeline.document["placement"]["labels"].as_object();
    let texts = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    texts.collect()
}
