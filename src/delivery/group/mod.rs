//! What a worker holds of its group: where reading starts, under which assignment, what a revoke still waits for, and what
//! may be committed. The group's words go in, what is to be said and done comes out.

mod commits;
mod desk;
mod start;

use std::fmt;

use crate::event::{Assignment, Event};
use crate::record::TopicPartition;
use crate::skips::SkipBook;

pub use commits::Commits;
pub use desk::{Desk, Resolved, Slot};
pub use start::{Begin, Facts, Lost, begin, lost};

/// A partition of a topic, by name.
pub type Place = (String, i32);

/// What a group has committed on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset.
    pub offset: i64,
    /// What stands beside it; bytes that are not UTF-8 are replaced, so that the memo's checksum tells.
    pub memo: Option<String>,
}

/// What holding partitions leads to, in the order in which it is to be told.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// A partition is ours, and its records follow from `position`.
    Assigned {
        /// This assignment's number, never used before in this process.
        assignment: Assignment,
        /// The partition.
        source: TopicPartition,
        /// The first offset that can come.
        position: i64,
        /// What stands beside the committed offset.
        memo: Option<String>,
        /// How the position came about.
        started: Started,
    },
    /// The group takes these away and waits for each to be released. No records of theirs follow.
    Revoked(Vec<Assignment>),
    /// These are gone already: nothing can be committed, nothing needs to be released. No records of theirs follow.
    Lost(Vec<Assignment>),
    /// Retention removed records before they were read: those from `from` on, up to `to`, where reading goes on.
    Overtaken {
        /// Whose.
        assignment: Assignment,
        /// The first offset that was lost.
        from: i64,
        /// The first offset that still exists.
        to: i64,
    },
    /// The commit ended, with an outcome for each of its entries.
    Committed {
        /// In no order; the error is the broker's word.
        outcomes: Vec<(Assignment, Result<(), String>)>,
    },
}

impl GroupEvent {
    /// What it is to a task. With each assignment, the task is told anew what is to be passed over; of a log that is no
    /// more, that is forgotten.
    pub fn events(self, skips: &mut SkipBook) -> Vec<Event> {
        match self {
            GroupEvent::Assigned {
                assignment,
                source,
                position,
                memo,
                started,
            } => {
                if matches!(started, Started::Recreated { .. }) {
                    skips.forget(&source);
                }
                let to_skip = skips.events(&source);
                let assigned = Event::Assigned {
                    assignment,
                    source,
                    position,
                    memo,
                };
                std::iter::once(assigned).chain(to_skip).collect()
            }
            GroupEvent::Revoked(assignments) => vec![Event::Revoked { assignments }],
            GroupEvent::Lost(assignments) => vec![Event::Lost { assignments }],
            GroupEvent::Overtaken { assignment, from, to } => vec![Event::Overtaken { assignment, from, to }],
            GroupEvent::Committed { outcomes } => vec![Event::Committed { outcomes }],
        }
    }
}

/// How the position of an assignment came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It was committed.
    Committed,
    /// The group had none on this partition: from its beginning.
    NewPartition,
    /// The pipeline has run, and its group had none on any partition: they have expired, or somebody deleted them. From its
    /// beginning.
    OffsetsGone,
    /// What was committed is beyond the log's end: the topic was recreated, or cut off. From its beginning.
    Recreated {
        /// What was committed, or where reading stood.
        committed: i64,
    },
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Started::Committed => write!(f, "at the committed offset"),
            Started::NewPartition => write!(f, "at the beginning: the group has no offset on this partition"),
            Started::OffsetsGone => write!(
                f,
                "at the beginning: the pipeline has run before, and its group has no offset any more: they have expired, or \
                 were deleted"
            ),
            Started::Recreated { committed } => write!(
                f,
                "at the beginning: offset {committed} is gone or beyond the end, so the log is another one: the topic was \
                 recreated or cut off"
            ),
        }
    }
}
