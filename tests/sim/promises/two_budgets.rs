//! Two budgets: while a task holds a partition, what was answered is not called again, and what a sink has is not sent
//! there again.

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::Fact;

#[derive(Default)]
pub(super) struct TwoBudgets;

impl Promise for TwoBudgets {
    fn name(&self) -> &'static str {
        "two_budgets"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Called {
                assignment, offsets, ..
            } => {
                let Some(held) = seen.holdings.get(assignment) else {
                    return Ok(());
                };
                let again = offsets.iter().find(|offset| held.through.contains(offset));
                holds!(
                    again.is_none(),
                    "{again:?} of #{} was answered, and is called again",
                    assignment.0
                );
            }
            Fact::Asked {
                worker, sink, items, ..
            } => {
                for (place, from) in items.iter() {
                    let Some((of, held)) = seen.holding(*worker, place.partition) else {
                        return Err(format!("results of {place} are sent, which is not held"));
                    };
                    let given = held.accepted.contains(&place.offset) || !seen.settings[worker].has_function;
                    holds!(given, "results of {place} are sent, and #{} was given none", of.0);
                    let results = seen
                        .entry(*place)
                        .into_iter()
                        .flat_map(|entry| entry.results_for(*sink));
                    for index in results.filter(|index| index >= from) {
                        let told = held.told_stored.contains(&(place.offset, (*sink, index)));
                        holds!(
                            !told,
                            "result {index} of {place} is sent to sink {sink} again, which has stored it"
                        );
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
