//! Commits: offset and memo as one effect, one in flight, only for partitions that the task holds.

use super::Task;
use crate::event::{Assignment, CommitEntry, Effect, Notice};
use crate::invariants;
use crate::partition::Partition;
use crate::time::Moment;

impl Task {
    /// Builds the next commit, if one is due and none is in flight.
    pub(super) fn commit(&mut self, now: Moment) {
        if self.commit_in_flight || self.commit_due.is_none_or(|due| due > now) {
            return;
        }
        let settings = &self.settings;
        let entries: Vec<CommitEntry> = (self.partitions.values_mut())
            .filter(|partition| partition.wants_commit() && partition.commit.retry_at <= now)
            .map(|partition| partition.build_commit(settings, now))
            .collect();
        if entries.is_empty() {
            return self.find_commit_due();
        }
        self.commit_in_flight = true;
        self.effects.push_back(Effect::Commit(entries));
    }

    /// Notes when a partition wants to commit.
    pub(super) fn note_commit(&mut self, assignment: Assignment) {
        let partition = self.partitions.get(&assignment).filter(|p| p.wants_commit());
        self.commit_due = self
            .commit_due
            .into_iter()
            .chain(partition.map(Partition::commit_due))
            .min();
    }

    pub(super) fn find_commit_due(&mut self) {
        let wanting = self.partitions.values().filter(|p| p.wants_commit());
        self.commit_due = wanting.map(Partition::commit_due).min();
    }

    pub(super) fn committed(&mut self, outcomes: Vec<(Assignment, Result<(), String>)>, now: Moment) {
        self.commit_in_flight = false;
        let interval = self.settings.commit_interval;
        for (assignment, outcome) in outcomes {
            let Some(partition) = self.partitions.get_mut(&assignment) else {
                self.notice(Notice::LateDiscarded { what: "commit" });
                continue;
            };
            let Some((version, offset)) = partition.commit.in_flight.take() else {
                continue;
            };
            match outcome {
                Ok(()) => {
                    partition.committed = offset;
                    partition.commit.acked_version = version;
                    if let Some(drain) = &mut partition.drain {
                        drain.commit_failed = false;
                    }
                    let awaiting = std::mem::take(&mut partition.commit.awaiting);
                    let (acked, waiting) = awaiting.into_iter().partition(|(wanted, _)| *wanted <= version);
                    partition.commit.awaiting = waiting;
                    let acked: Vec<_> = acked;
                    acked
                        .into_iter()
                        .for_each(|(_, work)| self.schedule_retry(assignment, work));
                }
                Err(reason) => {
                    partition.commit.settled = true;
                    partition.commit.retry_at = now + interval;
                    if let Some(drain) = &mut partition.drain {
                        drain.commit_failed = true;
                    }
                    let source = partition.source.clone();
                    self.notice(Notice::CommitRefused { source, reason });
                }
            }
        }
        self.find_commit_due();
    }
}

impl Partition {
    /// A changed attempt is committed at once, since the next call waits for it; what settled, once an interval.
    pub(super) fn commit_due(&self) -> Moment {
        let urgent = self.commit.version > self.commit.acked_version || self.drained();
        if urgent {
            self.commit.retry_at
        } else {
            self.commit.not_before.max(self.commit.retry_at)
        }
    }

    /// Being drained, and nothing on the wire: only the last commit is left.
    pub(super) fn drained(&self) -> bool {
        self.drain.is_some() && !self.on_wire()
    }

    pub(super) fn build_commit(&mut self, settings: &crate::settings::TaskSettings, now: Moment) -> CommitEntry {
        let entry = self.commit_entry(self.assignment, settings);
        debug_assert!(
            invariants::nothing_is_lost(self),
            "nothing_is_lost: {} at {}",
            self.source,
            entry.offset
        );
        self.commit.settled = false;
        self.commit.in_flight = Some((self.commit.version, entry.offset));
        self.commit.not_before = now + settings.commit_interval;
        entry
    }
}
