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
    /// Why it is charged with this attempt; `None`: it is not.
    charged: Option<String>,
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
            if !matches!(verdict, Verdict::Retry { .. } | Verdict::Again) {
                self.leave_work(assignment, seq, now.at);
            }
            match verdict {
                Verdict::Deliver(outputs) => self.deliver(assignment, seq, outputs),
                Verdict::Drop => self.settle(assignment, seq, Disposition::Dropped),
                Verdict::DeadLetter { reason } => {
                    let (attempts, first) = (part.attempts + 1, part.first_failed_ms);
                    self.give_up(assignment, seq, Stage::Function, Failure::of(reason), attempts, first);
                }
                Verdict::Retry { after, reason } => again.push(AskedAgain {
                    seq,
                    after,
                    charged: Some(reason),
                }),
                Verdict::Again => again.push(AskedAgain {
                    seq,
                    after: None,
                    charged: None,
                }),
            }
        }
        if passed {
            self.reset_refused_guard(now.at);
        }
        self.call_asked_again(assignment, id, &part, again, now, dice);
        self.go_on(assignment, id, now.at);
    }

    /// Records that are to be called again. Those with a `retry` verdict are charged, each alone.
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
        let stopped = again.iter().any(|asked| asked.charged.is_none());
        let mut groups: Vec<Group> = Vec::new();
        for (place, AskedAgain { seq, after, charged }) in again.into_iter().enumerate() {
            // Somebody has to be charged, or it would never end.
            let charged = charged.or_else(|| (place == 0).then(|| "the function stopped at this record".to_owned()));
            let Some(reason) = charged else {
                put_behind(&mut groups, seq, false, Millis(0));
                continue;
            };
            if attempts >= self.settings.retry.max_attempts || self.is_aged(assignment, seq, now) {
                self.exhausted(assignment, seq, Failure::of(reason), attempts, first_failed_ms, now);
                continue;
            }
            let wait = after.map_or(backoff, |after| after.min(MAX_ASKED_WAIT));
            match stopped {
                true => put_behind(&mut groups, seq, true, wait),
                false => put_by_wait(&mut groups, seq, wait),
            }
        }
        if groups.is_empty() {
            return;
        }
        if !stopped {
            groups.sort_by_key(|group| group.wait);
        }
        let parts = groups.into_iter().map(|mut group| {
            group.seqs.sort_unstable();
            Part {
                seqs: group.seqs,
                attempts: if group.charged { attempts } else { part.attempts },
                due: now.at + group.wait,
                first_failed_ms: if group.charged {
                    first_failed_ms
                } else {
                    part.first_failed_ms
                },
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

/// Records that are called again in one call.
struct Group {
    seqs: Vec<Seq>,
    charged: bool,
    wait: Millis,
}

/// Records that wait equally long are called together: a `retry` verdict is the function's leave to see a record after those
/// behind it.
fn put_by_wait(groups: &mut Vec<Group>, seq: Seq, wait: Millis) {
    match groups.iter().position(|group| group.wait == wait) {
        Some(at) => groups[at].seqs.push(seq),
        None if groups.len() < MAX_RETRY_GROUPS => groups.push(Group {
            seqs: vec![seq],
            charged: true,
            wait,
        }),
        // The last group takes the rest, and waits for the longest of them.
        None => {
            if let Some(last) = groups.last_mut() {
                last.wait = last.wait.max(wait);
                last.seqs.push(seq);
            }
        }
    }
}

/// Where the function stopped within the batch, its order holds: records stand in one call with their neighbours that were
/// charged as they were.
fn put_behind(groups: &mut Vec<Group>, seq: Seq, charged: bool, wait: Millis) {
    let full = groups.len() >= MAX_RETRY_GROUPS;
    match groups.last_mut().filter(|last| full || last.charged == charged) {
        Some(last) => {
            last.wait = last.wait.max(wait);
            last.seqs.push(seq);
        }
        None => groups.push(Group {
            seqs: vec![seq],
            charged,
            wait,
        }),
    }
}
