//! What comes to pass: records are fetched, answers, receipts and acknowledgements come.

use fnbridge_delivery::answer::{Answer, Failure, Receipt, Stage, Verdict};
use fnbridge_delivery::event::{Admission, Arrival, Assignment, CallId, Event, LetterId, Store, StoreId};
use fnbridge_delivery::settings::Ordering;

use super::function::{self, Health};
use super::log::Entry;
use super::worker::{LaneKey, Life, Owners, lane_of};
use super::{Happening, SinkHealth, World};
use crate::invariants::promise;

impl World {
    pub(super) fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Fetch { worker, assignment } => self.fetch(worker, assignment),
            Happening::Answer { worker, call } => self.answer(worker, call),
            Happening::Receipts { worker, store } => self.receipts(worker, store),
            Happening::LetterDone { worker, letter } => self.letter_done(worker, letter),
            Happening::CommitDone { worker } => self.commit_done(worker),
            Happening::Wake { worker } => {
                if self.workers[worker].wake_at.is_some_and(|at| at <= self.now) {
                    self.workers[worker].wake_at = None;
                    self.give(worker, Event::Tick);
                }
            }
            Happening::Advance { worker } => {
                if self.workers[worker].dirty {
                    self.advance(worker);
                }
            }
            Happening::Late { worker, event } => self.give(worker, event),
            Happening::Ghost { store } => {
                let through = self.rng.below(store.items.len() as u64 + 1) as usize;
                self.store_items(None, &store, through);
            }
            Happening::HandOut => self.hand_out(),
            Happening::Notices { worker } => self.notices(worker),
            Happening::FunctionBack => self.function = Health::Well,
            Happening::SinkBack { sink } => self.sinks[sink] = SinkHealth::Well,
            Happening::LettersBack => self.letters_well = true,
            Happening::Unpause { worker } => {
                if self.workers[worker].life != Life::Dead {
                    self.workers[worker].paused = false;
                    self.give(worker, Event::SetPaused(false));
                }
            }
        }
    }

    /// Has the holder of a partition fetch, if it may and isn't about to.
    pub(super) fn wake_fetcher(&mut self, partition: usize) {
        for worker in 0..self.workers.len() {
            let idle = self.workers[worker]
                .held
                .iter_mut()
                .find(|(_, held)| held.partition == partition && !held.fetching && !held.paused);
            if let Some((assignment, held)) = idle {
                held.fetching = true;
                let assignment = *assignment;
                self.later(30, Happening::Fetch { worker, assignment });
            }
        }
    }

    fn fetch(&mut self, worker: usize, assignment: Assignment) {
        let w = &mut self.workers[worker];
        let ordering = w.settings.ordering;
        let Some(held) = w.held.get_mut(&assignment) else {
            return;
        };
        held.fetching = false;
        let log = &self.logs[held.partition];
        if held.paused || w.life == Life::Dead {
            return;
        }
        if held.position < log.start {
            let (from, to) = (held.position, log.start);
            held.position = to;
            held.fetching = true;
            self.later(30, Happening::Fetch { worker, assignment });
            return self.give(worker, Event::Overtaken { assignment, from, to });
        }
        let at = log.at_or_behind(held.position);
        let most = self.rng.between(1, self.plan.fetch) as usize;
        let fetched: Vec<Entry> = log.entries[at..].iter().take(most).cloned().collect();
        let Some(last) = fetched.last() else { return };
        held.position = last.record.offset + 1;
        for entry in fetched.iter().filter(|_| held.deadline.is_none()) {
            let offset = entry.record.offset;
            held.arrived.insert(offset);
            if entry.admission == Admission::Pass && !held.settled_before.contains(&offset) {
                held.open.entry(lane_of(ordering, entry)).or_default().insert(offset);
            }
        }
        held.fetching = true;
        self.later(30, Happening::Fetch { worker, assignment });
        let arrival = |entry: Entry| Arrival {
            record: entry.record,
            admission: entry.admission,
        };
        let arrivals = fetched.into_iter().map(arrival).collect();
        self.give(worker, Event::Arrived { assignment, arrivals });
    }

    fn answer(&mut self, worker: usize, id: CallId) {
        let Some(call) = self.workers[worker].calls.remove(&id) else {
            return;
        };
        let log = &self.logs[call.partition];
        let answer = function::answer(self.function, &self.plan.faults, &mut self.rng, log, &call.records);
        let w = &mut self.workers[worker];
        let (ordering, tripped, zombie) = (w.settings.ordering, w.failed_guard_told, w.life == Life::Zombie);
        let log = &mut self.logs[call.partition];
        if let Some(held) = w.held.get_mut(&call.assignment).filter(|_| !call.abandoned) {
            for (at, record) in call.records.iter().enumerate() {
                let offset = record.offset;
                let entry = log.entry_mut(offset);
                let lane = lane_of(ordering, entry);
                held.on_wire.remove(&lane);
                let fate = &mut entry.fate;
                let through = match &answer {
                    Answer::Verdicts(verdicts) => match &verdicts[at] {
                        Verdict::Deliver(_) => {
                            fate.accepted = true;
                            true
                        }
                        Verdict::Drop => {
                            fate.dropped = true;
                            true
                        }
                        Verdict::DeadLetter { .. } => {
                            fate.charged += 1;
                            true
                        }
                        Verdict::Retry { .. } => {
                            fate.leave = true;
                            fate.charged += 1;
                            fate.forgiven += u32::from(zombie);
                            false
                        }
                        Verdict::Again => false,
                    },
                    Answer::DeliverNothing => {
                        fate.dropped = true;
                        true
                    }
                    Answer::Drop(_) if call.records.len() == 1 => {
                        fate.dropped = true;
                        true
                    }
                    Answer::Failed(_) => {
                        w.charged.push((call.partition, offset));
                        fate.forgiven += u32::from(tripped);
                        false
                    }
                    // Charged, but for a record that the guard holds.
                    Answer::Refused(_) => {
                        fate.charged += 1;
                        fate.forgiven += u32::from(call.records.len() == 1 || zombie);
                        false
                    }
                    // Charged where a record is given up, or others succeed meanwhile.
                    Answer::DeadLetter(_) | Answer::TooLarge(_) | Answer::Busy { .. } | Answer::Misregistered(_) => {
                        fate.charged += 1;
                        fate.forgiven += 1;
                        false
                    }
                    Answer::Away(_) => {
                        if let Some(batch) = held.batches.get(&offset) {
                            batch.again.set(true);
                        }
                        false
                    }
                    Answer::Drop(_) | Answer::Block(_) => false,
                };
                if through {
                    // Its batch is gone, and with it the count, should it have to be called once more.
                    fate.forgiven = fate.charged;
                    held.accepted.insert(offset);
                    held.close(lane, offset);
                }
            }
        }
        self.give(worker, Event::Answered { call: id, answer });
    }

    fn receipts(&mut self, worker: usize, id: StoreId) {
        let Some((store, owners)) = self.workers[worker].stores.remove(&id) else {
            return;
        };
        let sink = store.sink.0 as usize;
        let cut = match self.sinks[sink] {
            SinkHealth::Well if !self.rng.chance(self.plan.faults.cut_short) => store.items.len(),
            SinkHealth::Well => self.rng.below(store.items.len() as u64 + 1) as usize,
            SinkHealth::Away | SinkHealth::Blocked => 0,
        };
        self.befell.sink_troubles += u64::from(cut < store.items.len());
        let receipts = self.store_items(Some((worker, &owners)), &store, cut);
        self.give(worker, Event::Stored { store: id, receipts });
    }

    /// A sink takes the first items of a request, in order, as far as `through`, and says so.
    pub(super) fn store_items(
        &mut self,
        worker: Option<(usize, &Owners)>,
        store: &Store,
        through: usize,
    ) -> Vec<Receipt> {
        let sink = store.sink.0;
        let mut stopped = false;
        let mut receipts = Vec::new();
        for (at, item) in store.items.iter().enumerate() {
            if at >= through || stopped {
                receipts.push(match self.sinks[sink as usize] {
                    SinkHealth::Well => Receipt::TryAgain(Failure::of("not now")),
                    SinkHealth::Away => Receipt::Away(Failure::of("connection refused")),
                    SinkHealth::Blocked => Receipt::Blocked(Failure::of("no right to write")),
                });
                continue;
            }
            let (partition, offset) = (item.record.source.partition as usize, item.record.offset);
            let mut receipt = Receipt::Stored;
            let wanted: Vec<usize> = item.results(store.sink).map(|(index, _)| index).collect();
            for (nth, index) in wanted.iter().enumerate() {
                let entry = self.logs[partition].entry(offset);
                if self.sinks_refuse && entry.is_some_and(|e| e.refused.contains(&(sink, *index))) {
                    receipt = Receipt::Refused {
                        index: *index,
                        failure: Failure::of("invalid"),
                    };
                    // What stands behind in the record goes first.
                    stopped = nth + 1 < wanted.len();
                    break;
                }
                self.store_result(worker, sink, partition, offset, *index);
            }
            receipts.push(receipt);
        }
        receipts
    }

    fn store_result(
        &mut self,
        worker: Option<(usize, &Owners)>,
        sink: u16,
        partition: usize,
        offset: i64,
        index: usize,
    ) {
        if !self.plan.changes() {
            self.stored_in_order(sink, partition, offset);
        }
        self.logs[partition].entry_mut(offset).fate.stored.insert((sink, index));
        if let Some(held) = worker.and_then(|(worker, owners)| self.workers[worker].still_holds(partition, owners)) {
            let first = held.stored.insert((sink, offset, index));
            promise!(
                first,
                two_budgets,
                "sink {sink} gets result {index} of {offset} twice in one assignment"
            );
        }
    }

    /// Order: first occurrences in a sink stand in the order of their lane.
    fn stored_in_order(&mut self, sink: u16, partition: usize, offset: i64) {
        let log = &self.logs[partition];
        let at = log.at_or_behind(offset);
        let lane = lane_of(self.plan.settings[0].ordering, &log.entries[at]);
        let nth = |n: usize| match lane {
            LaneKey::Partition => n,
            LaneKey::Key(key) => self.by_key[&(partition, key)][n],
            LaneKey::Own(_) => at,
        };
        if matches!(lane, LaneKey::Own(_)) || self.plan.settings[0].ordering == Ordering::None {
            return;
        }
        let (sinks, has_function) = (self.plan.settings[0].sinks, self.plan.settings[0].has_function);
        let cursor = self.first_stored.entry((sink, partition, lane)).or_default();
        while nth(*cursor) < at {
            let earlier = &log.entries[nth(*cursor)];
            let accepted = earlier.fate.accepted || !has_function;
            let fate = &earlier.fate;
            let refused = |at| earlier.refused.contains(&at) || fate.result_letters.contains(&at);
            let kept = |index| fate.stored.contains(&(sink, index)) || refused((sink, index));
            let through = earlier.is_done(sinks, has_function) || accepted && earlier.results_for(sink).all(kept);
            promise!(
                through,
                order,
                "sink {sink} gets results of {offset} before those of {}, of which {:?} is known",
                earlier.record.id(),
                earlier.fate
            );
            *cursor += 1;
        }
    }

    fn letter_done(&mut self, worker: usize, id: LetterId) {
        let Some(letter) = self.workers[worker].letters.remove(&id) else {
            return;
        };
        if !self.letters_well {
            self.befell.letters_refused += 1;
            let receipt = Receipt::Away(Failure::of("no leader"));
            return self.give(worker, Event::LetterWritten { letter: id, receipt });
        }
        let partition = letter.record.source.partition as usize;
        let fate = &mut self.logs[partition].entry_mut(letter.record.offset).fate;
        match (letter.facts.stage, letter.facts.sink, &letter.facts.result) {
            (Stage::Sink, Some(sink), Some(result)) => {
                let value = String::from_utf8_lossy(result.value.as_deref().unwrap_or_default()).into_owned();
                let index = value.rsplit_once('#').and_then(|(_, index)| index.parse().ok());
                fate.result_letters.insert((sink.0, index.unwrap_or(0)));
            }
            (Stage::Sink, _, _) => panic!("a dead letter of stage sink without sink and result"),
            (Stage::Operator, _, _) => {
                (fate.lettered, fate.skipped) = (true, true);
                self.befell.skipped += 1;
            }
            _ => fate.lettered = true,
        }
        self.give(
            worker,
            Event::LetterWritten {
                letter: id,
                receipt: Receipt::Stored,
            },
        );
    }

    fn commit_done(&mut self, worker: usize) {
        let Some(entries) = self.workers[worker].commit.take() else {
            return;
        };
        let mut outcomes = Vec::new();
        for entry in entries {
            let mut outcome = Err("NOT_COORDINATOR".to_owned());
            if !self.rng.chance(self.plan.faults.commit_refused) {
                outcome = self.group.commit(worker, &entry);
            } else if self.rng.chance(0.5) {
                // It came through, and its acknowledgement did not.
                let _ = self.group.commit(worker, &entry);
            }
            if let Some(held) = self.workers[worker].held.get_mut(&entry.assignment) {
                held.last_commit_refused = outcome.is_err();
            }
            outcomes.push((entry.assignment, outcome));
        }
        self.give(worker, Event::Committed { outcomes });
    }
}
