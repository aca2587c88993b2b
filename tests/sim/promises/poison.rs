//! One poison record costs one record: none is given up for what another of its batch did, and finding it costs no more
//! calls than its bound.

use std::collections::BTreeMap;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::Assignment;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Verdict};

#[derive(Default)]
pub(super) struct OnePoison {
    /// By assignment and poison record: how many records its first call carried, and how many calls carried it.
    cost: BTreeMap<(Assignment, i64), (usize, u32)>,
}

impl OnePoison {
    /// Nothing makes calls fail but poison records.
    fn is_plain(seen: &Seen<'_>) -> bool {
        let (faults, records) = (&seen.plan.faults, &seen.plan.records);
        let calls = [faults.flaky, faults.busy, faults.outage, faults.skip];
        let kinds = [
            records.refused,
            records.too_large,
            records.asked_again,
            records.dropped_by_status,
            records.given_up_by_status,
        ];
        calls.iter().chain(&kinds).all(|share| *share == 0.0) && !seen.plan.changes()
    }

    fn called(&mut self, seen: &Seen<'_>, worker: usize, of: Assignment, offsets: &[i64]) -> Result<(), String> {
        let ill = seen.places(of, offsets).into_iter().filter(|place| {
            let entry = seen.entry(*place);
            entry.is_some_and(|entry| entry.was_poison)
        });
        let ill: Vec<_> = ill.collect();
        let [place] = ill.as_slice() else { return Ok(()) };
        let Some(held) = seen.holdings.get(&of) else {
            return Ok(());
        };
        let known = (held.memo.iter().flat_map(|memo| &memo.batches)).flat_map(|batch| &batch.parts);
        // An earlier owner began to look for it.
        if known
            .flat_map(|part| &part.offsets)
            .any(|offset| offset == &place.offset)
            || seen.guard_tripped.contains(&worker)
        {
            self.cost.insert((of, place.offset), (usize::MAX, 0));
        }
        let (records, calls) = self.cost.entry((of, place.offset)).or_insert((offsets.len(), 0));
        *calls += 1;
        if *records == usize::MAX {
            return Ok(());
        }
        let bound = seen.settings[&worker].retry.max_attempts + 2 * records.next_power_of_two().ilog2() + 1;
        holds!(
            *calls <= bound,
            "{place} is called for the {calls}th time, and came in a batch of {records}: {bound} would do"
        );
        Ok(())
    }
}

impl Promise for OnePoison {
    fn name(&self) -> &'static str {
        "one_poison_record_costs_one_record"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::LetterAsked {
                worker,
                place,
                stage: Stage::Function,
                ..
            } => {
                let last = seen.last_answer(*worker, *place);
                let Some((said, verdict, carried)) = last else {
                    return Err(format!("{place} is given up by the function, which was never asked"));
                };
                let own = *carried == 1 || matches!(verdict, Some(Verdict::GiveUp | Verdict::Again));
                let aged = seen.settings[worker].retry.max_age.is_some();
                holds!(
                    own || aged,
                    "{place} is given up for the answer {said:?} to a call that carried {carried} records"
                );
                Ok(())
            }
            Fact::Called {
                worker,
                assignment,
                offsets,
                ..
            } if OnePoison::is_plain(seen) => self.called(seen, *worker, *assignment, offsets),
            _ => Ok(()),
        }
    }
}
