//! Attempts are counted across hand-overs and restarts: a count goes on from what the memo says, it stands committed before
//! the next call is made, and a clean hand-over leaves it to the next owner.

use std::collections::BTreeMap;

use fnbridge_delivery::event::{Assignment, GuardKind, Notice};
use fnbridge_delivery::memo::Memo;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Said};

#[derive(Default)]
pub(super) struct Attempts {
    /// Failed attempts that certainly count, by assignment and record.
    certain: BTreeMap<(Assignment, i64), u32>,
    /// The same, as long as the guard may turn out to have tripped before: by worker.
    pending: Vec<(usize, Assignment, i64)>,
    /// The attempt that the last call of a record said it was.
    last: BTreeMap<(Assignment, i64), u32>,
}

/// What a memo says of a record.
fn marked(memo: &Memo, offset: i64) -> u32 {
    let parts = memo.batches.iter().flat_map(|batch| &batch.parts);
    let of_it = parts.filter(|part| part.offsets.contains(&offset));
    of_it.map(|part| part.attempts).max().unwrap_or(0)
}

impl Attempts {
    fn called(&mut self, seen: &Seen<'_>, of: Assignment, offsets: &[i64], attempt: u32) -> Result<(), String> {
        let Some(held) = seen.holdings.get(&of) else {
            return Ok(());
        };
        let counted = |offset: &i64| {
            let before = held.memo.as_ref().map_or(0, |memo| marked(memo, *offset));
            before + self.certain.get(&(of, *offset)).copied().unwrap_or(0)
        };
        let least = offsets.iter().map(counted).max().unwrap_or(0);
        holds!(
            attempt > least,
            "{offsets:?} of #{} are called as attempt {attempt}, and {least} have failed",
            of.0
        );
        // Made again by this owner: what the count has come to stands with the group.
        let again = offsets.iter().filter_map(|offset| self.last.get(&(of, *offset))).max();
        if again.is_some_and(|last| *last < attempt) {
            let stands = held.committed.as_ref();
            let marks = offsets
                .iter()
                .map(|offset| stands.map_or(0, |(_, memo)| marked(memo, *offset)));
            holds!(
                marks.max().unwrap_or(0) + 1 >= attempt,
                "{offsets:?} of #{} are called as attempt {attempt}, which is not committed",
                of.0
            );
        }
        for offset in offsets {
            self.last.insert((of, *offset), attempt);
        }
        Ok(())
    }

    fn released(&self, seen: &Seen<'_>, of: Assignment, at: u64) -> Result<(), String> {
        let Some(held) = seen.holdings.get(&of).filter(|held| seen.is_clean(held, at)) else {
            return Ok(());
        };
        let before = held.memo.as_ref().map(|memo| (held.position, memo.clone()));
        let Some((offset, memo)) = held.committed.clone().or(before) else {
            return Ok(());
        };
        let of_it = self.certain.range((of, offset)..).take_while(|((a, _), _)| *a == of);
        for ((_, at), failed) in of_it {
            let before = held.memo.as_ref().map_or(0, |memo| marked(memo, *at));
            let open = !held.through.contains(at) && !memo.settled.contains(at);
            holds!(
                !open || marked(&memo, *at) >= before + failed,
                "#{} is let go, and its memo has {} attempts of {at}, of which {failed} have failed, and {before} before",
                of.0,
                marked(&memo, *at)
            );
        }
        Ok(())
    }
}

impl Promise for Attempts {
    fn name(&self) -> &'static str {
        "attempts_are_counted_across_hand_overs"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Called {
                worker,
                assignment,
                offsets,
                attempt,
                ..
            } => {
                for (_, of, offset) in self.pending.extract_if(.., |(of, ..)| of == worker) {
                    *self.certain.entry((of, offset)).or_default() += 1;
                }
                self.called(seen, *assignment, offsets, *attempt)
            }
            Fact::Noticed {
                worker,
                notice:
                    Notice::GuardTripped {
                        guard: GuardKind::Failed,
                        ..
                    },
            } => {
                self.pending.retain(|(of, ..)| of != worker);
                Ok(())
            }
            Fact::Answered { worker, call, said } => {
                let counts = *said == Said::Failed && !seen.guard_tripped.contains(worker);
                if let Some(call) = seen.calls.get(&(*worker, *call)).filter(|_| counts) {
                    let failed = call.offsets.iter().map(|offset| (*worker, call.assignment, *offset));
                    self.pending.extend(failed);
                }
                Ok(())
            }
            Fact::Released { assignment, .. } => self.released(seen, *assignment, now.at),
            _ => Ok(()),
        }
    }
}
