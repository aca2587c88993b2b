//! The pipeline of `fnbridge dev`: an ordinary one, registered with a fleet of one worker whose store is in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::args::{Called, Plan};
use crate::api;
use crate::config::{Foundation, WorkerSettings};
use crate::control::Supervisor;
use crate::control::access::{Secrets, SecretsKey};
use crate::control::fleet::{Duty, Fleet, Here, Identity, Member};
use crate::control::letters::Letters;
use crate::control::registry::{self, Author, Precondition, Registered};
use crate::kafka::{ClusterSettings, Leave};
use crate::pipeline::{Picture, PipelineState};
use crate::store;

const WORKER: &str = "dev";
const STORE: &str = "sqlite::memory:";
/// The name by which pipelines find the broker, without naming it.
const CLUSTER: &str = "default";

/// The pipeline that runs, and the fleet that it runs in.
pub(super) struct Running {
    name: String,
    fleet: Arc<Fleet>,
    member: Option<Member>,
    supervisor: Arc<Supervisor>,
    secrets: Secrets,
    closing: Option<JoinHandle<()>>,
}

impl Running {
    /// Registers the pipeline, and runs it.
    ///
    /// # Errors
    /// A URL that can't be called, with what was expected; a system that gives no threads.
    pub(super) async fn start(
        plan: &Plan,
        cluster: &ClusterSettings,
        url: &str,
        address: Option<SocketAddr>,
    ) -> Result<Running, String> {
        let cluster = ClusterSettings {
            name: CLUSTER.to_owned(),
            ..cluster.clone()
        };
        let clusters = BTreeMap::from([(CLUSTER.to_owned(), Arc::new(cluster))]);
        let foundation = Foundation::new(WorkerSettings::by_default(WORKER, clusters), PathBuf::new());
        let document = document(plan, url);
        let registration = foundation.pipeline(&document.to_string(), &BTreeMap::new());
        let registration = registration.map_err(|problems| told(&problems, url))?;
        let store = store::open(STORE).map_err(|error| error.to_string())?;
        let supervisor = Supervisor::start().map_err(|error| format!("no threads to run the pipeline on: {error}"))?;
        let supervisor = Arc::new(supervisor);
        let secrets = Secrets::new(store.clone(), Some(SecretsKey::random()?));
        let here = Arc::new(Here {
            identity: Identity::of_this_process(
                WORKER,
                vec![Duty::Control, Duty::Worker],
                BTreeMap::new(),
                address.map(|address| address.to_string()).unwrap_or_default(),
            ),
            foundation,
            supervisor: supervisor.clone(),
            files: watch::channel(Vec::new()).1,
        });
        let letters = Letters::beside(STORE, Path::new("")).map_err(|error| error.to_string())?;
        let fleet = Fleet::lead(here, store, secrets.clone(), letters);
        let author = Author {
            name: "fnbridge dev".to_owned(),
            at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        let name = plan.pipeline.clone();
        let decide = |existing: Option<&Registered>, last| {
            registry::put(
                existing,
                last,
                registration.document.clone(),
                Precondition::None,
                &author,
            )
        };
        let made = fleet.registry().change(&name, &author, "", decide).await;
        made.map_err(|error| format!("the pipeline can't be registered: {error:?}"))?;
        Ok(Running {
            name,
            member: Some(fleet.join()),
            fleet,
            supervisor,
            secrets,
            closing: None,
        })
    }

    /// The API of this fleet.
    pub(super) fn routes(&self) -> Router {
        let supervisor = self.supervisor.clone();
        api::router(api::Parts {
            fleet: self.fleet.clone(),
            secrets: self.secrets.clone(),
            tokens: None,
            readiness: Arc::new(move || supervisor.ready()),
            peers: api::Peers::default(),
        })
    }

    /// How the pipeline looks now.
    pub(super) fn picture(&self) -> Picture {
        if self.closing.as_ref().is_some_and(JoinHandle::is_finished) {
            return Picture {
                state: PipelineState::Stopped,
                ..Picture::default()
            };
        }
        self.supervisor.picture(&self.name).unwrap_or_default()
    }

    /// Starts the drain.
    pub(super) fn close(&mut self) {
        let Some(member) = self.member.take() else { return };
        let (fleet, supervisor) = (self.fleet.clone(), self.supervisor.clone());
        self.closing = Some(tokio::spawn(async move {
            member.drain(Leave::ForGood);
            supervisor.close(Leave::ForGood).await;
            member.leave().await;
            fleet.resign().await;
        }));
    }

    /// Waits until the drain is over.
    pub(super) async fn ended(&mut self) {
        if let Some(closing) = self.closing.as_mut() {
            // A drain that panicked is over, too.
            let _ = closing.await;
        }
    }
}

fn document(plan: &Plan, url: &str) -> Value {
    let mut document = json!({
        "name": plan.pipeline,
        "source": {"topics": [plan.topic]},
        "function": {"url": url, "contract": plan.contract.name()},
        "dead_letter": {"topic": plan.dead_letters},
        "sinks": [{"name": "results", "kafka": {"topic": plan.results}}],
    });
    if plan.contract.takes_one_record() {
        document["batch"] = json!({"max_records": 1});
    }
    if matches!(plan.function, Called::Here(_)) {
        // Whoever edits a function waits for it.
        document["retry"] = json!({"max_backoff": "1s"});
    }
    document
}

/// A document that is ours has one thing that may be wrong with it.
fn told(problems: &crate::config::Problems, url: &str) -> String {
    let messages: Vec<&str> = problems.0.iter().map(|problem| problem.message.as_str()).collect();
    format!("--url {url}: {}", messages.join("; "))
}
