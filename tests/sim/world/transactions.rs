//! Exactly once: what a transaction holds stands when its coordinator has it committed, all of it or nothing.

use std::collections::BTreeSet;
use std::rc::Rc;

use fnbridge_delivery::answer::{Failure, Receipt};
use fnbridge_delivery::event::{Assignment, Event};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::transaction::{Obstacle, Transaction, TransactionOutcome};

use super::effects::result_of;
use super::worker::Life;
use super::{Happening, SinkHealth, World};
use crate::history::facts::{Fact, Place};
use crate::invariants::{self, promise};

/// The coordinator aborts a transaction that nobody ends.
const ENDS_BY_ITSELF_MS: u64 = 30_000;

/// A transaction between its beginning and its end.
pub(super) struct Open {
    pub worker: usize,
    transaction: Transaction,
    /// Its offsets are with the coordinator: whoever asks for them waits.
    pub pending: bool,
    /// How each partition's share of a commit stood before it was asked for.
    before: Vec<(Assignment, Before)>,
}

/// What is taken back where a transaction comes to nothing.
struct Before {
    arrived: BTreeSet<i64>,
    passed: u64,
    asked: i64,
}

impl World {
    pub(super) fn transact(&mut self, worker: usize, transaction: Transaction) {
        let w = &self.workers[worker];
        promise!(w.commit.is_none(), commits, "two transactions are in flight");
        let has_function = w.settings.has_function;
        for store in &transaction.stores {
            for logs in &self.logs {
                let partition = logs.source.partition as usize;
                if store.items.iter().any(|item| item.record.source == logs.source) {
                    let Some(held) = w.held.values().find(|held| held.partition == partition) else {
                        panic!("two_budgets: results of {} are sent, which is not held", logs.source);
                    };
                    invariants::two_budgets(&logs.all[held.log], held, store, has_function);
                }
            }
        }
        let items = |store: &fnbridge_delivery::event::Store| {
            let sink = store.sink;
            let results = store.items.iter().flat_map(move |item| {
                let place = Place::of(&item.record);
                item.results(sink).map(move |(index, _)| (place, (sink.0, index)))
            });
            results.collect::<Vec<_>>()
        };
        let letters = transaction.letters.iter();
        self.note(Fact::Transacts {
            worker,
            transaction: transaction.id,
            results: transaction.stores.iter().flat_map(items).collect(),
            letters: letters
                .map(|letter| (Place::of(&letter.record), letter.facts.stage, result_of(letter)))
                .collect(),
        });
        for letter in &transaction.letters {
            self.letter_is_right(worker, letter);
        }
        let mut before = Vec::new();
        for entry in &transaction.entries {
            before.extend(self.before(worker, entry.assignment));
            self.commit_is_right(worker, entry);
        }
        let w = &mut self.workers[worker];
        w.commit = Some(transaction.entries.clone());
        self.next_open += 1;
        let key = self.next_open;
        let open = Open {
            worker,
            transaction,
            pending: false,
            before,
        };
        self.open.insert(key, open);
        let most = if self.rng.chance(self.faults.slow) { 5_000 } else { 100 };
        self.later(most, Happening::Produced { key });
    }

    fn before(&self, worker: usize, assignment: Assignment) -> Option<(Assignment, Before)> {
        let held = self.workers[worker].held.get(&assignment)?;
        let before = Before {
            arrived: held.arrived.clone(),
            passed: held.passed,
            asked: held.asked,
        };
        Some((assignment, before))
    }

    /// Its records are with the brokers: what stands in its way shows, or its offsets are sent.
    pub(super) fn produced(&mut self, key: u64) {
        let Some(open) = self.open.get(&key) else { return };
        let (worker, transaction) = (open.worker, open.transaction.clone());
        let mut obstacles = self.obstacles(&transaction);
        let open = &self.open[&key];
        let w = &self.workers[worker];
        let vouched = open
            .transaction
            .entries
            .iter()
            .all(|entry| w.source.desk.get(entry.assignment).is_some());
        // A member that was thrown out knows of an old generation.
        let generation = self.group.members.get(&worker).copied().unwrap_or(0);
        if let Err(word) = self.group.hears(worker, generation) {
            let reason = word.to_owned();
            obstacles.push(Obstacle::Offsets { reason });
        } else if !vouched {
            let reason = "not held any more".to_owned();
            obstacles.push(Obstacle::Offsets { reason });
        }
        if obstacles.is_empty() && self.rng.chance(self.faults.commit_refused / 2.0) {
            obstacles.push(Obstacle::Cluster(Failure::of("no coordinator")));
        }
        if !obstacles.is_empty() {
            return self.aborted(key, obstacles);
        }
        if let Some(open) = self.open.get_mut(&key) {
            open.pending = true;
        }
        self.at(self.now + ENDS_BY_ITSELF_MS, Happening::TimesOut { key });
        if self.rng.chance(self.faults.ack_lost / 4.0) {
            // The request to commit it is lost; nobody knows that yet.
            return self.later(20_000, Happening::Undecided { worker });
        }
        self.in_a_while(Happening::Ends { key });
    }

