//! Which jobs this worker carries on: those whose pipeline runs here, one a pipeline, under a lease that only one worker holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::board::Board;
use super::marks::Marks;
use super::run::{End, Tools, run};
use crate::control::registry::Author;
use crate::kafka::ClusterSettings;
use crate::letters::Index;
use crate::pipeline::Redriver;
use crate::redrive::{Job, State};
use crate::store::{CommitError, Condition, Revision, Store, StoreError, Transaction, Write};

/// Leases are renewed so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What this worker says of itself and of the fleet.
pub(in crate::control) trait Around: Send + Sync + 'static {
    /// The worker's id.
    fn worker(&self) -> &str;
    /// A pipeline that is this worker's to redrive through.
    fn redriver(&self, pipeline: &str) -> Option<Redriver>;
    /// The index of dead letters, where this worker is to keep it.
    fn index(&self) -> Option<Arc<Index>>;
    /// A cluster by its name.
    fn cluster(&self, name: &str) -> Option<Arc<ClusterSettings>>;
    /// Whether this worker leads the fleet.
    fn leads(&self) -> bool;
    /// Whether a pipeline is registered, or a live worker has it from a file.
    fn knows<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Jobs of these pipelines run: where this worker leads, it sees to it that somebody can carry them on.
    fn look_after<'a>(&'a self, pipelines: &'a BTreeSet<String>) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// Carries jobs on.
pub(in crate::control) struct Shift<A> {
    around: Arc<A>,
    board: Board,
    marks: Marks,
    lease: Duration,
    working: BTreeMap<String, Working>,
}

