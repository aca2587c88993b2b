//! A dead letter that can't be written is not committed; the task blocks, and says so.

use std::collections::BTreeSet;

use fnbridge_delivery::event::{Assignment, Notice};

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, ResultOf};

#[derive(Default)]
pub(super) struct Letters {
    /// Letters that were asked for and do not stand in the topic.
    open: BTreeSet<(Assignment, i64, Option<ResultOf>)>,
    /// Workers that said that the topic can't be written.
    blocked: BTreeSet<usize>,
}

impl Promise for Letters {
    fn name(&self) -> &'static str {
        "a_dead_letter_that_cannot_be_written_is_not_committed"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::LetterAsked { worker, place, of, .. } => {
                if let Some((assignment, _)) = seen.holding(*worker, place.partition) {
                    self.open.insert((*assignment, place.offset, *of));
                }
            }
            Fact::Lettered { place, of, .. } => {
                let here = |a: &Assignment| {
                    let held = seen.holdings.get(a);
                    held.is_some_and(|h| (h.partition, h.log) == (place.partition, place.log))
                };
                self.open
                    .retain(|(a, offset, other)| (*offset, *other) != (place.offset, *of) || !here(a));
            }
            Fact::Committed {
                assignment,
                offset,
                memo,
                ..
            } => {
                let of_it = self.open.range((*assignment, i64::MIN, None)..);
                for (_, at, _) in of_it.take_while(|(a, ..)| a == assignment) {
                    holds!(
                        at >= offset && !memo.settled.contains(at),
                        "#{} is committed at {offset}, and the dead letter of {at} is not written",
                        assignment.0
                    );
                }
            }
            Fact::Noticed { worker, notice } => match notice {
                Notice::LettersBlocked { .. } => drop(self.blocked.insert(*worker)),
                Notice::LettersBack => drop(self.blocked.remove(worker)),
                _ => {}
            },
            Fact::Called { worker, .. } => {
                holds!(
                    !self.blocked.contains(worker),
                    "worker {worker} calls, and has said that dead letters can't be written"
                );
            }
            _ => {}
        }
        Ok(())
    }
}
