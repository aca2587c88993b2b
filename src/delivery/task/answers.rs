//! What a call came to, and what follows: what an answer means, row by row.

use super::failures::Decided;
use super::{OnWire, Task};
use crate::answer::{Answer, Failure, Verdict};
use crate::event::{CallId, Notice};
use crate::retry;
use crate::time::{Dice, Moment, Now};

impl Task {
    pub(super) fn answered(&mut self, id: CallId, answer: Answer, now: Now, dice: &mut dyn Dice) {
        let Some(call) = self.calls.remove(&id) else {
            return self.notice(Notice::LateDiscarded { what: "answer" });
        };
        self.off_wire(&call);
        let (assignment, work) = (call.assignment, call.work);
        self.notice(Notice::Attempt {
            assignment,
            outcome: answer.came_to().0,
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
        self.touch(assignment);
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

    pub(super) fn call_failed(&mut self, call: &OnWire, failure: &Failure, now: Moment, dice: &mut dyn Dice) {
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

    pub(super) fn open_breaker(&mut self, call: &OnWire, failure: &Failure, now: Moment, dice: &mut dyn Dice) {
        self.probe_failed(call, Some(failure), now, dice);
        let probe_at = now + retry::probe_wait(&self.settings.retry, 1, dice);
        if self.breaker.open(now, probe_at, failure.clone()) {
            self.notice(Notice::BreakerOpened {
                failure: failure.clone(),
            });
        }
    }
}
