//! Free slots go to the lane that waited longest, new work before retries.

use super::cut::Cut;
use super::{OnWire, Task};
use crate::answer::{Disposition, Failure};
use crate::event::{Admission, Assignment, Call, CallId, Effect, GuardKind, Notice};
use crate::invariants;
use crate::partition::Seq;
use crate::record::Output;
use crate::settings::BatchSettings;
use crate::time::{Millis, Moment};
use crate::work::{Part, WorkId};

/// Records that a pipeline without a function takes up in one go.
const PASS_THROUGH_RECORDS: usize = 1000;

impl Task {
    /// Puts a partition where batches are cut from, if one can be cut.
    pub(super) fn refresh(&mut self, assignment: Assignment, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        if partition.drain.is_some() || partition.waits_for_batches() || partition.fresh_since.is_some() {
            return;
        }
        let Some((_, since)) = partition.ready.front().copied() else {
            partition.linger_over = false;
            return;
        };
        let until = since + self.settings.batch.linger;
        let full = partition.linger_over || until > now && partition.fills(&self.settings.batch);
        if let Some(old) = partition.lingers_until.take() {
            self.schedule.lingering.remove(&(old, assignment));
        }
        if full || until <= now {
            partition.fresh_since = Some(since);
            self.schedule.fresh.insert((since, assignment));
        } else {
            partition.lingers_until = Some(until);
            self.schedule.lingering.insert((until, assignment));
        }
    }

    pub(super) fn dispatch(&mut self, now: Moment) {
        self.promote_due(now);
        self.waits_for_bytes = false;
        self.throttle.until = None;
        if self.paused || self.letters.blocked() {
            return;
        }
        if !self.settings.has_function {
            return self.pass_through(now);
        }
        while self.calls.len() < self.concurrency.limit() && self.breaker.admits(now) {
            let admits = self.throttle.admits(now);
            let retry = self.next_retry().filter(|_| self.has_room_for_retry());
            let fresh = self.schedule.fresh.first().copied().filter(|_| admits);
            let next = match (fresh, retry) {
                (Some((since, assignment)), Some((due, _, _))) if since <= due => self.cut_work(assignment, now),
                (_, Some((due, assignment, work))) => {
                    self.schedule.retries.remove(&(due, assignment, work));
                    Some((assignment, work))
                }
                (Some((_, assignment)), None) => self.cut_work(assignment, now),
                (None, None) => break,
            };
            if let Some((assignment, work)) = next
                && !self.call(assignment, work, now)
            {
                self.schedule.retries.insert((now, assignment, work));
                self.waits_for_bytes = true;
                break;
            }
        }
        if self.schedule.fresh.is_empty() && !self.schedule.retries.iter().any(|retry| self.is_first(retry)) {
            self.throttle.until = None;
        }
    }

    /// The batch that waited longest for another call, or for bytes before its first. At a limit, first calls wait.
    pub(super) fn next_retry(&self) -> Option<(Moment, Assignment, WorkId)> {
        let throttled = self.throttle.until.is_some();
        let mut retries = self.schedule.retries.iter();
        retries.find(|retry| !throttled || !self.is_first(retry)).copied()
    }

    pub(super) fn has_room_for_retry(&self) -> bool {
        self.retries_on_wire < self.concurrency.retry_limit()
    }

    fn is_first(&self, (_, assignment, id): &(Moment, Assignment, WorkId)) -> bool {
        let work = self.partitions.get(assignment).and_then(|p| p.works.get(id));
        work.is_some_and(|work| work.first)
    }

    fn promote_due(&mut self, now: Moment) {
        while let Some(first) = self.schedule.waiting.first().copied().filter(|(due, _, _)| *due <= now) {
            self.schedule.waiting.remove(&first);
            self.schedule.retries.insert(first);
        }
        while let Some(first) = self
            .schedule
            .lingering
            .first()
            .copied()
            .filter(|(until, _)| *until <= now)
        {
            self.schedule.lingering.remove(&first);
            if let Some(partition) = self.partitions.get_mut(&first.1) {
                (partition.lingers_until, partition.linger_over) = (None, true);
                self.refresh(first.1, now);
            }
        }
    }

    /// Lets a batch be called again once it is due.
    pub(super) fn schedule_retry(&mut self, assignment: Assignment, id: WorkId) {
        let Some(partition) = self.partitions.get(&assignment).filter(|p| p.drain.is_none()) else {
            return;
        };
        let Some(part) = partition
            .works
            .get(&id)
            .filter(|w| w.call.is_none())
            .and_then(|work| work.parts.front())
        else {
            return;
        };
        self.schedule.waiting.insert((part.due, assignment, id));
    }

    /// Cuts a new batch, unless nothing is left for one once filtered and refused records are seen to.
    fn cut_work(&mut self, assignment: Assignment, now: Moment) -> Option<(Assignment, WorkId)> {
        let cut = self.cut(assignment, self.settings.batch, now);
        if cut.seqs.is_empty() {
            return None;
        }
        let id = WorkId(self.next_work);
        self.next_work += 1;
        let part = Part {
            seqs: cut.seqs,
            attempts: cut.attempts,
            due: now,
            ..Part::default()
        };
        let partition = self.partitions.get_mut(&assignment)?;
        partition.adopt(id, vec![part], cut.attempts > 0);
        partition.works.get_mut(&id)?.first = cut.attempts == 0;
        Some((assignment, id))
    }

