//! Which pipelines the fleet is to run: documents with revisions and history. What a change leads to is decided here,
//! without a store, a clock or IO; [`Registry`] carries it out.

mod change;
mod difference;
mod followed;
mod shelf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use change::{
    Author, Outcome, Precondition, Refusal, Verb, belongs_to, delete, put, restart, seek, set_state, skip, sought,
};
pub use difference::{Difference, difference};
pub use followed::Followed;
pub use shelf::{ChangeError, Forgotten, Made, Registry};

/// A pipeline that is registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// A pause put `state` into a document that was sent without one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub state_added: bool,
    /// Where reading is to go on, until that is done; nothing is read meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seek: Option<SeekOrder>,
    /// Why the last seek came to nothing, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seek_failed: Option<String>,
    /// Records that operators passed over, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<SkipOrder>,
    /// When it was registered, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub changed_ms: i64,
    /// Who changed it last.
    pub changed_by: String,
}

/// Where reading is to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeekOrder {
    /// `earliest`, `latest`, an RFC 3339 time, or an offset.
    pub to: String,
    /// The topic; `None`: all of the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partitions; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<i32>,
}

/// Records to be passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SkipOrder {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The last offset.
    pub to: i64,
    /// Why.
    pub reason: String,
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
    /// What differs from the revision before; secrets are hidden.
    pub changes: Vec<Difference>,
    /// The document from then on; null where the pipeline was deleted.
    pub document: Value,
}
