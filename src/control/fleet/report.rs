//! What a worker tells the fleet of itself, for as long as its lease lasts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::telemetry::PipelineEvent;
use crate::telemetry::status::{TaskStatus, TaskSummary};

/// How long a worker counts as alive after its last report.
pub const LEASE: Duration = Duration::from_secs(10);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Places pipelines, and serves the API.
    Control,
    /// Runs pipelines.
    Worker,
}

/// Who a worker is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Identity {
    /// Its id, unique in the fleet.
    pub id: String,
    /// What it does.
    pub duties: Vec<Duty>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its version.
    pub version: String,
    /// The address that it listens on.
    pub address: String,
    /// The URL at which other workers reach its API; none where it is not known, or it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// Tells this process from another that claims the same id.
    pub incarnation: i64,
}

impl Identity {
    /// This process.
    pub fn of_this_process(id: &str, duties: Vec<Duty>, labels: BTreeMap<String, String>, address: String) -> Identity {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Identity {
            id: id.to_owned(),
            duties,
            labels,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address,
            url: None,
            started_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            incarnation: fastrand::i64(..),
        }
    }
}

/// What a worker tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Who it is.
    pub identity: Identity,
    /// It ends, and is to be given nothing.
    pub draining: bool,
    /// It has ended and is to come back under its id: what it has stays placed on it for a lease.
    #[serde(default)]
    pub restarting: bool,
    /// A task of it makes no progress although it runs: which, and since when.
    #[serde(default)]
    pub stuck: Option<String>,
    /// Its pipelines from files, with their revisions.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Its tasks.
    #[serde(default)]
    pub tasks: BTreeMap<String, TaskSummary>,
    /// More of those that somebody looks at.
    #[serde(default)]
    pub details: BTreeMap<String, TaskStatus>,
    /// What was said of those that somebody looks at.
    #[serde(default)]
    pub events: Vec<PipelineEvent>,
}

impl Report {
    /// Of a worker that has nothing to tell yet.
    pub fn of(identity: Identity) -> Report {
        Report {
            identity,
            draining: false,
            restarting: false,
            stuck: None,
            files: BTreeMap::new(),
            tasks: BTreeMap::new(),
            details: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Whether pipelines may be placed on it.
    pub fn takes(&self) -> bool {
        !self.draining && self.stuck.is_none() && self.identity.duties.contains(&Duty::Worker)
    }
}
