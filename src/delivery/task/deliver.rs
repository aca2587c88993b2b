//! Results go to the sinks: each sink apart from the others, each lane in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Task;
use crate::answer::Disposition;
use crate::event::{Assignment, Effect, Store, StoreId, StoreItem};
use crate::guard::Guard;
use crate::invariants;
use crate::lane::LaneRef;
use crate::outage::Outage;
use crate::partition::{Delivering, Partition, Seq, State};
use crate::record::{Output, SinkId};
use crate::time::Moment;

/// Records in one request to a sink.
const MAX_ITEMS: usize = 1000;
/// Requests to one sink on the wire.
const MAX_REQUESTS: usize = 64;

/// A lane, or a record that is one, that may have results to send.
pub(super) type Sender = (Assignment, LaneRef);

/// What is on its way to the sinks.
#[derive(Debug)]
pub(super) struct Sinks {
    pub(super) sinks: Vec<SinkState>,
    pub(super) stores: FxHashMap<StoreId, OnWire>,
    next_store: u64,
    /// The sender that was looked at last, since nothing was gathered.
    looked_at: Option<Sender>,
    pub(super) guard: Guard,
}

#[derive(Debug, Default)]
pub(super) struct SinkState {
    /// Lanes to look at for results.
    senders: BTreeSet<Sender>,
    pub(super) requests: usize,
    pub(super) away: Option<Outage>,
}

#[derive(Debug)]
pub(super) struct OnWire {
    pub(super) sink: SinkId,
    pub(super) items: Vec<(Assignment, Seq)>,
}

impl Sinks {
    pub(super) fn new(sinks: usize, refused: u32) -> Sinks {
        Sinks {
            sinks: (0..sinks).map(|_| SinkState::default()).collect(),
            stores: FxHashMap::default(),
            next_store: 0,
            looked_at: None,
            guard: Guard::new(refused),
        }
    }

    /// When a sink that was away is asked again.
    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        let waiting = self.sinks.iter().filter(|s| !s.senders.is_empty() && s.requests == 0);
        waiting.filter_map(|sink| sink.away.as_ref().map(Outage::until)).min()
    }

    pub(super) fn all(&self) -> u64 {
        match self.sinks.len() {
            64 => u64::MAX,
            n => (1 << n) - 1,
        }
    }

    /// Those that are away and not to be asked yet.
    pub(super) fn away(&self, now: Moment) -> u64 {
        let away = |sink: &SinkState| sink.away.as_ref().is_some_and(|away| away.until() > now);
        let bits = self.sinks.iter().enumerate().filter(|(_, sink)| away(sink));
        bits.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    /// When the first of these is to be asked.
    pub(super) fn away_until(&self, now: Moment) -> Option<Moment> {
        let until = self.sinks.iter().filter_map(|sink| Some(sink.away.as_ref()?.until()));
        until.filter(|until| *until > now).min()
    }

    fn look_at(&mut self, sender: Sender) {
        if self.looked_at.replace(sender) == Some(sender) {
            return;
        }
        self.sinks.iter_mut().for_each(|sink| {
            sink.senders.insert(sender);
        });
    }

    pub(super) fn forget(&mut self, assignment: Assignment) {
        self.looked_at = None;
        self.sinks
            .iter_mut()
            .for_each(|sink| sink.senders.retain(|(other, _)| *other != assignment));
    }
}

impl Task {
    /// A lane may have results to send.
    pub(super) fn look_at(&mut self, sender: Sender) {
        if self.is_exactly_once() {
            self.transactions.look_at(sender);
        } else {
            self.sinks.look_at(sender);
        }
    }

    /// A record's results start on their way; without any, it is done.
    pub(super) fn deliver(&mut self, assignment: Assignment, seq: Seq, outputs: Vec<Output>) {
        let all = self.sinks.all();
        let wanted = outputs.iter().fold(0, |bits, output| {
            bits | output.sink.map_or(all, |sink| 1 << sink.0 & all)
        });
        if wanted == 0 {
            return self.settle(assignment, seq, Disposition::Delivered);
        }
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let Some(entry) = partition.entry_mut(seq) else { return };
        debug_assert!(
            invariants::two_budgets(entry),
            "two_budgets: {} is answered twice",
            entry.offset
        );
        let weight_bytes = outputs.iter().map(Output::weight_bytes).sum();
        entry.state = State::Delivering(Box::new(Delivering {
            outputs: Arc::new(outputs),
            stored: all & !wanted,
            sent: 0,
            from: BTreeMap::new(),
            without: BTreeSet::new(),
            letters: 0,
            refused: false,
            weight_bytes,
        }));
        let (lane, finished_bytes) = (entry.lane, entry.weight_bytes + weight_bytes);
        partition.held_bytes += weight_bytes;
        self.held_bytes += weight_bytes;
        self.finished(finished_bytes);
        self.look_at((assignment, lane));
    }

    pub(super) fn send_results(&mut self, now: Moment) {
        self.sinks.looked_at = None;
        for index in 0..self.sinks.sinks.len() {
            let sink = SinkId(index as u16);
            while self.may_send(index, now) {
                let items = self.gather(sink);
                if items.is_empty() {
                    break;
                }
                self.store(sink, items);
            }
        }
    }

    /// A sink that was away gets one request, to see whether it is back.
    fn may_send(&self, index: usize, now: Moment) -> bool {
        let sink = &self.sinks.sinks[index];
        let room = match &sink.away {
            Some(away) => now >= away.until() && sink.requests == 0,
            None => sink.requests < MAX_REQUESTS,
        };
        room && !sink.senders.is_empty()
    }

