//! An operator passes over records: all workers are told, and whoever gets the partition later.

use fnbridge_delivery::event::Admission;
use fnbridge_delivery::skips::SkipRange;

use super::World;
use super::log::{Entry, Kind};
use super::worker::Life;
use crate::history::facts::Fact;

/// Ranges of a partition that are told, at most.
const MOST_RANGES: usize = 50;

impl World {
    /// Passes over some records: around what is stuck, or of those to come.
    pub(super) fn skip_some(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let log = self.logs[partition].now();
        let committed = self.group.committed_at(partition);
        let from = match self.rng.below(3) {
            0 => committed,
            1 => committed + self.rng.below(200) as i64,
            _ => log.next_offset + self.rng.below(50) as i64,
        };
        let records = *self.rng.pick(&[1, 1, 5, 100]);
        self.skip(partition, from, from + records - 1);
    }

    /// Everybody is told to pass over a range.
    pub(super) fn skip(&mut self, partition: usize, from: i64, to: i64) {
        let source = self.logs[partition].source.clone();
        if self.skips.events(&source).len() >= MOST_RANGES {
            return;
        }
        self.skips.add(&source, range(from, to));
        for worker in 0..self.workers.len() {
            if self.workers[worker].life != Life::Dead {
                self.tell_skip(worker, partition, from, to);
            }
        }
    }

    /// An operator's word reaches a task, at once and with each assignment to come.
    pub(super) fn tell_skip(&mut self, worker: usize, partition: usize, from: i64, to: i64) {
        self.expect_skip(worker, partition, from, to);
        let source = self.logs[partition].source.clone();
        let range = range(from, to);
        let event = range.event(&source);
        self.workers[worker].source.skips.add(&source, range);
        self.give(worker, event);
    }

    pub(super) fn expect_skip(&mut self, worker: usize, partition: usize, from: i64, to: i64) {
        self.note(Fact::ToldToSkip {
            worker,
            partition,
            from,
            to,
        });
        if let Some(held) = self.workers[worker].holds(partition)
            && held.deadline.is_none()
        {
            held.skips.push((from, to));
        }
    }

    /// An operator looks at the records that are stuck for good, and passes over them.
    pub(super) fn skip_what_is_stuck(&mut self) {
        for worker in self.live() {
            for held in self.workers[worker].held.values() {
                let (log, partition) = (&self.logs[held.partition].all[held.log], held.partition);
                let to = log.at_or_behind(held.position);
                // Of a log that was made anew, nothing may be committed yet.
                let from = log.at_or_behind(self.group.committed_at(partition));
                let from = if from <= to { from } else { 0 };
                let stuck = log.entries[from..to].iter().filter(|entry| entry.is_stuck());
                let untold = stuck
                    .map(|entry| entry.record.offset)
                    .filter(|offset| !held.skips(*offset));
                let untold: Vec<i64> = untold.collect();
                if !untold.is_empty() && held.deadline.is_none() {
                    return untold
                        .into_iter()
                        .for_each(|offset| self.tell_skip(worker, partition, offset, offset));
                }
            }
        }
    }
}

fn range(from: i64, to: i64) -> SkipRange {
    let reason = "not wanted".into();
    SkipRange { from, to, reason }
}

impl Entry {
    /// Nothing that heals brings it on its way.
    fn is_stuck(&self) -> bool {
        let ill = matches!(
            self.kind,
            Kind::Poison | Kind::Refused | Kind::TooLarge | Kind::AskAgain(..)
        );
        let unconvertible = matches!(self.admission, Admission::Refused { .. });
        ill || unconvertible || !self.refused.is_empty() || self.fate.blocked
    }
}