struct Working {
    lease: Revision,
    job: String,
    running: JoinHandle<End>,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl<A: Around> Shift<A> {
    /// Leases live for `lease`.
    pub(in crate::control) fn new(around: Arc<A>, store: Arc<dyn Store>, lease: Duration) -> Shift<A> {
        Shift {
            around,
            marks: Marks::new(store.clone()),
            board: Board::new(store),
            lease,
            working: BTreeMap::new(),
        }
    }

    pub(in crate::control) async fn run(mut self) {
        let mut jobs = self.board.store().watch("redrives");
        loop {
            // A store that is away is asked again; leases end by themselves.
            let _ = self.round().await;
            let _ = timeout(LOOK_EVERY, jobs.changed()).await;
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        self.end_what_has_ended().await?;
        self.renew().await?;
        let jobs = self.board.jobs().await?;
        let mut first: BTreeMap<&str, &Job> = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.state == State::Running) {
            first.entry(&job.pipeline).or_insert(job);
        }
        if self.around.leads() {
            let pipelines = first.keys().map(|name| (*name).to_owned()).collect();
            self.around.look_after(&pipelines).await?;
        }
        for (pipeline, job) in &first {
            if !self.working.contains_key(*pipeline)
                && let Some(redriver) = self.around.redriver(pipeline)
            {
                self.begin(job, redriver).await?;
            }
        }
        if self.around.leads() && !first.is_empty() {
            self.stop_orphans(first.into_values()).await?;
        }
        Ok(())
    }

    async fn begin(&mut self, job: &Job, redriver: Redriver) -> Result<(), StoreError> {
        let Some(cluster) = self.around.cluster(&job.cluster) else {
            return Ok(());
        };
        let key = lease_key(&job.pipeline);
        let Some(lease) = self.put_lease(&job.pipeline, Condition::Absent(key)).await? else {
            return Ok(());
        };
        let Some(posted) = self.board.get(&job.id).await? else {
            return Ok(());
        };
        let (index, current, pipeline) = (self.around.clone(), self.around.clone(), job.pipeline.clone());
        let clock = self.around.clone();
        let tools = Tools {
            board: self.board.clone(),
            marks: self.marks.clone(),
            worker: self.around.worker().to_owned(),
            cluster,
            redriver,
            born_ms: self.marks.born_ms(self.around.now_ms()).await?,
            index: Box::new(move || index.index()),
            current: Box::new(move || current.redriver(&pipeline)),
            now_ms: Box::new(move || clock.now_ms()),
        };
        let working = Working {
            lease,
            job: job.id.clone(),
            running: tokio::spawn(run(tools, posted)),
        };
        self.working.insert(job.pipeline.clone(), working);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let held: Vec<(String, Revision)> = (self.working.iter())
            .map(|(pipeline, working)| (pipeline.clone(), working.lease))
            .collect();
        for (pipeline, lease) in held {
            let renewed = self
                .put_lease(&pipeline, Condition::At(lease_key(&pipeline), lease))
                .await?;
            match (renewed, self.working.get_mut(&pipeline)) {
                (Some(lease), Some(working)) => working.lease = lease,
                // Another worker has it by now.
                _ => drop(self.working.remove(&pipeline)),
            }
        }
        Ok(())
    }

    /// The revision of the lease, where it could be had.
    async fn put_lease(&self, pipeline: &str, condition: Condition) -> Result<Option<Revision>, StoreError> {
        let transaction = Transaction {
            conditions: vec![condition],
            writes: vec![Write::Put {
                key: lease_key(pipeline),
                value: self.around.worker().to_owned().into(),
                lives: Some(self.lease),
            }],
        };
        match self.board.store().commit(transaction).await {
            Ok(revision) => Ok(Some(revision)),
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(CommitError::Store(error)) => Err(error),
        }
    }

    async fn end_what_has_ended(&mut self) -> Result<(), StoreError> {
        let ended: Vec<String> = (self.working.iter())
            .filter(|(_, working)| working.running.is_finished())
            .map(|(pipeline, _)| pipeline.clone())
            .collect();
        for pipeline in ended {
            let Some(working) = self.working.get_mut(&pipeline) else {
                continue;
            };
            let (id, lease) = (working.job.clone(), working.lease);
            let end = match &mut working.running {
                running if running.is_finished() => running.await,
                _ => continue,
            };
            let (state, said) = match end {
                Ok(End::Done) => (Some(State::Done), String::new()),
                Ok(End::Stopped(reason)) => (Some(State::Stopped), reason),
                Ok(End::Told | End::Again | End::Lost) => (None, String::new()),
                Err(panic) => (Some(State::Stopped), format!("it ended in a panic: {panic}")),
            };
            if let Some(state) = state {
                self.finish(&id, state, &said).await?;
            }
            self.working.remove(&pipeline);
            let key = lease_key(&pipeline);
            let given_back = Transaction {
                conditions: vec![Condition::At(key.clone(), lease)],
                writes: vec![Write::Delete { key }],
            };
            // Where it is another's by now, it is not this worker's to give back.
            let _ = self.board.store().commit(given_back).await;
        }
        Ok(())
    }

    async fn finish(&self, id: &str, state: State, said: &str) -> Result<(), StoreError> {
        let author = Author {
            name: format!("worker {}", self.around.worker()),
            at_ms: self.around.now_ms(),
        };
        match self.board.change(id, |found| found.finish(state), said, &author).await {
            // Somebody has said something else meanwhile: that holds.
            Ok(_) | Err(super::BoardError::Wrong(_) | super::BoardError::TooLarge { .. }) => Ok(()),
            Err(super::BoardError::Store(error)) => Err(error),
        }
    }

    /// A job whose pipeline is gone does not wait for ever.
    async fn stop_orphans(&self, jobs: impl Iterator<Item = &Job>) -> Result<(), StoreError> {
        for job in jobs {
            if self.around.knows(&job.pipeline).await? {
                continue;
            }
            let said = format!(
                "the pipeline {} is gone: register it again and resume the redrive, or cancel it",
                job.pipeline
            );
            self.finish(&job.id, State::Stopped, &said).await?;
        }
        Ok(())
    }
}

fn lease_key(pipeline: &str) -> String {
    format!("redriving/{pipeline}")
}