    fn gather(&mut self, sink: SinkId) -> Vec<(Assignment, Seq)> {
        let mut items = Vec::new();
        while items.len() < MAX_ITEMS {
            let Some((assignment, lane)) = self.sinks.sinks[sink.0 as usize].senders.pop_first() else {
                break;
            };
            if let Some(partition) = self.partitions.get_mut(&assignment) {
                let before = items.len();
                partition.gather(lane, sink, MAX_ITEMS - before, |seq| items.push((assignment, seq)));
                partition.items_on_wire += items.len() - before;
            }
        }
        items
    }

    fn store(&mut self, sink: SinkId, items: Vec<(Assignment, Seq)>) {
        let id = StoreId(self.sinks.next_store);
        self.sinks.next_store += 1;
        self.sinks.sinks[sink.0 as usize].requests += 1;
        let item = |(assignment, seq): &(Assignment, Seq)| self.partitions.get(assignment)?.store_item(*seq, sink);
        let requested: Vec<StoreItem> = items.iter().filter_map(item).collect();
        debug_assert_eq!(
            requested.len(),
            items.len(),
            "results on their way belong to an unsettled record"
        );
        self.sinks.stores.insert(id, OnWire { sink, items });
        self.effects.push_back(Effect::Store(Store {
            id,
            sink,
            items: requested,
        }));
    }

    pub(super) fn delivering(&mut self, assignment: Assignment, seq: Seq) -> Option<&mut Delivering> {
        match &mut self.partitions.get_mut(&assignment)?.entry_mut(seq)?.state {
            State::Delivering(delivering) => Some(delivering),
            _ => None,
        }
    }

    /// Producers were closed: what was on its way from partitions that are still held is sent anew.
    pub(super) fn send_anew(&mut self) {
        let stores = std::mem::take(&mut self.sinks.stores);
        self.sinks.sinks.iter_mut().for_each(|sink| sink.requests = 0);
        for (sink, (assignment, seq)) in stores
            .into_values()
            .flat_map(|s| s.items.into_iter().map(move |i| (s.sink, i)))
        {
            let Some(partition) = self.partitions.get_mut(&assignment) else {
                continue;
            };
            partition.items_on_wire -= 1;
            if let Some(lane) = partition.back_from(seq, sink) {
                self.look_at((assignment, lane));
            }
        }
    }
}

impl Partition {
    /// Hands out the records of a lane whose results this sink may store now: those that stand first in the lane, but for
    /// what the sink has stored already. A lane has one request to a sink at a time, so that order holds even where the
    /// sink stores only a part.
    fn gather(&mut self, lane: LaneRef, sink: SinkId, most: usize, mut hand_out: impl FnMut(Seq)) {
        let bit = 1 << sink.0;
        let slot = match lane {
            LaneRef::Own(seq) => {
                if let Some(State::Delivering(d)) = self.entry_mut(seq).map(|entry| &mut entry.state)
                    && (d.stored | d.sent) & bit == 0
                {
                    d.sent |= bit;
                    hand_out(seq);
                }
                return;
            }
            LaneRef::Shared(slot) => slot,
        };
        let (entries, base) = (&mut self.entries, self.base);
        let Some(lane) = self.lanes.get_mut(slot).filter(|lane| lane.in_store & bit == 0) else {
            return;
        };
        let cursor = &mut lane.cursors[sink.0 as usize];
        *cursor = (*cursor).max(lane.passed);
        let mut at = *cursor;
        let mut handed_out = 0;
        while let Some(seq) = lane
            .order
            .get((at - lane.passed) as usize)
            .filter(|_| handed_out < most)
        {
            let done = match entries.get_mut((*seq - base) as usize).map(|entry| &mut entry.state) {
                Some(State::Settled) | None => true,
                Some(State::Delivering(d)) if d.stored & bit != 0 => true,
                Some(State::Delivering(d)) => {
                    d.sent |= bit;
                    hand_out(*seq);
                    handed_out += 1;
                    lane.in_store |= bit;
                    false
                }
                Some(State::Waiting | State::InWork(_) | State::GivenUp | State::Blocked) => break,
            };
            at += 1;
            if done && handed_out == 0 {
                *cursor = at;
            }
        }
    }

    fn store_item(&self, seq: Seq, sink: SinkId) -> Option<StoreItem> {
        let entry = self.entry(seq)?;
        let State::Delivering(delivering) = &entry.state else {
            return None;
        };
        let from = delivering.from.get(&sink.0).copied().unwrap_or(0);
        Some(StoreItem {
            record: entry.record.clone()?,
            outputs: delivering.outputs.clone(),
            from,
            without: Vec::new(),
        })
    }

    /// A record is no longer on its way to a sink. Returns its lane.
    pub(super) fn back_from(&mut self, seq: Seq, sink: SinkId) -> Option<LaneRef> {
        let bit = 1u64 << sink.0;
        let entry = self.entry_mut(seq)?;
        if let State::Delivering(delivering) = &mut entry.state {
            delivering.sent &= !bit;
        }
        let lane = entry.lane;
        if let LaneRef::Shared(slot) = lane
            && let Some(lane) = self.lanes.get_mut(slot)
        {
            lane.in_store &= !bit;
        }
        Some(lane)
    }
}
