//! Partitions and records come in; fetching is paused before too much is held.

use std::collections::BTreeSet;

use super::Task;
use crate::event::{Admission, Arrival, Assignment, Effect, Notice};
use crate::lane::LaneRef;
use crate::partition::{Entry, Partition, Restored, Seq, State};
use crate::record::TopicPartition;
use crate::settings::{Ordering, TaskSettings};
use crate::time::Moment;
use crate::work::{Part, Work, WorkId};

impl Task {
    pub(super) fn assigned(
        &mut self,
        assignment: Assignment,
        source: TopicPartition,
        position: i64,
        memo: Option<&str>,
    ) {
        let ordering = self.settings.ordering;
        let (partition, unusable) = Partition::assigned(assignment, source.clone(), position, memo, ordering);
        if let Some(reason) = unusable {
            self.notice(Notice::MemoUnusable { source, reason });
        }
        self.partitions.insert(assignment, partition);
        self.guards.failed.reset();
        self.guards.refused.reset();
        self.sinks.guard.reset();
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
        self.touched.insert(assignment);
        self.activate_restored(assignment, now);
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
        partition.totals[crate::answer::Disposition::Expired as usize] += lost;
        partition.commit.settled = true;
        let source = partition.source.clone();
        *self
            .settled
            .entry((assignment, crate::answer::Disposition::Expired))
            .or_default() += lost;
        self.notice(Notice::Overtaken { source, from, to });
        self.activate_restored(assignment, now);
    }

    /// Once all records that the memo speaks of have come, its batches are made again, and reading is open for new ones.
    fn activate_restored(&mut self, assignment: Assignment, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let Some(restored) = partition.restored.take_if(|r| partition.position > r.last_offset) else {
            return;
        };
        for parts in partition.restored_works(&restored, self.settings.batch.max_records) {
            let id = WorkId(self.next_work);
            self.next_work += 1;
            partition.leave_waiting(&parts);
            partition.adopt(id, parts, true);
            self.schedule.retries.insert((now, assignment, id));
        }
        partition.ready.retain(|(lane, _)| match lane {
            LaneRef::Own(_) => true,
            LaneRef::Shared(slot) => partition.lanes.get(*slot).is_some_and(|lane| lane.is_free()),
        });
        let kept: BTreeSet<u32> = partition.ready.iter().filter_map(|(lane, _)| lane.slot()).collect();
        partition.lanes.requeue(|slot| kept.contains(&slot));
        self.touched.insert(assignment);
    }

    /// Pauses partitions that hold more than their share, resumes those that have come far below it: each change throws
    /// away what librdkafka has prefetched, so the two marks stand far apart.
    pub(super) fn regulate(&mut self) {
        let share = self.settings.in_flight_bytes / self.partitions.len().max(1);
        let over = self.held_bytes > self.settings.in_flight_bytes;
        let roomy = self.held_bytes < self.settings.in_flight_bytes / 2;
        for partition in self.partitions.values_mut().filter(|p| p.drain.is_none()) {
            let (full, empty) = (partition.held_bytes > share, partition.held_bytes <= share / 4);
            if !partition.paused && (full || over && !empty) {
                partition.paused = true;
                self.effects.push_back(Effect::Pause(partition.assignment));
            } else if partition.paused && empty && roomy {
                partition.paused = false;
                self.effects.push_back(Effect::Resume(partition.assignment));
            }
        }
    }
}

impl LaneRef {
    fn slot(&self) -> Option<u32> {
        match self {
            LaneRef::Shared(slot) => Some(*slot),
            LaneRef::Own(_) => None,
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

    /// Takes records of restored batches out of their lanes' waiting lists.
    fn leave_waiting(&mut self, parts: &[Part]) {
        let taken: BTreeSet<Seq> = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
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
            entry.state = State::InWork;
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
        };
        self.works.insert(id, work);
    }

    /// The batches of a memo as batches of the records that came, in the order in which they are to be called. Batches
    /// that share a lane are one, and what stands before them in their lanes goes with them: a lane is in one batch.
    fn restored_works(&self, restored: &Restored, max_records: usize) -> Vec<Vec<Part>> {
        let mut groups: Vec<(BTreeSet<u32>, Vec<Part>)> = Vec::new();
        for batch in &restored.batches {
            let parts = batch.parts.iter().map(|part| Part {
                seqs: part
                    .offsets
                    .iter()
                    .filter_map(|offset| self.waiting_at(*offset))
                    .collect(),
                attempts: part.attempts,
                split: part.split,
                lone_failures: u32::from(part.failed_alone),
                ..Part::default()
            });
            let mut parts: Vec<Part> = parts.filter(|part| !part.seqs.is_empty()).collect();
            let mut lanes: BTreeSet<u32> = parts
                .iter()
                .flat_map(|p| &p.seqs)
                .filter_map(|s| self.slot_of(*s))
                .collect();
            let (shared, apart): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(other, _)| !other.is_disjoint(&lanes));
            groups = apart;
            for (other, earlier) in shared.into_iter().rev() {
                lanes.extend(other);
                parts.splice(0..0, earlier);
            }
            groups.push((lanes, parts));
        }
        let works = groups
            .into_iter()
            .map(|(lanes, parts)| self.with_what_stands_before(&lanes, parts, max_records));
        works.filter(|parts| !parts.is_empty()).collect()
    }

    fn with_what_stands_before(&self, lanes: &BTreeSet<u32>, mut parts: Vec<Part>, max_records: usize) -> Vec<Part> {
        let held: BTreeSet<Seq> = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
        let Some(last) = held.last().copied() else { return parts };
        let lanes = lanes.iter().filter_map(|slot| self.lanes.get(*slot));
        let ahead = lanes.flat_map(|lane| {
            lane.waiting
                .iter()
                .copied()
                .filter(|seq| *seq < last && !held.contains(seq))
        });
        let mut ahead: Vec<Seq> = ahead.filter(|seq| !self.not_admitted.contains_key(seq)).collect();
        ahead.sort_unstable();
        for chunk in ahead.chunk_by(|a, b| held.range(*a..*b).next().is_none()) {
            let fresh = chunk.chunks(max_records).map(|seqs| Part {
                seqs: seqs.to_vec(),
                ..Part::default()
            });
            parts.extend(fresh);
        }
        parts.sort_by_key(|part| part.seqs.iter().min().copied());
        parts
    }

    fn waiting_at(&self, offset: i64) -> Option<Seq> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        let seq = self.base + at as Seq;
        let waits = matches!(self.entries[at].state, State::Waiting) && !self.not_admitted.contains_key(&seq);
        waits.then_some(seq)
    }

    fn slot_of(&self, seq: Seq) -> Option<u32> {
        self.entry(seq)?.lane.slot()
    }
}
