//! Finished work is not redone: what an owner had settled ahead is neither called nor sent by the next, and each clean
//! hand-over leaves all of it.

use fnbridge_delivery::event::{Admission, Assignment};

use super::seen::{Holding, Seen};
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Place};

#[derive(Default)]
pub(super) struct Finished;

impl Finished {
    fn released(seen: &Seen<'_>, of: Assignment, at: u64) -> Result<(), String> {
        let Some(held) = seen.holdings.get(&of).filter(|held| seen.is_clean(held, at)) else {
            return Ok(());
        };
        let (offset, ahead) = match (&held.committed, &held.memo) {
            (Some((offset, memo)), _) => (*offset, memo.settled.as_slice()),
            (None, Some(memo)) => (held.position, memo.settled.as_slice()),
            (None, None) => (held.position, [].as_slice()),
        };
        for at in held.arrived.range(offset..) {
            let place = seen.places(of, &[*at])[0];
            holds!(
                !is_done(seen, held, place) || ahead.contains(at),
                "#{} is let go at {offset}, and {place}, which is done with, is not remembered",
                of.0
            );
        }
        Ok(())
    }
}

/// Its owner was told that everything of it is durable.
fn is_done(seen: &Seen<'_>, held: &Holding, place: Place) -> bool {
    let offset = place.offset;
    let Some(entry) = seen.entry(place).filter(|_| !seen.is_expired(place)) else {
        return false;
    };
    if entry.admission != Admission::Pass || held.told_lettered.contains(&(offset, None)) {
        return held.told_lettered.contains(&(offset, None));
    }
    let settings = &seen.settings[&held.worker];
    let told = |sink: u16| move |index: usize| (offset, (sink, index));
    let in_sink = |sink: u16| {
        let results = entry.results_for(sink).map(told(sink));
        results.into_iter().all(|of| held.told_stored.contains(&of))
    };
    let accepted = held.accepted.contains(&offset) && (0..settings.sinks as u16).all(in_sink);
    held.dropped.contains(&offset) || accepted
}

impl Promise for Finished {
    fn name(&self) -> &'static str {
        "finished_work_is_not_redone"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Called {
                assignment, offsets, ..
            } => {
                let before = seen.holdings.get(assignment).map(|held| &held.settled_before);
                let again = offsets.iter().find(|o| before.is_some_and(|before| before.contains(o)));
                holds!(
                    again.is_none(),
                    "{again:?} of #{} was settled before it, and is called",
                    assignment.0
                );
                Ok(())
            }
            Fact::CommitAsked {
                assignment,
                offset,
                memo,
                ..
            } => {
                let Some(held) = seen.holdings.get(assignment) else {
                    return Ok(());
                };
                for at in held.settled_before.range(*offset..) {
                    let place = seen.places(*assignment, &[*at])[0];
                    holds!(
                        memo.settled.contains(at) || seen.is_expired(place),
                        "{place} was settled before #{}, and a commit of {offset} forgets it",
                        assignment.0
                    );
                }
                Ok(())
            }
            Fact::Released { assignment, .. } => Finished::released(seen, *assignment, now.at),
            _ => Ok(()),
        }
    }
}
