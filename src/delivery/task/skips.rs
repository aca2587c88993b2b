//! Records that an operator passes over: dead letters of stage `operator`, without a call.
//!
//! What a call or a sink holds just now is passed over once it has come back: a batch keeps its meaning for the records
//! beside it. Neither a pause nor an open breaker nor a guard keeps a record from being passed over, and none counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Task;
use crate::answer::{Failure, Stage};
use crate::event::{Assignment, Notice};
use crate::lane::LaneRef;
use crate::memo;
use crate::partition::{Partition, Seq, State};
use crate::record::TopicPartition;
use crate::skips::SkipRange;
use crate::time::Moment;
use crate::work::WorkId;

/// Records that nothing holds, by where they stand.
#[derive(Debug, Default)]
struct Free {
    waiting: BTreeSet<Seq>,
    works: BTreeMap<WorkId, BTreeSet<Seq>>,
    blocked: BTreeSet<Seq>,
    delivering: BTreeSet<Seq>,
    /// One had to be left: if it were settled, the memo might not fit.
    memo_full: bool,
}

/// What is known of a record that is passed over.
struct Known {
    attempts: u32,
    first_failed_ms: Option<i64>,
    /// The memo keeps its attempts until its letter is written.
    kept: bool,
}

impl Task {
    pub(super) fn skip_range(&mut self, source: &TopicPartition, from: i64, to: i64, reason: &str) {
        let mut held = self.partitions.values_mut();
        let Some(partition) = held.find(|p| p.source == *source && p.drain.is_none()) else {
            return;
        };
        let assignment = partition.assignment;
        let reason = Arc::from(reason);
        if !partition.note_skip(SkipRange { from, to, reason }) {
            let source = source.clone();
            self.notice(Notice::TooManySkips { source, from, to });
        }
        self.touch(assignment);
    }

    /// Passes over what was told and can be passed over by now, in offset order.
    pub(super) fn skip(&mut self, assignment: Assignment, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment).filter(|p| p.may_skip()) else {
            return;
        };
        let free = partition.free_to_skip();
        if free.memo_full && !std::mem::replace(&mut partition.told_waits_for_oldest, true) {
            let id = partition.oldest_id();
            self.notice(Notice::WaitsForOldest { id });
        }
        let skipped = self.take_out(assignment, &free);
        for (seq, known) in skipped {
            self.skip_one(assignment, seq, known);
        }
        self.go_on_without(assignment, free, now);
    }

    /// Takes records out of where they stand.
    fn take_out(&mut self, assignment: Assignment, free: &Free) -> BTreeMap<Seq, Known> {
        self.schedule.waiting.retain(|(_, _, id)| !free.works.contains_key(id));
        self.schedule.retries.retain(|(_, _, id)| !free.works.contains_key(id));
        let called = u32::from(self.settings.has_function);
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return BTreeMap::new();
        };
        let mut known = BTreeMap::new();
        partition.leave_waiting(&free.waiting);
        partition.leave_ready(&free.waiting);
        for seq in free.waiting.iter().chain(&free.blocked).copied() {
            known.insert(seq, Known::of(partition.spent.get(&seq).copied().unwrap_or(0), None));
        }
        for (id, seqs) in &free.works {
            partition.leave_parts(*id, seqs, &mut known);
        }
        for seq in free.delivering.iter().copied() {
            let bytes = partition.give_back_results(seq);
            self.held_bytes -= bytes;
            let kept = false;
            known.insert(
                seq,
                Known {
                    kept,
                    ..Known::of(called, None)
                },
            );
        }
        known
    }

    fn skip_one(&mut self, assignment: Assignment, seq: Seq, known: Known) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        partition.not_admitted.remove(&seq);
        let reason = partition.to_skip.remove(&seq);
        let failure = Failure::of(reason.as_deref().unwrap_or_default());
        let (attempts, first) = (known.attempts, known.first_failed_ms);
        if known.kept {
            self.give_up(assignment, seq, Stage::Operator, failure, attempts, first);
        } else {
            self.write_off(assignment, seq, Stage::Operator, failure, attempts, first);
        }
    }

    /// What stood behind goes on: what is left of a batch is called next, lanes that nothing holds any more are free.
    fn go_on_without(&mut self, assignment: Assignment, free: Free, now: Moment) {
        for (id, seqs) in free.works {
            seqs.into_iter().for_each(|seq| self.leave_work(assignment, seq, now));
            if self
                .work_mut(assignment, id)
                .is_some_and(|work| work.remembered && !work.parts.is_empty())
            {
                self.changed(assignment, id);
            }
            self.go_on(assignment, id, now);
        }
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        for slot in partition.lanes_of(&free.blocked) {
            partition.unblock_if_free(slot);
            partition.make_ready(slot, now);
        }
        for slot in partition.lanes_of(&free.waiting) {
            partition.make_ready(slot, now);
        }
    }
}

