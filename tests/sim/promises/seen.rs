//! What can be known from outside, by all that has happened so far.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::{Assignment, CallId, LetterId, Notice, StoreId};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::settings::{Delivery, TaskSettings};
use fnbridge_delivery::transaction::TransactionId;

use crate::history::Happened;
use crate::history::facts::{Fact, Place, ResultOf, Said, Verdict};
use crate::plan::Plan;
use crate::world::World;
use crate::world::log::{Entry, Logs};

/// A partition as a task holds it, or held it.
pub(super) struct Holding {
    pub worker: usize,
    pub partition: usize,
    pub log: usize,
    pub position: i64,
    pub memo: Option<Rc<Memo>>,
    pub settled_before: BTreeSet<i64>,
    /// Records that came, and were not settled before.
    pub arrived: BTreeSet<i64>,
    /// The function is through with them: answered, given up, passed over.
    pub through: BTreeSet<i64>,
    /// The function accepted or dropped them.
    pub accepted: BTreeSet<i64>,
    pub dropped: BTreeSet<i64>,
    /// What its task was told to be in a sink, or in the dead-letter topic.
    pub told_stored: BTreeSet<(i64, ResultOf)>,
    pub told_lettered: BTreeSet<(i64, Option<ResultOf>)>,
    /// By record: the last answer to a call that carried it, what that says of it, and how many records the call carried.
    pub last: BTreeMap<i64, (Said, Option<Verdict>, usize)>,
    pub deadline: Option<u64>,
    /// The last word on a commit of it was a refusal.
    pub refused: bool,
    /// What stands by a commit of its own.
    pub committed: Option<(i64, Rc<Memo>)>,
    pub ended: bool,
}

/// A call that is on the wire.
pub(super) struct CallSeen {
    pub assignment: Assignment,
    pub offsets: Rc<[i64]>,
}

/// A request to a sink that is on the wire: for each item its record, its first result, and the assignment it is of.
pub(super) struct StoreSeen {
    pub sink: u16,
    pub items: Vec<(Place, usize, Option<Assignment>)>,
}

/// A transaction in flight: its results, and its dead letters.
type TransactionSeen = (Rc<[(Place, ResultOf)]>, Rc<[(Place, Stage, Option<ResultOf>)]>);

/// What is durable of a record, and what was said of it.
#[derive(Default)]
pub(super) struct Durable {
    pub stored: BTreeSet<ResultOf>,
    pub result_letters: BTreeSet<ResultOf>,
    pub refused: BTreeSet<ResultOf>,
    pub lettered: bool,
    pub dropped: bool,
    pub accepted: bool,
    pub calls: u32,
    /// A verdict gave leave to call it after those behind it.
    pub leave: bool,
}

/// Whose record a letter on its way is of, where that stands, and the result that was refused.
type LetterSeen = (Option<Assignment>, Place, Option<ResultOf>);

