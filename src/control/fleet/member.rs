//! One worker's part: it reports, hears what was placed on it, and sees to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::here::Here;
use super::plane::{Plane, Unheard, Work};
use super::report::Report;
use super::wishes::Wishes;
use crate::kafka::Leave;
use crate::telemetry::status::{self, Phase, TaskSummary};
use crate::telemetry::{PipelineEvent, WorkerTelemetry, recent_events};

/// How often a worker reports.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How often it does so while somebody looks at one of its pipelines.
const REPORT_SOON: Duration = Duration::from_millis(700);
/// A task that runs and has shown nothing for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// A worker with a stuck task has so long to get over it.
const GETS_OVER_IT_WITHIN: Duration = Duration::from_secs(60);
/// Another reason of the same kind is said after so long.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a worker that leaves takes to say so.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// So much of what was said is told of a pipeline that somebody looks at.
const EVENTS: usize = 50;

/// How this worker stands with its fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not heard of the fleet yet.
    #[default]
    Joining,
    /// It reports, and is heard.
    Joined,
    /// The control plane or its store is away; what runs goes on.
    Away(String),
    /// Another live worker has its id: it runs nothing.
    Refused(String),
    /// A task shows no progress, and keeps its partitions from everybody: the process has to end.
    Stuck(String),
}

/// This worker as a member of its fleet.
#[derive(Debug)]
pub struct Member {
    standing: watch::Receiver<Standing>,
    draining: watch::Sender<Option<Leave>>,
    has_left: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Member {
    /// Reports over this plane, and runs what it tells. Must be called within a Tokio runtime.
    pub fn join(here: Arc<Here>, plane: impl Plane) -> Member {
        let (standing, seen) = watch::channel(Standing::default());
        let (drain, draining) = watch::channel(None);
        let (has_left, left) = watch::channel(false);
        let rounds = Rounds {
            here,
            plane,
            standing,
            draining,
            wishes: Wishes::default(),
            work: Work::default(),
            refused: BTreeMap::new(),
            stuck_since: None,
            said: (Standing::default(), Instant::now()),
        };
        Member {
            standing: seen,
            draining: drain,
            has_left,
            running: tokio::spawn(rounds.run(left)),
        }
    }

    /// How this worker stands with its fleet.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// From now on nothing new runs here. One that leaves for good is told to be draining: it is given nothing, and what it
    /// has goes to others.
    pub fn drain(&self, leave: Leave) {
        self.draining.send_replace(Some(leave));
    }

    /// Reports no more, and says so.
    pub async fn leave(self) {
        self.has_left.send_replace(true);
        // One that panicked has left; one that can't say so is missed when its lease ends.
        let _ = timeout(LEAVES_WITHIN, self.running).await;
    }
}

/// What is done again and again.
struct Rounds<P> {
    here: Arc<Here>,
    plane: P,
    standing: watch::Sender<Standing>,
    draining: watch::Receiver<Option<Leave>>,
    wishes: Wishes,
    /// What it is to run, as it was last heard.
    work: Work,
    /// Pipelines that this worker can't run, and why.
    refused: BTreeMap<String, String>,
    stuck_since: Option<Instant>,
    /// What was logged last, and when.
    said: (Standing, Instant),
}

impl<P: Plane> Rounds<P> {
    async fn run(mut self, mut left: watch::Receiver<bool>) {
        let mut files = self.here.files.clone();
        let mut draining = self.draining.clone();
        let rounds = async {
            loop {
                let looked_at = self.round().await;
                let pause = if looked_at { REPORT_SOON } else { REPORT_EVERY };
                // A change wakes it up before the time.
                let woken = async {
                    tokio::select! {
                        () = self.plane.changed() => {}
                        Ok(()) = files.changed() => {}
                        Ok(()) = draining.changed() => {}
                    }
                };
                let _ = timeout(pause, woken).await;
            }
        };
        tokio::select! {
            () = rounds => {}
            _ = left.wait_for(|left| *left) => {}
        }
        self.leave().await;
    }

