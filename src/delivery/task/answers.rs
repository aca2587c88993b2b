//! What a call came to, and what follows: the table of DESIGN's section 8, row by row.

use std::collections::{BTreeMap, BTreeSet};

use super::{OnWire, Task};
use crate::answer::{Answer, Disposition, Failure, Stage, Verdict};
use crate::event::{Assignment, AttemptOutcome, CallId, GuardKind, Notice};
use crate::lane::LaneRef;
use crate::partition::{Partition, Seq, State};
use crate::retry::{self, Failed, MAX_ASKED_WAIT, Next};
use crate::settings::OnExhausted;
use crate::time::{Dice, Millis, Moment, Now};
use crate::work::{MAX_RETRY_GROUPS, Part, WorkId};

/// A record whose verdict was to be called again.
struct AskedAgain {
    seq: Seq,
    after: Option<Millis>,
    reason: String,
}

impl Task {
    pub(super) fn answered(&mut self, id: CallId, answer: Answer, now: Now, dice: &mut dyn Dice) {
        let Some(call) = self.calls.remove(&id) else {
            return self.notice(Notice::LateDiscarded { what: "answer" });
        };
        self.off_wire(&call);
        let (assignment, work) = (call.assignment, call.work);
        self.notice(Notice::Attempt {
            assignment,
            outcome: outcome(&answer),
            records: call.records,
        });
        match answer {
            Answer::Verdicts(verdicts) => {
                self.call_succeeded(&call, now.at);
                self.apply_verdicts(assignment, work, verdicts, now, dice);
            }
            Answer::DeliverNothing => {
                self.call_succeeded(&call, now.at);
                let verdicts = vec![Verdict::Deliver(Vec::new()); call.records];
                self.apply_verdicts(assignment, work, verdicts, now, dice);
            }
            Answer::Failed(failure) => {
                self.call_failed(&call, &failure, now.at, dice);
                self.charge(assignment, work, failure, now, dice);
            }
            Answer::Refused(failure) => {
                self.probe_failed(&call, None, now.at, dice);
                self.refuse(assignment, work, failure, true, now, dice);
            }
            Answer::TooLarge(failure) => {
                self.probe_failed(&call, None, now.at, dice);
                self.refuse(assignment, work, failure, false, now, dice);
            }
            Answer::Busy {
                failure,
                retry_after,
                unavailable,
            } => {
                self.concurrency.busy(id.0, self.next_call);
                match unavailable {
                    true => self.call_failed(&call, &failure, now.at, dice),
                    false => self.probe_failed(&call, None, now.at, dice),
                }
                self.busy(assignment, work, failure, retry_after, now, dice);
            }
            Answer::Misregistered(failure) => self.misregistered(&call, failure, now, dice),
            Answer::Away(failure) => {
                self.open_breaker(&call, &failure, now.at, dice);
                self.call_again(assignment, work, now.at);
            }
            Answer::Drop(failure) => {
                self.call_succeeded(&call, now.at);
                self.decided_by_status(assignment, work, failure, Decided::Drop, now);
            }
            Answer::DeadLetter(failure) => {
                self.call_succeeded(&call, now.at);
                self.decided_by_status(assignment, work, failure, Decided::DeadLetter, now);
            }
            Answer::Block(failure) => {
                self.probe_failed(&call, None, now.at, dice);
                self.block_part(assignment, work, failure, now.at);
            }
        }
        self.touched.insert(assignment);
    }

    fn off_wire(&mut self, call: &OnWire) {
        self.held_bytes -= call.weight_bytes;
        self.retries_on_wire -= usize::from(call.retry);
        let Some(partition) = self.partitions.get_mut(&call.assignment) else {
            return;
        };
        partition.in_flight -= call.records;
        partition.calls_on_wire -= 1;
        if let Some(work) = partition.works.get_mut(&call.work) {
            work.call = None;
        }
    }

