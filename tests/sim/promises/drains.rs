//! Draining is bounded: what is taken away is let go soon after its deadline, and what arrives for an old assignment is
//! discarded and counted.

use std::collections::BTreeMap;

use fnbridge_delivery::event::Notice;
use fnbridge_delivery::settings::Delivery;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::Fact;

/// How long the last commit, and what was sent anew, may take after the deadline.
const AFTER_MS: u64 = 15_000;

/// How long the end of a transaction may take, which is waited for: its coordinator ends it by itself.
const TRANSACTION_MS: u64 = 45_000;

#[derive(Default)]
pub(super) struct Drains {
    /// By worker: answers that came for an old assignment, and those that it said it discarded.
    late: BTreeMap<usize, (u64, u64)>,
}

impl Promise for Drains {
    fn name(&self) -> &'static str {
        "draining_is_bounded"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Released { assignment, .. } => {
                let held = seen.holdings.get(assignment);
                let Some(deadline) = held.and_then(|held| held.deadline) else {
                    return Err(format!("#{} is let go, and was not taken away", assignment.0));
                };
                let exactly_once = seen.plan.settings[0].delivery == Delivery::ExactlyOnce;
                let after = if exactly_once {
                    AFTER_MS + TRANSACTION_MS
                } else {
                    AFTER_MS
                };
                holds!(
                    now.at <= deadline + after,
                    "#{} was to be let go by {deadline}",
                    assignment.0
                );
            }
            Fact::Answered { worker, call, .. } if !seen.calls.contains_key(&(*worker, *call)) => {
                self.late.entry(*worker).or_default().0 += 1;
            }
            Fact::Noticed {
                worker,
                notice: Notice::LateDiscarded { what: "answer" },
            } => {
                let (late, told) = self.late.entry(*worker).or_default();
                *told += 1;
                holds!(*told <= *late, "worker {worker} discards an answer that it waits for");
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        for (worker, (late, told)) in self.late.iter().filter(|(worker, _)| seen.alive.contains(worker)) {
            holds!(
                late == told,
                "worker {worker} got {late} answers for old assignments, and discarded {told}"
            );
        }
        Ok(())
    }
}
