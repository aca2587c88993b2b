//! One worker's part: it reports, hears what was placed on it, and sees to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wishes::Wishes;
use super::{Fleet, LEASE, Report, Standing};
use crate::control::registry::Registered;
use crate::store::{CommitError, Condition, Revision, Store, StoreError, Transaction, Write};
use crate::telemetry::status::{self, Phase, TaskSummary};
use crate::telemetry::{WorkerTelemetry, recent_events};

/// How often a worker reports.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How often it does so while somebody looks at one of its pipelines.
const REPORT_SOON: Duration = Duration::from_millis(700);
/// A task that runs and has shown nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// So much of what was said is told of a pipeline that somebody looks at.
const EVENTS: usize = 50;

/// A worker among others.
pub(super) struct Member {
    fleet: Arc<Fleet>,
    lease: Option<Revision>,
    wishes: Wishes,
    /// What was placed here, as it was last heard.
    placed: Vec<Registered>,
    /// The secrets, as they were last heard.
    secrets: BTreeMap<String, String>,
    /// Pipelines that this worker can't run, and why.
    refused: BTreeMap<String, String>,
}

impl Member {
    pub(super) fn of(fleet: &Arc<Fleet>) -> Member {
        Member {
            fleet: fleet.clone(),
            lease: None,
            wishes: Wishes::default(),
            placed: Vec::new(),
            secrets: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut changes = [
            self.fleet.store.watch("secrets"),
            self.fleet.store.watch("pipelines"),
            self.fleet.store.watch("assignments"),
            self.fleet.store.watch("looks"),
        ];
        let mut files = self.fleet.files.clone();
        loop {
            let looked_at = self.round().await;
            let pause = if looked_at { REPORT_SOON } else { REPORT_EVERY };
            // A change wakes it up before the time.
            let _ = timeout(pause, changed(&mut changes, &mut files)).await;
        }
    }

    /// Whether somebody looks at a pipeline of this worker.
    async fn round(&mut self) -> bool {
        let (standing, looked_at) = match self.talk().await {
            Ok(looked_at) => (Standing::Joined, looked_at),
            Err(Talk::Store(error)) => (Standing::Away(error.to_string()), false),
            Err(Talk::Twin(reason)) => (Standing::Refused(reason), false),
        };
        let refused = matches!(standing, Standing::Refused(_));
        self.stand(standing);
        if refused {
            self.fleet.supervisor.set(Vec::new());
        } else {
            let files = self.fleet.files.borrow().clone();
            let (wishes, refused) = self
                .wishes
                .of(&files, &self.placed, &self.fleet.foundation, &self.secrets);
            self.fleet.supervisor.set(wishes);
            self.refused = refused;
        }
        looked_at
    }

    fn stand(&self, standing: Standing) {
        self.fleet.standing.send_if_modified(|known| {
            // The reasons of an absence differ from try to try.
            let new = std::mem::discriminant(known) != std::mem::discriminant(&standing);
            if new {
                match &standing {
                    Standing::Joining => {}
                    Standing::Joined => WorkerTelemetry.store_back(),
                    Standing::Away(reason) => WorkerTelemetry.store_away(reason),
                    Standing::Refused(reason) => WorkerTelemetry.failed(reason),
                }
            }
            *known = standing;
            new
        });
    }

    async fn talk(&mut self) -> Result<bool, Talk> {
        let store = self.fleet.store.clone();
        let looks = store.all("looks/").await?;
        let looked_at: BTreeSet<&str> = looks
            .iter()
            .filter_map(|entry| entry.key.strip_prefix("looks/"))
            .collect();
        let report = self.report(&looked_at);
        let is_looked_at = report.details.keys().next().is_some();
        self.tell(&report).await?;
        self.hear().await?;
        Ok(is_looked_at)
    }

    fn report(&self, looked_at: &BTreeSet<&str>) -> Report {
        let fleet = &self.fleet;
        let mut tasks = fleet.tasks();
        for (name, problems) in &self.refused {
            tasks.insert(name.clone(), cannot_run(problems));
        }
        let details = (looked_at.iter().filter(|name| tasks.contains_key(**name)))
            .filter_map(|name| Some(((*name).to_owned(), status::task(&fleet.identity.id, name)?)));
        let events = looked_at.iter().flat_map(|name| {
            let mut said = recent_events(Some(name));
            said.drain(..said.len().saturating_sub(EVENTS));
            said.into_iter().map(|event| crate::telemetry::PipelineEvent {
                worker: fleet.identity.id.clone(),
                ..event
            })
        });
        Report {
            identity: fleet.identity.clone(),
            draining: false,
            stuck: status::stuck(STUCK_AFTER).map(|name| format!("{name} runs and shows no progress")),
            files: (fleet.files.borrow().iter().map(|file| &file.settings))
                .map(|settings| (settings.name.clone(), settings.revision.clone()))
                .collect(),
            details: details.collect(),
            events: events.collect(),
            tasks,
        }
    }

    /// Renews the lease with the report. A lease that is not ours is a twin's, or what is left of a worker that died.
    async fn tell(&mut self, report: &Report) -> Result<(), Talk> {
        let store = &self.fleet.store;
        let key = format!("workers/{}", report.identity.id);
        let condition = match self.lease {
            Some(revision) => Condition::At(key.clone(), revision),
            None => Condition::Absent(key.clone()),
        };
        let mut writes = vec![Write::Put {
            key: key.clone(),
            value: serde_json::to_vec(report).expect("a report is JSON").into(),
            lives: Some(LEASE),
        }];
        if self.lease.is_none() {
            // The leader watches who comes and goes, not each report.
            writes.push(Write::put(
                format!("members/{}", report.identity.id),
                now_ms().to_string(),
            ));
        }
        let transaction = Transaction {
            conditions: vec![condition],
            writes,
        };
        match store.commit(transaction).await {
            Ok(revision) => {
                self.lease = Some(revision);
                Ok(())
            }
            Err(CommitError::Conflict { found: None, .. }) => {
                // It ended while the store was away; the next round takes it anew.
                self.lease = None;
                Ok(())
            }
            Err(CommitError::Conflict { .. }) => self.meet_twin(&key).await,
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Somebody has this worker's id: this very process, whose last commit's answer was lost, or another.
    async fn meet_twin(&mut self, key: &str) -> Result<(), Talk> {
        let Some(entry) = self.fleet.store.get(key).await? else {
            self.lease = None;
            return Ok(());
        };
        let twin: Option<Report> = serde_json::from_slice(&entry.value).ok();
        let ours = twin
            .as_ref()
            .is_some_and(|twin| twin.identity.incarnation == self.fleet.identity.incarnation);
        if ours {
            self.lease = Some(entry.revision);
            return Ok(());
        }
        self.lease = None;
        let at = twin.map_or_else(String::new, |twin| format!(", at {}", twin.identity.address));
        Err(Talk::Twin(format!(
            "another live worker has the id {}{at}: give each its own `worker.id`, or none; this one runs nothing until that \
             one has ended, or has been silent for {} s",
            self.fleet.identity.id,
            LEASE.as_secs()
        )))
    }

    async fn hear(&mut self) -> Result<(), StoreError> {
        let key = format!("assignments/{}", self.fleet.identity.id);
        let names: BTreeSet<String> = match self.fleet.store.get(&key).await? {
            Some(entry) => serde_json::from_slice(&entry.value).unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let mut placed = Vec::with_capacity(names.len());
        for name in &names {
            placed.extend(self.fleet.registry.get(name).await?);
        }
        self.placed = placed;
        if !self.placed.is_empty() {
            self.secrets = self.fleet.secrets().await?;
        }
        Ok(())
    }
}

/// Why a round of talk with the store came to nothing.
enum Talk {
    Store(StoreError),
    Twin(String),
}

impl From<StoreError> for Talk {
    fn from(error: StoreError) -> Talk {
        Talk::Store(error)
    }
}

async fn changed<T>(changes: &mut [watch::Receiver<Revision>; 4], files: &mut watch::Receiver<T>) {
    let [secrets, pipelines, assignments, looks] = changes;
    tokio::select! {
        _ = secrets.changed() => {}
        _ = pipelines.changed() => {}
        _ = assignments.changed() => {}
        _ = looks.changed() => {}
        Ok(()) = files.changed() => {}
    }
}

/// Gives back what a worker that ends has of the fleet.
pub(super) async fn give_back(fleet: &Fleet) -> Result<(), StoreError> {
    let id = &fleet.identity.id;
    let mut writes = vec![
        Write::Delete {
            key: format!("workers/{id}"),
        },
        Write::Delete {
            key: format!("members/{id}"),
        },
    ];
    if fleet.leader().await?.as_deref() == Some(id) {
        writes.push(Write::Delete {
            key: "leader".to_owned(),
        });
    }
    write_all(&*fleet.store, writes).await
}

pub(super) async fn write_all(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    let transaction = Transaction {
        conditions: Vec::new(),
        writes,
    };
    match store.commit(transaction).await {
        Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
        Err(CommitError::Store(error)) => Err(error),
    }
}

fn cannot_run(problems: &str) -> TaskSummary {
    TaskSummary {
        revision: String::new(),
        phase: Phase::Waiting,
        reason: Some(format!("this worker can't run the document: {problems}")),
        since: Timestamp::now().to_string(),
        restarts: 0,
        partitions: 0,
        lag_records: 0,
        lag_seconds: 0.0,
        records_per_second: 0.0,
        bytes_per_second: 0.0,
    }
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}
