//! What the function says of each record of a batch.

use super::Task;
use crate::answer::{Disposition, Failure, Stage, Verdict};
use crate::event::Assignment;
use crate::partition::Seq;
use crate::retry::{self, MAX_ASKED_WAIT};
use crate::time::{Dice, Millis, Now};
use crate::work::{MAX_RETRY_GROUPS, Part, WorkId};

/// A record whose verdict was to be called again.
struct AskedAgain {
    seq: Seq,
    after: Option<Millis>,
    reason: String,
}

impl Task {
    pub(super) fn apply_verdicts(
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
}
