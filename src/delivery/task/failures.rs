//! Batches that did not succeed: called again, halved, or given up.

use super::{OnWire, Task};
use crate::answer::{Disposition, Failure, Stage};
use crate::event::{Assignment, GuardKind};
use crate::partition::Seq;
use crate::retry::{self, Failed, MAX_ASKED_WAIT, Next};
use crate::settings::OnExhausted;
use crate::time::{Dice, Millis, Moment, Now};
use crate::work::WorkId;

/// What `responses` says of a status.
#[derive(Clone, Copy)]
pub(super) enum Decided {
    Drop,
    DeadLetter,
}

impl Task {
    /// A failed attempt: counted, unless the guard has tripped; then again, halved, or given up.
    pub(super) fn charge(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        failure: Failure,
        now: Now,
        dice: &mut dyn Dice,
    ) {
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
            // A record beside it was given up just now, and the guard holds this one: it has been counted, though.
            Next::GiveUp if self.guards.failed.tripped() => {
                self.changed(assignment, id);
                return self.wait_for_function(assignment, id, failure, now, dice);
            }
            Next::GiveUp => return self.give_up_first(assignment, id, failure, now),
            Next::Halve => self.halve(assignment, id, true, now.at),
            Next::Again => {
                let backoff = retry::backoff(&self.settings.retry, failed.waits_for(), dice);
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
        self.count_given_up();
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
                self.count_given_up();
                self.exhausted(assignment, seq, failure.clone(), attempts, first, now);
            }
        }
    }

    /// A record is given up for failed attempts. One that blocks its lane is not given up.
    fn count_given_up(&mut self) {
        if self.settings.on_exhausted == OnExhausted::DeadLetter {
            self.guards.failed.count();
        }
    }

    pub(super) fn is_aged(&self, assignment: Assignment, seq: Seq, now: Now) -> bool {
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
    pub(super) fn exhausted(
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
    pub(super) fn refuse(
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

    pub(super) fn busy(
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
    pub(super) fn misregistered(&mut self, call: &OnWire, failure: Failure, now: Now, dice: &mut dyn Dice) {
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
    pub(super) fn decided_by_status(
        &mut self,
        assignment: Assignment,
        id: WorkId,
        failure: Failure,
        decided: Decided,
        now: Now,
    ) {
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
}