    fn cut(&mut self, assignment: Assignment, limits: BatchSettings, now: Moment) -> Cut {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return Cut::default();
        };
        if let Some(since) = partition.fresh_since.take() {
            self.schedule.fresh.remove(&(since, assignment));
        }
        partition.linger_over = false;
        let cut = partition.cut(&limits, self.guards.refused.room());
        if cut.memo_full && !std::mem::replace(&mut partition.told_waits_for_oldest, true) {
            let id = partition.oldest_id();
            self.notice(Notice::WaitsForOldest { id });
        }
        for seq in &cut.not_admitted {
            self.pass_over(assignment, *seq, now);
        }
        if let Some(seq) = cut.guarded {
            self.tell_refused(assignment, seq);
        }
        if !cut.memo_full {
            self.refresh(assignment, now);
        }
        cut
    }

    /// Settles a filtered record, gives up one that can't be converted, delivers one whose results are known.
    fn pass_over(&mut self, assignment: Assignment, seq: Seq, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let admission = partition.not_admitted.remove(&seq);
        partition.lane_moved(seq, now);
        match admission {
            Some(Admission::Refused { stage, reason }) => {
                self.guards.refused.count();
                self.give_up(assignment, seq, stage, Failure::of(reason), 0, None);
            }
            Some(Admission::Filtered) => self.settle(assignment, seq, Disposition::Filtered),
            Some(Admission::Answered(results)) => self.deliver(assignment, seq, results),
            Some(Admission::Pass) | None => {}
        }
        self.touch(assignment);
    }

    fn tell_refused(&mut self, assignment: Assignment, seq: Seq) {
        let Some(partition) = self.partitions.get(&assignment) else {
            return;
        };
        let Some(Admission::Refused { reason, .. }) = partition.not_admitted.get(&seq) else {
            return;
        };
        let (id, failure) = (partition.record_id(seq), Failure::of(reason.clone()));
        self.tell_guard(GuardKind::Refused, id, failure);
    }

    /// Puts the first part of a batch on the wire, if there are bytes to spare for the request.
    fn call(&mut self, assignment: Assignment, id: WorkId, now: Moment) -> bool {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return true;
        };
        let weigh = |seq: &Seq| partition.entry(*seq).map_or(0, |entry| entry.weight_bytes);
        let Some(part) = partition.works.get(&id).and_then(|work| work.parts.front()) else {
            return true;
        };
        debug_assert!(
            invariants::order(partition, part),
            "order: {:?} is to be called",
            part.seqs
        );
        let weight_bytes = part.seqs.iter().map(weigh).sum::<usize>();
        if self.held_bytes + weight_bytes > self.share.bound() && !self.calls.is_empty() {
            return false;
        }
        let records: Vec<_> = part
            .seqs
            .iter()
            .filter_map(|seq| partition.record(*seq).cloned())
            .collect();
        debug_assert_eq!(records.len(), part.seqs.len(), "a record in a batch is not settled");
        let (attempt, count) = (part.attempts + 1, records.len());
        let call = CallId(self.next_call);
        self.next_call += 1;
        let probe = self.breaker.state().is_some();
        self.breaker.probe_started();
        let mut retry = false;
        if let Some(work) = partition.works.get_mut(&id) {
            retry = work.remembered;
            if std::mem::take(&mut work.first) {
                self.throttle.charge(&records, now);
            }
            debug_assert!(work.call.is_none(), "order: a lane has one call at a time");
            work.call = Some(call);
        }
        partition.in_flight += count;
        partition.calls_on_wire += 1;
        self.held_bytes += weight_bytes;
        self.retries_on_wire += usize::from(retry);
        self.calls.insert(
            call,
            OnWire {
                assignment,
                work: id,
                records: count,
                weight_bytes,
                probe,
                retry,
            },
        );
        self.effects.push_back(Effect::Call(Call {
            id: call,
            assignment,
            records,
            attempt,
            probe,
        }));
        true
    }

    /// Without a function, records are their own results.
    fn pass_through(&mut self, now: Moment) {
        while let Some((_, assignment)) = self.schedule.fresh.first().copied()
            && self.throttle.admits(now)
        {
            let (records, bytes) = self.throttle.tokens();
            let limits = BatchSettings {
                max_records: records.map_or(PASS_THROUGH_RECORDS, |n| PASS_THROUGH_RECORDS.min(n as usize)),
                max_bytes: bytes.map_or(usize::MAX, |n| n as usize),
                linger: Millis::ZERO,
            };
            let cut = self.cut(assignment, limits, now);
            let passed = !cut.seqs.is_empty();
            self.wait_anew(assignment, now);
            for seq in cut.seqs {
                let Some(partition) = self.partitions.get_mut(&assignment) else {
                    break;
                };
                partition.lane_moved(seq, now);
                let Some(record) = partition.record(seq) else { continue };
                self.throttle.charge(std::slice::from_ref(record), now);
                let outputs = vec![Output::pass_through(record)];
                self.deliver(assignment, seq, outputs);
            }
            if passed {
                self.reset_refused_guard(now);
            }
        }
    }
    /// Where limits leave records behind, the partition that had its turn stands behind those that wait for theirs.
    fn wait_anew(&mut self, assignment: Assignment, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment).filter(|_| self.throttle.limits()) else {
            return;
        };
        if let Some(since) = &mut partition.fresh_since {
            self.schedule.fresh.remove(&(*since, assignment));
            self.schedule.fresh.insert((now, assignment));
            *since = now;
        }
    }
}
