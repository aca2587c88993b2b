//! What an operator passes over: ranges of records of one partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::{Event, View};
use crate::record::TopicPartition;

/// Partitions that ranges are kept for, at most.
const MAX_PARTITIONS: usize = 10_000;

/// Ranges of one partition that are remembered, at most.
pub const MAX_RANGES: usize = 100;

/// Records that are to become dead letters without a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkipRange {
    /// The first offset.
    pub from: i64,
    /// The last offset.
    pub to: i64,
    /// The operator's reason.
    pub reason: Arc<str>,
}

impl SkipRange {
    /// The event that tells a task of it.
    pub fn event(&self, source: &TopicPartition) -> Event {
        Event::Skip {
            source: source.clone(),
            from: self.from,
            to: self.to,
            reason: self.reason.to_string(),
        }
    }

    fn covers(&self, other: &SkipRange) -> bool {
        self.from <= other.from && other.to <= self.to
    }
}

/// The ranges of one partition that wait for records. A record that stands in several is of the one that was told first.
#[derive(Clone, Debug, Default)]
pub struct Skips {
    ranges: Vec<SkipRange>,
}

impl Skips {
    /// Remembers a range, unless it stands in another. False: there are too many already.
    pub fn remember(&mut self, range: SkipRange) -> bool {
        if range.from > range.to || self.ranges.iter().any(|other| other.covers(&range)) {
            return true;
        }
        let room = self.ranges.len() < MAX_RANGES;
        if room {
            self.ranges.push(range);
        }
        room
    }

    /// Why a record is to be passed over, if it is.
    pub fn reason_for(&self, offset: i64) -> Option<&Arc<str>> {
        let range = (self.ranges.iter()).find(|range| (range.from..=range.to).contains(&offset))?;
        Some(&range.reason)
    }

    /// Forgets ranges that lie before an offset.
    pub fn forget_before(&mut self, offset: i64) {
        self.ranges.retain(|range| range.to >= offset);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, as they were told.
    pub fn iter(&self) -> impl Iterator<Item = &SkipRange> {
        self.ranges.iter()
    }
}

/// The ranges of a pipeline, kept beside its task, which forgets them with each assignment.
#[derive(Clone, Debug, Default)]
pub struct SkipBook(BTreeMap<TopicPartition, Skips>);

impl SkipBook {
    /// Keeps a range. False: there are too many already.
    pub fn add(&mut self, source: &TopicPartition, range: SkipRange) -> bool {
        let room = self.0.len() < MAX_PARTITIONS || self.0.contains_key(source);
        room && self.0.entry(source.clone()).or_default().remember(range)
    }

    /// What a new assignment of a partition is told.
    pub fn events(&self, source: &TopicPartition) -> Vec<Event> {
        let ranges = self.0.get(source).into_iter().flat_map(Skips::iter);
        ranges.map(|range| range.event(source)).collect()
    }

    /// Forgets the ranges that partitions have passed: what is committed does not come again.
    pub fn forget_passed(&mut self, view: &View) {
        if self.0.is_empty() {
            return;
        }
        for partition in &view.partitions {
            if let Some(skips) = self.0.get_mut(&partition.source) {
                skips.forget_before(partition.committed);
            }
        }
        self.0.retain(|_, skips| !skips.is_empty());
    }

    /// Forgets what was said of a log that is no more: the same offsets name other records now.
    pub fn forget(&mut self, source: &TopicPartition) {
        self.0.remove(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: i64, to: i64) -> SkipRange {
        let reason = format!("{from}-{to}").into();
        SkipRange { from, to, reason }
    }

    proptest! {
        #[test]
        fn a_record_has_the_reason_that_was_told_first_until_it_is_passed(
            told in prop::collection::vec((0i64..200, 0i64..20), 0..30), passed in 0i64..250, offset in 0i64..250,
        ) {
            let mut skips = Skips::default();
            let told: Vec<SkipRange> = told.iter().map(|(from, more)| range(*from, from + more)).collect();
            told.iter().for_each(|range| assert!(skips.remember(range.clone())));
            skips.forget_before(passed);
            let first = told.iter().find(|range| (range.from..=range.to).contains(&offset)).map(|range| &range.reason);
            if offset >= passed {
                prop_assert_eq!(skips.reason_for(offset), first);
            }
        }
    }

    #[test]
    fn the_hundred_and_first_range_is_not_remembered_until_one_has_passed() {
        let mut skips = Skips::default();
        (0..100).for_each(|n| assert!(skips.remember(range(n * 10, n * 10 + 5))));
        assert!(skips.remember(range(12, 14)), "it stands in another");
        assert!(!skips.remember(range(2000, 2001)));
        skips.forget_before(6);
        assert!(skips.remember(range(2000, 2001)));
        assert!(skips.remember(range(9, 3)), "it holds nothing");
        assert_eq!(skips.iter().count(), 100);
    }
}