impl Known {
    fn of(attempts: u32, first_failed_ms: Option<i64>) -> Known {
        Known {
            attempts,
            first_failed_ms,
            kept: true,
        }
    }
}

impl Partition {
    /// Notes a range that is to be passed over. False: records that come later are not, for want of room.
    fn note_skip(&mut self, range: SkipRange) -> bool {
        let first = self.entries.partition_point(|entry| entry.offset < range.from);
        for (at, entry) in self.entries.iter().enumerate().skip(first) {
            if entry.offset > range.to {
                break;
            }
            if !matches!(entry.state, State::Settled | State::GivenUp) {
                let reason = || Arc::clone(&range.reason);
                self.to_skip.entry(self.base + at as Seq).or_insert_with(reason);
            }
        }
        range.to < self.position || self.skips.remember(range)
    }

    /// A drain leaves what waits to the next owner. Batches that the memo speaks of are made before anything is taken out
    /// of them.
    fn may_skip(&self) -> bool {
        !self.to_skip.is_empty() && self.drain.is_none() && !self.waits_for_batches()
    }

    /// What is to be passed over and held by no call and no sink. Records that were never in a batch are passed over as
    /// far as the memo has room; room for all others was made when they were called.
    fn free_to_skip(&mut self) -> Free {
        let mut free = Free::default();
        let mut gone = Vec::new();
        for seq in self.to_skip.keys().copied() {
            match self.entry(seq).map(|entry| &entry.state) {
                None | Some(State::Settled | State::GivenUp) => gone.push(seq),
                Some(State::Waiting) if free.memo_full => {}
                Some(State::Waiting) => {
                    let (records, span) = self.window_to(seq);
                    if memo::fits(self.memo_bytes(span), records, span) {
                        free.waiting.insert(seq);
                    } else {
                        free.memo_full = true;
                    }
                }
                Some(State::InWork(id)) => {
                    if self.works.get(id).is_some_and(|work| work.call.is_none()) {
                        free.works.entry(*id).or_default().insert(seq);
                    }
                }
                Some(State::Blocked) => {
                    free.blocked.insert(seq);
                }
                Some(State::Delivering(delivering)) => {
                    if delivering.sent == 0 && delivering.letters == 0 {
                        free.delivering.insert(seq);
                    }
                }
            }
        }
        gone.iter().for_each(|seq| drop(self.to_skip.remove(seq)));
        free
    }

    fn leave_parts(&mut self, id: WorkId, seqs: &BTreeSet<Seq>, known: &mut BTreeMap<Seq, Known>) {
        let Some(work) = self.works.get_mut(&id) else { return };
        for part in &mut work.parts {
            let leaving = part.seqs.iter().filter(|seq| seqs.contains(seq));
            known.extend(leaving.map(|seq| (*seq, Known::of(part.attempts, part.first_failed_ms))));
            part.seqs.retain(|seq| !seqs.contains(seq));
        }
        work.parts.retain(|part| !part.seqs.is_empty());
    }

    /// The results that no sink has stored go nowhere. Returns their bytes.
    fn give_back_results(&mut self, seq: Seq) -> usize {
        let Some(entry) = self.entry_mut(seq) else { return 0 };
        let State::Delivering(delivering) = std::mem::replace(&mut entry.state, State::GivenUp) else {
            return 0;
        };
        self.held_bytes -= delivering.weight_bytes;
        delivering.weight_bytes
    }

    fn lanes_of(&self, seqs: &BTreeSet<Seq>) -> BTreeSet<u32> {
        seqs.iter().filter_map(|seq| self.entry(*seq)?.lane.slot()).collect()
    }

    /// Lanes that records were taken from stand among the ready and the guarded ones no more, unless they are put there
    /// anew.
    fn leave_ready(&mut self, seqs: &BTreeSet<Seq>) {
        let lanes = self.lanes_of(seqs);
        let stays = |lane: &LaneRef| match lane {
            LaneRef::Own(seq) => !seqs.contains(seq),
            LaneRef::Shared(slot) => !lanes.contains(slot),
        };
        self.guarded.retain(stays);
        let idle: BTreeSet<u32> = (lanes.iter().copied())
            .filter(|slot| self.lanes.get(*slot).is_none_or(|lane| !lane.is_free()))
            .collect();
        self.ready.retain(|(lane, _)| match lane {
            LaneRef::Own(seq) => !seqs.contains(seq),
            LaneRef::Shared(slot) => !idle.contains(slot),
        });
        for slot in idle {
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.queued = false;
            }
        }
    }

    fn unblock_if_free(&mut self, slot: u32) {
        let is_blocked = |seq: &Seq| self.entry(*seq).is_some_and(|e| matches!(e.state, State::Blocked));
        let blocked = self
            .lanes
            .get(slot)
            .is_some_and(|lane| lane.order.iter().any(is_blocked));
        if let Some(lane) = self.lanes.get_mut(slot) {
            lane.blocked = blocked;
        }
    }
}
