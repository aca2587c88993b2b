//! Giving partitions up: what is on the wire has until the deadline, everything else is let go at once.

use super::Task;
use crate::event::{Assignment, CallId, Effect, Notice};
use crate::invariants;
use crate::partition::{Drain, drain_took};
use crate::time::Moment;

impl Task {
    pub(super) fn revoked(&mut self, assignments: &[Assignment], now: Moment) {
        let deadline = now + self.settings.drain_timeout;
        for assignment in assignments {
            let Some(partition) = self.partitions.get_mut(assignment).filter(|p| p.drain.is_none()) else {
                continue;
            };
            partition.drain = Some(Drain {
                since: now,
                deadline,
                cut_off: false,
                commit_failed: false,
            });
            self.draining += 1;
            self.unschedule(*assignment);
            self.touch(*assignment);
        }
    }

    /// The partitions may be somebody else's by now: nothing of theirs is committed, what arrives for them is discarded.
    pub(super) fn lost(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.abandon_calls(*assignment);
            self.forget(*assignment);
        }
    }

    fn unschedule(&mut self, assignment: Assignment) {
        self.schedule.waiting.retain(|(_, other, _)| *other != assignment);
        self.schedule.retries.retain(|(_, other, _)| *other != assignment);
        self.schedule.fresh.retain(|(_, other)| *other != assignment);
        self.schedule.lingering.retain(|(_, other)| *other != assignment);
        self.schedule.patience.remove(&assignment);
    }

    fn forget(&mut self, assignment: Assignment) {
        self.unschedule(assignment);
        self.sinks.forget(assignment);
        self.forget_letters(assignment);
        self.transactions.forget(assignment);
        if let Some(partition) = self.partitions.remove(&assignment) {
            debug_assert!(
                invariants::bytes_are_counted(&partition),
                "everything_is_bounded: {}",
                partition.source
            );
            self.draining -= usize::from(partition.drain.is_some());
            self.held_bytes -= partition.held_bytes;
        }
    }

    fn abandon_calls(&mut self, assignment: Assignment) {
        let calls: Vec<CallId> = self
            .calls
            .iter()
            .filter(|(_, call)| call.assignment == assignment)
            .map(|(id, _)| *id)
            .collect();
        for id in calls {
            let Some(call) = self.calls.remove(&id) else { continue };
            self.held_bytes -= call.weight_bytes;
            self.retries_on_wire -= usize::from(call.retry);
            if call.probe {
                self.breaker.probe_abandoned();
            }
            if let Some(partition) = self.partitions.get_mut(&assignment) {
                partition.in_flight -= call.records;
                partition.calls_on_wire -= 1;
            }
            if let Some(work) = self.work_mut(assignment, call.work) {
                work.call = None;
            }
            self.effects.push_back(Effect::Abandon(id));
        }
    }

    /// What is still on the wire at a drain's deadline is cut off.
    pub(super) fn cut_off_drains(&mut self, now: Moment) {
        self.those_drained()
            .into_iter()
            .for_each(|assignment| self.cut_off(assignment, now));
    }

    /// Lets go of what is drained, once its last commit has ended. True where something was.
    pub(super) fn release_drained(&mut self, now: Moment) -> bool {
        let held = self.partitions.len();
        self.those_drained()
            .into_iter()
            .for_each(|assignment| self.release(assignment, now));
        self.partitions.len() < held
    }

    fn those_drained(&self) -> Vec<Assignment> {
        if self.draining == 0 {
            return Vec::new();
        }
        let draining = self.partitions.values().filter(|p| p.drain.is_some());
        draining.map(|p| p.assignment).collect()
    }

    /// When the next drain is cut off.
    pub(super) fn next_deadline(&self) -> Option<Moment> {
        if self.draining == 0 {
            return None;
        }
        let drains = self.partitions.values().filter_map(|p| p.drain);
        drains.filter(|drain| !drain.cut_off).map(|drain| drain.deadline).min()
    }

    fn cut_off(&mut self, assignment: Assignment, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let Some(drain) = partition
            .drain
            .as_mut()
            .filter(|drain| now >= drain.deadline && !drain.cut_off)
        else {
            return;
        };
        drain.cut_off = true;
        self.touched.push(assignment);
        let unacked = partition.items_on_wire + partition.letters_on_wire > 0;
        self.abandon_calls(assignment);
        // What a transaction holds can't be taken back: sent anew, it might stand twice. Its end is waited for.
        if unacked && !self.is_exactly_once() {
            self.effects.push_back(Effect::RecycleSinks);
            self.send_anew();
            self.send_letters_anew();
        }
        self.sinks.forget(assignment);
        self.forget_letters(assignment);
        self.transactions.forget(assignment);
    }

    fn release(&mut self, assignment: Assignment, now: Moment) {
        if self.has_finished(assignment) {
            return;
        }
        let held = self.is_held(now);
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let Some(drain) = partition
            .drain
            .filter(|_| !partition.on_wire() && partition.commit.in_flight.is_none())
        else {
            return;
        };
        partition.remember_boundaries();
        self.commit_due = self
            .commit_due
            .into_iter()
            .chain(partition.wants_commit().then(|| partition.commit_due()))
            .min();
        let given_up = drain.cut_off && (drain.commit_failed || held);
        if partition.wants_commit() && !given_up {
            return;
        }
        let source = partition.source.clone();
        self.forget(assignment);
        self.effects.push_back(Effect::Release(assignment));
        self.notice(Notice::Drained {
            source,
            took: drain_took(&drain, now),
            in_time: !drain.cut_off,
        });
    }
}

impl crate::partition::Partition {
    /// A clean hand-over keeps the boundaries of batches whose first call the drain cut off. Those that have not been called
    /// have none to keep.
    fn remember_boundaries(&mut self) {
        for work in self.works.values_mut().filter(|work| !work.remembered && !work.first) {
            work.remembered = true;
            self.commit.version += 1;
        }
    }
}
