//! Where the control plane hears workers, and tells them what to run: straight from and to the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, watch};

use super::plane::{Plane, Unheard, Work};
use super::report::{Identity, LEASE, Report};
use crate::control::access::{Secrets, referred_secrets};
use crate::control::accounts::HaveRun;
use crate::control::registry::{Followed, Registered};
use crate::store::{CommitError, Condition, Entry, Revision, Store, StoreError, Transaction, Write};

/// Hears workers, and tells them what to run.
#[derive(Clone, Debug)]
pub struct Desk {
    store: Arc<dyn Store>,
    secrets: Secrets,
    pipelines: Arc<Mutex<Followed>>,
    have_run: Arc<Mutex<HaveRun>>,
}

impl Desk {
    pub(super) fn new(store: Arc<dyn Store>, secrets: Secrets, pipelines: Followed) -> Desk {
        Desk {
            have_run: Arc::new(Mutex::new(HaveRun::new(store.clone()))),
            store,
            secrets,
            pipelines: Arc::new(Mutex::new(pipelines)),
        }
    }

    /// All pipelines, by name.
    pub(super) async fn pipelines(&self) -> Result<Arc<BTreeMap<String, Registered>>, StoreError> {
        self.pipelines.lock().await.all().await
    }

    /// Takes a worker's report, and renews its lease.
    ///
    /// # Errors
    /// The store is away, or another live worker has the id.
    pub async fn take(&self, report: &Report) -> Result<(), Unheard> {
        let id = &report.identity.id;
        let key = lease_key(id);
        let before = self.store.get(&key).await?;
        if let Some(entry) = &before {
            not_a_twin(entry, &report.identity)?;
        }
        let mut writes = vec![Write::Put {
            key: key.clone(),
            value: serde_json::to_vec(report).expect("a report is JSON").into(),
            lives: Some(LEASE),
        }];
        if before.is_none() {
            // The leader watches who comes and goes, not each report.
            writes.push(Write::put(format!("members/{id}"), now_ms().to_string()));
        }
        let conditions = vec![match before {
            Some(entry) => Condition::At(key, entry.revision),
            None => Condition::Absent(key),
        }];
        match self.store.commit(Transaction { conditions, writes }).await {
            // A lease that ended, or was renewed, in this very moment is taken by the next report.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// What a worker is to run.
    ///
    /// # Errors
    /// The store is away.
    pub async fn work(&self, worker: &str) -> Result<Work, StoreError> {
        let names: BTreeSet<String> = match self.store.get(&format!("assignments/{worker}")).await? {
            Some(entry) => serde_json::from_slice(&entry.value).unwrap_or_default(),
            None => BTreeSet::new(),
        };
        let all = self.pipelines().await?;
        let pipelines: Vec<Registered> = names.iter().filter_map(|name| all.get(name)).cloned().collect();
        let looks = self.store.all("looks/").await?;
        let have_run = self.have_run.lock().await.all().await?;
        let is_told = |(_, pipeline): &(&String, &String)| names.contains(*pipeline) || !all.contains_key(*pipeline);
        Ok(Work {
            have_run: have_run
                .iter()
                .filter(is_told)
                .map(|(group, _)| group.clone())
                .collect(),
            secrets: self.secrets_of(&pipelines).await?,
            pipelines,
            looked_at: (looks.iter())
                .filter_map(|entry| entry.key.strip_prefix("looks/"))
                .map(str::to_owned)
                .collect(),
        })
    }

    /// A worker is gone; a worker of another incarnation stays.
    ///
    /// # Errors
    /// The store is away.
    pub async fn dismiss(&self, worker: &str, incarnation: i64) -> Result<(), StoreError> {
        let key = lease_key(worker);
        let Some(entry) = self.store.get(&key).await? else {
            return Ok(());
        };
        if incarnation_of(&entry) != Some(incarnation) {
            return Ok(());
        }
        let transaction = Transaction {
            conditions: vec![Condition::At(key.clone(), entry.revision)],
            writes: vec![
                Write::Delete { key },
                Write::Delete {
                    key: format!("members/{worker}"),
                },
            ],
        };
        match self.store.commit(transaction).await {
            // Somebody was faster: its lease ends by itself.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    /// Changes of what workers are told, from now on.
    pub fn changes(&self) -> Changes {
        Changes(["pipelines", "assignments", "secrets", "looks"].map(|kind| self.store.watch(kind)))
    }

    async fn secrets_of(&self, pipelines: &[Registered]) -> Result<BTreeMap<String, String>, StoreError> {
        let names: BTreeSet<&str> = (pipelines.iter())
            .flat_map(|pipeline| referred_secrets(&pipeline.document))
            .collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut values = self.secrets.values().await?;
        values.retain(|name, _| names.contains(name.as_str()));
        Ok(values)
    }
}

/// Changes of what workers are told.
#[derive(Debug)]
pub struct Changes([watch::Receiver<Revision>; 4]);

impl Changes {
    /// Comes back at the next change.
    pub async fn next(&mut self) {
        let [pipelines, assignments, secrets, looks] = &mut self.0;
        tokio::select! {
            _ = pipelines.changed() => {}
            _ = assignments.changed() => {}
            _ = secrets.changed() => {}
            _ = looks.changed() => {}
        }
    }
}

/// A worker that has the store itself.
pub(super) struct AtDesk {
    desk: Desk,
    changes: Changes,
    identity: Identity,
}

impl AtDesk {
    pub(super) fn new(desk: Desk, identity: Identity) -> AtDesk {
        AtDesk {
            changes: desk.changes(),
            desk,
            identity,
        }
    }
}

impl Plane for AtDesk {
    async fn tell(&mut self, report: &Report) -> Result<(), Unheard> {
        self.desk.take(report).await
    }

    async fn hear(&mut self) -> Result<Work, Unheard> {
        Ok(self.desk.work(&self.identity.id).await?)
    }

    async fn changed(&mut self) {
        self.changes.next().await;
    }

    async fn leave(&mut self) {
        // Where the store is away, the lease ends by itself.
        let _ = self.desk.dismiss(&self.identity.id, self.identity.incarnation).await;
    }
}

fn lease_key(worker: &str) -> String {
    format!("workers/{worker}")
}

fn incarnation_of(entry: &Entry) -> Option<i64> {
    let report: Option<Report> = serde_json::from_slice(&entry.value).ok();
    report.map(|report| report.identity.incarnation)
}

fn not_a_twin(entry: &Entry, identity: &Identity) -> Result<(), Unheard> {
    let other: Option<Report> = serde_json::from_slice(&entry.value).ok();
    if other
        .as_ref()
        .is_some_and(|other| other.restarting || other.identity.incarnation == identity.incarnation)
    {
        return Ok(());
    }
    let at = other.map_or_else(String::new, |other| format!(", at {}", other.identity.address));
    Err(Unheard::Twin(format!(
        "another live worker has the id {}{at}: give each its own `worker.id`, or none; this one runs nothing until that one \
         has ended, or has been silent for {} s",
        identity.id,
        LEASE.as_secs()
    )))
}

pub(super) fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fleet::Duty;
    use crate::control::registry::Registry;

    fn desk() -> Desk {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let secrets = Secrets::new(store.clone(), None);
        Desk::new(store.clone(), secrets, Followed::new(Registry::new(store)))
    }

    fn report() -> Report {
        Report::of(Identity::of_this_process(
            "a",
            vec![Duty::Worker],
            BTreeMap::new(),
            "127.0.0.1:1".to_owned(),
        ))
    }

    #[tokio::test]
    async fn a_second_worker_of_the_same_id_is_refused_until_the_first_has_left() {
        let (desk, first, second) = (desk(), report(), report());
        desk.take(&first).await.unwrap();
        desk.take(&first).await.unwrap();
        let refused = desk.take(&second).await.unwrap_err();
        assert!(
            matches!(&refused, Unheard::Twin(reason) if reason.contains("id a, at 127.0.0.1:1")),
            "{refused}"
        );
        desk.dismiss("a", second.identity.incarnation).await.unwrap();
        assert!(
            desk.take(&second).await.is_err(),
            "nobody else's lease can be given back"
        );
        desk.dismiss("a", first.identity.incarnation).await.unwrap();
        desk.take(&second).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_ended_to_come_back_is_followed_by_its_next_incarnation() {
        let (desk, mut first, second) = (desk(), report(), report());
        first.restarting = true;
        desk.take(&first).await.unwrap();
        desk.take(&second).await.unwrap();
        assert!(desk.take(&report()).await.is_err(), "and that one is alive");
    }
}