    fn call_succeeded(&mut self, call: &OnWire, now: Moment) {
        self.successes += 1;
        self.concurrency.succeeded();
        if let Some(open_for) = self.breaker.succeed(now) {
            self.notice(Notice::BreakerClosed { open_for });
        }
        self.reset_failed_guard();
        if let Some(work) = self.work_mut(call.assignment, call.work) {
            work.successes += 1;
        }
    }

    fn call_failed(&mut self, call: &OnWire, failure: &Failure, now: Moment, dice: &mut dyn Dice) {
        self.probe_failed(call, Some(failure), now, dice);
        if self.breaker.count_failure(call.work) {
            let probe_at = now + retry::probe_wait(&self.settings.retry, 1, dice);
            self.breaker.open(now, probe_at, failure.clone());
            self.notice(Notice::BreakerOpened {
                failure: failure.clone(),
            });
        }
    }

    fn probe_failed(&mut self, call: &OnWire, failure: Option<&Failure>, now: Moment, dice: &mut dyn Dice) {
        if call.probe {
            let wait = retry::probe_wait(&self.settings.retry, self.breaker.probe_failures(), dice);
            self.breaker.probe_failed(now + wait, failure.cloned());
        }
    }

    fn open_breaker(&mut self, call: &OnWire, failure: &Failure, now: Moment, dice: &mut dyn Dice) {
        self.probe_failed(call, Some(failure), now, dice);
        let probe_at = now + retry::probe_wait(&self.settings.retry, 1, dice);
        if self.breaker.open(now, probe_at, failure.clone()) {
            self.notice(Notice::BreakerOpened {
                failure: failure.clone(),
            });
        }
    }

    fn apply_verdicts(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        verdicts: Vec<Verdict>,
        now: Now,
        dice: &mut dyn Dice,
    ) {
        let Some(part) = self.work_mut(assignment, id).and_then(|work| work.parts.pop_front()) else {
            return;
        };
        debug_assert_eq!(part.seqs.len(), verdicts.len(), "a verdict for each record");
        let mut again = Vec::new();
        let mut passed = false;
        for (seq, verdict) in part.seqs.iter().copied().zip(verdicts) {
            passed |= matches!(verdict, Verdict::Deliver(_) | Verdict::Drop);
            if !matches!(verdict, Verdict::Retry { .. }) {
                self.leave_work(assignment, seq, now.at);
            }
            match verdict {
                Verdict::Deliver(outputs) => self.deliver(assignment, seq, outputs),
                Verdict::Drop => self.settle(assignment, seq, Disposition::Dropped),
                Verdict::DeadLetter { reason } => {
                    let (attempts, first) = (part.attempts + 1, part.first_failed_ms);
                    self.give_up(assignment, seq, Stage::Function, Failure::of(reason), attempts, first);
                }
                Verdict::Retry { after, reason } => {
                    again.push(AskedAgain { seq, after, reason });
                }
            }
        }
        if passed {
            self.reset_refused_guard(now.at);
        }
        self.call_asked_again(assignment, id, &part, again, now, dice);
        self.go_on(assignment, id, now.at);
    }

    /// Records with a `retry` verdict: charged alone, grouped by how long they are to wait.
    fn call_asked_again(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        part: &Part,
        again: Vec<AskedAgain>,
        now: Now,
        dice: &mut dyn Dice,
    ) {
        let attempts = part.attempts + 1;
        let first_failed_ms = Some(part.first_failed_ms.unwrap_or(now.unix_ms));
        let backoff = retry::backoff(&self.settings.retry, attempts, dice);
        let mut groups: Vec<(Millis, Vec<Seq>)> = Vec::new();
        for AskedAgain { seq, after, reason } in again {
            if attempts >= self.settings.retry.max_attempts || self.is_aged(assignment, seq, now) {
                self.exhausted(assignment, seq, Failure::of(reason), attempts, first_failed_ms, now);
                continue;
            }
            let wait = after.map_or(backoff, |after| after.min(MAX_ASKED_WAIT));
            match groups.iter().position(|(other, _)| *other == wait) {
                Some(at) => groups[at].1.push(seq),
                None if groups.len() < MAX_RETRY_GROUPS => groups.push((wait, vec![seq])),
                // The last group takes the rest, and waits for the longest of them.
                None => {
                    if let Some(last) = groups.last_mut() {
                        last.0 = last.0.max(wait);
                        last.1.push(seq);
                    }
                }
            }
        }
        if groups.is_empty() {
            return;
        }
        groups.sort_by_key(|(wait, _)| *wait);
        let parts = groups.into_iter().map(|(wait, mut seqs)| {
            seqs.sort_unstable();
            Part {
                seqs,
                attempts,
                due: now.at + wait,
                first_failed_ms,
                ..Part::default()
            }
        });
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        if let Some(work) = partition.works.get_mut(&id) {
            parts.rev().for_each(|part| work.parts.push_front(part));
        }
        partition.changed(id);
    }

