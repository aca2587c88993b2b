//! Partitions and records come in; fetching is paused before too much is held.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Regulated, Task};
use crate::answer::Disposition;
use crate::event::{Admission, Arrival, Assignment, Effect, Notice};
use crate::lane::LaneRef;
use crate::partition::{Entry, Partition, Seq, State};
use crate::record::TopicPartition;
use crate::settings::{Ordering, TaskSettings};
use crate::time::{Millis, Moment};
use crate::work::{Part, Work, WorkId};

/// How long a partition stands still for records of failed batches that do not come: a log that lost its end in an unclean
/// change of leaders has them no more.
const PATIENCE: Millis = Millis::secs(300);

impl Task {
    pub(super) fn assigned(
        &mut self,
        assignment: Assignment,
        source: TopicPartition,
        position: i64,
        memo: Option<&str>,
        now: Moment,
    ) {
        let ordering = self.settings.ordering;
        let (partition, unusable) = Partition::assigned(assignment, source.clone(), position, memo, ordering);
        if let Some(reason) = unusable {
            self.notice(Notice::MemoUnusable { source, reason });
        }
        if partition.waits_for_batches() {
            self.schedule.patience.insert(assignment, now + PATIENCE);
        }
        self.partitions.insert(assignment, partition);
        // Another log's number is committed before anything has come.
        self.note_commit(assignment);
        self.reset_failed_guard();
        self.reset_refused_guard(now);
        self.reset_sink_guard();
    }

    pub(super) fn arrived(&mut self, assignment: Assignment, arrivals: Vec<Arrival>, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return self.notice(Notice::LateDiscarded { what: "records" });
        };
        if partition.drain.is_some() {
            return;
        }
        for arrival in arrivals.into_iter() {
            if arrival.record.offset >= partition.position {
                self.held_bytes += partition.take_in(arrival, &self.settings, now);
            }
        }
        partition.pass_settled();
        partition.skips.forget_before(partition.position);
        self.touch(assignment);
        self.activate_restored(assignment, false, now);
    }

    pub(super) fn overtaken(&mut self, assignment: Assignment, from: i64, to: i64, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment).filter(|p| p.drain.is_none()) else {
            return;
        };
        let from = from.max(partition.position);
        if to <= from {
            return;
        }
        let remembered = |o: &i64| (from..to).contains(o);
        let settled = partition
            .restored
            .as_ref()
            .map_or(0, |r| r.settled.iter().copied().filter(remembered).count());
        let lost = (to - from) as u64 - settled as u64;
        partition.position = to;
        partition.skips.forget_before(to);
        partition.totals[Disposition::Expired as usize] += lost;
        partition.commit.settled = true;
        let source = partition.source.clone();
        self.count_settled(assignment, Disposition::Expired, lost);
        self.touch(assignment);
        self.notice(Notice::Overtaken { source, from, to });
        self.activate_restored(assignment, false, now);
    }

    /// Once all records of the batches that the memo speaks of have come, they are made again, and new ones may follow.
    fn activate_restored(&mut self, assignment: Assignment, now_or_never: bool, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        if !partition.waits_for_batches() {
            partition.forget_restored();
            return;
        }
        let works = partition.take_restored(&self.settings, now_or_never, now);
        if partition.waits_for_batches() {
            self.schedule.patience.insert(assignment, now + PATIENCE);
            return;
        }
        self.schedule.patience.remove(&assignment);
        for parts in works {
            let id = WorkId(self.next_work);
            self.next_work += 1;
            let taken = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
            partition.leave_waiting(&taken);
            partition.adopt(id, parts, true);
            self.schedule.retries.insert((now, assignment, id));
        }
        partition.ready.retain(|(lane, _)| match lane {
            LaneRef::Own(_) => true,
            LaneRef::Shared(slot) => partition.lanes.get(*slot).is_some_and(|lane| lane.is_free()),
        });
        let kept: BTreeSet<u32> = partition.ready.iter().filter_map(|(lane, _)| lane.slot()).collect();
        partition.lanes.requeue(|slot| kept.contains(&slot));
        self.touch(assignment);
        self.skip(assignment, now);
    }

    pub(super) fn give_up_waiting_for_what_a_memo_speaks_of(&mut self, now: Moment) {
        let over = |(assignment, until): (&Assignment, &Moment)| (*until <= now).then_some(*assignment);
        let over: Vec<Assignment> = self.schedule.patience.iter().filter_map(over).collect();
        for assignment in over {
            self.schedule.patience.remove(&assignment);
            self.activate_restored(assignment, true, now);
        }
    }

    /// Pauses partitions that hold more than their share, resumes those that have come far below it: each change throws
    /// away what librdkafka has prefetched, so the two marks stand far apart. Half of all bytes are left for requests. A
    /// partition whose share is taken up by others, who may be stuck, still gets a little of it.
    pub(super) fn regulate(&mut self, touched: &[Assignment], now: Moment) {
        let marks = Regulated {
            partitions: self.partitions.len(),
            bound: self.share.bound(),
            over: self.held_bytes > self.share.bound(),
        };
        if marks == self.regulated {
            return touched
                .iter()
                .for_each(|assignment| self.regulate_one(*assignment, now));
        }
        self.regulated = marks;
        let all: Vec<Assignment> = self.partitions.keys().copied().collect();
        all.into_iter()
            .for_each(|assignment| self.regulate_one(assignment, now));
    }

    fn regulate_one(&mut self, assignment: Assignment, now: Moment) {
        let share = self.share.bound() / 2 / self.partitions.len().max(1);
        let (high, low) = if self.regulated.over {
            (share / 4, share / 8)
        } else {
            (share, share / 4)
        };
        let Some(partition) = self.partitions.get_mut(&assignment).filter(|p| p.drain.is_none()) else {
            return;
        };
        if !partition.paused && partition.held_bytes > high {
            partition.paused = true;
            self.effects.push_back(Effect::Pause(assignment));
        } else if partition.paused && partition.held_bytes <= low {
            partition.paused = false;
            self.effects.push_back(Effect::Resume(assignment));
        }
        if partition.paused && partition.waits_for_batches() {
            self.activate_restored(assignment, true, now);
        }
    }
}

