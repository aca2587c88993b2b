//! Dead letters, found again: an index over the dead-letter topics, which stay the truth. It holds a row a letter and no
//! value, and is a cache: lost, it is read from the topics anew.

#[cfg(test)]
mod bad;
mod contents;
mod fetch;
mod filter;
mod groups;
mod index;
mod later;
mod list;
mod marks;
mod passed;
mod rows;
mod search;
mod standing;
mod tables;
mod tail;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::deadletter::{Told, told};
use crate::delivery::record::{Record, TopicPartition};

pub use contents::Contents;
pub use fetch::fetch;
pub use filter::{Filter, Newest};
pub use groups::Group;
pub use index::{Index, IndexError};
pub use later::{Later, later};
pub use list::{Listed, cursor};
pub use marks::{CLOCKS_DIFFER_MS, Marked, Tally};
pub use passed::{KeysOfLetters, Passed, passed};
pub use standing::{Standing, Stands};
pub use tail::{Tail, Tailed};

/// A dead letter, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands.
    pub place: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// When it was given up, in milliseconds since the Unix epoch: what it says, else its record's time.
    pub at_ms: i64,
    /// Bytes of key, value and headers.
    pub bytes: u64,
    /// The digest of the key; none without a key.
    pub key: Option<String>,
    /// What it says of itself.
    pub told: Told,
    /// How it stands.
    pub stands: Stands,
}

impl Letter {
    /// The letter that a record of a dead-letter topic is. `owner` is the pipeline whose topic it is, where that is known and
    /// the record does not say.
    pub fn of(record: &Record, owner: Option<&str>) -> Letter {
        let mut told = told(record);
        if told.pipeline.is_none() {
            told.pipeline = owner.map(str::to_owned);
        }
        Letter {
            place: record.source.clone(),
            offset: record.offset,
            at_ms: told.last_failed_ms.unwrap_or(record.timestamp_ms),
            bytes: record.payload_bytes() as u64,
            key: record.key.as_deref().map(key_digest),
            told,
            stands: Stands::default(),
        }
    }

    /// Its id: `<dead-letter topic>/<partition>/<offset>`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.place, self.offset)
    }
}

/// A key's digest: the first 16 hexadecimal digits of its SHA-256.
pub fn key_digest(key: &[u8]) -> String {
    let digest = Sha256::digest(key);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads an id: `<topic>/<partition>/<offset>`.
pub fn place_of(id: &str) -> Option<(TopicPartition, i64)> {
    let mut parts = id.rsplitn(3, '/');
    let (offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
    let place = TopicPartition {
        topic: topic.into(),
        partition: partition.parse().ok().filter(|partition| *partition >= 0)?,
    };
    let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
    (!topic.is_empty()).then_some((place, offset))
}
