//! Exactly once: what is finished goes into one transaction together with the offsets and memos that pass it. One is in
//! flight at a time; calls go on meanwhile, so that one transaction takes up the results of many.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::Task;
use super::deliver::Sender;
use crate::answer::Disposition;
use crate::event::{Assignment, CommitEntry, Effect, LetterId, Store, StoreId, StoreItem};
use crate::lane::LaneRef;
use crate::outage::Outage;
use crate::partition::{Delivering, Partition, Seq, State};
use crate::record::SinkId;
use crate::settings::Delivery;
use crate::time::{Millis, Moment};
use crate::transaction::{Transaction, TransactionId};

/// From the start of a transaction to that of the next, unless something waits for it.
const INTERVAL: Millis = Millis(100);
/// What is finished waits no longer where it takes this part of what may be held: half of that is for requests, and
/// partitions that hold their share of the rest are paused.
const ENOUGH: usize = 8;
/// What one transaction takes up at most, as a part of what may be held.
const MOST: usize = 4;
/// Records in one transaction.
const MAX_RECORDS: usize = 20_000;

/// What waits for the next transaction, and the one in flight.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Lanes, and records that are one, to look at for what is finished.
    pub(super) senders: BTreeSet<Sender>,
    /// Those whose first finished record waits for a sink or for the dead-letter topic.
    parked: BTreeSet<Sender>,
    /// When these are looked at again.
    parked_until: Option<Moment>,
    /// The sender that was looked at last: the next transaction begins behind it.
    last: Option<Sender>,
    pub(super) in_flight: Option<InFlight>,
    next: u64,
    next_store: u64,
    /// When the next one may begin, if nothing is urgent.
    not_before: Moment,
    /// Bytes that were finished since the last one was built.
    finished_bytes: usize,
    /// The next one waits for no time.
    pub(super) at_once: bool,
    /// Transactions come to nothing, and not for a sink's or a letter's sake.
    pub(super) held: Option<Outage>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: TransactionId,
    pub(super) records: Vec<Item>,
    pub(super) stores: Vec<(SinkId, Vec<Item>)>,
    pub(super) letters: Vec<LetterId>,
    /// The partitions that it names, and whether each had something to commit beside these results.
    pub(super) entries: Vec<(Assignment, bool)>,
}

/// A record.
type Item = (Assignment, Seq);

/// What a transaction is being made of.
struct Load {
    records: Vec<Item>,
    letters: Vec<LetterId>,
    most_bytes: usize,
    bytes: usize,
    /// Sinks that may not be written to just now.
    away: u64,
    letters_away: bool,
}

impl Load {
    /// One record always has room.
    fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS || self.bytes >= self.most_bytes
    }

    fn waits_for_output(&self, delivering: &Delivering) -> bool {
        !delivering.stored & self.away != 0 || self.letters_away && delivering.letters > 0
    }
}

impl Transactions {
    pub(super) fn look_at(&mut self, sender: Sender) {
        self.senders.insert(sender);
    }

    pub(super) fn forget(&mut self, assignment: Assignment) {
        self.senders.retain(|(other, _)| *other != assignment);
        self.parked.retain(|(other, _)| *other != assignment);
    }

    fn park(&mut self, sender: Sender, until: Option<Moment>) {
        self.parked.insert(sender);
        self.parked_until = self.parked_until.into_iter().chain(until).min();
    }

    pub(super) fn look_at_parked(&mut self) {
        self.parked_until = None;
        self.senders.append(&mut self.parked);
    }

    /// Each has its turn, where one transaction does not hold them all.
    fn next_sender(&mut self) -> Option<Sender> {
        let behind = |last| self.senders.range((Excluded(last), Unbounded)).next();
        let next = self.last.and_then(behind).or(self.senders.first()).copied()?;
        self.senders.remove(&next);
        self.last = Some(next);
        Some(next)
    }
}

/// Where the walk along a lane ended.
enum Stop {
    /// Behind its last finished record.
    Taken,
    /// There is no more room.
    Full,
    /// A sink or the dead-letter topic has to be waited for.
    Waits,
}

impl Task {
    pub(super) fn is_exactly_once(&self) -> bool {
        self.settings.delivery == Delivery::ExactlyOnce
    }

    /// Something is finished, and weighs so much.
    pub(super) fn finished(&mut self, weight_bytes: usize) {
        if self.is_exactly_once() {
            self.transactions.finished_bytes += weight_bytes;
        }
    }

