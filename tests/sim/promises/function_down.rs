//! A function that is down is not poison: only so many records are given up for failed attempts with no success between,
//! and none for an answer that says nothing of it.

use std::collections::BTreeMap;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::Notice;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Said};

#[derive(Default)]
pub(super) struct NotPoison {
    /// By worker: records given up for failed attempts since the last success or assignment.
    in_a_row: BTreeMap<usize, u32>,
}

impl Promise for NotPoison {
    fn name(&self) -> &'static str {
        "a_function_that_is_down_is_not_poison"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Assigned { worker, .. } => drop(self.in_a_row.insert(*worker, 0)),
            Fact::Noticed {
                worker,
                notice: Notice::Attempt { .. },
            } => drop(self.in_a_row.insert(*worker, 0)),
            Fact::Noticed {
                worker,
                notice:
                    Notice::GivenUp {
                        stage: Stage::Function,
                        status,
                        reason,
                        id,
                        ..
                    },
            } => {
                let failed =
                    matches!(status, Some(500 | 404 | 401 | 429 | 503)) || reason.contains("connection was lost");
                let in_a_row = self.in_a_row.entry(*worker).or_default();
                *in_a_row += u32::from(failed);
                let most = seen.settings[worker].guard.failed;
                holds!(
                    *in_a_row <= most,
                    "{id} is given up, the {in_a_row}th in a row with no success between, {most} may be"
                );
            }
            Fact::LetterAsked {
                worker,
                place,
                stage: Stage::Function,
                ..
            } => {
                let last = seen.last_answer(*worker, *place);
                holds!(
                    last.is_none_or(|(said, ..)| *said != Said::Away),
                    "{place} is given up while the function is away"
                );
            }
            _ => {}
        }
        Ok(())
    }
}
