//! The ranges that an operator passes over: kept beside the task, which forgets them with each assignment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::delivery::event::{Event, View};
use crate::delivery::group::GroupEvent;
use crate::delivery::record::TopicPartition;
use crate::delivery::skips::{MAX_RANGES, SkipBook, SkipRange};

/// A range can't be passed over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SkipError {
    /// There is nothing in it.
    #[error("found records {from} to {to}, expected the first not to be behind the last")]
    Empty {
        /// The first offset.
        from: i64,
        /// The last offset.
        to: i64,
    },
    /// So many wait for their records that no more are taken.
    #[error(
        "{source_partition} has {MAX_RANGES} ranges to skip whose records have not passed; wait until some have, or name one wider range"
    )]
    TooMany {
        /// The partition.
        source_partition: TopicPartition,
    },
}

/// The ranges of a pipeline, shared by its handle and its run.
#[derive(Clone, Debug, Default)]
pub(super) struct SkipList(Arc<Mutex<SkipBook>>);

impl SkipList {
    pub(super) fn add(&self, source: &TopicPartition, range: SkipRange) -> Result<(), SkipError> {
        let SkipRange { from, to, .. } = range;
        if from > to {
            return Err(SkipError::Empty { from, to });
        }
        if self.lock().add(source, range) {
            return Ok(());
        }
        Err(SkipError::TooMany {
            source_partition: source.clone(),
        })
    }

    /// What a task is told of what the group gave and took.
    pub(super) fn events(&self, event: GroupEvent) -> Vec<Event> {
        event.events(&mut self.lock())
    }

    /// Forgets the ranges that partitions have passed: what is committed does not come again.
    pub(super) fn forget_passed(&self, view: &View) {
        self.lock().forget_passed(view);
    }

    fn lock(&self) -> MutexGuard<'_, SkipBook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::event::{Assignment, PartitionView};

    fn source(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "orders".into(),
            partition,
        }
    }

    fn range(from: i64, to: i64) -> SkipRange {
        let reason = "bad import".into();
        SkipRange { from, to, reason }
    }

    fn committed(partition: i32, committed: i64) -> View {
        let partition = PartitionView {
            assignment: Assignment(1),
            source: source(partition),
            committed,
            position: committed,
            waiting: 0,
            in_flight: 0,
            unsettled: 0,
            held_bytes: 0,
            oldest_unsettled: None,
            oldest_waiting: None,
            paused: false,
            draining: false,
            totals: [0; 6],
        };
        View {
            partitions: vec![partition],
            ..View::default()
        }
    }

    fn offsets(list: &SkipList, partition: i32) -> Vec<(i64, i64)> {
        let events = list.lock().events(&source(partition)).into_iter();
        let offsets = events.map(|event| match event {
            Event::Skip { from, to, .. } => (from, to),
            other => panic!("{other:?}"),
        });
        offsets.collect()
    }

    #[test]
    fn each_assignment_is_told_until_what_is_committed_has_passed() {
        let list = SkipList::default();
        list.add(&source(0), range(3, 5)).unwrap();
        list.add(&source(0), range(9, 9)).unwrap();
        list.add(&source(1), range(1, 1)).unwrap();
        list.forget_passed(&committed(0, 5));
        assert_eq!(offsets(&list, 0), [(3, 5), (9, 9)]);
        list.forget_passed(&committed(0, 6));
        assert_eq!((offsets(&list, 0), offsets(&list, 1)), (vec![(9, 9)], vec![(1, 1)]));
        list.lock().forget(&source(0));
        assert!(offsets(&list, 0).is_empty());
    }

    #[test]
    fn what_can_not_be_kept_is_refused_with_the_reason() {
        let list = SkipList::default();
        let empty = list.add(&source(0), range(3, 2)).unwrap_err();
        assert_eq!(
            empty.to_string(),
            "found records 3 to 2, expected the first not to be behind the last"
        );
        (0..100).for_each(|n| list.add(&source(0), range(n * 2, n * 2)).unwrap());
        let many = list.add(&source(0), range(300, 300)).unwrap_err();
        assert!(
            many.to_string().starts_with("orders/0 has 100 ranges to skip"),
            "{many}"
        );
        list.add(&source(1), range(300, 300)).unwrap();
    }
}
