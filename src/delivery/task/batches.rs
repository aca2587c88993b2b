//! A batch between its calls: what is left of it, when it goes on, where it stops.

use std::collections::{BTreeMap, BTreeSet};

use super::Task;
use crate::answer::Failure;
use crate::event::{Assignment, Notice};
use crate::lane::LaneRef;
use crate::partition::{Partition, Seq, State};
use crate::time::Moment;
use crate::work::{Part, Work, WorkId};

impl Task {
    pub(super) fn halve(&mut self, assignment: Assignment, id: WorkId, split: bool, now: Moment) {
        let Some(work) = self.work_mut(assignment, id) else {
            return;
        };
        let Some(part) = work.parts.pop_front() else { return };
        let records = part.seqs.len();
        if records < 2 {
            work.parts.push_front(part);
        } else {
            let (ahead, behind) = part.halve(split, now);
            work.parts.push_front(behind);
            work.parts.push_front(ahead);
            self.notice(Notice::Bisected { assignment, records });
        }
        self.changed(assignment, id);
    }

    pub(super) fn block_part(&mut self, assignment: Assignment, id: WorkId, failure: Failure, now: Moment) {
        let Some(part) = self.work_mut(assignment, id).and_then(|work| work.parts.pop_front()) else {
            return;
        };
        for seq in part.seqs {
            self.block(assignment, seq, failure.clone(), part.attempts + 1);
            self.leave_work(assignment, seq, now);
        }
        self.go_on(assignment, id, now);
    }

    /// Stops a record's lane until an operator acts. A lane of its own is only the record.
    pub(super) fn block(&mut self, assignment: Assignment, seq: Seq, failure: Failure, attempts: u32) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        partition.spent.insert(seq, attempts);
        partition.commit.version += 1;
        let id = partition.record_id(seq);
        let Some(entry) = partition.entry_mut(seq) else { return };
        entry.state = State::Blocked;
        if let LaneRef::Shared(slot) = entry.lane
            && let Some(lane) = partition.lanes.get_mut(slot)
        {
            lane.blocked = true;
        }
        self.notice(Notice::LaneBlocked { id, failure });
    }

    pub(super) fn others_successes(&self, assignment: Assignment, id: WorkId) -> u64 {
        let own = self
            .partitions
            .get(&assignment)
            .and_then(|p| p.works.get(&id))
            .map_or(0, |work| work.successes);
        self.successes - own
    }

    /// Called again as soon as the breaker lets it.
    pub(super) fn call_again(&mut self, assignment: Assignment, id: WorkId, now: Moment) {
        if let Some(part) = self.first_part(assignment, id) {
            part.due = now;
        }
        self.keep_boundaries(assignment, id);
        self.go_on(assignment, id, now);
    }

    /// The batch keeps its boundaries from here on: where they have not been committed, its next call waits for that.
    pub(super) fn keep_boundaries(&mut self, assignment: Assignment, id: WorkId) {
        if self.work_mut(assignment, id).is_some_and(|work| !work.remembered) {
            self.changed(assignment, id);
        }
    }

    pub(super) fn changed(&mut self, assignment: Assignment, id: WorkId) {
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.changed(id);
        }
    }

    /// What is left of a batch is called next; a batch with nothing left ends.
    pub(super) fn go_on(&mut self, assignment: Assignment, id: WorkId, now: Moment) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        partition.return_blocked(id);
        let Some(work) = partition.works.get_mut(&id) else {
            return;
        };
        work.parts.retain(|part| !part.seqs.is_empty());
        let waits_for_commit = partition.commit.awaiting.iter().any(|(_, waiting)| *waiting == id);
        if work.parts.is_empty() {
            partition.remove_work(id);
        } else if !waits_for_commit {
            if let Some(part) = work.parts.front_mut() {
                part.due = part.due.max(now);
            }
            self.schedule_retry(assignment, id);
        }
    }

    pub(super) fn leave_work(&mut self, assignment: Assignment, seq: Seq, now: Moment) {
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.left_work(seq, now);
        }
    }

    pub(super) fn work_mut(&mut self, assignment: Assignment, id: WorkId) -> Option<&mut Work> {
        self.partitions.get_mut(&assignment)?.works.get_mut(&id)
    }

    pub(super) fn first_part(&mut self, assignment: Assignment, id: WorkId) -> Option<&mut Part> {
        self.work_mut(assignment, id)?.parts.front_mut()
    }
}

impl Partition {
    /// Has the first part wait behind the next one that has no lane in common with what stands before it.
    pub(super) fn bring_other_lanes_forward(&mut self, id: WorkId) {
        let Some(work) = self.works.get(&id) else { return };
        let mut before: BTreeSet<LaneRef> = BTreeSet::new();
        let free = work.parts.iter().position(|part| {
            let lanes: Vec<LaneRef> = part
                .seqs
                .iter()
                .filter_map(|seq| Some(self.entry(*seq)?.lane))
                .collect();
            let free = !before.is_empty() && lanes.iter().all(|lane| !before.contains(lane));
            before.extend(lanes);
            free
        });
        if let (Some(at), Some(work)) = (free, self.works.get_mut(&id))
            && let Some(part) = work.parts.remove(at)
        {
            work.parts.push_front(part);
        }
    }

    /// Records of a batch whose lane was blocked wait in their lane again.
    fn return_blocked(&mut self, id: WorkId) {
        let Some(work) = self.works.get(&id) else { return };
        let parts = work
            .parts
            .iter()
            .flat_map(|part| part.seqs.iter().map(|seq| (*seq, part.attempts)));
        let blocked: BTreeMap<Seq, u32> = parts.filter(|(seq, _)| self.stands_blocked(*seq)).collect();
        if blocked.is_empty() {
            return;
        }
        for (seq, attempts) in blocked.iter().rev().map(|(seq, attempts)| (*seq, *attempts)) {
            let Some(entry) = self.entry_mut(seq) else { continue };
            (entry.state, entry.attempts) = (State::Waiting, attempts);
            let lane = entry.lane;
            if attempts > 0 {
                self.spent.insert(seq, attempts);
            }
            if let LaneRef::Shared(slot) = lane
                && let Some(lane) = self.lanes.get_mut(slot)
            {
                lane.in_work -= 1;
                lane.waiting.push_front(seq);
            }
        }
        if let Some(work) = self.works.get_mut(&id) {
            work.parts
                .iter_mut()
                .for_each(|part| part.seqs.retain(|seq| !blocked.contains_key(seq)));
        }
    }

    fn stands_blocked(&self, seq: Seq) -> bool {
        let Some(LaneRef::Shared(slot)) = self.entry(seq).map(|entry| entry.lane) else {
            return false;
        };
        self.lanes.get(slot).is_some_and(|lane| lane.blocked)
    }
}
