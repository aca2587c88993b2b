//! What a worker and the control plane tell each other, whatever lies between them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::report::Report;
use crate::control::registry::Registered;
use crate::store::StoreError;

/// What a worker is to run, and what it is to tell of.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Work {
    /// The pipelines that are placed on it.
    pub pipelines: Vec<Registered>,
    /// The secrets that these refer to, with their values.
    pub secrets: BTreeMap<String, String>,
    /// The pipelines that somebody looks at.
    pub looked_at: BTreeSet<String>,
    /// The groups of these pipelines, and of those that are in workers' files, that have committed before: `cluster/group`.
    #[serde(default)]
    pub have_run: BTreeSet<String>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("pipelines", &self.pipelines)
            .field("secrets", &self.secrets.keys())
            .field("looked_at", &self.looked_at)
            .finish()
    }
}

/// Why a worker was not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unheard {
    /// The control plane, or its store, is away.
    #[error("{0}")]
    Away(String),
    /// Another live worker has its id.
    #[error("{0}")]
    Twin(String),
}

impl From<StoreError> for Unheard {
    fn from(error: StoreError) -> Unheard {
        Unheard::Away(error.to_string())
    }
}

/// The way to the control plane: to the store itself, or over HTTP to those that have it.
pub trait Plane: Send + 'static {
    /// Tells of this worker, which counts as alive for a lease from then on.
    fn tell(&mut self, report: &Report) -> impl Future<Output = Result<(), Unheard>> + Send;

    /// What this worker is to run.
    fn hear(&mut self) -> impl Future<Output = Result<Work, Unheard>> + Send;

    /// Comes back when there may be something new to hear.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// This worker is gone.
    fn leave(&mut self) -> impl Future<Output = ()> + Send;
}
