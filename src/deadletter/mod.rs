//! Dead letters: the record format, the topic, and writing to it.

mod again;
#[cfg(test)]
mod bad;
mod fingerprint;
mod format;
mod headers;
mod result;
#[cfg(test)]
mod tests;
mod told;
mod topic;
mod writer;

use std::sync::Arc;

use crate::kafka::ClusterSettings;

pub use again::{given_up, redriven};
pub use fingerprint::fingerprint;
pub use format::{DeadLetter, dead_letter};
pub use result::kept_result;
pub use told::{Told, source_headers, told};
pub use topic::{Proof, prove};
pub use writer::{Writer, not_written, partition};

/// Where a pipeline's dead letters go, and what they say of it.
#[derive(Clone, Debug)]
pub struct DeadLetterSettings {
    /// The source's cluster.
    pub cluster: Arc<ClusterSettings>,
    /// The topic.
    pub topic: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The revision of the pipeline's document.
    pub revision: String,
    /// The worker's id.
    pub worker: String,
    /// The sinks' names, in the order of their numbers.
    pub sinks: Vec<String>,
    /// The source's topics, as far as they are known by name: a topic that is created takes after them.
    pub sources: Vec<String>,
    /// How often a dead letter may be sent through again.
    pub max_redrives: u32,
    /// False: a broker that answers no admin requests, as the embedded one; nothing is proved, and writing creates the topic.
    pub admin: bool,
}