impl Partition {
    /// Takes a record in. Returns the bytes that it holds.
    fn take_in(&mut self, arrival: Arrival, settings: &TaskSettings, now: Moment) -> usize {
        let Arrival { record, admission } = arrival;
        let offset = record.offset;
        let seq = self.base + self.entries.len() as Seq;
        self.position = offset + 1;
        let done = self.restored.as_ref().is_some_and(|r| r.settled.contains(&offset));
        if done {
            let (lane, state) = (LaneRef::Own(seq), State::Settled);
            self.entries.push_back(Entry {
                offset,
                record: None,
                state,
                lane,
                arrived: now,
                attempts: 0,
                weight_bytes: 0,
                becomes: None,
            });
            return 0;
        }
        let lane = match (settings.ordering, &record.key) {
            (Ordering::Partition, _) => LaneRef::Shared(self.lanes.open(None, settings.sinks)),
            (Ordering::Key, Some(key)) => LaneRef::Shared(self.lanes.open(Some(key), settings.sinks)),
            (Ordering::Key, None) | (Ordering::None, _) => LaneRef::Own(seq),
        };
        let attempts = self
            .restored
            .as_ref()
            .and_then(|r| r.attempts.get(&offset).copied())
            .unwrap_or(0);
        if attempts > 0 {
            self.spent.insert(seq, attempts);
        }
        if admission != Admission::Pass {
            self.not_admitted.insert(seq, admission);
        }
        if let Some(reason) = self.skips.reason_for(offset) {
            self.to_skip.insert(seq, Arc::clone(reason));
        }
        let weight_bytes = record.weight_bytes();
        let (record, state) = (Some(record), State::Waiting);
        self.entries.push_back(Entry {
            offset,
            record,
            state,
            lane,
            arrived: now,
            attempts,
            weight_bytes,
            becomes: None,
        });
        self.held_bytes += weight_bytes;
        match lane {
            LaneRef::Own(_) => self.ready.push_back((lane, now)),
            LaneRef::Shared(slot) => {
                if let Some(lane) = self.lanes.get_mut(slot) {
                    lane.order.push_back(seq);
                    lane.waiting.push_back(seq);
                }
                self.make_ready(slot, now);
            }
        }
        weight_bytes
    }

    /// Takes records out of their lanes' waiting lists.
    pub(super) fn leave_waiting(&mut self, taken: &BTreeSet<Seq>) {
        let slots: BTreeSet<u32> = taken.iter().filter_map(|seq| self.slot_of(*seq)).collect();
        for slot in slots {
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.waiting.retain(|seq| !taken.contains(seq));
            }
        }
    }

    /// A batch takes records that stand in no waiting list any more: their lanes are its own until they have left it.
    pub(crate) fn adopt(&mut self, id: WorkId, parts: Vec<Part>, remembered: bool) {
        let seqs: Vec<Seq> = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
        let span = seqs.iter().max().map_or(0, |last| self.window_to(*last).1);
        let memo_bytes = crate::memo::worst_batch_bytes(seqs.len(), span);
        for seq in seqs {
            self.spent.remove(&seq);
            let Some(entry) = self.entry_mut(seq) else { continue };
            entry.state = State::InWork(id);
            let LaneRef::Shared(slot) = entry.lane else { continue };
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.in_work += 1;
            }
        }
        self.works_memo_bytes += memo_bytes;
        let work = Work {
            parts: parts.into(),
            call: None,
            memo_bytes,
            successes: 0,
            remembered,
            first: false,
        };
        self.works.insert(id, work);
    }

    fn slot_of(&self, seq: Seq) -> Option<u32> {
        self.entry(seq)?.lane.slot()
    }
}