    fn obstacles(&mut self, transaction: &Transaction) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        for store in &transaction.stores {
            let sink = store.sink;
            for (item, of) in store.items.iter().enumerate() {
                let entry = self.logs[of.record.source.partition as usize].of(&of.record);
                let refused = |(index, _): &(usize, _)| entry.is_some_and(|e| e.refused.contains(&(sink.0, *index)));
                let refused = of.results(sink).find(refused).map(|(index, _)| index);
                let receipt = match (self.sinks[sink.0 as usize], refused) {
                    (SinkHealth::Away, _) => Receipt::Away(Failure::of("connection refused")),
                    (SinkHealth::Blocked, _) => Receipt::Blocked(Failure::of("no right to write")),
                    (SinkHealth::Well, Some(index)) if self.sinks_refuse => {
                        let place = Place::of(&of.record);
                        let sink = sink.0;
                        self.note(Fact::Refuses { sink, place, index });
                        let failure = Failure::of("invalid");
                        Receipt::Refused { index, failure }
                    }
                    (SinkHealth::Well, _) => continue,
                };
                obstacles.push(Obstacle::Result { sink, item, receipt });
            }
        }
        if !self.letters_well {
            for letter in &transaction.letters {
                self.befell.letters_refused += 1;
                obstacles.push(Obstacle::Letter {
                    letter: letter.id,
                    receipt: Receipt::Away(Failure::of("no leader")),
                });
            }
        }
        obstacles
    }

    fn aborted(&mut self, key: u64, obstacles: Vec<Obstacle>) {
        let Some(open) = self.open.remove(&key) else { return };
        self.befell.aborted += 1;
        let worker = open.worker;
        if self.workers[worker].life == Life::Dead {
            return;
        }
        let w = &mut self.workers[worker];
        w.commit = None;
        for (assignment, before) in open.before {
            if let Some(held) = w.held.get_mut(&assignment) {
                // What came since is not taken back.
                let since = held.arrived.clone();
                held.arrived = before.arrived.into_iter().chain(since).collect();
                (held.passed, held.asked) = (before.passed, before.asked);
            }
        }
        let transaction = open.transaction.id;
        self.note(Fact::Transacted {
            worker,
            transaction,
            committed: false,
        });
        self.tell_commits(worker, &open.transaction, Some("aborted"));
        let outcome = TransactionOutcome::Aborted(obstacles);
        self.give(worker, Event::Transacted { transaction, outcome });
    }

    fn tell_commits(&mut self, worker: usize, transaction: &Transaction, refused: Option<&str>) {
        for entry in &transaction.entries {
            let assignment = entry.assignment;
            if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                held.last_commit_refused = refused.is_some();
            }
            self.note(Fact::CommitTold {
                worker,
                assignment,
                refused: refused.map(str::to_owned),
            });
        }
    }

    /// The coordinator is told to commit: all of it stands from now on, though whoever asked may not hear of it.
    pub(super) fn ends(&mut self, key: u64) {
        let Some(open) = self.open.remove(&key) else {
            return;
        };
        let worker = open.worker;
        self.befell.transactions += 1;
        for letter in &open.transaction.letters {
            self.letter_stands(letter);
        }
        for store in &open.transaction.stores {
            for item in &store.items {
                let results: Vec<usize> = item.results(store.sink).map(|(index, _)| index).collect();
                for index in results {
                    self.store_result(store.sink.0, &item.record, index);
                    let mut entries = open.transaction.entries.iter();
                    let of = entries.find(|entry| entry.source == item.record.source);
                    if let Some(held) = of.and_then(|of| self.workers[worker].held.get_mut(&of.assignment)) {
                        held.stored.insert((store.sink.0, item.record.offset, index));
                    }
                }
            }
        }
        for entry in &open.transaction.entries {
            let partition = entry.source.partition as usize;
            self.group.commit(entry);
            if let Ok(memo) = Memo::decode(&entry.memo, entry.offset) {
                self.note(Fact::Committed {
                    worker,
                    assignment: entry.assignment,
                    offset: entry.offset,
                    memo: Rc::new(memo),
                });
            }
            self.wake_fetcher(partition);
        }
        if self.workers[worker].life == Life::Dead {
            return;
        }
        if self.rng.chance(self.faults.ack_lost) {
            return self.later(10_000, Happening::Undecided { worker });
        }
        self.workers[worker].commit = None;
        let transaction = open.transaction.id;
        self.note(Fact::Transacted {
            worker,
            transaction,
            committed: true,
        });
        self.tell_commits(worker, &open.transaction, None);
        let outcome = TransactionOutcome::Committed;
        self.give(worker, Event::Transacted { transaction, outcome });
    }

    /// Nobody has ended it: the coordinator aborts it, and whoever asks for its offsets waits no longer.
    pub(super) fn times_out(&mut self, key: u64) {
        if let Some(open) = self.open.remove(&key)
            && self.workers[open.worker].life != Life::Dead
        {
            let worker = open.worker;
            self.later(10_000, Happening::Undecided { worker });
        }
    }

    /// A worker can't find out how its transaction ended: it begins anew, at what is committed then.
    pub(super) fn undecided(&mut self, worker: usize) {
        if self.workers[worker].life != Life::Dead {
            self.befell.undecided += 1;
            self.crash(worker);
        }
    }

    /// What a worker that is gone leaves open. A request to commit may be on its way; a worker that comes back by the same
    /// id ends the rest at once, else the coordinator does in time.
    pub(super) fn leaves_open(&mut self, worker: usize) {
        let of_it = |open: &&Open| open.worker == worker;
        let keys: Vec<u64> = (self.open.iter().filter(|(_, open)| of_it(open)))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if !self.open[&key].pending || self.rng.chance(0.4) {
                self.open.remove(&key);
            } else if self.rng.chance(0.5) {
                self.queue
                    .retain(|_, happening| !matches!(happening, Happening::Ends { key: of } if *of == key));
            }
        }
    }

    /// Offsets of the partition are in a transaction that has not ended.
    pub(super) fn is_unstable(&self, partition: usize) -> bool {
        let names = |open: &Open| {
            let mut entries = open.transaction.entries.iter();
            entries.any(|entry| entry.source.partition as usize == partition)
        };
        self.open.values().any(|open| open.pending && names(open))
    }
}