    /// A failed attempt: counted, unless the guard has tripped; then again, halved, or given up.
    fn charge(&mut self, assignment: Assignment, id: WorkId, failure: Failure, now: Now, dice: &mut dyn Dice) {
        if self.guards.failed.tripped() {
            return self.wait_for_function(assignment, id, failure, now, dice);
        }
        let max_attempts = self.settings.retry.max_attempts;
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        part.attempts += 1;
        part.busy_in_a_row = 0;
        part.lone_failures += u32::from(part.seqs.len() == 1);
        part.first_failed_ms.get_or_insert(now.unix_ms);
        self.give_up_aged(assignment, id, &failure, now);
        let Some(part) = self.first_part(assignment, id).filter(|part| !part.seqs.is_empty()) else {
            return self.go_on(assignment, id, now.at);
        };
        let failed = Failed {
            records: part.seqs.len(),
            attempts: part.attempts,
            split: part.split,
            lone_failures: part.lone_failures,
        };
        match retry::after_failure(failed, max_attempts) {
            Next::GiveUp if self.guards.failed.tripped() => {
                return self.wait_for_function(assignment, id, failure, now, dice);
            }
            Next::GiveUp => return self.give_up_first(assignment, id, failure, now),
            Next::Halve => self.halve(assignment, id, true, now.at),
            Next::Again => {
                let backoff = retry::backoff(&self.settings.retry, failed.attempts, dice);
                if let Some(part) = self.first_part(assignment, id) {
                    part.due = now.at + backoff;
                }
                self.changed(assignment, id);
            }
        }
        self.go_on(assignment, id, now.at);
    }