pub(super) struct Seen<'a> {
    pub plan: &'a Plan,
    pub logs: &'a [Logs],
    pub settings: BTreeMap<usize, Rc<TaskSettings>>,
    pub alive: BTreeSet<usize>,
    /// Thrown out, and not told of it.
    pub cut_off: BTreeSet<usize>,
    pub holdings: BTreeMap<Assignment, Holding>,
    pub calls: BTreeMap<(usize, CallId), CallSeen>,
    pub stores: BTreeMap<(usize, StoreId), StoreSeen>,
    pub letters: BTreeMap<(usize, LetterId), LetterSeen>,
    pub transactions: BTreeMap<(usize, TransactionId), TransactionSeen>,
    pub records: BTreeMap<Place, Durable>,
    /// By partition: which log, and up to where.
    pub committed: BTreeMap<usize, (usize, i64, Rc<Memo>)>,
    pub starts: BTreeMap<usize, i64>,
    pub log_now: BTreeMap<usize, usize>,
    pub guard_tripped: BTreeSet<usize>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(world: &'a World) -> Seen<'a> {
        Seen {
            plan: &world.plan,
            logs: &world.logs,
            settings: BTreeMap::new(),
            alive: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            holdings: BTreeMap::new(),
            calls: BTreeMap::new(),
            stores: BTreeMap::new(),
            letters: BTreeMap::new(),
            transactions: BTreeMap::new(),
            records: BTreeMap::new(),
            committed: BTreeMap::new(),
            starts: BTreeMap::new(),
            log_now: BTreeMap::new(),
            guard_tripped: BTreeSet::new(),
        }
    }

    pub(super) fn entry(&self, place: Place) -> Option<&'a Entry> {
        self.logs[place.partition].all[place.log].entry(place.offset)
    }

    /// What a worker holds of a partition.
    pub(super) fn holding(&self, worker: usize, partition: usize) -> Option<(&Assignment, &Holding)> {
        let mut held = self.holdings.iter().rev();
        held.find(|(_, h)| h.worker == worker && h.partition == partition && !h.ended)
    }

    /// The last answer that a worker got to a call with a record, while it held the partition. What it led to may be done
    /// after that: the loss came behind the answer, and before its effects.
    pub(super) fn last_answer(&self, worker: usize, place: Place) -> Option<&(Said, Option<Verdict>, usize)> {
        let mut held = self.holdings.values().rev();
        let held = held.find(|h| h.worker == worker && h.partition == place.partition)?;
        held.last.get(&place.offset)
    }

    /// A partition that is let go now has its last commit. A transaction may have been waited for until the deadline, in
    /// vain.
    pub(super) fn is_clean(&self, held: &Holding, at: u64) -> bool {
        let in_time = held.deadline.is_some_and(|deadline| at < deadline);
        !held.refused && (in_time || self.plan.settings[0].delivery == Delivery::AtLeastOnce)
    }

    pub(super) fn is_expired(&self, place: Place) -> bool {
        let log = self.log_now.get(&place.partition).copied().unwrap_or(0);
        place.log < log || place.offset < self.starts.get(&place.partition).copied().unwrap_or(0)
    }

    /// What it came to is durable.
    pub(super) fn is_settled(&self, place: Place, settings: &TaskSettings) -> bool {
        let Some(entry) = self.entry(place) else { return true };
        if self.is_expired(place) || entry.admission == fnbridge_delivery::event::Admission::Filtered {
            return true;
        }
        let none = Durable::default();
        let record = self.records.get(&place).unwrap_or(&none);
        let kept = |of: ResultOf| record.stored.contains(&of) || record.result_letters.contains(&of);
        let in_sink = |sink: u16| entry.results_for(sink).all(|index| kept((sink, index)));
        let accepted = record.accepted || !settings.has_function;
        record.lettered || record.dropped || accepted && (0..settings.sinks as u16).all(in_sink)
    }

    pub(super) fn take_in(&mut self, happened: &Happened) {
        match &happened.fact {
            Fact::Joins { worker, settings } => {
                self.settings.insert(*worker, settings.clone());
                self.alive.insert(*worker);
            }
            Fact::Leaves { worker } | Fact::Dies { worker } => {
                self.alive.remove(worker);
                let held = self.holdings.values_mut().filter(|h| h.worker == *worker);
                held.for_each(|h| h.ended = true);
                self.calls.retain(|(of, _), _| of != worker);
                self.stores.retain(|(of, _), _| of != worker);
                self.letters.retain(|(of, _), _| of != worker);
            }
            Fact::ThrownOut { worker } => drop(self.cut_off.insert(*worker)),
            Fact::Recreated { partition } => {
                *self.log_now.entry(*partition).or_default() += 1;
                self.starts.insert(*partition, 0);
            }
            Fact::Expires { partition, to, .. } => drop(self.starts.insert(*partition, *to)),
            Fact::Clock { stands_ms, .. } => {
                let held = self.holdings.values_mut();
                held.for_each(|h| h.deadline = h.deadline.map(|deadline| deadline + stands_ms));
            }
            Fact::Noticed { worker, notice } => self.take_in_notice(*worker, notice),
            fact => self.take_in_work(fact),
        }
    }

    fn take_in_notice(&mut self, worker: usize, notice: &Notice) {
        use fnbridge_delivery::event::GuardKind::Failed;
        match notice {
            Notice::GuardTripped { guard: Failed, .. } => drop(self.guard_tripped.insert(worker)),
            Notice::GuardReleased { guard: Failed } => drop(self.guard_tripped.remove(&worker)),
            Notice::GivenUp { assignment, id, .. } => {
                let offset = id.rsplit('/').next().and_then(|offset| offset.parse().ok());
                if let (Some(held), Some(offset)) = (self.holdings.get_mut(assignment), offset) {
                    held.through.insert(offset);
                }
            }
            _ => {}
        }
    }

    fn take_in_work(&mut self, fact: &Fact) {
        match fact {
            Fact::Assigned {
                worker,
                assignment,
                partition,
                log,
                position,
                memo,
            } => {
                let holding = Holding {
                    worker: *worker,
                    partition: *partition,
                    log: *log,
                    position: *position,
                    memo: memo.clone(),
                    settled_before: memo.iter().flat_map(|memo| memo.settled.iter().copied()).collect(),
                    arrived: BTreeSet::new(),
                    through: BTreeSet::new(),
                    accepted: BTreeSet::new(),
                    dropped: BTreeSet::new(),
                    told_stored: BTreeSet::new(),
                    told_lettered: BTreeSet::new(),
                    last: BTreeMap::new(),
                    deadline: None,
                    refused: false,
                    committed: None,
                    ended: false,
                };
                self.holdings.insert(*assignment, holding);
            }
            Fact::Arrived {
                assignment, offsets, ..
            } => {
                if let Some(held) = self.holdings.get_mut(assignment).filter(|h| h.deadline.is_none()) {
                    let new = offsets.iter().filter(|offset| !held.settled_before.contains(offset));
                    held.arrived.extend(new);
                }
            }
            Fact::Revoked {
                assignment, deadline, ..
            } => {
                if let Some(held) = self.holdings.get_mut(assignment) {
                    held.deadline = Some(*deadline);
                }
            }
            Fact::Lost { worker, assignment } => {
                self.end(*assignment);
                if !self.holdings.values().any(|h| h.worker == *worker && !h.ended) {
                    self.cut_off.remove(worker);
                }
            }
            Fact::Released { assignment, .. } => self.end(*assignment),
            Fact::Called {
                worker,
                call,
                assignment,
                offsets,
                ..
            } => {
                for place in self.places(*assignment, offsets) {
                    self.records.entry(place).or_default().calls += 1;
                }
                let (assignment, offsets) = (*assignment, offsets.clone());
                self.calls.insert((*worker, *call), CallSeen { assignment, offsets });
            }
            Fact::Abandoned { worker, call } => drop(self.calls.remove(&(*worker, *call))),
            Fact::Answered { worker, call, said } => self.answered(*worker, *call, said),
            Fact::Asked {
                worker,
                store,
                sink,
                items,
            } => {
                let owner = |place: Place| self.holding(*worker, place.partition).map(|(of, _)| *of);
                let items = items.iter().map(|(place, from)| (*place, *from, owner(*place)));
                let (sink, items) = (*sink, items.collect());
                self.stores.insert((*worker, *store), StoreSeen { sink, items });
            }
            Fact::Stored { sink, place, index } => {
                self.records.entry(*place).or_default().stored.insert((*sink, *index));
            }
            Fact::Refuses { sink, place, index } => {
                self.records.entry(*place).or_default().refused.insert((*sink, *index));
            }
            Fact::Receipts { worker, store, stored } => self.receipts(*worker, *store, stored),
            Fact::Recycled { worker } => {
                self.stores.retain(|(of, _), _| of != worker);
                self.letters.retain(|(of, _), _| of != worker);
            }
            Fact::LetterAsked {
                worker,
                letter,
                place,
                of,
                ..
            } => {
                let owner = self.holding(*worker, place.partition).map(|(of, _)| *of);
                self.letters.insert((*worker, *letter), (owner, *place, *of));
            }
            Fact::Lettered { place, stage, of } => {
                let record = self.records.entry(*place).or_default();
                match (stage, of) {
                    (Stage::Sink, Some(of)) => drop(record.result_letters.insert(*of)),
                    _ => record.lettered = true,
                }
            }
            Fact::LetterReceipt {
                worker,
                letter,
                written,
            } => {
                let letter = self.letters.remove(&(*worker, *letter)).filter(|_| *written);
                let Some((owner, place, of)) = letter else { return };
                if let Some(held) = owner.and_then(|owner| self.holdings.get_mut(&owner)) {
                    held.told_lettered.insert((place.offset, of));
                }
            }
            Fact::Committed {
                assignment,
                offset,
                memo,
                ..
            } => {
                if let Some(held) = self.holdings.get_mut(assignment) {
                    held.committed = Some((*offset, memo.clone()));
                    self.committed.insert(held.partition, (held.log, *offset, memo.clone()));
                }
            }
            Fact::Transacts {
                worker,
                transaction,
                results,
                letters,
            } => {
                let of = (results.clone(), letters.clone());
                self.transactions.insert((*worker, *transaction), of);
            }
            Fact::Transacted {
                worker,
                transaction,
                committed,
            } => self.transacted(*worker, *transaction, *committed),
            Fact::CommitTold {
                assignment, refused, ..
            } => {
                if let Some(held) = self.holdings.get_mut(assignment) {
                    held.refused = refused.is_some();
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, assignment: Assignment) {
        self.calls.retain(|_, call| call.assignment != assignment);
        if let Some(held) = self.holdings.get_mut(&assignment) {
            held.ended = true;
        }
    }

    /// Records of an assignment, by where they truly stand.
    pub(super) fn places(&self, assignment: Assignment, offsets: &[i64]) -> Vec<Place> {
        let Some(held) = self.holdings.get(&assignment) else {
            return Vec::new();
        };
        let (partition, log) = (held.partition, held.log);
        let place = |offset: &i64| Place {
            partition,
            log,
            offset: *offset,
        };
        offsets.iter().map(place).collect()
    }

    fn answered(&mut self, worker: usize, id: CallId, said: &Said) {
        let Some(call) = self.calls.remove(&(worker, id)) else {
            return;
        };
        let alone = call.offsets.len() == 1;
        for (at, place) in self.places(call.assignment, &call.offsets).into_iter().enumerate() {
            let verdict = match said {
                Said::Verdicts(verdicts) => Some(verdicts[at]),
                _ => None,
            };
            let record = self.records.entry(place).or_default();
            let accepted = verdict == Some(Verdict::Deliver);
            let dropped =
                verdict == Some(Verdict::Drop) || *said == Said::DeliverNothing || (*said == Said::Drop && alone);
            record.accepted |= accepted;
            record.dropped |= dropped;
            record.leave |= verdict == Some(Verdict::Again);
            if let Some(held) = self.holdings.get_mut(&call.assignment) {
                held.last
                    .insert(place.offset, (said.clone(), verdict, call.offsets.len()));
                if accepted || dropped || verdict == Some(Verdict::GiveUp) {
                    held.through.insert(place.offset);
                }
                if accepted {
                    held.accepted.insert(place.offset);
                }
                if dropped {
                    held.dropped.insert(place.offset);
                }
            }
        }
    }

    /// A partition is held until the transaction that names it has ended.
    fn transacted(&mut self, worker: usize, id: TransactionId, committed: bool) {
        let Some((results, letters)) = self.transactions.remove(&(worker, id)).filter(|_| committed) else {
            return;
        };
        let owner = |place: &Place| self.holding(worker, place.partition).map(|(of, _)| *of);
        let results: Vec<_> = results
            .iter()
            .map(|(place, of)| (owner(place), place.offset, *of))
            .collect();
        let letters: Vec<_> = letters
            .iter()
            .map(|(place, _, of)| (owner(place), place.offset, *of))
            .collect();
        for (owner, offset, of) in results {
            if let Some(held) = owner.and_then(|owner| self.holdings.get_mut(&owner)) {
                held.told_stored.insert((offset, of));
            }
        }
        for (owner, offset, of) in letters {
            if let Some(held) = owner.and_then(|owner| self.holdings.get_mut(&owner)) {
                held.told_lettered.insert((offset, of));
            }
        }
    }

    fn receipts(&mut self, worker: usize, store: StoreId, stored: &[bool]) {
        let Some(StoreSeen { sink, items }) = self.stores.remove(&(worker, store)) else {
            return;
        };
        for ((place, from, owner), _) in items.iter().zip(stored).filter(|(_, stored)| **stored) {
            let Some(entry) = self.entry(*place) else { continue };
            let results: Vec<usize> = entry.results_for(sink).filter(|index| index >= from).collect();
            if let Some(held) = owner.and_then(|owner| self.holdings.get_mut(&owner)) {
                let told = results.into_iter().map(|index| (place.offset, (sink, index)));
                held.told_stored.extend(told);
            }
        }
    }
}
