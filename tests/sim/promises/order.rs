//! Order: a lane's records are called in order, one call at a time, and a sink has their results in that order. What is
//! repeated begins no earlier than the committed offset.

use std::collections::BTreeMap;

use fnbridge_delivery::event::{Admission, Assignment, CallId};

use super::seen::{CallSeen, Seen};
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Place};
use crate::world::World;
use crate::world::worker::{LaneKey, lane_of};

pub(super) struct Order {
    /// The offsets of each lane of each log, in order.
    lanes: BTreeMap<(usize, usize, LaneKey), Vec<i64>>,
    /// Up to where each sink has what stands first in a lane.
    cursors: BTreeMap<(u16, usize, usize, LaneKey), usize>,
}

impl Order {
    pub(super) fn of(world: &World) -> Order {
        let ordering = world.plan.settings[0].ordering;
        let mut lanes: BTreeMap<_, Vec<i64>> = BTreeMap::new();
        for (partition, logs) in world.logs.iter().enumerate() {
            for (log, entry) in logs
                .all
                .iter()
                .flat_map(|l| l.entries.iter().map(move |e| (l.incarnation, e)))
            {
                let lane = (partition, log, lane_of(ordering, entry));
                lanes.entry(lane).or_default().push(entry.record.offset);
            }
        }
        Order {
            lanes,
            cursors: BTreeMap::new(),
        }
    }

    fn called(seen: &Seen<'_>, id: (usize, CallId), of: Assignment, offsets: &[i64]) -> Result<(), String> {
        let Some(held) = seen.holdings.get(&of).filter(|held| !held.ended) else {
            return Err(format!("a call for #{}, which is not held", of.0));
        };
        let ordering = seen.settings[&id.0].ordering;
        let lane = |place: Place| seen.entry(place).map(|entry| lane_of(ordering, entry));
        let mut last: BTreeMap<LaneKey, i64> = BTreeMap::new();
        for place in seen.places(of, offsets) {
            let Some(lane) = lane(place) else { continue };
            holds!(
                place.offset >= held.position,
                "{place} is called, before {} where #{} begins",
                held.position,
                of.0
            );
            let before = last.insert(lane, place.offset);
            holds!(
                before.is_none_or(|before| before < place.offset),
                "{place} is called after {before:?} of its lane"
            );
        }
        let others = seen.calls.values().filter(|call: &&CallSeen| call.assignment == of);
        for place in others.flat_map(|call| seen.places(of, &call.offsets)) {
            let shared = lane(place).is_some_and(|lane| last.contains_key(&lane));
            holds!(
                !shared,
                "{offsets:?} are called while {place} of the same lane is on the wire"
            );
        }
        // Who is called for the first time is called after all before it, but for those that a verdict gave leave.
        let first = last.iter().filter(|(_, offset)| {
            let calls = seen
                .places(of, &[**offset])
                .first()
                .and_then(|place| seen.records.get(place));
            calls.is_none_or(|record| record.calls == 0)
        });
        let first: BTreeMap<LaneKey, i64> = first.map(|(lane, offset)| (*lane, *offset)).collect();
        let Some(most) = first.values().max() else {
            return Ok(());
        };
        for offset in held.arrived.range(..*most) {
            let place = seen.places(of, &[*offset])[0];
            let Some(entry) = seen.entry(place).filter(|entry| entry.admission == Admission::Pass) else {
                continue;
            };
            let behind = first.get(&lane_of(ordering, entry)).filter(|last| *last > offset);
            let free = held.through.contains(offset)
                || offsets.contains(offset)
                || seen.records.get(&place).is_some_and(|record| record.leave);
            if let Some(last) = behind.filter(|_| !free) {
                return Err(format!(
                    "{last} is called while {place}, before it in its lane, is not answered"
                ));
            }
        }
        Ok(())
    }

    fn stored(&mut self, seen: &Seen<'_>, sink: u16, place: Place) -> Result<(), String> {
        let settings = &seen.plan.settings[0];
        let Some(entry) = seen.entry(place) else { return Ok(()) };
        let of = (place.partition, place.log, lane_of(settings.ordering, entry));
        let cursor = self.cursors.entry((sink, of.0, of.1, of.2)).or_default();
        let Some(lane) = self.lanes.get(&of) else { return Ok(()) };
        while let Some(offset) = lane.get(*cursor).copied().filter(|offset| *offset < place.offset) {
            let earlier = Place { offset, ..place };
            let kept = |index: usize| {
                let record = seen.records.get(&earlier);
                let of = (sink, index);
                record.is_some_and(|r| {
                    r.stored.contains(&of) || r.refused.contains(&of) || r.result_letters.contains(&of)
                })
            };
            let accepted = !settings.has_function || seen.records.get(&earlier).is_some_and(|r| r.accepted);
            let all = seen
                .entry(earlier)
                .is_none_or(|entry| entry.results_for(sink).all(kept));
            holds!(
                seen.is_settled(earlier, settings) || accepted && all,
                "sink {sink} has results of {place} before those of {earlier}"
            );
            *cursor += 1;
        }
        Ok(())
    }
}

impl Promise for Order {
    fn name(&self) -> &'static str {
        "order"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        match &now.fact {
            Fact::Called {
                worker,
                call,
                assignment,
                offsets,
                ..
            } => Order::called(seen, (*worker, *call), *assignment, offsets),
            Fact::Stored { sink, place, .. } if !seen.plan.changes() => self.stored(seen, *sink, *place),
            _ => Ok(()),
        }
    }
}