    /// The guard has tripped: the function is called again, and nothing is counted or given up.
    fn wait_for_function(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        failure: Failure,
        now: Now,
        dice: &mut dyn Dice,
    ) {
        let wait = retry::probe_wait(&self.settings.retry, u32::MAX, dice);
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        part.due = now.at + wait;
        let seq = part.seqs[0];
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.bring_other_lanes_forward(id);
            let record = partition.record_id(seq);
            self.tell_guard(GuardKind::Failed, record, failure);
        }
        self.keep_boundaries(assignment, id);
        self.go_on(assignment, id, now.at);
    }

    fn give_up_first(&mut self, assignment: Assignment, id: WorkId, failure: Failure, now: Now) {
        let Some(part) = self.work_mut(assignment, id).and_then(|work| work.parts.pop_front()) else {
            return;
        };
        self.guards.failed.count();
        self.exhausted(
            assignment,
            part.seqs[0],
            failure,
            part.attempts,
            part.first_failed_ms,
            now,
        );
        self.go_on(assignment, id, now.at);
    }

    /// Gives up records of a failed batch that are older than `retry.max_age`.
    fn give_up_aged(&mut self, assignment: Assignment, id: WorkId, failure: &Failure, now: Now) {
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        let (attempts, first) = (part.attempts, part.first_failed_ms);
        let seqs = part.seqs.clone();
        for seq in seqs {
            if self.is_aged(assignment, seq, now) && !self.guards.failed.tripped() {
                if let Some(part) = self.first_part(assignment, id) {
                    part.seqs.retain(|other| *other != seq);
                }
                self.guards.failed.count();
                self.exhausted(assignment, seq, failure.clone(), attempts, first, now);
            }
        }
    }

    fn is_aged(&self, assignment: Assignment, seq: Seq, now: Now) -> bool {
        let Some(max_age) = self.settings.retry.max_age else {
            return false;
        };
        let record = self
            .partitions
            .get(&assignment)
            .and_then(|partition| partition.record(seq));
        record.is_some_and(|r| r.timestamp_ms >= 0 && now.unix_ms.saturating_sub(r.timestamp_ms) > max_age.0 as i64)
    }

    /// A record has used up its attempts.
    fn exhausted(
        &mut self,
        assignment: Assignment,
        seq: Seq,
        failure: Failure,
        attempts: u32,
        first: Option<i64>,
        now: Now,
    ) {
        match self.settings.on_exhausted {
            OnExhausted::DeadLetter => self.give_up(assignment, seq, Stage::Function, failure, attempts, first),
            OnExhausted::Block => self.block(assignment, seq, failure, attempts),
        }
        self.leave_work(assignment, seq, now.at);
    }

    /// The function refuses the data, or its size: halved at once; alone, given up. Only a refusal is charged.
    fn refuse(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        failure: Failure,
        charged: bool,
        now: Now,
        dice: &mut dyn Dice,
    ) {
        let tripped = self.guards.refused.tripped();
        let max_attempts = self.settings.retry.max_attempts;
        let held_for = retry::probe_wait(&self.settings.retry, u32::MAX, dice);
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        part.attempts += u32::from(charged && !(part.seqs.len() == 1 && tripped));
        part.first_failed_ms.get_or_insert(now.unix_ms);
        let spent = charged && part.attempts >= max_attempts;
        if part.seqs.len() > 1 {
            self.halve(assignment, id, spent, now.at);
        } else if tripped {
            let seq = part.seqs[0];
            part.due = now.at + held_for;
            if let Some(partition) = self.partitions.get(&assignment) {
                let record = partition.record_id(seq);
                self.tell_guard(GuardKind::Refused, record, failure);
            }
            self.keep_boundaries(assignment, id);
        } else {
            self.guards.refused.count();
            self.give_up_alone(assignment, id, failure, now.at);
        }
        self.go_on(assignment, id, now.at);
    }

    fn give_up_alone(&mut self, assignment: Assignment, id: WorkId, failure: Failure, now: Moment) {
        let Some(part) = self.work_mut(assignment, id).and_then(|work| work.parts.pop_front()) else {
            return;
        };
        let (seq, attempts) = (part.seqs[0], part.attempts.max(1));
        self.give_up(
            assignment,
            seq,
            Stage::Function,
            failure,
            attempts,
            part.first_failed_ms,
        );
        self.leave_work(assignment, seq, now);
    }

    fn busy(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        failure: Failure,
        retry_after: Option<Millis>,
        now: Now,
        dice: &mut dyn Dice,
    ) {
        let others = self.others_successes(assignment, id);
        let max_attempts = self.settings.retry.max_attempts;
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        if part.busy_in_a_row == 0 {
            part.others_when_busy = others;
        }
        part.busy_in_a_row += 1;
        let in_a_row = part.busy_in_a_row;
        if in_a_row >= max_attempts && others > part.others_when_busy {
            return self.charge(assignment, id, failure, now, dice);
        }
        let backoff = retry::backoff(&self.settings.retry, in_a_row, dice);
        if let Some(part) = self.first_part(assignment, id) {
            part.due = now.at + retry_after.map_or(backoff, |after| after.min(MAX_ASKED_WAIT));
        }
        self.keep_boundaries(assignment, id);
        self.go_on(assignment, id, now.at);
    }

    /// 401 and its like: the breaker opens, unless this batch alone gets them while others succeed.
    fn misregistered(&mut self, call: &OnWire, failure: Failure, now: Now, dice: &mut dyn Dice) {
        let (assignment, id) = (call.assignment, call.work);
        let others = self.others_successes(assignment, id);
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        if part
            .others_when_misregistered
            .replace(others)
            .is_some_and(|before| others > before)
        {
            self.call_failed(call, &failure, now.at, dice);
            return self.charge(assignment, id, failure, now, dice);
        }
        self.open_breaker(call, &failure, now.at, dice);
        self.call_again(assignment, id, now.at);
    }

    /// `responses` says what a status means; it acts on a record that stands alone.
    fn decided_by_status(&mut self, assignment: Assignment, id: WorkId, failure: Failure, decided: Decided, now: Now) {
        let Some(part) = self.first_part(assignment, id) else {
            return;
        };
        if part.seqs.len() > 1 {
            self.halve(assignment, id, false, now.at);
        } else {
            match decided {
                Decided::DeadLetter => {
                    part.attempts += 1;
                    self.give_up_alone(assignment, id, failure, now.at);
                }
                Decided::Drop => {
                    let seq = part.seqs[0];
                    self.work_mut(assignment, id).and_then(|work| work.parts.pop_front());
                    self.leave_work(assignment, seq, now.at);
                    self.settle(assignment, seq, Disposition::Dropped);
                }
            }
        }
        self.go_on(assignment, id, now.at);
    }

    fn halve(&mut self, assignment: Assignment, id: WorkId, split: bool, now: Moment) {
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

    fn block_part(&mut self, assignment: Assignment, id: WorkId, failure: Failure, now: Moment) {
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
    fn block(&mut self, assignment: Assignment, seq: Seq, failure: Failure, attempts: u32) {
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

    fn others_successes(&self, assignment: Assignment, id: WorkId) -> u64 {
        let own = self
            .partitions
            .get(&assignment)
            .and_then(|p| p.works.get(&id))
            .map_or(0, |work| work.successes);
        self.successes - own
    }

    /// Called again as soon as the breaker lets it.
    fn call_again(&mut self, assignment: Assignment, id: WorkId, now: Moment) {
        if let Some(part) = self.first_part(assignment, id) {
            part.due = now;
        }
        self.keep_boundaries(assignment, id);
        self.go_on(assignment, id, now);
    }

    /// The batch keeps its boundaries from here on: where they have not been committed, its next call waits for that.
    fn keep_boundaries(&mut self, assignment: Assignment, id: WorkId) {
        if self.work_mut(assignment, id).is_some_and(|work| !work.remembered) {
            self.changed(assignment, id);
        }
    }

    fn changed(&mut self, assignment: Assignment, id: WorkId) {
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.changed(id);
        }
    }

    /// What is left of a batch is called next; a batch with nothing left ends.
    fn go_on(&mut self, assignment: Assignment, id: WorkId, now: Moment) {
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

    fn leave_work(&mut self, assignment: Assignment, seq: Seq, now: Moment) {
        if let Some(partition) = self.partitions.get_mut(&assignment) {
            partition.left_work(seq, now);
        }
    }

    pub(super) fn work_mut(&mut self, assignment: Assignment, id: WorkId) -> Option<&mut crate::work::Work> {
        self.partitions.get_mut(&assignment)?.works.get_mut(&id)
    }

    fn first_part(&mut self, assignment: Assignment, id: WorkId) -> Option<&mut Part> {
        self.work_mut(assignment, id)?.parts.front_mut()
    }
}

impl Partition {
    /// Has the first part wait behind the next one that has no lane in common with what stands before it.
    fn bring_other_lanes_forward(&mut self, id: WorkId) {
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

#[derive(Clone, Copy)]
enum Decided {
    Drop,
    DeadLetter,
}

fn outcome(answer: &Answer) -> AttemptOutcome {
    match answer {
        Answer::Verdicts(_) => AttemptOutcome::Success,
        Answer::Failed(_) => AttemptOutcome::Failed,
        Answer::Refused(_) => AttemptOutcome::Refused,
        Answer::TooLarge(_) => AttemptOutcome::TooLarge,
        Answer::Busy { .. } => AttemptOutcome::Busy,
        Answer::Misregistered(_) => AttemptOutcome::Misregistered,
        Answer::Away(_) => AttemptOutcome::Away,
        Answer::Drop(_) | Answer::DeadLetter(_) | Answer::DeliverNothing | Answer::Block(_) => {
            AttemptOutcome::Overridden
        }
    }
}