    /// The lease of one that comes back goes on, and keeps its place.
    async fn leave(mut self) {
        if *self.draining.borrow() != Some(Leave::ToComeBack) {
            return self.plane.leave().await;
        }
        let report = Report {
            restarting: true,
            ..self.report()
        };
        // Where the control plane is away, the lease ends by itself.
        let _ = self.plane.tell(&report).await;
    }

    /// Whether somebody looks at a pipeline of this worker.
    async fn round(&mut self) -> bool {
        let report = self.report();
        let standing = match self.talk(&report).await {
            Ok(()) => Standing::Joined,
            Err(Unheard::Away(reason)) => Standing::Away(reason),
            Err(Unheard::Twin(reason)) => Standing::Refused(reason),
        };
        let refused = matches!(standing, Standing::Refused(_));
        let stuck = self.too_long_stuck(report.stuck.as_deref());
        self.stand(stuck.unwrap_or(standing));
        if self.draining.borrow().is_none() {
            self.run_what_is_wished(refused);
        }
        (self.work.looked_at.iter()).any(|name| report.tasks.contains_key(name))
    }

    async fn talk(&mut self, report: &Report) -> Result<(), Unheard> {
        self.plane.tell(report).await?;
        self.work = self.plane.hear().await?;
        Ok(())
    }

    fn run_what_is_wished(&mut self, refused: bool) {
        if refused {
            return self.here.supervisor.set(Vec::new());
        }
        let files = self.here.files.borrow().clone();
        let (wishes, refused) = (self.wishes).of(&files, &self.work, &self.here.foundation);
        self.here.supervisor.set(wishes);
        self.refused = refused;
    }

    fn too_long_stuck(&mut self, stuck: Option<&str>) -> Option<Standing> {
        let since = *self.stuck_since.get_or_insert_with(Instant::now);
        let Some(reason) = stuck else {
            self.stuck_since = None;
            return None;
        };
        let too_long = since.elapsed() >= GETS_OVER_IT_WITHIN;
        too_long.then(|| Standing::Stuck(reason.to_owned()))
    }

    fn stand(&mut self, standing: Standing) {
        // The reasons of an absence may differ from try to try.
        let (said, at) = &self.said;
        let is_new_kind = std::mem::discriminant(said) != std::mem::discriminant(&standing);
        if is_new_kind || (*said != standing && at.elapsed() >= SAID_AGAIN_AFTER) {
            self.said = (standing.clone(), Instant::now());
            match &standing {
                Standing::Joining => {}
                Standing::Joined => WorkerTelemetry.joined(),
                Standing::Away(reason) => WorkerTelemetry.unheard(reason),
                Standing::Refused(reason) | Standing::Stuck(reason) => WorkerTelemetry.failed(reason),
            }
        }
        self.standing.send_replace(standing);
    }

    fn report(&self) -> Report {
        let here = &self.here;
        let mut tasks = here.tasks();
        for (name, problems) in &self.refused {
            tasks.insert(name.clone(), cannot_run(problems));
        }
        let looked_at: BTreeSet<&String> = (self.work.looked_at.iter())
            .filter(|name| tasks.contains_key(*name))
            .collect();
        Report {
            draining: *self.draining.borrow() == Some(Leave::ForGood),
            stuck: status::stuck(STUCK_AFTER).map(|name| format!("{name} runs and shows no progress")),
            files: (here.files.borrow().iter().map(|file| &file.settings))
                .map(|settings| (settings.name.clone(), settings.revision.clone()))
                .collect(),
            details: (looked_at.iter())
                .filter_map(|name| Some(((*name).clone(), status::task(&here.identity.id, name)?)))
                .collect(),
            events: (looked_at.iter()).flat_map(|name| self.said_of(name)).collect(),
            tasks,
            ..Report::of(here.identity.clone())
        }
    }

    fn said_of(&self, pipeline: &str) -> impl Iterator<Item = PipelineEvent> {
        let mut said = recent_events(Some(pipeline));
        said.drain(..said.len().saturating_sub(EVENTS));
        let worker = self.here.identity.id.clone();
        said.into_iter().map(move |event| PipelineEvent {
            worker: worker.clone(),
            ..event
        })
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
        undispatched_records: 0,
        undispatched_seconds: 0.0,
        busy: 0.0,
        records_per_second: 0.0,
        bytes_per_second: 0.0,
    }
}