    /// When the next transaction is due; none while one is in flight.
    pub(super) fn transaction_due(&self) -> Option<Moment> {
        let state = &self.transactions;
        if state.in_flight.is_some() {
            return None;
        }
        let enough = state.finished_bytes >= self.share.bound() / ENOUGH;
        let due = if state.at_once || enough || self.draining > 0 {
            Moment::default()
        } else {
            state.not_before
        };
        let due = [
            self.commit_due,
            (!state.senders.is_empty()).then_some(due),
            state.parked_until,
            self.letters.due(due),
        ];
        let held = state.held.as_ref().map_or(Moment::default(), Outage::until);
        due.into_iter().flatten().min().map(|due| due.max(held))
    }

    /// Builds the next transaction, if one is due.
    pub(super) fn transact(&mut self, now: Moment) {
        if self.transaction_due().is_none_or(|due| due > now) {
            return;
        }
        let load = self.load(now);
        let (entries, named): (Vec<_>, Vec<_>) = self.entries_of(&load, now).into_iter().unzip();
        if entries.is_empty() {
            return self.find_commit_due();
        }
        let id = TransactionId(self.transactions.next);
        let (stores, items): (Vec<_>, Vec<_>) = (0..self.settings.sinks)
            .filter_map(|sink| self.store_of(&load, SinkId(sink as u16)))
            .unzip();
        let letters = load.letters.iter().filter_map(|id| self.letters.letter(*id)).collect();
        let state = &mut self.transactions;
        state.next += 1;
        state.not_before = now + INTERVAL;
        state.in_flight = Some(InFlight {
            id,
            stores: items,
            records: load.records,
            letters: load.letters,
            entries: named,
        });
        self.commit_in_flight = true;
        self.effects.push_back(Effect::Transact(Transaction {
            id,
            stores,
            letters,
            entries,
        }));
    }

    /// Takes up what is finished: letters first, since what stands behind a record that was given up may go with it.
    fn load(&mut self, now: Moment) -> Load {
        let away = self.sinks.away(now);
        let mut load = Load {
            records: Vec::new(),
            letters: Vec::new(),
            most_bytes: self.share.bound() / MOST,
            bytes: 0,
            away,
            letters_away: self.letters.is_away(now),
        };
        let state = &mut self.transactions;
        (state.finished_bytes, state.at_once) = (0, false);
        if state.parked_until.is_some_and(|until| until <= now) {
            state.look_at_parked();
        }
        self.load_letters(&mut load);
        self.load_results(&mut load, now);
        self.transactions.at_once = load.is_full();
        load
    }

    fn load_letters(&mut self, load: &mut Load) {
        while !load.letters_away && !load.is_full() {
            let Some((id, assignment, seq, disposition)) = self.letters.take_waiting() else {
                break;
            };
            let Some(partition) = self.partitions.get_mut(&assignment) else {
                continue;
            };
            let Some(entry) = partition.entry_mut(seq) else {
                continue;
            };
            debug_assert!(
                matches!(entry.state, State::GivenUp),
                "a letter that waits is of a record given up"
            );
            entry.becomes = Some(disposition);
            load.bytes += entry.weight_bytes;
            let lane = entry.lane;
            partition.items_on_wire += 1;
            load.records.push((assignment, seq));
            load.letters.push(id);
            if let LaneRef::Shared(_) = lane {
                self.transactions.senders.insert((assignment, lane));
            }
        }
    }

    fn load_results(&mut self, load: &mut Load, now: Moment) {
        while !load.is_full() {
            let Some(sender) = self.transactions.next_sender() else {
                break;
            };
            let (assignment, lane) = sender;
            // What is cut off is left to the next owner.
            let cut_off = |partition: &&mut Partition| partition.drain.is_some_and(|drain| drain.cut_off);
            let Some(partition) = self.partitions.get_mut(&assignment).filter(|p| !cut_off(p)) else {
                continue;
            };
            let from = load.records.len();
            let stop = partition.finished_of(lane, load);
            partition.items_on_wire += load.records.len() - from;
            for at in from..load.records.len() {
                load.letters.extend(self.letters.take_of_result(load.records[at]));
            }
            match stop {
                Stop::Taken => {}
                Stop::Full => {
                    self.transactions.senders.insert(sender);
                }
                // A drain leaves to the next owner what it would have to wait for.
                Stop::Waits if partition.drain.is_some() => {}
                Stop::Waits => {
                    let until = [self.sinks.away_until(now), self.letters.away_until(now)];
                    self.transactions.park(sender, until.into_iter().flatten().min());
                }
            }
        }
    }

