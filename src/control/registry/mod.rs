//! Which pipelines the fleet is to run: documents with revisions and history. What a change leads to is decided here,
//! without a store, a clock or IO; [`Registry`] carries it out.

mod change;
mod difference;
mod shelf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use change::{Author, Outcome, Precondition, Refusal, Verb, delete, put, restart, set_state};
pub use difference::{Difference, difference};
pub use shelf::{ChangeError, Made, Registry};

/// A pipeline that is registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// Its name, unique in the fleet.
    pub name: String,
    /// Counts its changes from 1; a name that is used again goes on counting.
    pub revision: u64,
    /// How often it was restarted by hand.
    #[serde(default)]
    pub restarts: u64,
    /// The document, as it was sent.
    pub document: Value,
    /// When it was registered, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// Who changed it last.
    pub changed_by: String,
}

/// One change of a pipeline, kept when the pipeline is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The revision that it led to.
    pub revision: u64,
    /// What was done.
    pub verb: Verb,
    /// Who did it.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What differs from the revision before.
    pub changes: Vec<Difference>,
    /// The document from then on; null where the pipeline was deleted.
    pub document: Value,
}