    fn entries_of(&mut self, load: &Load, now: Moment) -> Vec<(CommitEntry, (Assignment, bool))> {
        let named: HashSet<Assignment> = load.records.iter().map(|(assignment, _)| *assignment).collect();
        let settings = &self.settings;
        (self.partitions.values_mut())
            .filter(|partition| partition.wants_commit() || named.contains(&partition.assignment))
            .map(|partition| {
                let named = (partition.assignment, partition.commit.settled);
                (partition.build_commit(settings, now), named)
            })
            .collect()
    }

    fn store_of(&mut self, load: &Load, sink: SinkId) -> Option<(Store, (SinkId, Vec<Item>))> {
        let of = |(assignment, seq): &Item| {
            let item = self.partitions.get(assignment)?.item_in_transaction(*seq, sink)?;
            Some((item, (*assignment, *seq)))
        };
        let (items, places): (Vec<StoreItem>, Vec<Item>) = load.records.iter().filter_map(of).unzip();
        if items.is_empty() {
            return None;
        }
        let id = StoreId(self.transactions.next_store);
        self.transactions.next_store += 1;
        Some((Store { id, sink, items }, (sink, places)))
    }

    /// Something of the partition that is finished can go with the next transaction.
    pub(super) fn has_finished(&self, assignment: Assignment) -> bool {
        if !self.is_exactly_once() {
            return false;
        }
        let from = (assignment, LaneRef::Shared(0));
        let mut senders = self.transactions.senders.range(from..);
        senders.next().is_some_and(|(other, _)| *other == assignment) || self.letters.has_waiting(assignment)
    }

    /// The last transaction came to nothing, and the next waits.
    pub(super) fn is_held(&self, now: Moment) -> bool {
        self.transactions.held.as_ref().is_some_and(|held| held.until() > now)
    }
}

impl Partition {
    /// Takes up the finished records that stand first in a lane.
    fn finished_of(&mut self, lane: LaneRef, load: &mut Load) -> Stop {
        let assignment = self.assignment;
        let (entries, base) = (&mut self.entries, self.base);
        let mut take = |seq: Seq| -> Option<Stop> {
            let entry = entries.get_mut(seq.checked_sub(base)? as usize)?;
            if entry.is_done() {
                return None;
            }
            match &mut entry.state {
                State::Delivering(delivering) if load.waits_for_output(delivering) => Some(Stop::Waits),
                State::Delivering(_) if load.is_full() => Some(Stop::Full),
                State::Delivering(delivering) => {
                    delivering.sent = u64::MAX;
                    load.bytes += entry.weight_bytes + delivering.weight_bytes;
                    load.records.push((assignment, seq));
                    let (delivered, lettered) = (Disposition::Delivered, Disposition::DeadLettered);
                    entry.becomes = Some(if delivering.refused { lettered } else { delivered });
                    None
                }
                // One that was given up brings its lane along as soon as its letter goes.
                State::GivenUp | State::Waiting | State::InWork(_) | State::Blocked | State::Settled => {
                    Some(Stop::Taken)
                }
            }
        };
        let stopped = match lane {
            LaneRef::Own(seq) => take(seq),
            LaneRef::Shared(slot) => {
                let order = self.lanes.get(slot).map(|lane| lane.order.iter().copied());
                order.into_iter().flatten().find_map(take)
            }
        };
        stopped.unwrap_or(Stop::Taken)
    }

    fn item_in_transaction(&self, seq: Seq, sink: SinkId) -> Option<StoreItem> {
        let entry = self.entry(seq)?;
        let State::Delivering(delivering) = &entry.state else {
            return None;
        };
        if delivering.stored & 1 << sink.0 != 0 {
            return None;
        }
        let refused = delivering.without.iter().filter(|(other, _)| *other == sink.0);
        Some(StoreItem {
            record: entry.record.clone()?,
            outputs: delivering.outputs.clone(),
            from: 0,
            without: refused.map(|(_, index)| *index).collect(),
        })
    }
}
